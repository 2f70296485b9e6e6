"""The variables for Terraform, its plan and its state as data, and what a plan costs."""

import json
from pathlib import Path

import pytest

from drdeploy.errors import InvalidInput
from drdeploy.hosting.deployment.account import Account
from drdeploy.hosting.deployment.archives import UploadedArchive
from drdeploy.hosting.deployment.changes import PlannedChanges
from drdeploy.hosting.deployment.cost import estimate_cost
from drdeploy.hosting.deployment.images import PushedImage
from drdeploy.hosting.deployment.state import resources_of
from drdeploy.hosting.deployment.variables import (
    EndpointVariables,
    ModelVariables,
    Variables,
    checked_prefix,
    key_of,
)
from drdeploy.hosting.deployment.workspace import Workspace
from drdeploy.hosting.sagemaker import PriceSheet, RealTimeConfig, ServerlessConfig

SMALL = ServerlessConfig(memory_mb=1024)
KEPT_WARM = ServerlessConfig(memory_mb=1024, provisioned_concurrency=1)
LARGE = RealTimeConfig(instance_type="ml.m5.xlarge", initial_instance_count=2)
MODEL = ModelVariables(
    PushedImage(f"host/repo@sha256:{'a' * 64}", "lean-1", was_there=True),
    UploadedArchive("s3://b/artifacts/c/m.tar.gz", "v1", "c" * 64, was_there=True),
    {"A": "1"},
)


def variables(environment, **configs):
    endpoints = {key: EndpointVariables("m", config) for key, config in configs.items()}
    return Variables(environment, "dr", "us-east-1", {"t": "1"}, {"m": MODEL}, endpoints)


def test_the_variables_of_a_study_have_the_shape_of_its_environment():
    document = variables("study", small=SMALL, large=LARGE).document()
    assert document["models"]["m"] == {
        "image_uri": f"host/repo@sha256:{'a' * 64}",
        "model_data_url": "s3://b/artifacts/c/m.tar.gz",
        "model_data_sha256": "c" * 64,
        "model_data_version_id": "v1",
        "environment": {"A": "1"},
    }
    assert document["endpoints"] == {
        "small": {"model": "m", "kind": "serverless", "memory_mb": 1024, "max_concurrency": 1},
        "large": {
            "model": "m",
            "kind": "realtime",
            "instance_type": "ml.m5.xlarge",
            "initial_instance_count": 2,
        },
    }


@pytest.mark.parametrize(
    ("config", "always_on"), [(SMALL, False), (KEPT_WARM, True), (LARGE, True)]
)
def test_what_is_always_on_is_allowed_only_where_it_was_asked_for(config, always_on):
    assert variables("study", one=config).document()["allow_always_on"] is always_on


def test_the_foundation_has_neither_model_nor_endpoint():
    study = variables("study", one=LARGE).foundation().document()
    assert (study["models"], study["endpoints"], study["allow_always_on"]) == ({}, {}, False)
    single = variables("single-endpoint", one=SMALL).foundation().document()
    assert (single["model"], single["endpoint"]) == (None, None)


def test_the_variables_of_a_single_endpoint_have_no_keys():
    document = variables("single-endpoint", one=SMALL).document()
    assert document["endpoint"]["memory_mb"] == 1024
    assert document["model"]["environment"] == {"A": "1"}


@pytest.mark.parametrize("name", ["", "a", "1a", "Grader", "a_b", "a" * 21, "-a"])
def test_a_name_that_cannot_begin_names_is_refused(name):
    with pytest.raises(InvalidInput, match="2 to 20"):
        checked_prefix(name)


def test_keys_are_readable_and_those_that_are_cut_stay_apart():
    assert key_of("MobileNet-fp32-m5.xlarge", longest=40) == "mobilenet-fp32-m5-xlarge"
    long = [key_of("x" * 60 + end, longest=30) for end in "ab"]
    assert len(set(long)) == 2
    assert {len(key) for key in long} == {30}


def test_cost_names_the_hour_where_it_is_always_on_and_the_request_otherwise():
    cost = estimate_cost({"s": SMALL, "r": LARGE}, PriceSheet.load(), "us-east-1")
    small, large = cost.endpoints
    assert "nothing when idle; 0.02 USD for a thousand requests" in small.sentence
    assert "0.46 USD an hour, 335.80 USD a month" in large.sentence
    assert (cost.hourly_usd, cost.unknown) == (pytest.approx(0.46), ())


def test_a_price_that_is_not_known_is_reported_and_never_guessed():
    cost = estimate_cost({"p": KEPT_WARM, "s": SMALL}, PriceSheet.load(), "eu-west-1")
    assert cost.endpoints == ()
    assert [text.partition(":")[0] for text in cost.unknown] == ["p", "s"]


def change(address, *actions, mode="managed"):
    return {
        "address": address,
        "mode": mode,
        "type": address.split(".")[0],
        "change": {"actions": list(actions)},
    }


def test_a_plan_is_read_with_the_endpoints_that_will_be_there():
    serverless = {"memory_size_in_mb": 2048, "max_concurrency": 5, "provisioned_concurrency": 0}
    configuration = {
        "address": "module.e.aws_sagemaker_endpoint_configuration.this",
        "type": "aws_sagemaker_endpoint_configuration",
        "values": {"production_variants": [{"serverless_config": [serverless]}]},
    }
    changes = PlannedChanges.read(
        {
            "resource_changes": [
                change("a.x", "no-op"),
                change("b.x", "create"),
                change("c.x", "create", "delete"),
                change("d.x", "update"),
                change("e.x", "read", mode="data"),
            ],
            "planned_values": {"root_module": {"child_modules": [{"resources": [configuration]}]}},
        }
    )
    assert [(one.type, one.action) for one in changes.changes] == [
        ("b", "create"),
        ("c", "replace"),
        ("d", "update"),
    ]
    assert changes.summary == "1 to create, 1 to update, 1 to replace"
    (config,) = changes.configurations.values()
    assert config == ServerlessConfig(memory_mb=2048, max_concurrency=5)


def test_resources_in_a_state_have_the_names_that_they_have_in_aws(tmp_path):
    state = tmp_path / "terraform.tfstate"
    bucket = {"attributes": {"bucket": "dr-artifacts", "id": "x"}}
    resources = [
        {"mode": "managed", "module": "module.m", "type": "aws_s3_bucket", "name": "this",
         "instances": [bucket]},
        {"mode": "data", "type": "aws_region", "name": "this", "instances": [{}]},
        {"mode": "managed", "type": "aws_sagemaker_endpoint", "name": "this",
         "instances": [{"index_key": "a", "attributes": {"name": "dr-a"}}]},
    ]  # fmt: skip
    state.write_text(json.dumps({"version": 4, "resources": resources}))
    found = [(one.address, str(one)) for one in resources_of(state)]
    assert found == [
        ("module.m.aws_s3_bucket.this", "s3_bucket dr-artifacts"),
        ('aws_sagemaker_endpoint.this["a"]', "sagemaker_endpoint dr-a"),
    ]
    assert resources_of(tmp_path / "none") == ()


def test_a_workspace_records_where_its_deployment_is_and_holds_no_credentials(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    workspace = Workspace.of_endpoint("dr", tmp_path)
    assert not workspace.exists
    workspace.write(variables("study", one=SMALL), Account("http://127.0.0.1:8765", "us-east-1"))
    record = Workspace.of_endpoint("dr", tmp_path).record()
    assert (record.environment, record.prefix, record.account.platform) == ("study", "dr", "local")
    text = "".join(path.read_text() for path in Path(workspace.folder).iterdir())
    assert "secret" not in text
    workspace.delete()
    assert not workspace.folder.exists()
