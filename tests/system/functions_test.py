"""The Lambda API as AWS's own clients drive it: awscli for every call, boto3 where a script is clumsy.

One `leeward functions` per module, on loopback. Nothing of it is left afterwards.
"""

import base64
import concurrent.futures
import io
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
import zipfile

import boto3
import botocore.config
import botocore.exceptions
import pytest

from stormlib import layout

AWS = "/usr/bin/aws"


def zipped(files):
    """A zip archive of {name: text}; names that end with ! are executable, with @ links."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            info = zipfile.ZipInfo(name.rstrip("!@"))
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = {"!": 0o100755, "@": 0o120777}.get(name[-1], 0o100644) << 16
            archive.writestr(info, text)
    return out.getvalue()


ECHO = """
import os, time
def handler(event, context):
    print("handling", context.aws_request_id)
    if event == "sleep": time.sleep(30)
    if event == "raise": raise ValueError("no such product")
    if event == "exit": os._exit(3)
    if isinstance(event, dict) and "file" in event:
        open(event["file"], "a").write("x")
    return {"event": event, "colour": os.environ.get("COLOUR"), "version": context.function_version,
            "arn": context.invoked_function_arn,
            "client": context.client_context and context.client_context["custom"]}
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Host:
    """A function host and its clients."""

    def __init__(self, leeward, state, *arguments):
        self.state = pathlib.Path(state)
        # The child writes by a descriptor of its own: one that is shared has one position.
        self.log = self.state.with_suffix(f".{free_port()}.log")
        self.process = subprocess.Popen(
            [leeward, "functions", "--listen", f"127.0.0.1:{free_port()}", "--state", str(state), *arguments,
             "--log-format", "json"], stderr=open(self.log, "ab"))
        self.url = self._wait_for_address()
        self.environment = dict(os.environ, AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b",
                                AWS_DEFAULT_REGION="us-east-1", AWS_PAGER="",
                                AWS_EC2_METADATA_DISABLED="true", no_proxy="127.0.0.1")
        self.boto = boto3.client(
            "lambda", endpoint_url=self.url, region_name="us-east-1", aws_access_key_id="a",
            aws_secret_access_key="b",
            config=botocore.config.Config(retries={"max_attempts": 0}, read_timeout=60,
                                          max_pool_connections=64, proxies={}))

    def _wait_for_address(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            found = re.search(rb'"address":"(127[^"]+)"', self.log.read_bytes())
            if found:
                return "http://" + found[1].decode()
            assert self.process.poll() is None, "the host ended"
            time.sleep(0.02)
        raise AssertionError("the host did not come up")

    def aws(self, *arguments, expect=0):
        """Runs awscli and returns its output as JSON, or its error text when it must fail."""
        done = subprocess.run([AWS, "lambda", *arguments, "--endpoint-url", self.url, "--output",
                               "json"], env=self.environment, capture_output=True, text=True,
                              timeout=60, check=False)
        if expect:
            assert done.returncode != 0, done.stdout
            return done.stderr
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else {}

    def end(self):
        """For the way out of a test that failed."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0


@pytest.fixture(scope="module", name="host")
def _host(tmp_path_factory):
    host = Host(str(layout.binary()), tmp_path_factory.mktemp("functions") / "state")
    yield host
    try:
        host.stop()
    finally:
        host.end()


@pytest.fixture(name="start")
def _start(tmp_path):
    """Starts hosts on one state directory; whatever becomes of the test, none survives it."""
    hosts = []

    def start():
        hosts.append(Host(str(layout.binary()), tmp_path / "state"))
        return hosts[-1]

    yield start
    for host in hosts:
        host.end()


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("code")
    (folder / "echo.zip").write_bytes(zipped({"app.py": ECHO}))
    (folder / "second.zip").write_bytes(zipped({"app.py": ECHO.replace("handling", "second")}))
    return folder


def invoke(host, name, payload, **more):
    answer = host.boto.invoke(FunctionName=name, Payload=json.dumps(payload), **more)
    return answer, json.loads(answer["Payload"].read() or "null")


def test_awscli_drives_a_function_from_creation_to_deletion(host, folder):
    made = host.aws("create-function", "--function-name", "echo", "--runtime", "python3.11",
                    "--handler", "app.handler", "--role", "arn:aws:iam::000000000000:role/r",
                    "--zip-file", f"fileb://{folder}/echo.zip", "--timeout", "2",
                    "--environment", "Variables={COLOUR=blue}")
    assert made["FunctionArn"].endswith(":function:echo") and made["State"] == "Active"
    assert "already exist" in host.aws(
        "create-function", "--function-name", "echo", "--runtime", "python3.11", "--handler",
        "app.handler", "--role", "arn:aws:iam::000000000000:role/r", "--zip-file",
        f"fileb://{folder}/echo.zip", expect=1)

    out = folder / "out.json"
    answer = host.aws("invoke", "--function-name", "echo", "--payload",
                      base64.b64encode(b'{"a": 1}').decode(), "--log-type", "Tail",
                      "--client-context", base64.b64encode(b'{"custom": {"k": "v"}}').decode(),
                      str(out))
    assert answer["StatusCode"] == 200 and answer["ExecutedVersion"] == "$LATEST"
    result = json.loads(out.read_text())
    assert result["event"] == {"a": 1} and result["colour"] == "blue"
    assert result["client"] == {"k": "v"}
    log = base64.b64decode(answer["LogResult"]).decode()
    assert "handling" in log and "REPORT RequestId" in log and "Init Duration" in log

    assert host.aws("get-function", "--function-name", "echo")["Configuration"]["Timeout"] == 2
    assert host.aws("get-function-configuration", "--function-name", "echo")["MemorySize"] == 128
    assert [f["FunctionName"] for f in host.aws("list-functions")["Functions"]] == ["echo"]
    changed = host.aws("update-function-configuration", "--function-name", "echo",
                       "--environment", "Variables={COLOUR=green}", "--memory-size", "256")
    assert changed["MemorySize"] == 256
    host.aws("invoke", "--function-name", "echo", str(out))
    assert json.loads(out.read_text())["colour"] == "green"

    assert host.aws("publish-version", "--function-name", "echo")["Version"] == "1"
    host.aws("update-function-code", "--function-name", "echo", "--zip-file",
             f"fileb://{folder}/second.zip")
    assert host.aws("publish-version", "--function-name", "echo")["Version"] == "2"
    versions = host.aws("list-versions-by-function", "--function-name", "echo")["Versions"]
    assert [v["Version"] for v in versions] == ["$LATEST", "1", "2"]
    host.aws("create-alias", "--function-name", "echo", "--name", "live", "--function-version", "1")
    host.aws("update-alias", "--function-name", "echo", "--name", "live", "--routing-config",
             "AdditionalVersionWeights={2=0.5}")
    assert host.aws("get-alias", "--function-name", "echo", "--name", "live")["RoutingConfig"] == {
        "AdditionalVersionWeights": {"2": 0.5}}
    assert len(host.aws("list-aliases", "--function-name", "echo")["Aliases"]) == 1
    seen = {invoke(host, "echo:live", {})[0]["ExecutedVersion"] for _ in range(40)}
    assert seen == {"1", "2"}

    host.aws("put-function-concurrency", "--function-name", "echo",
             "--reserved-concurrent-executions", "0")
    assert "TooManyRequestsException" in host.aws("invoke", "--function-name", "echo", str(out),
                                                  expect=1)
    assert host.aws("get-function-concurrency", "--function-name", "echo") == {
        "ReservedConcurrentExecutions": 0}
    host.aws("delete-function-concurrency", "--function-name", "echo")

    url = host.aws("create-function-url-config", "--function-name", "echo", "--auth-type", "NONE")
    with urllib.request.urlopen(url["FunctionUrl"] + "a/b?c=d", timeout=20) as answer:
        event = json.load(answer)["event"]
    assert event["rawPath"] == "/a/b" and event["rawQueryString"] == "c=d"
    assert host.aws("get-function-url-config", "--function-name", "echo")["AuthType"] == "NONE"
    host.aws("update-function-url-config", "--function-name", "echo", "--auth-type", "NONE")
    assert len(host.aws("list-function-url-configs", "--function-name", "echo")[
        "FunctionUrlConfigs"]) == 1
    host.aws("delete-function-url-config", "--function-name", "echo")
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(url["FunctionUrl"], timeout=20)

    host.aws("put-function-event-invoke-config", "--function-name", "echo",
             "--maximum-retry-attempts", "0")
    assert host.aws("get-function-event-invoke-config", "--function-name", "echo")[
        "MaximumRetryAttempts"] == 0
    host.aws("delete-function-event-invoke-config", "--function-name", "echo")
    host.aws("tag-resource", "--resource", made["FunctionArn"], "--tags", "owner=shop")
    assert host.aws("list-tags", "--resource", made["FunctionArn"])["Tags"] == {"owner": "shop"}
    assert "may not connect" in host.aws("tag-resource", "--resource", made["FunctionArn"], "--tags",
                                         "leeward:connect=10.0.0.1:22", expect=1)

    host.aws("delete-alias", "--function-name", "echo", "--name", "live")
    host.aws("delete-function", "--function-name", "echo", "--qualifier", "1")
    host.aws("delete-function", "--function-name", "echo")
    assert "ResourceNotFoundException" in host.aws("get-function", "--function-name", "echo",
                                                   expect=1)
    assert host.aws("list-functions")["Functions"] == []


@pytest.fixture(name="echo")
def _echo(host):
    host.boto.create_function(
        FunctionName="echo2", Runtime="python3.11", Handler="app.handler", Role="arn:aws:iam::0:role/r",
        Code={"ZipFile": zipped({"app.py": ECHO})}, Timeout=1)
    yield "echo2"
    host.boto.delete_function(FunctionName="echo2")


def test_failures_read_as_at_aws(host, echo):
    answer, body = invoke(host, echo, "raise")
    assert answer["StatusCode"] == 200 and answer["FunctionError"] == "Unhandled"
    assert body["errorType"] == "ValueError" and body["errorMessage"] == "no such product"
    _, body = invoke(host, echo, "exit")
    assert body["errorType"] == "Runtime.ExitError"
    assert re.fullmatch(r"RequestId: [0-9a-f-]{36} Error: Runtime exited with error: exit status 3",
                        body["errorMessage"])
    answer, body = invoke(host, echo, "sleep")
    assert re.fullmatch(r"RequestId: [0-9a-f-]{36} Error: Task timed out after 1.00 seconds",
                        body["errorMessage"])
    for arguments, name in (
            ({"FunctionName": "nobody"}, "ResourceNotFoundException"),
            ({"FunctionName": echo, "Payload": b"{"}, "InvalidRequestContentException"),
            ({"FunctionName": echo, "Payload": b'"' + b"x" * 6291556 + b'"'},
             "RequestTooLargeException"),
            ({"FunctionName": echo, "InvocationType": "Event", "Payload": b'"' + b"x" * 262144 + b'"'},
             "RequestTooLargeException")):
        with pytest.raises(botocore.exceptions.ClientError) as raised:
            host.boto.invoke(**arguments)
        assert raised.value.response["Error"]["Code"] == name
    assert host.boto.invoke(FunctionName=echo, InvocationType="DryRun")["StatusCode"] == 204


def test_bad_code_leaves_nothing_behind(host):
    def create(code, **more):
        with pytest.raises(botocore.exceptions.ClientError) as raised:
            host.boto.create_function(**{
                "FunctionName": "bad", "Runtime": "python3.11", "Handler": "app.handler",
                "Role": "arn:aws:iam::0:role/r", "Code": {"ZipFile": code}, **more})
        return raised.value.response["Error"]

    before = sorted(os.listdir(host.state / "code"))
    slip = io.BytesIO()
    with zipfile.ZipFile(slip, "w") as archive:
        archive.writestr("../../../tmp/slipped", "x")
    bomb = zipped({f"zeros{i}": "\0" * (100 << 20) for i in range(3)})
    for code, words in ((b"not a zip", "not a zip"), (slip.getvalue(), "leads out"),
                        (bomb, "unpacked")):
        error = create(code)
        assert error["Code"] == "InvalidParameterValueException" and words in error["Message"]
    fine = zipped({"app.py": ECHO})
    assert "unknown runtime" in create(fine, Runtime="cobol")["Message"]
    assert "bootstrap" in create(fine, Runtime="provided.al2023")["Message"]
    assert "aws-lambda-ric" in create(fine, Runtime="nodejs20.x")["Message"]
    assert "not offered" in create(fine, Layers=["arn:aws:lambda:x:0:layer:l:1"])["Message"]
    assert host.boto.list_functions()["Functions"] == []
    # Code that unpacked and was then refused is not kept for long, and nothing unfinished is there.
    assert not [n for n in os.listdir(host.state / "code") if n.startswith(".")]
    assert not pathlib.Path("/tmp/slipped").exists()
    assert len(os.listdir(host.state / "code")) <= len(before) + 1


def test_an_event_is_kept_until_it_is_done_and_its_failure_reaches_the_dead_letters(host, echo):
    queue = "arn:aws:sqs:local:000000000000:dead"
    host.boto.put_function_event_invoke_config(
        FunctionName=echo, MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": queue}})
    answer = host.boto.invoke(FunctionName=echo, InvocationType="Event", Payload=b'"raise"')
    assert answer["StatusCode"] == 202
    deadline = time.monotonic() + 20
    dead = host.state / "dead-letters" / "dead"
    while not (dead.exists() and list(dead.glob("*.json"))) and time.monotonic() < deadline:
        time.sleep(0.02)
    record = json.loads(next(dead.glob("*.json")).read_text())
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 1
    assert record["requestPayload"] == "raise"
    assert record["responsePayload"]["errorType"] == "ValueError"
    while os.listdir(host.state / "events") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert os.listdir(host.state / "events") == []
    with pytest.raises(botocore.exceptions.ClientError, match="cannot be delivered"):
        host.boto.update_function_configuration(
            FunctionName=echo, DeadLetterConfig={"TargetArn": "arn:aws:sns:x:0:topic"})


STREAM = """#!/usr/bin/python3 -u
import http.client, os
c = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
P = "/2018-06-01/runtime/invocation/"
while True:
    c.request("GET", P + "next")
    r = c.getresponse(); event = r.read().decode()
    c.putrequest("POST", P + r.headers["Lambda-Runtime-Aws-Request-Id"] + "/response")
    c.putheader("Content-Type", "text/plain")
    c.putheader("Lambda-Runtime-Function-Response-Mode", "streaming")
    c.putheader("Transfer-Encoding", "chunked")
    c.endheaders()
    for part in (b"one ", b"two ", b"three"):
        c.send(b"%x\\r\\n%s\\r\\n" % (len(part), part))
    c.send(b"0\\r\\n\\r\\n")
    c.getresponse().read()
"""


def stream_url(host, name):
    """The URL of a function that streams; Debian's botocore is older than InvokeMode."""
    request = urllib.request.Request(
        host.url + f"/2021-10-31/functions/{name}/url", method="POST",
        data=json.dumps({"AuthType": "NONE", "InvokeMode": "RESPONSE_STREAM"}).encode())
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)["FunctionUrl"]


def test_a_response_streams(host):
    host.boto.create_function(FunctionName="stream", Runtime="provided.al2023", Handler="x",
                              Role="arn:aws:iam::0:role/r",
                              Code={"ZipFile": zipped({"bootstrap!": STREAM})})
    request = urllib.request.Request(
        host.url + "/2021-11-15/functions/stream/response-streaming-invocations", data=b"{}",
        method="POST")
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.headers["Content-Type"] == "application/vnd.amazon.eventstream"
        raw = answer.read()
    # botocore's own decoder of the framing.
    from botocore.eventstream import EventStreamBuffer
    buffer = EventStreamBuffer()
    buffer.add_data(raw)
    events = [(m.headers[":event-type"], m.payload) for m in buffer]
    assert b"".join(p for kind, p in events if kind == "PayloadChunk") == b"one two three"
    assert events[-1] == ("InvokeComplete", b"{}")
    with urllib.request.urlopen(stream_url(host, "stream"), timeout=20) as answer:
        assert answer.headers["Content-Type"] == "text/plain"
        assert answer.read() == b"one two three"
    host.boto.delete_function(FunctionName="stream")


def test_a_stream_says_its_own_status_and_headers(host):
    """As awslambda.HttpResponseStream.from() writes it: a prelude, eight NUL bytes, the body."""
    def create(name, *parts):
        code = STREAM.replace("text/plain", "application/vnd.awslambda.http-integration-response")
        code = code.replace('(b"one ", b"two ", b"three")', repr(parts))
        host.boto.create_function(FunctionName=name, Runtime="provided.al2023", Handler="x",
                                  Role="arn:aws:iam::0:role/r", Code={"ZipFile": zipped({"bootstrap!": code})})
        return stream_url(host, name)

    prelude = (b'{"statusCode": 201, "headers": {"Content-Type": "text/html", "X-Pot": "tea"}, '
               b'"cookies": ["a=1", "b=2"]}')
    url = create("prelude", prelude[:20], prelude[20:] + bytes(3), bytes(5) + b"<p>", b"short and stout")
    with urllib.request.urlopen(url, timeout=20) as answer:
        assert answer.status == 201 and answer.headers["Content-Type"] == "text/html"
        assert answer.headers["X-Pot"] == "tea" and answer.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
        assert answer.read() == b"<p>short and stout"
    for number, parts in enumerate(((b"no JSON" + bytes(8), b"body"), (b" " * 70_000, b" "), (b"{}", b"no end"))):
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(create(f"broken{number}", *parts), timeout=20)
        assert raised.value.code == 502
        assert json.load(raised.value) == {"Message": "Internal Server Error"}
        host.boto.delete_function(FunctionName=f"broken{number}")
    host.boto.delete_function(FunctionName="prelude")


def test_an_http_application_runs_unchanged(host):
    application = """
import os, flask, waitress
app = flask.Flask(__name__)
@app.route("/hello/<name>", methods=["GET", "POST"])
def hello(name):
    r = flask.make_response(f"hello {name} {flask.request.args.getlist('x')} {flask.request.get_data()!r}", 201)
    r.set_cookie("a", "1"); r.set_cookie("b", flask.request.cookies.get("c", "?"))
    return r
waitress.serve(app, host="127.0.0.1", port=int(os.environ["PORT"]))
"""
    host.boto.create_function(FunctionName="web", Runtime="http", Handler="/usr/bin/python3 app.py",
                              Role="arn:aws:iam::0:role/r", Timeout=10,
                              Code={"ZipFile": zipped({"app.py": application})})
    url = host.boto.create_function_url_config(FunctionName="web", AuthType="NONE")["FunctionUrl"]
    for _ in range(3):
        request = urllib.request.Request(url + "hello/you?x=1&x=2", data=b"\xff\x00body",
                                         headers={"Cookie": "c=3"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.status == 201
            assert answer.read().decode() == "hello you ['1', '2'] b'\\xff\\x00body'"
            assert [c.split(";")[0] for c in answer.headers.get_all("Set-Cookie")] == ["a=1", "b=3"]
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(url + "nothing", timeout=20)
    assert raised.value.code == 404
    host.boto.delete_function(FunctionName="web")


def test_a_deploy_loses_no_request(host):
    def code(n):
        return zipped({"app.py": f"import time\ndef handler(e, c):\n    time.sleep(0.05)\n    return {n}\n"})

    host.boto.create_function(FunctionName="moving", Runtime="python3.11", Handler="app.handler",
                              Role="arn:aws:iam::0:role/r", Code={"ZipFile": code(0)})
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        calls = [pool.submit(invoke, host, "moving", {}) for _ in range(150)]
        for n in range(1, 4):
            time.sleep(0.1)
            host.boto.update_function_code(FunctionName="moving", ZipFile=code(n))
        results = [c.result() for c in calls]
    assert all("FunctionError" not in answer for answer, _ in results)
    assert {body for _, body in results} <= {0, 1, 2, 3}
    assert invoke(host, "moving", {})[1] == 3
    host.boto.delete_function(FunctionName="moving")


def test_everything_is_there_again_after_a_restart(start, tmp_path):
    leeward = str(layout.binary())
    host = start()
    host.boto.create_function(FunctionName="echo", Runtime="python3.11", Handler="app.handler",
                              Role="arn:aws:iam::0:role/r", Code={"ZipFile": zipped({"app.py": ECHO})})
    assert invoke(host, "echo", 1)[1]["event"] == 1
    host.boto.publish_version(FunctionName="echo")
    host.stop()
    host = start()
    assert invoke(host, "echo:1", 2)[1]["event"] == 2
    usage = json.load(urllib.request.urlopen(host.url + "/leeward/functions", timeout=10))
    echo = usage["functions"][0]
    assert echo["invocations"] == 2 and echo["gigabyte_seconds"] > 0
    # The command line shows the same, and that it costs nothing while nothing runs.
    address = host.url.removeprefix("http://")
    listed = json.loads(subprocess.run([leeward, "fn", "list", "--address", address, "-o", "json"],
                                       capture_output=True, check=True, timeout=20).stdout)
    assert listed["functions"][0]["invocations"] == 2
    logs = subprocess.run([leeward, "fn", "logs", "echo", "--address", address],
                          capture_output=True, check=True, timeout=20, text=True).stdout
    assert "handling" in logs and "REPORT" in logs
    folder = tmp_path / "hello"
    folder.mkdir()
    (folder / "app.py").write_text("def handler(e, c): return 'hello ' + e\n")
    for _ in range(2):
        subprocess.run([leeward, "fn", "deploy", "hello", str(folder), "--runtime", "python3.11",
                        "--handler", "app.handler", "--address", address], check=True, timeout=20)
    done = subprocess.run([leeward, "fn", "invoke", "hello", "--payload", '"you"', "--address",
                           address], capture_output=True, check=True, timeout=20, text=True)
    assert done.stdout == '"hello you"\n'
    host.stop()


def _in_groups_of(host):
    """Processes in the control groups of a function host."""
    group = re.search(rb'"group":"([^"]+)"', host.log.read_bytes())[1].decode()
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if f"/{group}/" in pathlib.Path(f"/proc/{name}/cgroup").read_text():
                found.append(int(name))
        except OSError:
            continue
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="without root there are no control groups to look into")
def test_a_killed_host_leaves_no_process_and_forgets_no_event(start):
    host = start()
    code = "import time\ndef handler(e, c):\n    print('event', e, flush=True)\n    time.sleep(e)\n"
    host.boto.create_function(FunctionName="slow", Runtime="python3.11", Handler="app.handler",
                              Role="arn:aws:iam::0:role/r", Timeout=60,
                              Code={"ZipFile": zipped({"app.py": code})})
    host.boto.invoke(FunctionName="slow", InvocationType="Event", Payload=b"50")
    log = host.state / "log/slow.log"
    deadline = time.monotonic() + 20
    while not (log.exists() and "event 50" in log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert "event 50" in log.read_text()
    assert _in_groups_of(host)
    host.process.kill()
    host.process.wait()
    while _in_groups_of(host) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert _in_groups_of(host) == []
    # It was accepted, and it was not done: it runs again.
    again = start()
    while log.read_text().count("event 50") < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert log.read_text().count("event 50") == 2
    assert len(os.listdir(host.state / "events")) == 1
    again.stop()


def test_the_host_serves_loopback_only(tmp_path):
    leeward = str(layout.binary())
    done = subprocess.run([leeward, "functions", "--listen", f"0.0.0.0:{free_port()}", "--state",
                           str(tmp_path / "s")], capture_output=True, text=True, timeout=20,
                          check=False)
    assert done.returncode == 5 and "loopback only" in done.stderr
