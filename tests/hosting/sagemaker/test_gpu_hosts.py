"""An image's CUDA against the driver of its host, without hardware."""

import pytest
from botocore.loaders import Loader

from drdeploy.errors import InvalidInput
from drdeploy.hosting.sagemaker import api_limits
from drdeploy.hosting.sagemaker.gpu_hosts import (
    INFERENCE_AMIS,
    TRANSFORM_AMIS,
    check_gpu_host,
    find_gpu_family,
    find_required_cuda,
    parse_image_variables,
)

NEWEST = "al2023-ami-sagemaker-inference-gpu-4-1"
CUDA_13 = {"NVIDIA_REQUIRE_CUDA": "cuda>=13.0"}
CUDA_12 = {"NVIDIA_REQUIRE_CUDA": "cuda>=12.6"}
CUDA_11 = {"NVIDIA_REQUIRE_CUDA": "cuda>=11.8"}
WITH_COMPAT = {  # as NVIDIA's own images have it
    "NVIDIA_REQUIRE_CUDA": "cuda>=12.4 brand=tesla,driver>=470,driver<471 "
    "brand=unknown,driver>=535,driver<536"
}


@pytest.mark.parametrize(
    ("variables", "instance_type", "ami"),
    [
        ({}, None, None),
        ({}, "ml.m5.large", None),
        ({}, "ml.g5.xlarge", None),
        ({}, "ml.inf2.xlarge", "al2-ami-sagemaker-inference-neuron-2"),
        (CUDA_13, "ml.g5.xlarge", NEWEST),
        (CUDA_13, "ml.g4dn.xlarge", NEWEST),
        (CUDA_12, "ml.g6.xlarge", None),
        (CUDA_12, "ml.g5.xlarge", "al2-ami-sagemaker-inference-gpu-2"),
        (CUDA_11, "ml.g5.xlarge", None),
        (CUDA_11, "ml.g5.xlarge", NEWEST),
        (WITH_COMPAT, "ml.g5.xlarge", None),
        (CUDA_13, "ml.p6-b200.48xlarge", None),  # AWS does not say which driver it has
    ],
)
def test_what_can_start_is_not_refused(variables, instance_type, ami):
    check_gpu_host(variables, instance_type, ami)


@pytest.mark.parametrize(
    ("variables", "instance_type", "ami", "reason", "remedy"),
    [
        (CUDA_13, None, None, "a serverless endpoint has none", "ml.g5.xlarge"),
        (CUDA_13, "ml.m5.large", None, "ml.m5.large has none", "lean"),
        (CUDA_13, "ml.g5.xlarge", None, "driver 470, which supports CUDA 11.4", NEWEST),
        (CUDA_13, "ml.g6.xlarge", None, "driver 535", NEWEST),
        (CUDA_13, "ml.g5.xlarge", "al2-ami-sagemaker-inference-gpu-3-1", "driver 550", NEWEST),
        (CUDA_12, "ml.g4dn.xlarge", None, "driver 470", "al2-ami-sagemaker-inference-gpu-2 or"),
        (CUDA_13, "ml.p3.2xlarge", NEWEST, "CUDA 12 is the last that supports", "ml.g4dn"),
        ({}, "ml.m5.large", NEWEST, "ml.m5.large has none", "Leave InferenceAmiVersion out"),
        ({}, "ml.g5.xlarge", "al2-ami-sagemaker-inference-neuron-2", "Inferentia", NEWEST),
        ({}, "ml.g5.xlarge", "gpu-9", "does not exist", NEWEST),
    ],
)
def test_what_cannot_start_is_refused_with_what_would(
    variables, instance_type, ami, reason, remedy
):
    with pytest.raises(InvalidInput, match=reason) as refused:
        check_gpu_host(variables, instance_type, ami)
    assert remedy in refused.value.remedy


def test_batch_transform_has_no_host_for_cuda_13():
    with pytest.raises(InvalidInput, match="driver 535") as refused:
        check_gpu_host(
            CUDA_13,
            "ml.g5.xlarge",
            "al2-ami-sagemaker-batch-gpu-535",
            amis=TRANSFORM_AMIS,
            ami_member="TransformAmiVersion",
        )
    assert "build the image for an older CUDA" in refused.value.remedy


def test_the_amis_are_those_of_the_service_model():
    shapes = Loader().load_service_model("sagemaker", "service-2")["shapes"]
    assert set(INFERENCE_AMIS) == set(shapes["ProductionVariantInferenceAmiVersion"]["enum"])
    described = shapes["ProductionVariant"]["members"]["InferenceAmiVersion"]["documentation"]
    for driver in INFERENCE_AMIS.values():
        if driver is not None:
            assert f"driver version: {driver.version}" in described
            assert f"CUDA version: {driver.cuda[0]}.{driver.cuda[1]}" in described


def test_families_with_a_gpu_are_told_from_others():
    families = {find_gpu_family(one) for one in api_limits.read_instance_types()} - {""}
    assert {"g4dn", "g5", "g6", "g6e", "p3", "p4d", "p5", "p6-b200"} <= families
    assert not {"m5", "c6gd", "inf2", "trn1"} & families


def test_variables_of_an_image_are_read():
    variables = parse_image_variables(["PATH=/bin", "NVIDIA_REQUIRE_CUDA=cuda>=13.0", "odd"])
    assert find_required_cuda(variables) == "13.0"
    assert find_required_cuda(parse_image_variables(None)) is None
