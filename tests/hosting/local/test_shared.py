"""A shared service serves whoever has its key, and nobody else; nobody looks into its files."""

from __future__ import annotations

import base64
import json
import os
import socket
import stat
import time
import urllib.request
from urllib.error import HTTPError

import boto3
import psutil
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from local_aws import FAKE_SERVER, ROLE, Aws, archive

from drdeploy.hosting.local import LocalService, ServiceOptions
from drdeploy.hosting.local.access_key import AccessKey
from drdeploy.hosting.sagemaker import make_boto3_client

SERVERLESS = {"MemorySizeInMB": 1024, "MaxConcurrency": 1}


@pytest.fixture(scope="module")
def shared(home):
    options = ServiceOptions(mb_per_vcpu=512, trial_start=False)
    with LocalService(
        isolation="process", options=options, shared=True, server_command=FAKE_SERVER
    ) as service:
        yield service


def client_with(key, url, name, **config):
    """An unmodified client, but for the retries that would only prolong a refusal."""
    return boto3.client(
        name,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=key.id,
        aws_secret_access_key=key.secret,
        config=Config(retries={"total_max_attempts": 1}, **config),
    )


@pytest.fixture(scope="module")
def clients(shared):
    def make(name, **config):
        return client_with(shared.access_key, shared.url, name, **config)

    return make


def ask(url, method="GET", body=None, **headers):
    """Status, headers and body of an answer to a request that is sent as it is."""
    request = urllib.request.Request(
        url, body, {name.replace("_", "-"): value for name, value in headers.items()}, method=method
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.headers, answer.read()
    except HTTPError as error:
        return error.code, error.headers, error.read()


def test_unmodified_clients_with_the_key_work_through_an_endpoints_whole_life(clients):
    s3, sagemaker, runtime = clients("s3"), clients("sagemaker"), clients("sagemaker-runtime")
    s3.create_bucket(Bucket="models")
    s3.put_object(Bucket="models", Key="a b/model.tar.gz", Body=archive(), Metadata={"eye": "left"})
    sagemaker.create_model(
        ModelName="grader",
        ExecutionRoleArn=ROLE,
        PrimaryContainer={
            "Image": "drdeploy:lean",
            "ModelDataUrl": "s3://models/a b/model.tar.gz",
        },
    )
    sagemaker.create_endpoint_config(
        EndpointConfigName="grader",
        ProductionVariants=[
            {"VariantName": "v", "ModelName": "grader", "ServerlessConfig": SERVERLESS}
        ],
    )
    sagemaker.create_endpoint(EndpointName="grader", EndpointConfigName="grader")
    wait = {"Delay": 0.1, "MaxAttempts": 900}
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="grader", WaiterConfig=wait)
    answer = runtime.invoke_endpoint(
        EndpointName="grader", Body=b"photograph", CustomAttributes="clinic=a  b"
    )
    assert json.loads(answer["Body"].read())["length"] == len(b"photograph")
    dimensions = [
        {"Name": "EndpointName", "Value": "grader"},
        {"Name": "VariantName", "Value": "v"},
    ]
    (metric,) = clients("cloudwatch").get_metric_data(
        MetricDataQueries=[
            {
                "Id": "n",
                "MetricStat": {
                    "Metric": {
                        "Namespace": "AWS/SageMaker",
                        "MetricName": "Invocations",
                        "Dimensions": dimensions,
                    },
                    "Period": 3600,
                    "Stat": "Sum",
                },
            }
        ],
        StartTime=time.time() - 3600,
        EndTime=time.time() + 60,
    )["MetricDataResults"]
    assert sum(metric["Values"]) == 1
    assert clients("sts").get_caller_identity()["Account"] == "123456789012"
    sagemaker.delete_endpoint(EndpointName="grader")
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="grader", WaiterConfig=wait)
    sagemaker.delete_endpoint_config(EndpointConfigName="grader")
    sagemaker.delete_model(ModelName="grader")


def calls(make):
    """One call of each protocol that AWS's clients speak."""
    sagemaker, runtime, s3 = make("sagemaker"), make("sagemaker-runtime"), make("s3")
    return {
        "json": sagemaker.list_models,
        "rest-json": lambda: runtime.invoke_endpoint(EndpointName="e", Body=b"x"),
        "query": make("iam").list_roles,
        "s3": s3.list_buckets,
        "s3 upload": lambda: s3.put_object(Bucket="b", Key="k", Body=b"x" * 1000),
        "ecr": make("ecr").get_authorization_token,
        "cloudwatch": make("cloudwatch").list_metrics,
    }


@pytest.mark.parametrize(
    ("changed", "codes"),
    [
        (
            {"secret": "a guess"},
            {
                "json": ("InvalidSignatureException", 400),
                "rest-json": ("InvalidSignatureException", 403),
                "query": ("SignatureDoesNotMatch", 403),
                "s3": ("SignatureDoesNotMatch", 403),
                "s3 upload": ("SignatureDoesNotMatch", 403),
                "ecr": ("InvalidSignatureException", 400),
                "cloudwatch": ("InvalidSignatureException", 400),
            },
        ),
        (
            {"id": "AKIAIOSFODNN7EXAMPLE"},
            {
                "json": ("UnrecognizedClientException", 400),
                "rest-json": ("UnrecognizedClientException", 403),
                "query": ("InvalidClientTokenId", 403),
                "s3": ("InvalidAccessKeyId", 403),
                "s3 upload": ("InvalidAccessKeyId", 403),
                "ecr": ("UnrecognizedClientException", 400),
                "cloudwatch": ("UnrecognizedClientException", 400),
            },
        ),
    ],
    ids=["secret", "id"],
)
def test_a_wrong_key_fails_every_call_with_the_code_of_its_protocol(shared, changed, codes):
    key = shared.access_key
    wrong = AccessKey(changed.get("id", key.id), changed.get("secret", key.secret))
    for name, call in calls(lambda name: client_with(wrong, shared.url, name)).items():
        with pytest.raises(ClientError) as caught:
            call()
        response = caught.value.response
        status = response["ResponseMetadata"]["HTTPStatusCode"]
        assert (response["Error"]["Code"], status) == codes[name], name


@pytest.mark.parametrize(
    ("path", "headers", "code"),
    [
        ("/", {"X_Amz_Target": "SageMaker.ListModels"}, b"MissingAuthenticationTokenException"),
        ("/endpoints/e/invocations", {}, b"MissingAuthenticationTokenException"),
        ("/", {"Content_Type": "application/x-www-form-urlencoded"}, b"MissingAuthenticationToken"),
        ("/bucket/key", {}, b"AccessDenied"),
        ("/_drdeploy/status", {}, b"AccessDenied"),
        ("/moto-api/reset", {}, b"AccessDenied"),
        ("/moto-api/data.json", {}, b"AccessDenied"),
        ("/v2/", {}, b"UNAUTHORIZED"),
        ("/v2/drdeploy/manifests/lean", {"Authorization": "Basic QVdTOng="}, b"UNAUTHORIZED"),
        ("/v2/x/blobs/uploads/", {"Authorization": "Bearer x"}, b"UNAUTHORIZED"),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_nothing_is_served_to_whoever_does_not_sign(shared, method, path, headers, code):
    if method != "POST" and path.endswith("invocations"):
        code = b"MissingAuthenticationToken"
    headers = {"Content_Type": "application/octet-stream", **headers}
    status, _, body = ask(shared.url + path, method, b"x" if method != "GET" else None, **headers)
    assert 400 <= status < 404
    assert code in body


def test_the_registry_takes_the_password_of_ecrs_login_alone(shared, clients):
    status, headers, _ = ask(f"{shared.url}/v2/")
    assert (status, headers["WWW-Authenticate"]) == (401, 'Basic realm="drdeploy local"')
    (login,) = clients("ecr").get_authorization_token()["authorizationData"]
    assert login["proxyEndpoint"] == shared.url
    token = login["authorizationToken"]
    assert ask(f"{shared.url}/v2/", Authorization=f"Basic {token}")[0] == 200
    motos = base64.b64encode(b"AWS:123456789012-auth-token").decode()
    assert ask(f"{shared.url}/v2/", Authorization=f"Basic {motos}")[0] == 401


def test_a_presigned_url_of_s3_works_without_a_key_until_it_expires(clients):
    s3 = clients("s3", signature_version="s3v4")
    s3.create_bucket(Bucket="presigned")
    s3.put_object(Bucket="presigned", Key="a b", Body=b"report")
    place = {"Bucket": "presigned", "Key": "a b"}
    url = s3.generate_presigned_url("get_object", Params=place, ExpiresIn=60)
    assert ask(url)[2] == b"report"
    assert b"SignatureDoesNotMatch" in ask(url.replace("a%20b", "other"))[2]
    assert b"SignatureDoesNotMatch" in ask(url, "DELETE")[2]
    url = s3.generate_presigned_url("put_object", Params=place, ExpiresIn=60)
    assert ask(url, "PUT", b"new", Content_Type="application/octet-stream")[0] == 200
    assert s3.get_object(**place)["Body"].read() == b"new"


def test_a_signed_body_cannot_be_exchanged(shared):
    key = Credentials(shared.access_key.id, shared.access_key.secret)
    headers = {"X-Amz-Target": "SageMaker.ListModels", "Content-Type": "application/x-amz-json-1.1"}
    request = AWSRequest("POST", f"{shared.url}/", headers, b"{}")
    SigV4Auth(key, "sagemaker", "us-east-1").add_auth(request)
    signed = {name.replace("-", "_"): value for name, value in request.headers.items()}
    assert ask(shared.url, "POST", b"{}", **signed)[0] == 200
    status, answer, _ = ask(shared.url, "POST", b'{"MaxResults": 1}', **signed)
    assert (status, answer["x-amzn-ErrorType"]) == (400, "InvalidSignatureException")


def exchange(service, head, body=b""):
    """What comes back until the service closes the connection."""
    received = b""
    with socket.create_connection(("127.0.0.1", int(service.url.rpartition(":")[2]))) as connection:
        connection.settimeout(60)
        connection.sendall(head.encode() + b"\r\n\r\n" + body)
        while data := connection.recv(4096):
            received += data
    return received


def test_a_strangers_body_is_refused_before_it_is_sent(shared, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    head = "PUT /bucket/key HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000000"
    answer = exchange(shared, f"{head}\r\nExpect: 100-continue")
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"100 Continue" not in answer
    assert exchange(shared, head, b"x" * 2_000_000).startswith(b"HTTP/1.1 403 ")
    assert list(tmp_path.iterdir()) == []


def test_a_body_that_no_request_has_is_refused_before_it_is_sent(shared, clients):
    """With the key's id, which is no secret, but without its signature."""
    request = AWSRequest("POST", f"{shared.url}/", {"X-Amz-Target": "SageMaker.ListModels"}, b"")
    key = Credentials(shared.access_key.id, "a guess")
    SigV4Auth(key, "sagemaker", "us-east-1").add_auth(request)
    lines = "".join(f"\r\n{name}: {value}" for name, value in request.headers.items())
    host = shared.url.removeprefix("http://")
    head = f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 100000000{lines}"
    assert b" 413 " in exchange(shared, head)[:20]


def test_the_status_is_for_whoever_has_the_key(shared):
    assert ask(f"{shared.url}/_drdeploy/status")[0] == 403
    request = AWSRequest("GET", f"{shared.url}/_drdeploy/status", {}, b"")
    key = Credentials(shared.access_key.id, shared.access_key.secret)
    SigV4Auth(key, "sagemaker", "us-east-1").add_auth(request)
    status, _, body = ask(request.url, **dict(request.headers.items()))
    assert status == 200
    assert json.loads(body)["shared"] is True
    assert shared.access_key.secret.encode() not in body


def test_our_own_client_takes_the_key_from_the_environment(shared, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", shared.access_key.id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", shared.access_key.secret)
    assert make_boto3_client("sts", shared.url).get_caller_identity()["Account"] == "123456789012"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")  # the user's own stays here
    with pytest.raises(ClientError, match="InvalidClientTokenId"):
        make_boto3_client("sts", shared.url).get_caller_identity()


def test_every_listening_socket_but_the_one_that_verifies_is_out_of_reach(shared):
    aws = Aws.at(shared.url, shared.access_key)
    # A fixture of another module may still be listening: its processes are not the service's.
    own = psutil.Process()
    others = {child.pid for child in own.children(recursive=True)}
    name = aws.endpoint(ServerlessConfig={**SERVERLESS, "ProvisionedConcurrency": 1})
    pids = {aws.invoke(name)["pid"]}
    pids |= {child.pid for child in own.children(recursive=True)} - others
    listening = {
        connection.laddr.port
        for process in map(psutil.Process, pids)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == set()
    sockets = [path for path in shared._folder.rglob("*") if path.is_socket()]
    assert sockets
    aws.delete(name)


def test_nobody_else_may_look_into_the_services_files(shared):
    aws = Aws.at(shared.url, shared.access_key)
    name = aws.endpoint(ServerlessConfig={**SERVERLESS, "ProvisionedConcurrency": 1})
    assert stat.S_IMODE(shared._folder.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(shared._folder.stat().st_mode) == 0o700
    for file in ("service.json", "access-key.json"):
        assert stat.S_IMODE((shared._folder / file).stat().st_mode) == 0o600
    key = json.loads((shared._folder / "access-key.json").read_text())
    assert key == {"id": shared.access_key.id, "secret": shared.access_key.secret}
    if os.getuid() == 0:  # whoever is not root is stopped by the folder's mode
        pid = os.fork()
        if pid == 0:
            os.setuid(65534)
            os._exit(int(os.access(shared._folder / "service.json", os.R_OK)))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    aws.delete(name)


def test_an_open_service_has_no_key_and_says_so(service):
    assert service.access_key is None
    assert not (service._folder / "access-key.json").exists()
    assert service.status()["shared"] is False
