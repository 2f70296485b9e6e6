"""An image whose CUDA the host cannot start is refused before anything is built or pushed."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from drdeploy.cli.endpoint_deploy import _make_endpoint_config_from_options
from drdeploy.errors import InvalidInput
from drdeploy.hosting.deployment.gpu_images import (
    check_gpu_hosts_of_endpoints,
    find_required_cuda_of_image,
)
from drdeploy.hosting.deployment.variables import (
    DeploymentVariables,
    DesiredEndpoints,
    EndpointVariables,
    ModelSource,
)
from drdeploy.hosting.images.build import (
    CUDA_REQUIREMENT,
    find_own_image_by_ecr_uri,
    find_own_image_by_tag,
)
from drdeploy.hosting.sagemaker import (
    AsynchronousConfig,
    EndpointDefinition,
    RealTimeConfig,
    ServerlessConfig,
)

ROOT = Path(__file__).resolve().parents[3]
NEWEST = "al2023-ami-sagemaker-inference-gpu-4-1"
ENGINE = SimpleNamespace(
    image_config=lambda tag: {"Config": {"Env": ["NVIDIA_REQUIRE_CUDA=cuda>=13.0"]}}
)
FITTING = RealTimeConfig(instance_type="ml.g5.xlarge", inference_ami_version=NEWEST)


def check(config):
    desired = DesiredEndpoints(
        DeploymentVariables("single-endpoint", "grader", "us-east-1"),
        {"grader": ModelSource("flowers:3", Path("model.tar.gz"))},
        {"grader": EndpointVariables("grader", config)},
    )
    check_gpu_hosts_of_endpoints(ENGINE, desired)


def test_an_image_on_a_host_with_its_driver_goes_on_and_the_variant_names_the_driver():
    check(FITTING)
    assert find_required_cuda_of_image(ENGINE, "flowers:3") == "13.0"
    assert find_required_cuda_of_image(None, "flowers:3") is None
    variant = EndpointDefinition("e", "flowers:3", "s3://b/m", FITTING).production_variant
    assert variant["InferenceAmiVersion"] == NEWEST
    assert NEWEST in FITTING.label


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (ServerlessConfig(memory_mb=2048), "a serverless endpoint has none"),
        (RealTimeConfig(instance_type="ml.m5.large"), "ml.m5.large has none"),
        (RealTimeConfig(instance_type="ml.g5.xlarge"), "driver 470"),
        (AsynchronousConfig(instance_type="ml.g5.xlarge"), "driver 470"),
    ],
)
def test_an_image_that_its_host_cannot_start_is_refused(config, reason):
    with pytest.raises(InvalidInput, match=reason):
        check(config)


def test_an_ami_version_that_does_not_fit_the_instances_is_no_configuration():
    with pytest.raises(ValueError, match=r"ml\.m5\.large has none"):
        RealTimeConfig(instance_type="ml.m5.large", inference_ami_version=NEWEST)


def test_the_image_for_gpus_says_what_the_checks_know():
    dockerfile = (ROOT / "containers" / "cuda.Dockerfile").read_text()
    assert re.search(r"NVIDIA_REQUIRE_CUDA=(\S+)", dockerfile)[1] == CUDA_REQUIREMENT
    assert "DRDEPLOY_RUNTIME=cuda" in dockerfile
    assert find_own_image_by_tag("drdeploy:cuda").variables
    assert not find_own_image_by_tag("drdeploy:lean").variables
    lock = (ROOT / "requirements" / "cuda.txt").read_text()
    assert re.search(r"^onnxruntime-gpu==", lock, re.MULTILINE)
    assert re.search(r"^nvidia-cuda-runtime==13\.", lock, re.MULTILINE)
    assert not re.search(r"^onnxruntime==", lock, re.MULTILINE)


def make_config(**options):
    return _make_endpoint_config_from_options(
        memory_mb=2048,
        max_concurrency=5,
        provisioned_concurrency=None,
        instance_count=1,
        inference_ami_version=NEWEST,
        **options,
    )


def test_an_ami_version_that_would_have_no_effect_is_refused_by_the_name_of_its_option():
    with pytest.raises(InvalidInput) as refused:
        make_config(instance_type=None, asynchronous=False)
    assert refused.value.where == "--inference-ami-version"


def test_an_asynchronous_endpoint_takes_an_ami_version():
    config = make_config(instance_type="ml.g5.xlarge", asynchronous=True)
    assert isinstance(config, AsynchronousConfig)
    assert config.inference_ami_version == NEWEST
    check(config)


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("drdeploy:cuda", "cuda"),
        ("team/drdeploy:lean", "lean"),
        ("graders:cuda-0123456789abcdef", "cuda"),
        ("graders:lean-arm64-0123456789abcdef", "lean"),
        ("graders:cuda", None),
        ("drdeploy:latest", None),
        ("drdeploy@sha256:" + "0" * 64, None),
        ("graders", None),
    ],
)
def test_own_images_in_ecr_are_recognised_by_their_tags(place, name):
    own = find_own_image_by_ecr_uri(f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/{place}")
    assert (own and own.name) == name
