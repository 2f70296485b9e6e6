"""What could not start on a GPU host is refused when the configuration is created."""

import pytest
from botocore.exceptions import ClientError
from local_aws import Aws

from drdeploy.hosting.local import LocalService, ServiceOptions

NEWEST = "al2023-ami-sagemaker-inference-gpu-4-1"
SERVERLESS = {"ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 2}}


def on(instance_type, ami=None):
    variant = {"InstanceType": instance_type, "InitialInstanceCount": 1}
    return variant | ({"InferenceAmiVersion": ami} if ami else {})


def refusal_of_config(aws, variant, image="drdeploy:lean"):
    name = aws.name()
    aws.model(name, image=image)
    with pytest.raises(ClientError) as refused:
        aws.config(name, **variant)
    return refused.value.response["Error"]["Message"]


@pytest.mark.parametrize(
    ("variant", "reason"),
    [
        (on("ml.g5.xlarge"), "instances on this machine get no GPU"),
        (on("ml.g5.xlarge", NEWEST), "instances on this machine get no GPU"),
        (on("ml.m5.large", NEWEST), "but ml.m5.large has none. Leave InferenceAmiVersion out"),
        (SERVERLESS | {"InferenceAmiVersion": NEWEST}, "InferenceAmiVersion cannot be set"),
    ],
)
def test_a_host_that_does_not_exist_or_has_no_gpu_here_is_refused(aws, variant, reason):
    assert reason in refusal_of_config(aws, variant)


@pytest.fixture(scope="module")
def contained(engine, lean_image):
    options = ServiceOptions(trial_start=False)
    with LocalService(isolation="container", options=options) as service:
        yield Aws.at(service.url)


@pytest.fixture(scope="module")
def cuda_image(engine, lean_image, tmp_path_factory):
    """An image that says which CUDA it needs; CUDA itself is not looked at."""
    folder = tmp_path_factory.mktemp("cuda")
    (folder / "Dockerfile").write_text("FROM drdeploy:lean\nENV NVIDIA_REQUIRE_CUDA=cuda>=13.0\n")
    engine.build_image(folder, "Dockerfile", "drdeploy-test:cuda", network="none")
    return "drdeploy-test:cuda"


@pytest.mark.engine
@pytest.mark.parametrize(
    ("variant", "reason"),
    [
        (SERVERLESS, "a serverless endpoint has none. Choose a real-time endpoint with a GPU"),
        (on("ml.m5.large"), "but ml.m5.large has none. Choose an instance type with a GPU"),
        (on("ml.g5.xlarge"), f"supports CUDA 11.4. Set InferenceAmiVersion to {NEWEST}"),
        (on("ml.g5.xlarge", NEWEST), "instances on this machine get no GPU"),
    ],
)
def test_an_image_that_needs_a_gpu_is_refused_where_it_could_not_start(
    contained, cuda_image, variant, reason
):
    assert reason in refusal_of_config(contained, variant, image=cuda_image)
