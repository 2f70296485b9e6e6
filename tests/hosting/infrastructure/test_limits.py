"""Terraform's limits are those of the Python configurations, value for value."""

import json
import shutil

import pytest
from pydantic import ValidationError
from terraform import INFRASTRUCTURE, Terraform

from drdeploy.hosting.deployment.variables import NAME_MAX
from drdeploy.hosting.sagemaker import RealTimeConfig, ServerlessConfig, api_limits, gpu_hosts

MEMORIES = (0, 512, 1023, 1024, 1025, 1500, 2048, 3072, 4096, 5120, 6144, 6145, 7168)
CONCURRENCIES = (-1, 0, 1, 2, 199, 200, 201)
PAIRS = ((1, 1), (2, 1), (1, 2), (200, 200), (200, 201), (5, 0), (5, None))


def accepts(config, **values) -> bool:
    try:
        config(**values)
    except ValidationError:
        return False
    return True


def run_block(number: int, values: dict, blamed: str | None) -> str:
    lines = "".join(f"    {name} = {json.dumps(value)}\n" for name, value in values.items())
    failure = f"  expect_failures = [var.{blamed}]\n" if blamed else ""
    return f'run "case_{number}" {{\n  command = plan\n  variables {{\n{lines}  }}\n{failure}}}\n'


def blamed_of(config, values: dict) -> str | None:
    """The variable that Python blames; a rule about two belongs to the provisioned."""
    try:
        config(**values)
    except ValidationError as err:
        return str((err.errors()[0]["loc"] or ("provisioned_concurrency",))[-1])
    return None


def check(provider, tmp_path, name: str, fixed: str, config, cases: list[dict]) -> None:
    module = tmp_path / name
    ignored = shutil.ignore_patterns("tests")
    shutil.copytree(INFRASTRUCTURE / "modules" / name, module, ignore=ignored)
    blocks = [run_block(number, one, blamed_of(config, one)) for number, one in enumerate(cases)]
    text = f'mock_provider "aws" {{}}\nvariables {{\n{fixed}\n}}\n' + "".join(blocks)
    (module / "tests").mkdir()
    (module / "tests" / "limits.tftest.hcl").write_text(text)
    done = Terraform(module, tmp_path / "work", provider).init().run("test", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(cases)} passed, 0 failed" in done.stdout


NAMED = 'name = "endpoint"\nmodel_name = "model"'


def test_serverless_limits_agree(provider, tmp_path):
    cases: list[dict] = [{"memory_mb": size} for size in MEMORIES]
    cases += [{"memory_mb": 1024, "max_concurrency": number} for number in CONCURRENCIES]
    cases += [
        {"memory_mb": 1024, "max_concurrency": most, "provisioned_concurrency": warm}
        for most, warm in PAIRS
    ]
    assert {accepts(ServerlessConfig, **case) for case in cases} == {True, False}
    check(provider, tmp_path, "serverless-endpoint", NAMED, ServerlessConfig, cases)


def test_realtime_limits_agree(provider, tmp_path):
    types = ("ml.m4.xlarge", "ml.m5.xlarge", "ml.m6g.xlarge", "ml.c7g.xlarge", "ml.t2.medium")
    cases: list[dict] = [{"instance_type": one} for one in (*types, "m5.xlarge", "ml.z9.huge", "")]
    cases += [
        {"instance_type": "ml.m5.xlarge", "initial_instance_count": count}
        for count in (-1, 0, 1, 7)
    ]
    assert {accepts(RealTimeConfig, **case) for case in cases} == {True, False}
    check(provider, tmp_path, "realtime-endpoint", NAMED, RealTimeConfig, cases)


@pytest.mark.parametrize("module", ["model", "serverless-endpoint", "realtime-endpoint"])
def test_names_are_as_long_as_the_modules_allow(module):
    variables = (INFRASTRUCTURE / "modules" / module / "variables.tf").read_text()
    assert f"length(var.name) <= {NAME_MAX}" in variables


def test_the_instance_types_are_those_of_botocore():
    listed = INFRASTRUCTURE / "modules/realtime-endpoint/instance_types.json"
    assert set(json.loads(listed.read_text())) == api_limits.read_instance_types()


def test_the_drivers_of_hosts_are_those_of_python():
    listed = json.loads(
        (INFRASTRUCTURE / "modules/realtime-endpoint/inference_amis.json").read_text()
    )
    amis = gpu_hosts.INFERENCE_AMIS.items()
    assert listed["amis"] == {name: one and one.version for name, one in amis}
    defaults = gpu_hosts.DEFAULT_DRIVERS.items()
    assert listed["default_drivers"] == {family: one.version for family, one in defaults}
    assert listed["last_cuda"] == gpu_hosts.LAST_CUDA_MAJORS
    oldest = gpu_hosts.OLDEST_DRIVERS.items()
    assert listed["oldest_drivers"] == {str(major): driver for major, driver in oldest}


@pytest.mark.parametrize(
    ("shape", "minimum", "maximum"),
    [
        ("ProductionVariantContainerStartupHealthCheckTimeoutInSeconds", 60, 3600),
        ("WaitIntervalInSeconds", 0, 3600),
        ("TerminationWaitInSeconds", 0, 3600),
        ("SamplingPercentage", 0, 100),
        ("EnvironmentMap", 0, 100),
        ("Subnets", 1, 16),
        ("VpcSecurityGroupIds", 1, 5),
        ("EndpointName", 0, 63),
    ],
)
def test_what_python_has_no_name_for_is_what_botocore_says(shape, minimum, maximum):
    """These stand in variables.tf as numbers; a botocore that says otherwise fails here."""
    described = api_limits._load_service_model_shapes()[shape]
    assert (described.get("min", 0), described["max"]) == (minimum, maximum)
