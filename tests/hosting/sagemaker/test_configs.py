"""An endpoint configuration that SageMaker would refuse cannot be constructed."""

import gzip
import json
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from drdeploy.errors import InvalidInput
from drdeploy.hosting.sagemaker import api_limits
from drdeploy.hosting.sagemaker.configs import RealTimeConfig, ServerlessConfig, hosting_config
from drdeploy.hosting.sagemaker.instance_types import find_instance_resources


@pytest.mark.parametrize("memory_mb", [1024, 2048, 3072, 4096, 5120, 6144])
def test_offered_memory_sizes_are_accepted(memory_mb):
    assert ServerlessConfig(memory_mb=memory_mb).memory_mb == memory_mb


@given(st.integers(-10_000, 10_000).filter(lambda mb: mb not in range(1024, 6145, 1024)))
def test_other_memory_sizes_are_refused(memory_mb):
    with pytest.raises(ValidationError, match="1024 to 6144 MB in steps of 1024"):
        ServerlessConfig(memory_mb=memory_mb)


@pytest.mark.parametrize("concurrency", [0, 201, 5000])
def test_concurrency_outside_the_service_model_is_refused(concurrency):
    with pytest.raises(ValidationError, match="1 to 200"):
        ServerlessConfig(memory_mb=1024, max_concurrency=concurrency)


def test_provisioned_concurrency_cannot_exceed_max_concurrency():
    with pytest.raises(ValidationError, match="exceeds max_concurrency 1"):
        ServerlessConfig(memory_mb=1024, max_concurrency=1, provisioned_concurrency=2)


def test_unknown_instance_type_is_refused():
    with pytest.raises(ValidationError, match="hosting instance type"):
        RealTimeConfig(instance_type="ml.m99.xlarge")


def test_kind_decides_which_of_the_two_it_is():
    assert isinstance(
        hosting_config.validate_python({"kind": "realtime", "instance_type": "ml.m5.xlarge"}),
        RealTimeConfig,
    )
    with pytest.raises(ValidationError, match="kind"):
        hosting_config.validate_python({"memory_mb": 1024})


def test_a_field_of_the_other_kind_is_refused():
    with pytest.raises(ValidationError, match="instance_type"):
        hosting_config.validate_python(
            {"kind": "serverless", "memory_mb": 1024, "instance_type": "ml.m5.xlarge"}
        )


def test_limits_are_those_of_botocores_service_model():
    assert api_limits.read_serverless_memory_range_mb() == api_limits.IntegerRange(1024, 6144)
    assert "ml.c7g.xlarge" in api_limits.read_instance_types()


@pytest.mark.parametrize(
    ("instance_type", "vcpu", "memory_gib", "architecture"),
    [
        ("ml.m4.xlarge", 4, 16, "x86_64"),
        ("ml.m4.10xlarge", 40, 160, "x86_64"),
        ("ml.m5.xlarge", 4, 16, "x86_64"),
        ("ml.m6g.xlarge", 4, 16, "arm64"),
        ("ml.c7g.xlarge", 4, 8, "arm64"),
        ("ml.c5.large", 2, 4, "x86_64"),
        ("ml.c5.18xlarge", 72, 144, "x86_64"),
        ("ml.c4.large", 2, 3.75, "x86_64"),
        ("ml.t2.medium", 2, 4, "x86_64"),
        ("ml.r8g.medium", 1, 8, "arm64"),
        ("ml.g4dn.xlarge", 4, 16, "x86_64"),
        ("ml.g5.48xlarge", 192, 768, "x86_64"),
        ("ml.g6.2xlarge", 8, 32, "x86_64"),
    ],
)
def test_resources_are_those_that_aws_publishes(instance_type, vcpu, memory_gib, architecture):
    resources = find_instance_resources(instance_type)
    assert (resources.vcpu, resources.memory_mb, resources.architecture) == (
        vcpu,
        memory_gib * 1024,
        architecture,
    )


def test_every_type_of_a_known_family_has_resources():
    accelerated = ("p", "g", "inf", "trn", "dl")
    for name in api_limits.read_instance_types():
        if not name.removeprefix("ml.").startswith(accelerated):
            assert find_instance_resources(name).vcpu >= 1


@pytest.mark.parametrize("family", ["g4dn", "g5", "g6"])
def test_types_with_a_gpu_have_the_resources_that_the_api_of_ec2_states(family):
    # moto holds a copy of the answer of EC2's DescribeInstanceTypes.
    data = files("moto").joinpath("ec2/resources/instance_types.json.gz").read_bytes()
    stated = json.loads(gzip.decompress(data))
    names = [one for one in api_limits.read_instance_types() if one.split(".")[1] == family]
    assert len(names) >= 6
    for name in names:
        facts = stated[name.removeprefix("ml.")]
        resources = find_instance_resources(name)
        assert resources.vcpu == facts["VCpuInfo"]["DefaultVCpus"]
        assert resources.memory_mb == facts["MemoryInfo"]["SizeInMiB"]


def test_accelerators_are_not_guessed():
    with pytest.raises(InvalidInput, match=r"ml\.inf1\.xlarge are not known"):
        find_instance_resources("ml.inf1.xlarge")


def test_misspelt_type_gets_a_suggestion():
    with pytest.raises(InvalidInput, match=r"ml\.m5\.xlarge"):
        find_instance_resources("ml.m5.xlarg")
