"""A function host that an agent gives orders: the program and the instances in its place change while
clients ask, and no request is lost."""

import http.client
import http.server
import json
import os
import shutil
import signal
import subprocess
import threading
import time

import pytest

import tiers_rig as rig
from functions_test import free_port
from stormlib import layout

pytestmark = pytest.mark.skipif(not os.access(layout.binary(), os.X_OK),
                                reason="leeward is not built")

PROGRAM = """
import http.server, os, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        time.sleep(0.02)
        body = os.environ["REVISION"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


class Instance(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "8")
        self.end_headers()
        self.wfile.write(b"instance")

    def log_message(self, *_):
        pass


class Host:
    def __init__(self, folder):
        self.code = folder / "code"
        self.code.mkdir()
        (self.code / "app.py").write_text(PROGRAM)
        self.file, self.log = folder / "orders" / "tier.json", folder / "log"
        self.port, self.process = free_port(), None

    def order(self, revision, instances=()):
        process = {"command": ["/usr/bin/python3", str(self.code / "app.py")],
                   "env": {"REVISION": revision}, "directory": str(self.code)}
        self.write(json.dumps({"process": process, "instances": list(instances)}))

    def write(self, text):
        self.file.parent.mkdir(exist_ok=True)
        new = self.file.with_suffix(".new")
        new.write_text(text)
        new.rename(self.file)

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [str(layout.binary()), "fn", "serve", "--name", "tier", "--follow", str(self.file),
                 "--listen", f"127.0.0.1:{self.port}", "--idle-path", "/livez", "--concurrency", "4"],
                stderr=log)

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(20) == 0

    def get(self, path="/", connection=None):
        connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()

    def wait_for(self, condition, what):
        deadline = time.monotonic() + 20
        while True:
            try:
                if condition():
                    return
            except OSError:
                pass
            assert time.monotonic() < deadline, f"{what}\n{self.log.read_text()}"
            time.sleep(0.02)


@pytest.fixture(name="host")
def _host():
    # Not below /tmp: a sandbox has a /tmp of its own.
    folder = layout.REPOSITORY / "build/tests/functions-follow"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    host = Host(folder)
    yield host
    host.end()


class Clients(rig.Askers):
    """Ask over connections that they keep as long as they may."""

    def __init__(self, host):
        super().__init__(4)
        self._host = host

    def _ask(self):
        connection = http.client.HTTPConnection("127.0.0.1", self._host.port, timeout=20)
        while not self._stop.is_set():
            try:
                answer = self._host.get(connection=connection)
            except (OSError, http.client.HTTPException) as error:
                answer = (0, repr(error))
                connection.close()
            self.answers.append(answer)

    def wait_for(self, text):
        self._host.wait_for(lambda: self.answers[-8:].count((200, text)) == 8,
                            f"not all are answered '{text}'")


def test_what_serves_changes_and_no_request_is_lost(host):
    instance = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Instance)
    threading.Thread(target=instance.serve_forever, daemon=True).start()
    host.order("one")
    host.start()
    host.wait_for(lambda: host.get("/livez") == (200, '{"status":"cold"}'), "nothing runs yet")
    with Clients(host) as clients:
        clients.wait_for("one")
        host.order("two")
        clients.wait_for("two")
        host.order("two", [f"127.0.0.1:{instance.server_port}"])
        clients.wait_for("instance")
        host.order("three", [f"127.0.0.1:{instance.server_port}"])
        # Somebody's own instance keeps its connections; the functions come back for new ones.
        host.order("three")
        host.wait_for(lambda: host.get() == (200, "three"), "functions serve again")
    assert [answer for answer in clients.answers if answer[0] != 200] == []
    instance.shutdown()


def test_orders_that_cannot_be_followed_change_nothing(host):
    host.order("one")
    host.start()
    host.wait_for(lambda: host.get() == (200, "one"), "the first request starts it")
    host.write("{")
    host.wait_for(lambda: "orders cannot be followed" in host.log.read_text(), "it is told")
    assert host.get() == (200, "one")
    host.order("two")
    host.wait_for(lambda: host.get() == (200, "two"), "the next ones are followed")


def test_without_orders_there_is_nothing_to_serve(host):
    host.start()
    assert host.process.wait(20) != 0
    assert "no process and list of instances" in host.log.read_text()
    both = subprocess.run([str(layout.binary()), "fn", "serve", "--listen", "127.0.0.1:1", "--follow",
                           "x", "--", "program"], capture_output=True, text=True, timeout=20, check=False)
    assert both.returncode != 0 and "excludes" in both.stderr
    neither = subprocess.run([str(layout.binary()), "fn", "serve", "--listen", "127.0.0.1:1"],
                             capture_output=True, text=True, timeout=20, check=False)
    assert neither.returncode != 0 and "give the application's command" in neither.stderr
