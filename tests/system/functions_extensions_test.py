"""Extensions beside a function: `leeward functions` as real extension programs meet it."""

import json
import pathlib
import time

import pytest

from functions_test import Host, zipped
from stormlib import layout

HANDLER = """
import time
def handler(event, context):
    print("handler got", event)
    if event == "exit":
        import os; os._exit(3)
    if event == "sleep":
        time.sleep(30)
    return event
"""

# An external extension: what it is told, it prints, so that it is in the function's log; telemetry comes
# to a server of its own.
WATCHER = """#!/usr/bin/python3 -u
import http.client, http.server, json, os, sys, threading, time
NAME = os.path.basename(sys.argv[0])
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])

def say(*words):  # in one piece: two threads speak
    os.write(2, (" ".join(map(str, (NAME, *words))) + "\\n").encode())

def call(method, path, body=None, **headers):
    api.request(method, path, None if body is None else json.dumps(body), headers)
    answer = api.getresponse()
    return answer, json.loads(answer.read() or b"null")

class Sink(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        for event in json.loads(self.rfile.read(int(self.headers["Content-Length"]))):
            record = event["record"]
            say("telemetry", event["type"], json.dumps(record))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_): pass

sink = http.server.ThreadingHTTPServer(("0.0.0.0", 4243), Sink)
threading.Thread(target=sink.serve_forever, daemon=True).start()
answer, body = call("POST", "/2020-01-01/extension/register", {"events": ["INVOKE", "SHUTDOWN"]},
                    **{"Lambda-Extension-Name": NAME})
say("registered", answer.status, body["functionName"], body["handler"])
me = {"Lambda-Extension-Identifier": answer.headers["Lambda-Extension-Identifier"]}
subscription = {"schemaVersion": "2022-12-13", "types": ["platform", "function"],
                "buffering": {"timeoutMs": 25, "maxItems": 1000, "maxBytes": 262144},
                "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:4243/x"}}
for change in ({}, {"types": []}):
    answer, body = call("PUT", "/2022-07-01/telemetry", {**subscription, **change}, **me)
    say("subscribed", answer.status, json.dumps(body))
while True:
    answer, event = call("GET", "/2020-01-01/extension/event/next", **me)
    say("event", event["eventType"], event.get("requestId"), event.get("shutdownReason"))
    if event["eventType"] == "SHUTDOWN":
        time.sleep(1)  # the last telemetry comes now, and its end would be the end of all
        sys.exit(0)
"""

CRASHER = """#!/bin/sh
exit 7
"""


@pytest.fixture(scope="module", name="host")
def _host(tmp_path_factory):
    host = Host(str(layout.binary()), tmp_path_factory.mktemp("extensions") / "state")
    yield host
    try:
        host.stop()
    finally:
        host.end()


def create(host, name, files, **more):
    host.boto.create_function(**{
        "FunctionName": name, "Runtime": "python3.11", "Handler": "app.handler",
        "Role": "arn:aws:iam::0:role/r", "Code": {"ZipFile": zipped({"app.py": HANDLER, **files})},
        "Timeout": 5, **more})


def invoke(host, name, event):
    answer = host.boto.invoke(FunctionName=name, Payload=json.dumps(event))
    return answer["ResponseMetadata"]["RequestId"], answer, json.loads(answer["Payload"].read())


def log_until(host, name, words, seconds=20):
    """The function's log once all of `words` are in it."""
    path = pathlib.Path(host.state) / "log" / f"{name}.log"
    deadline = time.monotonic() + seconds
    while True:
        text = path.read_text() if path.exists() else ""
        if all(word in text for word in words):
            return text
        assert time.monotonic() < deadline, f"{words} not in:\n{text}"
        time.sleep(0.05)


def test_an_extension_lives_the_life_that_aws_gives_it(host):
    create(host, "watched", {"extensions/watcher!": WATCHER, "extensions/readme.txt": "no program"})
    for event in ("one", "two"):
        assert invoke(host, "watched", event)[2] == event
    host.boto.update_function_configuration(FunctionName="watched", Description="ends what runs")
    text = log_until(host, "watched", [
        "watcher registered 200 watched app.handler", 'watcher subscribed 200 "OK"',
        "types should not be empty", "watcher event SHUTDOWN None spindown"])
    assert text.count("watcher event INVOKE") == 2
    # It registers before the function's code runs, is told of each invocation, and then of the end.
    assert text.index("watcher registered") < text.index("handler got one")
    told = [line.rsplit(" ", 2)[1] for line in text.splitlines() if "watcher event INVOKE" in line]
    begun = [line.split("RequestId: ")[1].split()[0] for line in text.splitlines() if "START RequestId" in line]
    assert told == begun
    text = log_until(host, "watched", [f"watcher telemetry {kind} " for kind in (
        "platform.initStart", "platform.initRuntimeDone", "platform.initReport",
        "platform.telemetrySubscription", "platform.start", "platform.runtimeDone",
        "platform.report")] + ['watcher telemetry function "handler got one'])
    assert '"status": "success"' in text and "maxMemoryUsedMB" in text


def test_a_timeout_and_a_crash_of_the_runtime_are_told_to_extensions(host):
    create(host, "ending", {"extensions/watcher!": WATCHER}, Timeout=1)
    _, answer, body = invoke(host, "ending", "sleep")
    assert answer["FunctionError"] == "Unhandled" and "Task timed out after 1.00" in body["errorMessage"]
    log_until(host, "ending", ["watcher event SHUTDOWN None timeout"])
    _, answer, body = invoke(host, "ending", "exit")
    assert body["errorType"] == "Runtime.ExitError" and "exit status 3" in body["errorMessage"]
    log_until(host, "ending", ["watcher event SHUTDOWN None failure"])
    assert invoke(host, "ending", "still works")[2] == "still works"


def test_an_extension_that_crashes_fails_the_function_and_says_which(host):
    create(host, "crashing", {"extensions/crasher!": CRASHER})
    _, answer, body = invoke(host, "crashing", 1)
    assert answer["FunctionError"] == "Unhandled"
    assert body["errorType"] == "Extension.Crash" and "crasher: exit status 7" in body["errorMessage"]


def test_a_link_is_no_folder_of_extensions(host):
    create(host, "linked", {"parts/crasher!": CRASHER, "extensions@": "parts"})
    assert invoke(host, "linked", 1)[2] == 1


def test_what_an_extension_must_not_do_is_refused(host):
    """An internal extension: a part of the runtime, which speaks the API by itself."""
    create(host, "inside", {"app.py": """
import http.client, json, os
def call(method, path, body, **headers):
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    api.request(method, path, body, headers)
    answer = api.getresponse()
    return answer.status, json.loads(answer.read() or b"null")
R = "/2020-01-01/extension/register"
def register(name, body): return call("POST", R, body, **{"Lambda-Extension-Name": name})
def next_event(identifier): return call("GET", "/2020-01-01/extension/event/next", None,
                                        **{"Lambda-Extension-Identifier": identifier})
SAID = [register("a", '{"events": ["SHUTDOWN"]}'), register("", '{"events": []}'),
        register("b", '{"events": ["RESTART"]}'), register("b", "nonsense"), next_event("nobody"),
        call("GET", "/2020-01-01/extension/nonsense", None)]
def handler(event, context):
    return SAID + [register("late", '{"events": ["INVOKE"]}')]
"""})
    said = invoke(host, "inside", None)[2]
    assert [status for status, _ in said] == [403, 400, 400, 400, 403, 404, 403]
    assert "gets no SHUTDOWN" in said[0][1]["errorMessage"]
    assert said[4][1]["errorType"] == "Extension.UnknownExtensionIdentifier"
    assert said[6][1]["errorType"] == "Extension.RegistrationClosed"
