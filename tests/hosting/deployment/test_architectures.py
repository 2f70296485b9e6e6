"""Graviton takes arm64, everything else x86-64."""

from types import SimpleNamespace

import pytest

from drdeploy.errors import InvalidInput
from drdeploy.hosting.deployment.architectures import (
    check_image_architectures,
    choose_image_tag_for_endpoint,
    find_architecture_of_endpoint,
)
from drdeploy.hosting.deployment.variables import (
    DeploymentVariables,
    DesiredEndpoints,
    EndpointVariables,
    ModelSource,
)
from drdeploy.hosting.images import ARM64, find_own_image_by_tag
from drdeploy.hosting.sagemaker import RealTimeConfig, ServerlessConfig
from drdeploy.study.design.plan import make_plan
from drdeploy.study.design.study import Study
from drdeploy.study.running.provisioned import choose_image_tag_of_trial

SERVERLESS = ServerlessConfig(memory_mb=2048)
X86 = RealTimeConfig(instance_type="ml.m5.xlarge")
GRAVITON = RealTimeConfig(instance_type="ml.m6g.xlarge")


def test_the_processor_behind_a_configuration():
    assert find_architecture_of_endpoint(X86) == "x86_64"
    assert find_architecture_of_endpoint(GRAVITON) == "arm64"
    assert find_architecture_of_endpoint(SERVERLESS) is None
    assert find_architecture_of_endpoint(RealTimeConfig(instance_type="ml.g5.xlarge")) == "x86_64"
    unknown = RealTimeConfig(instance_type="ml.p4d.24xlarge")
    assert find_architecture_of_endpoint(unknown) is None


def test_our_images_have_a_sibling_for_graviton_and_others_are_left_alone():
    assert choose_image_tag_for_endpoint("drdeploy:lean", GRAVITON) == "drdeploy:lean-arm64"
    assert choose_image_tag_for_endpoint("drdeploy:lean", X86) == "drdeploy:lean"
    assert choose_image_tag_for_endpoint("drdeploy:lean", SERVERLESS) == "drdeploy:lean"
    assert choose_image_tag_for_endpoint("flowers:3", GRAVITON) == "flowers:3"
    assert find_own_image_by_tag("drdeploy:reduced-arm64").platform == ARM64
    assert find_own_image_by_tag("flowers:lean") is None


@pytest.mark.parametrize(
    ("built_for", "config", "needed"),
    [("amd64", GRAVITON, "linux/arm64"), ("arm64", X86, "linux/amd64")],
)
def test_an_image_that_the_instance_cannot_run_is_refused(built_for, config, needed, tmp_path):
    with pytest.raises(InvalidInput, match=rf"flowers:3 is built for {built_for}.*{needed}"):
        check_image_architectures(engine(built_for), desired(config, tmp_path))


@pytest.mark.parametrize(
    ("built_for", "config"),
    [("amd64", X86), ("arm64", GRAVITON), ("amd64", SERVERLESS), ("riscv64", X86)],
)
def test_an_image_that_it_can_run_or_of_which_nothing_is_known_goes_on(built_for, config, tmp_path):
    check_image_architectures(engine(built_for), desired(config, tmp_path))


def test_on_aws_the_thesis_study_takes_arm64_images_for_graviton_alone():
    plan = make_plan(Study.load("thesis"))
    tags = {
        trial.endpoint.label: choose_image_tag_of_trial(trial, on_aws=True)
        for trial in plan.trials
        if isinstance(trial.endpoint, RealTimeConfig)
    }
    assert {label: tag for label, tag in tags.items() if tag.endswith("-arm64")} == {
        "m6g.xlarge": "drdeploy:reduced-arm64",
        "c7g.xlarge": "drdeploy:reduced-arm64",
    }


def engine(architecture):
    return SimpleNamespace(image_config=lambda tag: {"Architecture": architecture})


def desired(config, tmp_path):
    return DesiredEndpoints(
        DeploymentVariables("single-endpoint", "grader", "us-east-1"),
        {"grader": ModelSource("flowers:3", tmp_path / "model.tar.gz")},
        {"grader": EndpointVariables("grader", config)},
    )
