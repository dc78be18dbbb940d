"""Clients that must sign: a host with keys, as awscli, boto3 and `leeward fn` meet it."""

import json
import os
import subprocess

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
import botocore.exceptions
import botocore.httpsession
import pytest

from functions_test import AWS, Host, zipped
from stormlib import layout

HANDLER = """
def handler(event, context):
    return event
"""


@pytest.fixture(scope="module", name="signed")
def _signed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("signed")
    secret = folder / "secret"
    secret.write_text("wJalr/secret+of=the key\n")
    secret.chmod(0o600)
    os.environ["SECOND_SECRET"] = "another"
    try:
        host = Host(str(layout.binary()), folder / "state", "--access-key", f"LEEWARDKEY=file:{secret}",
                    "--access-key", "SECOND=env:SECOND_SECRET")
    finally:
        del os.environ["SECOND_SECRET"]
    yield host
    try:
        host.stop()
    finally:
        host.end()


def client(host, key, secret, **more):
    return boto3.client("lambda", endpoint_url=host.url, region_name="eu-central-1",
                        aws_access_key_id=key, aws_secret_access_key=secret, **more,
                        config=botocore.config.Config(retries={"max_attempts": 0}, proxies={}))


def refusal(call):
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        call()
    response = raised.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def test_only_signed_requests_are_answered(signed):
    good = client(signed, "LEEWARDKEY", "wJalr/secret+of=the key")
    good.create_function(FunctionName="echo", Runtime="python3.11", Handler="app.handler",
                         Role="arn:aws:iam::0:role/r", Code={"ZipFile": zipped({"app.py": HANDLER})},
                         Description="spaces  and ümlauts")
    # Encoded paths, a query, a body, a session token: whatever the client signs is understood.
    arn = good.get_function(FunctionName="echo")["Configuration"]["FunctionArn"]
    assert good.get_function(FunctionName=arn, Qualifier="$LATEST")["Configuration"]["FunctionName"] == "echo"
    assert good.list_functions(MaxItems=5, Marker="0")["Functions"]
    assert json.loads(good.invoke(FunctionName="echo", Payload=b'"signed"')["Payload"].read()) == "signed"
    good.tag_resource(Resource=arn, Tags={"a b": "c/d"})
    assert client(signed, "SECOND", "another", aws_session_token="token").list_functions()["Functions"]

    assert refusal(client(signed, "LEEWARDKEY", "wrong").list_functions) == (403, "InvalidSignatureException")
    assert refusal(client(signed, "NOBODY", "wrong").list_functions) == (403, "UnrecognizedClientException")


def test_what_is_changed_or_old_or_unsigned_is_refused(signed):
    def send(**changed):
        request = botocore.awsrequest.AWSRequest(
            "POST", signed.url + "/2015-03-31/functions/echo/invocations", data=b'"a"')
        credentials = botocore.credentials.Credentials("LEEWARDKEY", "wJalr/secret+of=the key")
        signer = botocore.auth.SigV4Auth(credentials, changed.get("service", "lambda"), "eu-central-1")
        signer.add_auth(request)
        prepared = request.prepare()
        prepared.body = changed.get("body", prepared.body)
        prepared.headers.update(changed.get("headers", {}))
        answer = botocore.httpsession.URLLib3Session().send(prepared)
        return answer.status_code, answer.headers.get("x-amzn-ErrorType")

    assert send()[0] in (200, 404)  # signed well; whether there is a function is another matter
    assert send(body=b'"b"') == (403, "InvalidSignatureException")
    assert send(service="s3") == (403, "InvalidSignatureException")
    assert send(headers={"X-Amz-Date": "20150830T123600Z"}) == (403, "InvalidSignatureException")
    assert send(headers={"Authorization": "Bearer x"}) == (400, "IncompleteSignatureException")
    answer = botocore.httpsession.URLLib3Session().send(
        botocore.awsrequest.AWSRequest("GET", signed.url + "/2015-03-31/functions").prepare())
    assert answer.status_code == 403
    assert answer.headers["x-amzn-ErrorType"] == "MissingAuthenticationTokenException"


def test_awscli_and_our_own_client_sign(signed):
    keys = {"AWS_ACCESS_KEY_ID": "LEEWARDKEY", "AWS_SECRET_ACCESS_KEY": "wJalr/secret+of=the key"}
    environment = {**os.environ, "AWS_DEFAULT_REGION": "us-east-1", "AWS_PAGER": "", "no_proxy": "127.0.0.1"}
    own = [str(layout.binary()), "fn", "list", "--address", signed.url]
    for command in ([AWS, "lambda", "list-functions", "--endpoint-url", signed.url], own):
        assert subprocess.run(command, env={**environment, **keys}, timeout=60).returncode == 0
        wrong = subprocess.run(command, env={**environment, **keys, "AWS_SECRET_ACCESS_KEY": "x"},
                               capture_output=True, text=True, timeout=60)
        assert wrong.returncode != 0 and "InvalidSignatureException" in wrong.stderr


def test_a_key_must_say_where_its_secret_is(tmp_path):
    for text, words in (("KEY", "ID=file:PATH"), ("KEY=plain-secret", "ID=file:PATH"),
                        (f"KEY=file:{tmp_path}/none", "none")):
        done = subprocess.run([str(layout.binary()), "functions", "--state", str(tmp_path / "s"),
                               "--access-key", text], capture_output=True, text=True, timeout=20)
        assert done.returncode != 0 and words in done.stderr
        assert "plain-secret" not in done.stderr
