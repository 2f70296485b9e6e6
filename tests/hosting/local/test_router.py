"""Requests reach the right service, web pages are refused, and every error is answered."""

import io
import shutil
import socket
import urllib.request
from email.message import Message
from urllib.error import HTTPError

import pytest
from botocore.exceptions import ClientError
from local_aws import FAKE_SERVER, Aws, client, until

from drdeploy.hosting.local import LocalService, ServiceOptions, http_server
from drdeploy.hosting.local.api import router
from drdeploy.hosting.local.http_server import ServiceRequest


@pytest.fixture
def own():
    options = ServiceOptions(trial_start=False)
    with LocalService(isolation="process", options=options, server_command=FAKE_SERVER) as service:
        yield service


def status_of(url, **headers):
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status
    except HTTPError as error:
        return error.code


def test_a_request_from_a_web_page_is_refused(aws):
    url = f"{aws.url}/_drdeploy/status"
    assert status_of(url) == 200
    assert status_of(url, Origin="https://example.org") == 403
    assert status_of(url, Host="example.org:8765") == 403
    assert status_of(url, Host="example.org") == 403
    assert status_of(url, Host="127.0.0.1") == 200
    assert status_of(url, Host="localhost:8765") == 200
    assert status_of(url, Host="LocalHost:8765") == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "rebound.example:8765"},  # DNS rebinding: the page's own name leads here
        {"Host": "127.0.0.1.example"},
        {"Host": "localhost.example"},
        {"Origin": "https://example.org"},  # a form or a script that posts
        {"Origin": "null"},  # from a file or a sandboxed frame
        {"Origin": "http://127.0.0.1:9999"},  # another service of this machine
        {"Sec-Fetch-Site": "cross-site"},  # a picture whose address is a call
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "same-origin"},  # an object of S3, opened as a page
        {"Referer": "https://example.org/"},  # a browser without Sec-Fetch-Site
    ],
    ids=str,
)
def test_no_web_page_can_make_a_browser_call_an_api(aws, headers):
    action = "Action=CreateUser&UserName=mallory&Version=2010-05-08"
    scope = "X-Amz-Credential=a/20240101/us-east-1/iam/aws4_request"
    assert status_of(f"{aws.url}/?{action}&{scope}", **headers) == 403
    users = client("iam", aws.url).list_users()["Users"]
    assert "mallory" not in {user["UserName"] for user in users}
    target = {"X-Amz-Target": "SageMaker.ListModels"}
    assert status_of(aws.url, **target, **headers) == 403
    assert status_of(f"{aws.url}/v2/", **headers) == 403


def test_an_address_that_the_user_typed_is_answered(aws):
    assert status_of(f"{aws.url}/_drdeploy/status", **{"Sec-Fetch-Site": "none"}) == 200


def test_a_longer_key_id_than_aws_has_names_no_region():
    """The search for the end of a key id took a time that grew with the square of the header."""
    scope = "/20260101/eu-west-1/s3/aws4_request"
    for key_id, found in ("A" * 128, ("eu-west-1", "s3")), ("A" * 129, ("us-east-1", "")):
        headers = Message()
        headers["Authorization"] = f"AWS4-HMAC-SHA256 Credential={key_id}{scope}"
        request = ServiceRequest("GET", "/", headers, io.BytesIO(), 0)
        assert router._read_region_and_service(request) == found


def test_a_body_that_is_not_json_is_refused(aws):
    target = {"X-Amz-Target": "SageMaker.ListModels"}
    request = urllib.request.Request(aws.url, data=b"{", headers=target, method="POST")
    with pytest.raises(HTTPError) as caught:
        urllib.request.urlopen(request)
    assert caught.value.code == 400
    assert caught.value.headers["x-amzn-ErrorType"] == "SerializationException"


def test_a_platform_that_cannot_start_anything_is_a_dependency_failure(own):
    aws = Aws.at(own.url)
    name = aws.endpoint()
    shutil.rmtree(own._folder)
    own._folder.write_text("in the way")
    with pytest.raises(ClientError) as caught:
        aws.invoke(name)
    own._folder.unlink()
    assert caught.value.response["Error"]["Code"] == "InternalDependencyException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 530


def test_a_service_that_is_stopping_is_unavailable(own):
    aws = Aws.at(own.url)
    name = aws.endpoint()
    own._fleet._is_stopping = True
    with pytest.raises(aws.runtime.exceptions.ServiceUnavailable):
        aws.invoke(name)


def test_a_bug_of_the_service_is_an_internal_failure(own, monkeypatch):
    monkeypatch.setattr(own._router._aws, "answer_request", lambda request: 1 / 0)
    with pytest.raises(ClientError) as caught:
        Aws.at(own.url).s3.list_buckets()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500


@pytest.mark.parametrize("framing", ["Content-Length: 10000000000", "Transfer-Encoding: chunked"])
def test_a_longer_body_than_any_request_has_is_refused(aws, framing):
    head = (
        f"POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: SageMaker.ListModels\r\n{framing}\r\n"
    )
    port = int(aws.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(f"{head}\r\n".encode())
        if "chunked" in framing:
            connection.sendall(b"1000001\r\n" + b"x" * 0x1000001)
        assert b" 413 " in connection.recv(20)


def test_connections_beyond_the_bound_are_closed_and_give_their_places_back(own, monkeypatch):
    monkeypatch.setattr(http_server, "CONNECTIONS_MAX", 3)
    port = int(own.url.rpartition(":")[2])
    kept = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
    until(lambda: len(own._server._open) == 3)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as surplus:
        assert surplus.recv(1) == b""
    for connection in kept:
        connection.close()
    until(lambda: not own._server._open)
    assert status_of(f"{own.url}/_drdeploy/status") == 200
