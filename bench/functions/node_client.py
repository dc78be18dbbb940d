"""A handler on the unmodified aws-lambda-ric: results, errors, time-outs, warm starts. node_client.sh prepares."""

import base64
import json
import sys
import tempfile

import measure

HANDLER = """
let count = 0;
exports.handler = async (event, context) => {
  count += 1;
  console.log('node handles', context.awsRequestId);
  if (event === 'throw') throw new TypeError('no such product');
  if (event === 'sleep') await new Promise((r) => setTimeout(r, 60000));
  return {event, count, name: context.functionName, left: context.getRemainingTimeInMillis() > 0};
};
"""


def main():
    with tempfile.TemporaryDirectory() as folder:
        host = measure.Host(folder + "/state", "--node-client", sys.argv[1])
        try:
            host.create("node", "nodejs20.x", "app.handler", {"app.js": HANDLER.encode()})
            host.api("PUT", "/2015-03-31/functions/node/configuration", Timeout=2)
            check(host)
        finally:
            host.stop()
    print("aws-lambda-ric from npm, unmodified: results, errors and time-outs as expected")


def check(host):
    def invoke(event):
        host.connection.request("POST", "/2015-03-31/functions/node/invocations",
                                body=json.dumps(event), headers={"X-Amz-Log-Type": "Tail"})
        answer = host.connection.getresponse()
        return answer, json.loads(answer.read())

    for n in (1, 2):
        answer, body = invoke({"n": n})
        assert body == {"event": {"n": n}, "count": n, "name": "node", "left": True}, body
        assert b"node handles" in base64.b64decode(answer.headers["X-Amz-Log-Result"])
    answer, body = invoke("throw")
    assert answer.headers["X-Amz-Function-Error"] == "Unhandled"
    assert body["errorType"] == "TypeError" and body["errorMessage"] == "no such product", body
    answer, body = invoke("sleep")
    assert "Task timed out after 2.00 seconds" in body["errorMessage"], body
    assert invoke(1)[1]["count"] == 1


if __name__ == "__main__":
    main()
