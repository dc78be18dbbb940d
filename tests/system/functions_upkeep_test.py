"""A function host whose disk fails, whose callers are hostile, or which is told to stop."""

import concurrent.futures
import json
import os
import pathlib
import shutil
import socket
import subprocess
import time
import urllib.request

import botocore.exceptions
import pytest

from functions_test import ECHO, Host, zipped
from stormlib import layout

CODE = """
import time
def handler(event, context):
    print("event", str(event)[:40], flush=True)
    if isinstance(event, (int, float)): time.sleep(event)
    return event
"""


def create(host, name, code=CODE, **more):
    host.boto.create_function(FunctionName=name, Runtime="python3.11", Handler="app.handler",
                              Role="arn:aws:iam::0:role/r", Timeout=60,
                              Code={"ZipFile": zipped({"app.py": code})}, **more)


def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()


@pytest.fixture(name="host")
def _host(tmp_path):
    host = Host(str(layout.binary()), tmp_path / "state")
    yield host
    host.end()


def test_a_deeply_nested_event_is_delivered_and_hurts_nobody(host):
    bootstrap = """#!/usr/bin/python3 -u
import http.client, os
c = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
P = "/2018-06-01/runtime/invocation/"
while True:
    c.request("GET", P + "next")
    r = c.getresponse(); event = r.read()
    c.request("POST", P + r.headers["Lambda-Runtime-Aws-Request-Id"] + "/response", event)
    c.getresponse().read()
"""
    host.boto.create_function(FunctionName="nest", Runtime="provided.al2023", Handler="none",
                              Role="arn:aws:iam::0:role/r", Code={"ZipFile": zipped({"bootstrap!": bootstrap})})
    host.boto.put_function_event_invoke_config(
        FunctionName="nest",
        DestinationConfig={"OnSuccess": {"Destination": "arn:aws:sqs:local:000000000000:done"}})
    nested = b"[" * 131_072 + b"]" * 131_072
    assert host.boto.invoke(FunctionName="nest", InvocationType="Event", Payload=nested)["StatusCode"] == 202
    done = host.state / "dead-letters/done"
    until(lambda: done.exists() and list(done.glob("*.json")))
    record = next(done.glob("*.json")).read_bytes()
    assert record.count(b"[") == 2 * 131_072 and b'"condition":"Success"' in record
    until(lambda: os.listdir(host.state / "events") == [])
    assert host.boto.invoke(FunctionName="nest", Payload=b"[1]")["Payload"].read() == b"[1]"


def test_a_function_that_feeds_itself_comes_to_an_end(host):
    create(host, "loop")
    arn = host.boto.get_function(FunctionName="loop")["Configuration"]["FunctionArn"]
    host.boto.put_function_event_invoke_config(FunctionName="loop",
                                               DestinationConfig={"OnSuccess": {"Destination": arn}})
    host.boto.invoke(FunctionName="loop", InvocationType="Event", Payload=json.dumps("x" * 60_000).encode())
    until(lambda: b"bytes are too many for an event" in host.log.read_bytes())
    until(lambda: os.listdir(host.state / "events") == [])


def test_events_that_cannot_be_kept_are_refused_and_the_others_go_on(host):
    create(host, "slow")
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: host.boto.invoke(FunctionName="slow", InvocationType="Event", Payload=b"1"),
                      range(20)))
        (host.state / "events").rename(host.state / "events-away")
        with pytest.raises(botocore.exceptions.ClientError, match="ServiceException"):
            host.boto.invoke(FunctionName="slow", InvocationType="Event", Payload=b"2")
        (host.state / "events-away").rename(host.state / "events")
    until(lambda: os.listdir(host.state / "events") == [])
    log = (host.state / "log/slow.log").read_text()
    assert log.count("event 1") == 20 and "event 2" not in log


def test_a_change_that_cannot_be_kept_is_no_change(host):
    create(host, "kept", ECHO)
    in_the_way = host.state / "registry.json.new"
    in_the_way.mkdir()
    try:
        for change in (lambda: host.boto.delete_function(FunctionName="kept"),
                       lambda: host.boto.update_function_configuration(FunctionName="kept", Timeout=7),
                       lambda: host.boto.publish_version(FunctionName="kept"),
                       lambda: create(host, "other"),
                       lambda: host.boto.put_function_concurrency(FunctionName="kept",
                                                                  ReservedConcurrentExecutions=3)):
            with pytest.raises(botocore.exceptions.ClientError, match="ServiceException"):
                change()
    finally:
        shutil.rmtree(in_the_way)
    assert host.boto.get_function_configuration(FunctionName="kept")["Timeout"] == 60
    assert [v["Version"] for v in host.boto.list_versions_by_function(FunctionName="kept")["Versions"]] == ["$LATEST"]
    assert "Concurrency" not in host.boto.get_function(FunctionName="kept")
    assert [f["FunctionName"] for f in host.boto.list_functions()["Functions"]] == ["kept"]
    assert host.boto.publish_version(FunctionName="kept")["Version"] == "1"


def test_what_runs_is_answered_before_the_host_ends(host):
    create(host, "slow")
    host.boto.invoke(FunctionName="slow", Payload=b"0")
    log = host.state / "log/slow.log"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(host.boto.invoke, FunctionName="slow", Payload=b"2.5")
        until(lambda: "event 2.5" in log.read_text())
        host.process.terminate()
        until(lambda: b'"stopping"' in host.log.read_bytes())
        with pytest.raises(botocore.exceptions.ClientError, match="ServiceException.*stopping"):
            host.boto.invoke(FunctionName="slow", Payload=b"0")
        assert answer.result()["Payload"].read() == b"2.5"
    assert host.process.wait(10) == 0


def test_an_application_behind_fn_serve_answers_before_it_ends(tmp_path):
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "app.py").write_text("""
import http.server, os, time
class Slow(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(2)
        self.send_response(200); self.send_header("Content-Length", "2"); self.end_headers()
        self.wfile.write(b"ok")
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Slow).serve_forever()
""")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    log = tmp_path / "log"
    process = subprocess.Popen(
        [str(layout.binary()), "fn", "serve", "--listen", f"127.0.0.1:{port}", "--directory", str(folder),
         "--", "python3", "app.py"], stderr=open(log, "wb"))
    try:
        until(lambda: b"serving" in log.read_bytes())
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            answer = pool.submit(lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30).read())
            time.sleep(1)  # it is under way: the application takes two seconds
            process.terminate()
            assert answer.result() == b"ok"
        assert process.wait(10) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
