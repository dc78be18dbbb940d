"""Tiers of a test's own on the demo's platform, behind its edges, and clients that ask all the time."""

import contextlib
import http.client
import json
import threading
import time

from stormlib import layout, platform as platforms

# A small application: it tells its revision, and does what its mode says.
APPLICATION = '''
import http.server, os, sys, time
address, port, mode = sys.argv[1], int(sys.argv[2]), sys.argv[3]
if mode == "crashes":
    sys.exit(3)

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        time.sleep(0.02)
        hangs = mode == "hangs" and self.path == "/healthz"
        body = os.environ["REVISION"].encode()
        self.send_response(503 if hangs else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer.request_queue_size = 64
http.server.ThreadingHTTPServer((address, port), Handler).serve_forever()
'''

PROCESS = """command: [/usr/bin/python3, {program}, "{{address}}", "{{port}}", {mode}]
    env: {{ REVISION: {revision} }}"""

TIER = """
  {name}:
    {process}
    port: {port}
    ready: {{ path: /healthz }}
    drain: 1s
    {more}
"""


class World:
    """The demo's platform with more tiers, {name: (port, more lines)}, and their configuration as it is now.

    `process` is what a tier runs: lines with the fields revision, mode and program."""

    def __init__(self, platform, tiers, process=PROCESS):
        self.platform, self._tiers, self._process = platform, tiers, process
        self.program = platform.layout.directory / "application.py"
        self.program.write_text(APPLICATION)
        self._text = platform.layout.config.read_text()
        self._set = {name: ("one", "good") for name in tiers}
        self._write()

    def _write(self):
        tiers, origins, routes = "", "", ""
        for name, (port, more) in self._tiers.items():
            revision, mode = self._set[name]
            process = self._process.format(revision=revision, mode=mode, program=self.program)
            tiers += TIER.format(name=name, port=port, more=more, process=process)
            origins += f"\n    {name}: {{ tier: {name} }}"
            routes += f"\n    - {{ path: /{name}, origins: {name} }}"
        text = self._text.replace("\ntiers:", "\ntiers:" + tiers, 1)
        text = text.replace("\n  origins:", "\n  origins:" + origins, 1)
        text = text.replace("\n  routes:", "\n  routes:" + routes, 1)
        self.platform.layout.config.write_text(text)

    def change(self, tier, revision, mode="good"):
        """Another revision in the file; nothing is told."""
        self._set[tier] = (revision, mode)
        self._write()

    def deploy(self, tier, *arguments):
        done = self.platform.cli("deploy", "start", tier, "-o", "json", *arguments)
        return done, json.loads(done.stdout or "{}").get("sites", [])

    def tier(self, name, site="gcp"):
        done = self.platform.cli("deploy", "status", "--site", site, "-o", "json")
        return next(t for t in json.loads(done.stdout)["sites"][0]["tiers"] if t["tier"] == name)

    def scale(self, name, site="gcp"):
        done = self.platform.cli("scale", "status", "--site", site, "-o", "json", check=True)
        return next(t for t in json.loads(done.stdout)["sites"][0]["tiers"] if t["tier"] == name)

    def get(self, tier, site="gcp"):
        edge = http.client.HTTPConnection(self.platform.layout.addresses[site], layout.EDGE_PORT,
                                          timeout=10)
        edge.request("GET", f"/{tier}/page")
        response = edge.getresponse()
        return response.status, response.read().decode()


@contextlib.contextmanager
def running(name, tiers):
    """A World under build/tests/`name` whose tiers serve through the edge at the primary."""
    with platforms.Platform(layout.REPOSITORY / "build/tests" / name) as platform:
        world = World(platform, tiers)
        for site in layout.SITES:
            platform.start(site)
        platform.create_shop()
        platform.wait_ready(writer="gcp")
        for tier in tiers:
            wait_for(lambda: world.get(tier) == (200, "one"), 30, f"{tier} through the edge")
        yield world


def wait_for(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while True:
        try:
            value = condition()
            if value:
                return value
        except (OSError, http.client.HTTPException) as error:
            value = error
        assert time.monotonic() < deadline, f"{what}; last: {value}"
        time.sleep(0.1)


def deploy_under_load(world, tier):
    """What is new of a tier, on both sites: revision "one" serves before, "two" after, and no request is lost."""
    with Load(world, tier) as load:
        load.wait_answers(20)
        done, sites = world.deploy(tier)
        load.wait_answers(20)
    assert done.returncode == 0, done.stderr
    assert [(s["site"], s["outcome"]) for s in sites] == [("gcp", "deployed"), ("aws", "deployed")]
    assert load.failed() == []
    assert load.revisions() == {"one", "two"}
    assert {answer[3] for answer in load.answers[-10:]} == {"two"}
    again, sites = world.deploy(tier)
    assert again.returncode == 0 and {s["outcome"] for s in sites} == {"unchanged"}


class Askers:
    """Clients that ask all the time, each on a thread: its _ask() goes on until self._stop is set."""

    def __init__(self, clients):
        self._stop, self._lock, self.answers = threading.Event(), threading.Lock(), []
        # Threads stand in the namespace of the one that starts them.
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=30)


class Load(Askers):
    """Clients of an edge; every answer, in order of its begin."""

    def __init__(self, world, tier, clients=4, rate=20.0):
        super().__init__(clients)
        self._world, self._tier, self._pause = world, tier, 1 / rate

    def _ask(self):
        address = self._world.platform.layout.addresses["gcp"]
        edge = http.client.HTTPConnection(address, layout.EDGE_PORT, timeout=20)
        while not self._stop.wait(self._pause):
            begun = time.monotonic()
            try:
                edge.request("GET", f"/{self._tier}/page")
                response = edge.getresponse()
                answer = (response.status, response.read().decode())
            except (OSError, http.client.HTTPException) as error:
                answer = (0, repr(error))
                edge.close()
            with self._lock:
                self.answers.append((begun, time.monotonic(), *answer))

    def wait_answers(self, count):
        with self._lock:
            count += len(self.answers)
        wait_for(lambda: len(self.answers) >= count, 30, "answers")

    def failed(self):
        return [answer for answer in self.answers if answer[2] != 200]

    def revisions(self):
        return {answer[3] for answer in self.answers}
