"""The variables for Terraform, its plan and its state as data, and what a plan costs."""

import json
import resource
from pathlib import Path

import pytest

from drdeploy.errors import DeploymentError, InvalidInput, TerraformUnavailable
from drdeploy.files import path_of_shipped_file
from drdeploy.hosting.deployment.account import AwsAccount
from drdeploy.hosting.deployment.approval import estimate_endpoint_costs
from drdeploy.hosting.deployment.archive_upload import UploadedArchive
from drdeploy.hosting.deployment.changes import PlannedChanges
from drdeploy.hosting.deployment.configuration import prepare_terraform_folder
from drdeploy.hosting.deployment.images import PushedImage
from drdeploy.hosting.deployment.variables import (
    DeploymentVariables,
    EndpointVariables,
    ModelVariables,
    check_name_prefix,
    make_terraform_key,
)
from drdeploy.hosting.deployment.workspace import TerraformWorkspace, read_resources_from_state
from drdeploy.hosting.sagemaker import (
    AsynchronousConfig,
    Price,
    PriceSheet,
    RealTimeConfig,
    ServerlessConfig,
)

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
    return DeploymentVariables(environment, "dr", "us-east-1", {"t": "1"}, {"m": MODEL}, endpoints)


def test_the_variables_of_a_study_have_the_shape_of_its_environment():
    document = variables("study", small=SMALL, large=LARGE).to_terraform_variables()
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


def test_nobody_waits_for_an_update_on_the_local_service():
    for environment in ("study", "single-endpoint"):
        document = variables(environment, large=LARGE).to_terraform_variables(is_local=True)
        endpoint = document.get("endpoint") or document["endpoints"]["large"]
        assert endpoint["guardrails"] == {"wait_s": 0, "termination_wait_s": 0}
        document = variables(environment, large=LARGE).to_terraform_variables()
        assert "guardrails" not in (document.get("endpoint") or document["endpoints"]["large"])
    assert (
        "guardrails"
        not in variables("single-endpoint", small=SMALL).to_terraform_variables(is_local=True)[
            "endpoint"
        ]
    )


@pytest.mark.parametrize(
    ("config", "always_on"), [(SMALL, False), (KEPT_WARM, True), (LARGE, True)]
)
def test_what_is_always_on_is_allowed_only_where_it_was_asked_for(config, always_on):
    assert variables("study", one=config).to_terraform_variables()["allow_always_on"] is always_on


def test_the_foundation_has_neither_model_nor_endpoint():
    study = variables("study", one=LARGE).without_models_and_endpoints().to_terraform_variables()
    assert (study["models"], study["endpoints"], study["allow_always_on"]) == ({}, {}, False)
    single = (
        variables("single-endpoint", one=SMALL)
        .without_models_and_endpoints()
        .to_terraform_variables()
    )
    assert (single["model"], single["endpoint"]) == (None, None)


def test_the_variables_of_a_single_endpoint_have_no_keys():
    document = variables("single-endpoint", one=SMALL).to_terraform_variables()
    assert document["endpoint"]["memory_mb"] == 1024
    assert document["model"]["environment"] == {"A": "1"}


@pytest.mark.parametrize("name", ["", "a", "1a", "Grader", "a_b", "a" * 21, "-a"])
def test_a_name_that_cannot_begin_names_is_refused(name):
    with pytest.raises(InvalidInput, match="2 to 20"):
        check_name_prefix(name)


def test_keys_are_readable_and_those_that_are_cut_stay_apart():
    assert make_terraform_key("MobileNet-fp32-m5.xlarge", longest=40) == "mobilenet-fp32-m5-xlarge"
    long = [make_terraform_key("x" * 60 + end, longest=30) for end in "ab"]
    assert len(set(long)) == 2
    assert {len(key) for key in long} == {30}


def estimate(configurations, region="us-east-1", **planned):
    return estimate_endpoint_costs(
        PlannedChanges((), configurations, **planned), PriceSheet.load(), region
    )


def test_an_endpoint_with_opening_hours_is_not_paid_day_and_night():
    cost = estimate({"r": LARGE, "o": LARGE}, with_opening_hours=frozenset({"o"}))
    assert cost.hourly_usd == pytest.approx(0.46)
    assert cost.endpoints[1].price_sentence == (
        "0.46 USD an hour while the endpoint is open (it opens now); nothing while the endpoint "
        "is closed"
    )


def test_cost_names_the_hour_where_it_is_always_on_and_the_request_otherwise():
    cost = estimate({"s": SMALL, "r": LARGE})
    small, large = cost.endpoints
    assert "nothing when idle; 0.02 USD for a thousand requests" in small.price_sentence
    assert "0.46 USD an hour, 335.80 USD a month" in large.price_sentence
    assert (cost.hourly_usd, cost.unknown) == (pytest.approx(0.46), ())


def test_provisioned_concurrency_is_always_on_and_paid_for_its_work():
    held = ServerlessConfig(memory_mb=2048, max_concurrency=2, provisioned_concurrency=2)
    (cost,) = estimate({"p": held}).endpoints
    assert cost.hourly_usd == pytest.approx(2 * 0.00001 * 3600)
    assert cost.price_sentence == (
        "0.072 USD an hour, 52.56 USD a month, always on; "
        "0.0233 USD for a thousand requests of one second"
    )


@pytest.mark.parametrize(
    ("fewest", "hourly_usd", "sentence"),
    [(0, 0.0, "while instances run; nothing without instances"), (2, 0.46, "always on")],
)
def test_an_asynchronous_endpoint_costs_nothing_without_instances(fewest, hourly_usd, sentence):
    queue = AsynchronousConfig(instance_type="ml.m5.xlarge")
    item = "asynchronous ml.m5.xlarge"
    sheet = PriceSheet((Price(item, 0.23, "hour", "us-east-1", "2026-01", "AWS"),))
    cost = estimate_endpoint_costs(
        PlannedChanges((), {"q": queue}, {"q": fewest}), sheet, "us-east-1"
    )
    assert cost.hourly_usd == pytest.approx(hourly_usd)
    assert cost.endpoints[0].price_sentence.endswith(sentence)


def test_a_price_that_is_not_known_is_reported_and_never_guessed():
    cost = estimate({"p": KEPT_WARM, "s": SMALL}, "eu-west-1")
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
    queue = {
        "address": 'module.asynchronous_endpoint["q"].aws_sagemaker_endpoint_configuration.this',
        "type": "aws_sagemaker_endpoint_configuration",
        "values": {
            "production_variants": [{"instance_type": "ml.m5.large", "initial_instance_count": 2}],
            "async_inference_config": [{"output_config": [{}]}],
        },
    }
    scaling = {
        "address": 'module.asynchronous_endpoint["q"].aws_appautoscaling_target.this',
        "type": "aws_appautoscaling_target",
        "values": {"min_capacity": 1, "max_capacity": 2},
    }
    changes = PlannedChanges.from_terraform_json(
        {
            "resource_changes": [
                change("a.x", "no-op"),
                change("b.x", "create"),
                change("c.x", "create", "delete"),
                change("d.x", "update"),
                change("e.x", "read", mode="data"),
            ],
            "planned_values": {
                "root_module": {"child_modules": [{"resources": [configuration, queue, scaling]}]}
            },
        }
    )
    assert [(one.type, one.action) for one in changes.changes] == [
        ("b", "create"),
        ("c", "replace"),
        ("d", "update"),
    ]
    assert changes.summary == "1 to create, 1 to update, 1 to replace"
    assert list(changes.configurations.values()) == [
        ServerlessConfig(memory_mb=2048, max_concurrency=5),
        AsynchronousConfig(instance_type="ml.m5.large", initial_instance_count=2),
    ]
    assert changes.fewest_instances == {"q": 1}


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
    found = [(one.address, str(one)) for one in read_resources_from_state(state)]
    assert found == [
        ("module.m.aws_s3_bucket.this", "s3_bucket dr-artifacts"),
        ('aws_sagemaker_endpoint.this["a"]', "sagemaker_endpoint dr-a"),
    ]
    assert read_resources_from_state(tmp_path / "none") == ()


def test_a_workspace_records_where_its_deployment_is_and_holds_no_credentials(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    workspace = TerraformWorkspace.for_single_endpoint("dr", tmp_path)
    assert not workspace.has_deployment_record
    workspace.write_variables_and_record(
        variables("study", one=SMALL), AwsAccount("http://127.0.0.1:8765", "us-east-1")
    )
    record = TerraformWorkspace.for_single_endpoint("dr", tmp_path).read_record()
    assert (record.environment, record.prefix, record.account.platform) == ("study", "dr", "local")
    text = "".join(path.read_text() for path in Path(workspace.folder).iterdir())
    assert "secret" not in text
    workspace.delete_folder()
    assert not workspace.folder.exists()


def test_terraform_files_that_do_not_fit_on_the_disk_are_whole_or_absent(
    tmp_path, terraform_program
):
    del terraform_program
    workspace = TerraformWorkspace(tmp_path / "work")
    account = AwsAccount("http://127.0.0.1:9", "us-east-1")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(DeploymentError, match=r"cannot be copied: .*File too large"):
            prepare_terraform_folder("single-endpoint", workspace, account)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    shipped = path_of_shipped_file("infrastructure")
    copies = [path for path in workspace.configuration.rglob("*") if path.is_file()]
    assert copies
    for copy in copies:
        original = shipped / copy.relative_to(workspace.configuration)
        assert copy.read_bytes() == original.read_bytes(), copy


def test_terraform_files_that_cannot_be_copied_are_a_sentence(tmp_path, terraform_program):
    del terraform_program
    workspace = TerraformWorkspace(tmp_path / "work")
    in_the_way = workspace.configuration / "modules" / "deployment"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.touch()
    with pytest.raises(DeploymentError, match=r"cannot be copied: .*File exists") as failure:
        prepare_terraform_folder(
            "single-endpoint", workspace, AwsAccount("http://127.0.0.1:9", "us-east-1")
        )
    assert failure.value.where == str(in_the_way)
    assert "repeat the command" in failure.value.remedy


@pytest.mark.parametrize("is_new", [True, False], ids=["new", "with files"])
def test_only_a_new_folder_is_deleted_if_terraform_finds_no_provider(tmp_path, no_provider, is_new):
    """Terraform's state is the only list of what costs money, even without `deployment.json`."""
    workspace = TerraformWorkspace(tmp_path / "work")
    if not is_new:
        workspace.folder.mkdir()
        workspace.state.write_text('{"resources": []}')
    account = AwsAccount("http://127.0.0.1:9", "us-east-1")
    with pytest.raises(TerraformUnavailable):
        prepare_terraform_folder("single-endpoint", workspace, account)
    assert workspace.folder.exists() == workspace.state.exists() == (not is_new)
