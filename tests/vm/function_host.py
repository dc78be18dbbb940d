"""Asks the function host of leeward-functions.service for what only a machine like this can show."""

import base64
import http.client
import io
import json
import pathlib
import time
import zipfile

GROUPS = pathlib.Path("/sys/fs/cgroup/system.slice/leeward-functions.service")
CODE = """
def handler(event, context):
    return len([bytearray(1 << 20) for _ in range(event["megabytes"])])
"""


def call(method, path, body):
    connection = http.client.HTTPConnection("127.0.0.1", 9001, timeout=60)
    connection.request(method, path, json.dumps(body))
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def connected():
    for _ in range(100):
        try:
            return call("GET", "/2015-03-31/functions", {})
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the function host does not listen")


def main():
    connected()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("main.py", CODE)
    status, said = call("POST", "/2015-03-31/functions", {
        "FunctionName": "f", "Runtime": "python3.11", "Handler": "main.handler", "MemorySize": 128, "Timeout": 30,
        "Role": "arn:aws:iam::0:role/none", "Code": {"ZipFile": base64.b64encode(packed.getvalue()).decode()}})
    assert status == 201, said
    invoke = lambda megabytes: call("POST", "/2015-03-31/functions/f/invocations", {"megabytes": megabytes})
    assert invoke(1) == (200, 1)
    limits = {p.read_text().strip() for p in GROUPS.glob("leeward-functions-*/*/memory.max")}
    assert limits == {str(128 << 20)}, limits
    status, said = invoke(400)
    assert said.get("errorType") == "Runtime.OutOfMemory", said
    assert invoke(1) == (200, 1)


main()
