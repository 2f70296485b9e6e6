"""What ``drdeploy recommend --tfvars`` writes is what the environment takes."""

import pytest
from terraform import model

from drdeploy.study.recommendation.mitigation.policies import make_policy
from drdeploy.study.recommendation.mitigation.settings import (
    real_time_variables,
    serverless_variables,
)
from drdeploy.study.recommendation.traffic.arrivals import Traffic
from drdeploy.study.recommendation.traffic.shape import SHAPES

BUSY = Traffic(requests_per_month=3_000_000, shape=SHAPES["working-hours"]).arrivals(1, weeks=1)


def serverless(policy):
    made = make_policy(policy, BUSY, busy_s=0.2, idle_s=600.0)
    return serverless_variables(2048, made, peak_concurrency=9, headroom=0.3)


@pytest.mark.parametrize(
    ("settings", "created"),
    [
        (serverless("nothing"), "aws_sagemaker_endpoint.this"),
        (serverless("provisioned"), "aws_appautoscaling_scheduled_action.this"),
        (real_time_variables("ml.c5.large", 2), "aws_sagemaker_endpoint.this"),
    ],
    ids=["serverless", "provisioned by the hour", "real-time"],
)
def test_a_recommended_endpoint_is_planned(environment, settings, created):
    planned = environment("single-endpoint", model=model(), **settings).planned()
    assert set(planned.values()) == {("create",)}
    assert any(created in address for address in planned)
