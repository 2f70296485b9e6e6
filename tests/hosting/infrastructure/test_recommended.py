"""What ``drdeploy recommend --tfvars`` writes is what the environment takes."""

import json
import re

import pytest
from terraform import INFRASTRUCTURE, model

from drdeploy.errors import InvalidInput
from drdeploy.hosting.deployment.batch_variables_file import read_batch_config_from_file
from drdeploy.hosting.deployment.endpoint_variables_file import read_endpoint_variables_from_file
from drdeploy.study.recommendation.mitigation.policies import fit_policy_to_traffic
from drdeploy.study.recommendation.mitigation.settings import (
    make_asynchronous_terraform_variables,
    make_autoscaled_terraform_variables,
    make_real_time_terraform_variables,
    make_scheduled_terraform_variables,
    make_serverless_terraform_variables,
)
from drdeploy.study.recommendation.traffic import SHAPES, Traffic

BUSY = Traffic(requests_per_month=3_000_000, shape=SHAPES["working-hours"]).arrivals(1, weeks=1)
OPEN = [8 <= hour % 24 < 18 and hour < 120 for hour in range(168)]


def serverless(policy):
    made = fit_policy_to_traffic(policy, BUSY, busy_s=0.2, idle_s=600.0)
    return make_serverless_terraform_variables(2048, made, peak_concurrency=9, headroom=0.3)


@pytest.mark.parametrize(
    ("settings", "created"),
    [
        (serverless("nothing"), "aws_sagemaker_endpoint.this"),
        (serverless("keep-warm"), "aws_scheduler_schedule.this"),
        (serverless("provisioned"), "aws_appautoscaling_scheduled_action.this"),
        (serverless("provisioned-fixed"), "aws_sagemaker_endpoint.this"),
        (make_real_time_terraform_variables("ml.c5.large", 2), "aws_sagemaker_endpoint.this"),
        (
            make_autoscaled_terraform_variables("ml.c5.large", 1, 4, 812.5),
            "aws_appautoscaling_policy.this",
        ),
        (
            make_scheduled_terraform_variables("ml.c5.large", 2, OPEN, 300.0),
            "opening_hours[0].aws_scheduler_schedule.this",
        ),
        (
            make_asynchronous_terraform_variables("ml.m5.large", 2, 1, 5.0),
            "aws_appautoscaling_policy.wake",
        ),
    ],
    ids=[
        "serverless",
        "kept warm by schedules",
        "provisioned by the hour",
        "provisioned day and night",
        "real-time",
        "real-time, autoscaled",
        "real-time, with opening hours",
        "asynchronous",
    ],
)
def test_a_recommended_endpoint_is_planned(environment, tmp_path, settings, created):
    """What `endpoint deploy --variables` reads from the file is what it says, and is planned."""
    file = tmp_path / "best.tfvars.json"
    file.write_text(json.dumps(settings))
    described = read_endpoint_variables_from_file(file, "model").endpoint
    assert described.is_always_on == settings["allow_always_on"]
    endpoint = described.to_terraform_variables(is_local=False)
    assert endpoint == {name: one for name, one in settings["endpoint"].items() if one is not None}
    values = {"endpoint": endpoint, "allow_always_on": settings["allow_always_on"]}
    planned = environment("single-endpoint", model=model(), **values).planned()
    assert set(planned.values()) == {("create",)}
    assert any(created in address for address in planned)


PAGE = INFRASTRUCTURE.parent / "docs" / "worked-decisions.md"
WORKED = sorted(set(re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)))
"""The variables of each winner of the worked decisions, as the page shows them."""


def test_the_page_shows_the_variables_of_several_ways():
    kinds = {json.loads(text).get("endpoint", {}).get("kind", "batch") for text in WORKED}
    assert {"serverless", "realtime", "batch"} <= kinds


@pytest.mark.parametrize("text", WORKED, ids=range(len(WORKED)))
def test_the_variables_of_a_worked_decision_are_planned(environment, tmp_path, text):
    file = tmp_path / "best.tfvars.json"
    file.write_text(text)
    settings = json.loads(text)
    if "batch" in settings:
        with pytest.raises(InvalidInput, match="batch transform jobs, which need no endpoint"):
            read_endpoint_variables_from_file(file, "model")
        assert settings["batch"] == read_batch_config_from_file(file).model_dump(exclude={"kind"})
        return
    described = read_endpoint_variables_from_file(file, "model")
    values = {
        "endpoint": described.endpoint.to_terraform_variables(is_local=False),
        "allow_always_on": settings["allow_always_on"],
    }
    made = model(**described.network)
    planned = environment("single-endpoint", model=made, **values).planned()
    assert any("aws_sagemaker_endpoint.this" in address for address in planned)


def test_the_network_of_the_model_is_planned_and_refused_for_serverless(environment, tmp_path):
    vpc = {"subnet_ids": ["subnet-1"], "security_group_ids": ["sg-1"]}
    settings = make_scheduled_terraform_variables("ml.c5.large", 2, OPEN, 300.0)
    file = tmp_path / "best.tfvars.json"
    file.write_text(json.dumps({**settings, "model": {"vpc_config": vpc}}))
    described = read_endpoint_variables_from_file(file, "model")
    assert described.network == {"vpc_config": vpc}
    values = {"endpoint": described.endpoint.to_terraform_variables(is_local=False)}
    made = model(**described.network)
    environment("single-endpoint", model=made, allow_always_on=True, **values).planned()
    for endpoint, network, message in (
        (serverless("nothing"), {"network_isolation": True}, "cannot have a VPC or network"),
        (settings, {"vpc_config": {"subnet_ids": []}}, "at least 1 item"),
        (settings, {"subnets": []}, "Extra inputs are not permitted"),
    ):
        file.write_text(json.dumps({**endpoint, "model": network}))
        with pytest.raises(InvalidInput, match=message):
            read_endpoint_variables_from_file(file, "model")


INSTANCE = {"kind": "realtime", "instance_type": "ml.m5.large"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"endpoint": {**INSTANCE, "autoscaling": True}}, "endpoint.autoscaling must be an object"),
        (
            {"endpoint": {**INSTANCE, "autoscaling": {"max_capcity": 2}}},
            "Unknown members: endpoint.autoscaling.max_capcity",
        ),
        (
            {"endpoint": {**INSTANCE, "opening_hours": {"schedules": {"a": {"open": "x"}}}}},
            "Unknown members: endpoint.opening_hours.schedules.a.open",
        ),
        (
            {"endpoint": {**INSTANCE, "opening_hours": {"schedules": {"a": 8}}}},
            "endpoint.opening_hours.schedules.a must be an object",
        ),
        ({"endpoint": INSTANCE, "allow_always_on": "false"}, "allow_always_on must be true or fal"),
    ],
)
def test_what_terraform_would_drop_or_misread_is_refused(tmp_path, settings, message):
    file = tmp_path / "best.tfvars.json"
    file.write_text(json.dumps(settings))
    with pytest.raises(InvalidInput, match=message):
        read_endpoint_variables_from_file(file, "model")
