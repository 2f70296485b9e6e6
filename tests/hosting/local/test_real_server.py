"""The whole path with the real server: boto3, S3, a tiny model, a photograph."""

import json
import os
import signal
from datetime import UTC, datetime, timedelta

import psutil
import pytest
from botocore.exceptions import ClientError
from local_aws import ROLE, Aws
from photographs import hostile_images, photograph
from tiny_models import onnx_artifact

from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE
from drdeploy.hosting.local import LocalService, ServiceOptions

WAIT = {"Delay": 1, "MaxAttempts": 300}


@pytest.fixture(scope="module")
def real():
    with LocalService(isolation="process", options=ServiceOptions(idle_s=60)) as service:
        yield Aws.at(service.url)


@pytest.fixture(scope="module")
def model_url(real, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    onnx_artifact(folder)
    return real.put_archive((folder / "model.tar.gz").read_bytes(), "tiny.tar.gz")


@pytest.fixture(scope="module")
def endpoint(real, model_url):
    return real.endpoint(url=model_url)


def test_a_plain_boto3_script_works_from_creation_to_deletion(real, model_url):
    sagemaker, runtime, cloudwatch = real.sagemaker, real.runtime, real.cloudwatch
    sagemaker.create_model(
        ModelName="grader",
        ExecutionRoleArn=ROLE,
        PrimaryContainer={"Image": "drdeploy:lean", "ModelDataUrl": model_url},
    )
    serverless = {"MemorySizeInMB": 2048, "MaxConcurrency": 1}
    sagemaker.create_endpoint_config(
        EndpointConfigName="grader",
        ProductionVariants=[
            {"VariantName": "AllTraffic", "ModelName": "grader", "ServerlessConfig": serverless}
        ],
    )
    sagemaker.create_endpoint(EndpointName="grader", EndpointConfigName="grader")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="grader", WaiterConfig=WAIT)
    body = runtime.invoke_endpoint(
        EndpointName="grader", Body=photograph(512), ContentType="image/jpeg"
    )["Body"]
    answer = json.loads(body.read())
    assert answer["container"]["invocation"] == 1
    assert sum(answer["predictions"][0]) == pytest.approx(1.0)
    assert answer["notice"] == RESEARCH_USE_NOTICE
    now = datetime.now(UTC)
    points = cloudwatch.get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName="ModelSetupTime",
        Dimensions=[
            {"Name": "EndpointName", "Value": "grader"},
            {"Name": "VariantName", "Value": "AllTraffic"},
        ],
        StartTime=now - timedelta(minutes=5),
        EndTime=now + timedelta(minutes=5),
        Period=60,
        Statistics=["Average"],
    )["Datapoints"]
    assert points[0]["Average"] > 100_000
    sagemaker.delete_endpoint(EndpointName="grader")
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="grader", WaiterConfig=WAIT)
    sagemaker.delete_endpoint_config(EndpointConfigName="grader")
    sagemaker.delete_model(ModelName="grader")


@pytest.mark.parametrize("body", [b"this is not a picture", photograph()[:500]])
def test_a_body_that_is_not_a_picture_is_a_model_error_with_a_4xx(real, endpoint, body):
    with pytest.raises(ClientError) as caught:
        real.invoke(endpoint, body, ContentType="image/jpeg")
    assert caught.value.response["Error"]["Code"] == "ModelError"
    assert 400 <= caught.value.response["OriginalStatusCode"] < 500


def test_hostile_pictures_kill_no_instance(real, endpoint):
    first = real.invoke(endpoint, photograph(), ContentType="image/jpeg")["container"]["id"]
    for body in hostile_images(40):
        with pytest.raises(ClientError) as caught:
            real.invoke(endpoint, body, ContentType="image/jpeg")
        assert 400 <= caught.value.response["OriginalStatusCode"] < 500
    assert real.invoke(endpoint, photograph())["container"]["id"] == first


def test_kill_9_of_a_worker_costs_one_model_error_at_most(real, endpoint):
    real.invoke(endpoint, photograph())
    container = real.invoke(endpoint, photograph())["container"]["id"]
    workers = [
        process
        for process in psutil.process_iter()
        if process.ppid() != os.getpid() and _is_of(process, container)
    ]
    assert workers
    for worker in workers:
        worker.send_signal(signal.SIGKILL)
    errors = 0
    for _ in range(3):
        try:
            real.invoke(endpoint, photograph())
        except real.runtime.exceptions.ModelError:
            errors += 1
    assert errors <= 1


@pytest.mark.nginx
@pytest.mark.parametrize(("image", "is_classic"), [("reduced", True), ("minimal", False)])
def test_the_models_image_decides_the_profile(real, model_url, nginx, image, is_classic):
    name = real.endpoint(image=f"registry.example/drdeploy:{image}", url=model_url)
    container = real.invoke(name, photograph())["container"]["id"]
    commands = [
        process.cmdline() for process in psutil.process_iter() if _is_of(process, container)
    ]
    assert any("gunicorn" in command for command in commands) == is_classic
    real.delete(name)


def test_a_real_photograph_is_graded(real, endpoint, shared):
    image = next(iter(sorted(shared.glob("data/**/*.jp*g"))))
    answer = real.invoke(endpoint, image.read_bytes(), ContentType="image/jpeg")
    assert answer["grade"] in range(5)


def _is_of(process, container):
    try:
        return process.environ().get("DRDEPLOY_CONTAINER_ID") == container
    except psutil.Error:
        return False
