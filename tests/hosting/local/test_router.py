"""Requests reach the right service, web pages are refused, and every error is answered."""

import shutil
import socket
import urllib.request
from urllib.error import HTTPError

import pytest
from botocore.exceptions import ClientError
from local_aws import FAKE_SERVER, Aws

from drdeploy.hosting.local import LocalService, ServiceOptions


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
    monkeypatch.setattr(own._router._aws, "answer", lambda request: 1 / 0)
    with pytest.raises(ClientError) as caught:
        Aws.at(own.url).s3.list_buckets()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500


@pytest.mark.parametrize(
    "body",
    [b"Content-Length: -5\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n-5\r\n"],
    ids=["body", "chunk"],
)
def test_a_body_of_negative_length_ends_the_connection(aws, body):
    port = int(aws.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"PUT /bucket/key HTTP/1.1\r\nHost: localhost\r\n" + body)
        assert connection.recv(100) == b""
