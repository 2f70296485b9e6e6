"""A file that is not a plan is refused with the reason; what a plan lacks is reported."""

import io
import json

import pytest
from typer.testing import CliRunner

from drdeploy.cli.prices import app
from drdeploy.hosting.plan_pricing import document as documents

EMPTY = {"format_version": "1.2", "terraform_version": "1.11.0", "planned_values": {}}


def run(content, *options):
    if not isinstance(content, bytes):
        content = json.dumps(content).encode()
    return CliRunner().invoke(app, ["plan", "-", *options], input=content)


def plan(*resources, **more):
    root = {"root_module": {"resources": list(resources)}}
    return {**EMPTY, "planned_values": root, **more}


def resource(address, mode="managed", **values):
    type_, name = address.split(".")
    return {"address": address, "type": type_, "name": name, "mode": mode, "values": values}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "The file is empty"),
        (b"PK\x03\x04rest", "a plan in the binary format"),
        (b'{"format_version": "1.2", "planned', "The file is not JSON"),
        (b'{"a": ' + b"[" * 200_000, "The file is not JSON: it is nested too deeply"),
        (b"\xff\xfe\x00", "The file is not JSON"),
        (b"[]", "is JSON, but not a Terraform plan"),
        ({"version": 4, "serial": 1, "lineage": "x", "resources": []}, "state file"),
        ({"format_version": "1.0", "values": {"root_module": {}}}, "a state in JSON"),
        ({"format_version": "1.0"}, "contains neither a plan nor a state"),
        (b'{"@level":"info"}\n{"@level":"info"}\n', "the log of `terraform plan -json`"),
        ({"AWSTemplateFormatVersion": "2010-09-09", "Resources": {}}, "CloudFormation"),
        ({**EMPTY, "format_version": "2.0"}, "format version 2.0"),
        ({**EMPTY, "planned_values": {"root_module": {"resources": 3}}}, "resources"),
    ],
)
def test_what_is_no_plan_is_refused_with_its_reason(content, reason):
    result = run(content)
    assert isinstance(result.exception, documents.InvalidInput)
    assert reason in str(result.exception)
    assert result.exception.remedy


def test_a_plan_that_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(documents, "PLAN_BYTES_MAX", 100)
    result = run(plan(resource("aws_vpc.network")))
    assert "The plan is larger than" in str(result.exception)


def test_a_plan_without_an_endpoint_says_so():
    result = run(plan(resource("aws_instance.web"), resource("aws_kms_key.own")))
    assert "The plan has no SageMaker endpoint." in result.stdout
    assert (
        "costs 1.00 USD a month; the costs of 1 resource are not known, and not included."
        in result.stdout
    )
    assert "aws_instance.web: no price is known for the type aws_instance" in result.stdout
    assert "us-east-1 is assumed" in result.stderr


def test_what_a_plan_removes_forgets_or_puts_off_is_told():
    changes = [
        {
            "address": f"aws_sagemaker_endpoint.{action}",
            "type": "aws_sagemaker_endpoint",
            "change": {"actions": [action]},
        }
        for action in ("delete", "forget")
    ]
    deferred = [{"reason": "unknown", "resource_change": {"address": "aws_sns_topic.later"}}]
    text = run(plan(resource_changes=changes, deferred_changes=deferred, complete=False))
    assert "aws_sagemaker_endpoint.delete: the plan deletes it" in text.stdout
    assert "aws_sagemaker_endpoint.forget: Terraform stops managing the resource" in text.stdout
    assert "aws_sns_topic.later: Terraform will plan it only in a later run" in text.stdout
    assert "the plan is not complete" in text.stderr


@pytest.mark.parametrize(
    ("provider", "region"),
    [
        ({"references": ["var.where"]}, "eu-central-1"),
        ({"references": ["local.regions[var.environment]", "var.environment"]}, None),
        ({"references": ["local.regions", "var.environment", "var.where"]}, "eu-central-1"),
    ],
)
@pytest.mark.parametrize("module", ["", "module.a"])
def test_the_region_is_one_of_the_root_module_s_variables(provider, region, module):
    configured = {
        "provider_config": {"aws": {"expressions": {"region": provider}, "module_address": module}},
        "root_module": {
            "resources": [{"address": "aws_kms_key.own", "provider_config_key": "aws"}]
        },
    }
    variables = {"environment": {"value": "prod"}, "where": {"value": "eu-central-1"}}
    content = plan(resource("aws_kms_key.own"), configuration=configured, variables=variables)
    read = documents.read_plan_document(io.BytesIO(json.dumps(content).encode()), "plan")
    assert read.resources[0].region == (None if module else region)


def test_the_alarms_of_target_tracking_have_a_price():
    def price_policy(**values):
        one = resource("aws_appautoscaling_policy.scale", **values)
        return run(plan(one)).stdout

    metric = {"predefined_metric_type": "SageMakerVariantInvocationsPerInstance"}
    settings = [{"predefined_metric_specification": [metric]}]
    tracking = {"policy_type": "TargetTrackingScaling"}
    text = price_policy(**tracking, target_tracking_scaling_policy_configuration=settings)
    assert "costs 0.20 USD a month" in text
    metric["predefined_metric_type"] += "HighResolution"
    text = price_policy(**tracking, target_tracking_scaling_policy_configuration=settings)
    assert "costs 0.60 USD a month" in text
    assert "costs 0.00 USD a month" in price_policy(policy_type="StepScaling")


def test_unknown_bounds_of_managed_scaling_are_not_the_initial_count():
    endpoint = resource("aws_sagemaker_endpoint.a", name="a", endpoint_config_name="c")
    variant = {
        "variant_name": "v",
        "instance_type": "ml.m5.large",
        "initial_instance_count": 1,
        "managed_instance_scaling": [{"status": "ENABLED", "min_instance_count": 1}],
    }
    config = resource(
        "aws_sagemaker_endpoint_configuration.c", name="c", production_variants=[variant]
    )
    scaling = [{"max_instance_count": True}]
    unknown = {"production_variants": [{"managed_instance_scaling": scaling}]}
    change = {"actions": ["create"], "after_unknown": unknown}
    changes = [{"address": config["address"], "type": config["type"], "change": change}]
    result = run(plan(endpoint, config, resource_changes=changes), "--json")
    costs = {one["address"]: one for one in json.loads(result.stdout)["resources"]}
    (sentence,) = costs["aws_sagemaker_endpoint.a"]["not_known"]
    assert "max_instance_count of aws_sagemaker_endpoint_configuration.c is known only" in sentence


def test_values_that_are_known_after_apply_are_told():
    endpoint = resource("aws_sagemaker_endpoint.a", name="a", endpoint_config_name="c")
    variant = {"variant_name": "v", "initial_instance_count": 1}
    config = resource(
        "aws_sagemaker_endpoint_configuration.c", name="c", production_variants=[variant]
    )
    unknown = {"production_variants": [{"instance_type": True}]}
    change = {"actions": ["create"], "after_unknown": unknown}
    changes = [{"address": config["address"], "type": config["type"], "change": change}]
    result = run(plan(endpoint, config, resource_changes=changes), "--json")
    costs = {one["address"]: one for one in json.loads(result.stdout)["resources"]}
    (sentence,) = costs["aws_sagemaker_endpoint.a"]["not_known"]
    assert sentence == (
        "variant v: instance_type of aws_sagemaker_endpoint_configuration.c is known only after "
        "the plan is applied"
    )


def test_a_plan_of_many_values_is_refused_before_it_is_read(monkeypatch):
    monkeypatch.setattr(documents, "VALUES_MAX", 10)
    assert "more than 10 values" in str(run(plan(more=[{}] * 20)).exception)


def test_a_thousand_endpoints_are_priced_one_after_the_other():
    """Each looked through all configurations, and each configuration through all endpoints."""
    variant = {"instance_type": "ml.m5.large", "initial_instance_count": 1, "variant_name": "a"}
    resources = []
    for number in range(1000):
        name = f"n{number}"
        resources += [
            resource(
                f"aws_sagemaker_endpoint_configuration.{name}", name=name,
                production_variants=[variant],
            ),
            resource(f"aws_sagemaker_endpoint.{name}", endpoint_config_name=name, name=name),
            resource(
                f"aws_appautoscaling_target.{name}", min_capacity=1, max_capacity=2,
                resource_id=f"endpoint/{name}/variant/a",
                scalable_dimension="sagemaker:variant:DesiredInstanceCount",
            ),
        ]  # fmt: skip
    done = run(plan(*resources), "--json", "--region", "us-east-1")
    assert done.exit_code == 0, done.output
    priced = [one for one in json.loads(done.stdout)["resources"] if one["monthly"]]
    assert len(priced) == 1000


@pytest.mark.parametrize("target", [["x"], [3], "x", [{"arn": 3}], [{"input": "[1]"}], None])
def test_a_schedule_of_another_form_closes_no_endpoint(target):
    endpoint = resource("aws_sagemaker_endpoint.one", name="one", endpoint_config_name="one")
    variant = {"instance_type": "ml.m5.xlarge", "initial_instance_count": 1}
    config = resource(
        "aws_sagemaker_endpoint_configuration.one", name="one", production_variants=[variant]
    )
    schedule = resource("aws_scheduler_schedule.one", target=target)
    result = run(plan(endpoint, config, schedule), "--region", "us-east-1")
    assert result.exit_code == 0, result.exception
    assert "ml.m5.xlarge" in result.output


@pytest.mark.parametrize(
    ("address", "values"),
    [
        ("aws_sagemaker_endpoint.one", {"endpoint_config_name": ["one"]}),
        ("aws_sagemaker_endpoint.one", {"name": [], "endpoint_config_name": "one"}),
        ("aws_cloudwatch_metric_alarm.one", {"metric_query": [{"metric": "abc"}]}),
        ("aws_cloudwatch_metric_alarm.one", {"metric_query": [{"metric": ["abc"]}]}),
        ("aws_cloudwatch_metric_alarm.one", {"metric_query": [{"metric": {"period": 3}}]}),
        ("aws_sns_topic_subscription.one", {"protocol": ["sqs"]}),
    ],
)
def test_values_of_another_type_than_the_provider_s_end_no_pricing(address, values):
    config = resource(
        "aws_sagemaker_endpoint_configuration.one", name="one",
        production_variants=[{"instance_type": "ml.m5.large", "initial_instance_count": 1}],
    )  # fmt: skip
    result = run(plan(config, resource(address, **values)), "--region", "us-east-1")
    assert result.exit_code == 0, result.exception
