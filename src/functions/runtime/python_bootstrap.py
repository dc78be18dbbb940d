"""Runs a Python handler on the Lambda Runtime API, version 2018-06-01.

  _HANDLER=module.function     the function is called as function(event, context)

Standard library only. The host gives each sandbox this file as /var/runtime/bootstrap.py.
"""

import http.client
import importlib
import json
import os
import sys
import time
import traceback

_API = os.environ["AWS_LAMBDA_RUNTIME_API"]
_PREFIX = "/2018-06-01/runtime/"


class Context:
    """What a handler may ask about its invocation; the names are AWS's."""

    def __init__(self, headers):
        self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        self.invoked_function_arn = headers["Lambda-Runtime-Invoked-Function-Arn"]
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        client_context = headers.get("Lambda-Runtime-Client-Context")
        self.client_context = json.loads(client_context) if client_context else None
        self.identity = None
        self._deadline_ms = int(headers["Lambda-Runtime-Deadline-Ms"])

    def get_remaining_time_in_millis(self):
        return max(0, self._deadline_ms - int(time.time() * 1000))


class RuntimeApi:
    def __init__(self):
        self._connection = http.client.HTTPConnection(_API)

    def _call(self, method, path, body=None, headers=None):
        self._connection.request(method, _PREFIX + path, body=body, headers=headers or {})
        response = self._connection.getresponse()
        return response, response.read()

    def next(self):
        return self._call("GET", "invocation/next")

    def respond(self, request_id, body):
        response, text = self._call("POST", f"invocation/{request_id}/response", body,
                                    {"Content-Type": "application/json"})
        if response.status >= 400:
            print(f"response refused: {text.decode(errors='replace')}", file=sys.stderr)

    def fail(self, path, error):
        kind = error["errorType"]
        self._call("POST", path, json.dumps(error),
                   {"Content-Type": "application/json",
                    "Lambda-Runtime-Function-Error-Type": kind})


def describe(error, request_id=None):
    """The error object that callers get; the frames of this file are left out of the trace."""
    frames = [line for entry in traceback.format_tb(error.__traceback__)
              for line in [entry] if __file__ not in entry]
    described = {"errorMessage": str(error), "errorType": type(error).__name__,
                 "stackTrace": frames}
    if request_id:
        described["requestId"] = request_id
    print("[ERROR] " + f"{described['errorType']}: {error}\n" + "".join(frames), flush=True)
    return described


def load(handler):
    module_name, _, function_name = handler.rpartition(".")
    if not module_name:
        raise ValueError(f"Bad handler '{handler}': not enough values to unpack (expected 2, got 1)")
    sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
    module = importlib.import_module(module_name.replace("/", "."))
    if not hasattr(module, function_name):
        raise AttributeError(f"Handler '{function_name}' missing on module '{module_name}'")
    return getattr(module, function_name)


def init_failure(handler, error):
    described = describe(error)
    module = handler.rpartition(".")[0]
    if isinstance(error, ModuleNotFoundError):
        described["errorType"] = "Runtime.ImportModuleError"
        described["errorMessage"] = f"Unable to import module '{module}': {error}"
    elif isinstance(error, SyntaxError):
        described["errorType"] = "Runtime.UserCodeSyntaxError"
        described["errorMessage"] = f"Syntax error in module '{module}': {error}"
    elif isinstance(error, ValueError) and str(error).startswith("Bad handler"):
        described["errorType"] = "Runtime.MalformedHandlerName"
    elif isinstance(error, AttributeError) and str(error).startswith("Handler '"):
        described["errorType"] = "Runtime.HandlerNotFound"
    return described


def main():
    api = RuntimeApi()
    name = os.environ["_HANDLER"]
    try:
        handler = load(name)
    except Exception as error:  # whatever the function's own modules raise
        api.fail("init/error", init_failure(name, error))
        sys.exit(1)
    while True:
        response, body = api.next()
        context = Context(response.headers)
        request_id = context.aws_request_id
        trace_id = response.headers.get("Lambda-Runtime-Trace-Id")
        if trace_id:
            os.environ["_X_AMZN_TRACE_ID"] = trace_id
        try:
            answer = json.dumps(handler(json.loads(body or b"null"), context))
        except Exception as error:
            api.fail(f"invocation/{request_id}/error", describe(error, request_id))
            continue
        api.respond(request_id, answer.encode())


if __name__ == "__main__":
    main()
