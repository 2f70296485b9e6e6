"""Clients that know nothing of the local service go through the life of an endpoint.

The clients are unmodified packages in environments of their own. The programs that use them are in
``programs``; each goes from models to deletion and reports what it saw.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import partial

import pytest
from botocore.exceptions import ClientError
from local_aws import FAKE_SERVER, until
from required import require

from drdeploy.hosting.local import LocalService, ServiceOptions

PHOTOGRAPH = b"\xff\xd8\xff photograph"


def test_sagemaker_sdk_version_2(run_client):
    report = run_client("sagemaker-v2", "sagemaker_v2.py")
    assert report == {
        "jpeg": ["image/jpeg", 14],
        "colour": "blue",
        "json": ["application/json", "application/json"],
        "numpy": "application/x-npy",
        "described": "InService",
        "tagged": True,
        "real-time": 14,
        "updated to": 2,
        "listed": [1, 1],
        "model error": ["ModelError", 415],
        "no endpoint": "ValidationError",
        "left": [0, 0, 0],
    }


def test_sagemaker_sdk_version_2_asynchronously(run_client):
    assert run_client("sagemaker-v2", "sagemaker_v2_asynchronous.py") == {
        "predictor": "AsyncPredictor",
        "predicted": 14,
        "later": [14, "exam-7"],
        "failed": True,
        "not asynchronous": "ValidationError",
    }


def test_the_transformer_of_the_sagemaker_sdk_version_2(run_client):
    report = run_client("sagemaker-v2", "sagemaker_v2_transformer.py")
    assert report == {
        "outputs": ["id-1,3\nid-2,5\n", "id-3,7\n"],
        "attached": ["v2-transform", "MultiRecord", "Line"],
        "stopped": "Completed",
        "failed": "ClientError: See job logs for more information",
        "kept": "seen good\n",
        "listed": ["Completed", "Failed"],
    }


def test_sagemaker_sdk_version_3(run_client):
    report = run_client("sagemaker-v3", "sagemaker_v3.py")
    assert report == {
        "built": "v3-builder",
        "deployed": "InService",
        "jpeg": ["image/jpeg", 14],
        "colour": "blue",
        "model files": ["1", "1/one", "1/saved_model.pb"],
        "real-time": 14,
        "json": 22,
        "updated to": "v3-real-time",
        "listed": ["v3-builder", "v3-real-time", "v3-resource"],
        "model error": ["ModelError", 415],
        "no endpoint": "ValidationException",
        "asleep": ["ValidationError", True],
        "awake": 14,
        "streamed": 14,
        "left": [0, 0, 0],
    }


def test_aioboto3(run_client):
    report = run_client("aioboto3", "many_at_once.py")
    assert report == {
        "at once": [10, 11, 12, 13, 14, 15, 16, 17],
        "updated to": "aio-endpoint-2048",
        "pages": [1, 1],
        "model error": 415,
        "no endpoint": "ValidationException",
        "left": 0,
    }


def test_javascript_sdk(run_javascript):
    assert run_javascript("javascript.mjs") == {
        "waited": "SUCCESS",
        "jpeg": ["image/jpeg", 4],
        "json": ["application/json", "a=1", "AllTraffic"],
        "tagged": True,
        "updated to": "js-endpoint-2048",
        "created": True,
        "listed": ["js-endpoint"],
        "model error": [True, "ModelError", 415],
        "no endpoint": "ValidationException",
        "deleted": "SUCCESS",
        "left": 0,
    }


def test_aws_cli(run_aws, aws, role, client_environment, tmp_path):
    photograph, answer = tmp_path / "eye.jpg", tmp_path / "answer.json"
    photograph.write_bytes(PHOTOGRAPH)
    archive = client_environment["MODEL_DATA_URL"]
    assert "model.tar.gz" in run_aws("s3", "ls", archive, "--output", "text")
    container = {"Image": "drdeploy:lean", "ModelDataUrl": archive}
    sagemaker = ("sagemaker", "create-model", "--model-name", "cli", "--execution-role-arn", role)
    made = run_aws(*sagemaker, "--primary-container", json.dumps(container))
    assert made["ModelArn"].endswith(":model/cli")
    variant = "VariantName=AllTraffic,ModelName=cli,InstanceType=ml.m5.large,InitialInstanceCount=1"
    config = ("--endpoint-config-name", "cli")
    run_aws("sagemaker", "create-endpoint-config", *config, "--production-variants", variant)
    name = ("--endpoint-name", "cli")
    run_aws("sagemaker", "create-endpoint", *name, *config)
    aws.wait("cli")  # the CLI's own waiter looks every 30 seconds
    run_aws("sagemaker", "wait", "endpoint-in-service", *name)
    resource = "endpoint/cli/variant/AllTraffic"
    dimension = "sagemaker:variant:DesiredInstanceCount"
    target = ("--service-namespace", "sagemaker", "--resource-id", resource)
    run_aws(
        *("application-autoscaling", "register-scalable-target", *target),
        *("--scalable-dimension", dimension, "--min-capacity", "1", "--max-capacity", "2"),
    )
    targets = run_aws(
        *("application-autoscaling", "describe-scalable-targets"),
        *("--service-namespace", "sagemaker", "--resource-ids", resource),
    )
    assert targets["ScalableTargets"][0]["MaxCapacity"] == 2
    body = ("--body", f"fileb://{photograph}", "--content-type", "image/jpeg")
    invoked = run_aws("sagemaker-runtime", "invoke-endpoint", *name, *body, str(answer))
    assert invoked["InvokedProductionVariant"] == "AllTraffic"
    assert json.loads(answer.read_bytes())["headers"]["content-type"] == "image/jpeg"
    status = "Endpoints[?EndpointName=='cli'].EndpointStatus"
    assert run_aws("sagemaker", "list-endpoints", "--query", status) == ["InService"]
    nowhere = run_aws("sagemaker", "describe-endpoint", "--endpoint-name", "no", fails=True)
    assert "An error occurred (ValidationException)" in nowhere
    group = ("--log-group-name", "/aws/sagemaker/Endpoints/cli")
    assert "logStreams" in run_aws("logs", "describe-log-streams", *group)
    assert "events" in run_aws("logs", "filter-log-events", *group, "--interleaved")
    refused = run_aws(
        *("sagemaker-runtime", "invoke-endpoint", *name, str(answer)),
        *("--body", "!status 415"),
        fails=True,
    )
    assert "An error occurred (ModelError)" in refused
    assert "(415)" in refused
    run_aws("sagemaker", "delete-endpoint", *name)
    run_aws("sagemaker", "delete-endpoint-config", *config)
    host_component_with_cli(run_aws, aws, role, answer)
    run_aws("sagemaker", "delete-model", "--model-name", "cli")
    assert run_aws("sagemaker", "list-models", "--name-contains", "cli")["Models"] == []


def test_aws_cli_asynchronously(run_aws, aws, role, client_environment, tmp_path):
    photograph, answer = tmp_path / "eye.jpg", tmp_path / "answer.json"
    photograph.write_bytes(PHOTOGRAPH)
    name = "cli-asynchronous"
    aws.model(name, url=client_environment["MODEL_DATA_URL"])
    variant = f"VariantName=v,ModelName={name},InstanceType=ml.m5.large,InitialInstanceCount=1"
    asynchronous = ("--endpoint-config-name", name)
    output = "OutputConfig={S3OutputPath=s3://models/out}"
    variants = ("--production-variants", variant, "--async-inference-config", output)
    run_aws("sagemaker", "create-endpoint-config", *asynchronous, *variants)
    queued = ("--endpoint-name", name)
    run_aws("sagemaker", "create-endpoint", *queued, *asynchronous)
    aws.wait(name)
    run_aws("s3", "cp", str(photograph), "s3://models/eye.jpg", "--output", "text")
    location = ("--input-location", "s3://models/eye.jpg", "--content-type", "image/jpeg")
    submitted = run_aws("sagemaker-runtime", "invoke-endpoint-async", *queued, *location)
    key = submitted["OutputLocation"].removeprefix("s3://models/")
    run_aws("s3api", "wait", "object-exists", "--bucket", "models", "--key", key)
    run_aws("s3", "cp", submitted["OutputLocation"], str(answer), "--output", "text")
    assert json.loads(answer.read_bytes())["length"] == len(PHOTOGRAPH)
    run_aws("sagemaker", "delete-endpoint", *queued)
    run_aws("sagemaker", "delete-endpoint-config", *asynchronous)


def test_batch_transform_of_the_aws_cli(run_aws, aws, role, client_environment):
    aws.s3.put_object(Bucket="models", Key="cli-eyes/a.jpg", Body=PHOTOGRAPH)
    archive = client_environment["MODEL_DATA_URL"]
    container = {"Image": "drdeploy:lean", "ModelDataUrl": archive}
    model = ("--model-name", "cli-batch")
    run_aws(
        *("sagemaker", "create-model", *model, "--execution-role-arn", role),
        *("--primary-container", json.dumps(container)),
    )
    name = ("--transform-job-name", "cli-batch")
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://models/cli-eyes/"}}
    run_aws(
        *("sagemaker", "create-transform-job", *name, *model),
        *("--transform-input", json.dumps({"DataSource": source, "ContentType": "image/jpeg"})),
        *("--transform-output", "S3OutputPath=s3://models/cli-graded"),
        *("--transform-resources", "InstanceType=ml.m5.large,InstanceCount=1"),
    )

    def status():
        described = aws.sagemaker.describe_transform_job(TransformJobName="cli-batch")
        return described["TransformJobStatus"]

    until(lambda: status() == "Completed")  # the CLI's own waiter looks every minute
    run_aws("sagemaker", "wait", "transform-job-completed-or-stopped", *name)
    query = ("--query", "TransformJobSummaries[].TransformJobStatus", "--name-contains", "cli")
    assert run_aws("sagemaker", "list-transform-jobs", *query) == ["Completed"]
    assert "a.jpg.out" in run_aws("s3", "ls", "s3://models/cli-graded/", "--output", "text")
    refused = run_aws("sagemaker", "stop-transform-job", *name, fails=True)
    assert "is in status Completed" in refused
    run_aws("sagemaker", "delete-model", *model)


def host_component_with_cli(run_aws, aws, role, answer):
    variant = "VariantName=AllTraffic,InstanceType=ml.m5.large,InitialInstanceCount=1"
    config = ("--endpoint-config-name", "cli-components", "--execution-role-arn", role)
    run_aws("sagemaker", "create-endpoint-config", *config, "--production-variants", variant)
    name = ("--endpoint-name", "cli-components")
    run_aws("sagemaker", "create-endpoint", *name, *config[:2])
    aws.wait("cli-components")
    component = ("--inference-component-name", "cli-component")
    specification = {
        "ModelName": "cli",
        "ComputeResourceRequirements": {"MinMemoryRequiredInMb": 1024},
    }
    made = run_aws(
        *("sagemaker", "create-inference-component", *component, *name),
        *("--variant-name", "AllTraffic", "--specification", json.dumps(specification)),
        *("--runtime-config", "CopyCount=1"),
    )
    assert made["InferenceComponentArn"].endswith(":inference-component/cli-component")
    described = aws.sagemaker.describe_inference_component
    read = partial(described, InferenceComponentName="cli-component")
    until(lambda: read()["InferenceComponentStatus"] == "InService")
    invoke = ("sagemaker-runtime", "invoke-endpoint", *name, *component, "--body", "x")
    run_aws(*invoke, str(answer))
    assert json.loads(answer.read_bytes())["length"] == 1
    refused = run_aws("sagemaker", "delete-endpoint", *name, fails=True)
    assert "Cannot delete endpoint with inference component associated" in refused
    run_aws("sagemaker", "delete-inference-component", *component)
    with pytest.raises(ClientError, match="Could not find inference component"):
        until(lambda: not read())
    aws.delete("cli-components")


@pytest.fixture
def shared_service(home):
    """A service that verifies signatures."""
    options = ServiceOptions(mb_per_vcpu=512, trial_start=False)
    with LocalService(
        isolation="process", options=options, shared=True, server_command=FAKE_SERVER
    ) as it:
        yield it


def test_curl_signs_what_a_shared_service_verifies(shared_service, tmp_path):
    require(shutil.which("curl") is not None, "curl 7.75 or newer")
    url, key = shared_service.url, shared_service.access_key

    def ask(signing_name, path, body, *headers, secret=key.secret):
        (tmp_path / "body").write_bytes(body)
        command = [
            *("curl", "--silent", "--show-error", "--write-out", "\n%{http_code}"),
            *("--aws-sigv4", f"aws:amz:us-east-1:{signing_name}", "--user", f"{key.id}:{secret}"),
            *("--data-binary", f"@{tmp_path / 'body'}"),
            *(part for header in headers for part in ("--header", header)),
            f"{url}{path}",
        ]
        done = subprocess.run(command, capture_output=True, check=True, timeout=60)
        answer, _, status = done.stdout.rpartition(b"\n")
        return int(status), answer

    def operate(operation, **members):
        status, answer = ask(
            *("sagemaker", "/", json.dumps(members).encode()),
            *(f"X-Amz-Target: SageMaker.{operation}", "Content-Type: application/x-amz-json-1.1"),
        )
        assert status == 200, answer
        return json.loads(answer)

    role = "arn:aws:iam::123456789012:role/curl"
    container = {"Image": "drdeploy:lean"}
    operate("CreateModel", ModelName="curl", ExecutionRoleArn=role, PrimaryContainer=container)
    serverless = {"MemorySizeInMB": 1024, "MaxConcurrency": 1}
    variant = {"VariantName": "AllTraffic", "ModelName": "curl", "ServerlessConfig": serverless}
    operate("CreateEndpointConfig", EndpointConfigName="curl", ProductionVariants=[variant])
    operate("CreateEndpoint", EndpointName="curl", EndpointConfigName="curl")
    until(lambda: operate("DescribeEndpoint", EndpointName="curl")["EndpointStatus"] == "InService")
    invocation = ("sagemaker", "/endpoints/curl/invocations", PHOTOGRAPH)
    status, answer = ask(*invocation, "Content-Type: image/jpeg")
    assert (status, json.loads(answer)["length"]) == (200, len(PHOTOGRAPH))
    status, answer = ask(*invocation, "Content-Type: image/jpeg", secret="another")
    assert status == 403
    assert b"InvalidSignatureException" in answer
    operate("DeleteEndpoint", EndpointName="curl")
