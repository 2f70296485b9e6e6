"""Application Auto Scaling knows the endpoints: nothing is registered that does not exist."""

import pytest
from local_aws import client, refused

INSTANCES = "sagemaker:variant:DesiredInstanceCount"
PROVISIONED = "sagemaker:variant:DesiredProvisionedConcurrency"
REAL_TIME = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
TRACKING = {
    "TargetValue": 5.0,
    "PredefinedMetricSpecification": {
        "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
    },
}
STEP = {
    "AdjustmentType": "ChangeInCapacity",
    "StepAdjustments": [{"ScalingAdjustment": 1, "MetricIntervalLowerBound": 0.0}],
}


@pytest.fixture(scope="module")
def scaling(aws):
    return client("application-autoscaling", aws.url)


@pytest.fixture(scope="module")
def real_time(aws):
    return aws.endpoint(**REAL_TIME)


def target(endpoint, variant="AllTraffic", dimension=INSTANCES, **more):
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint}/variant/{variant}",
        "ScalableDimension": dimension,
        **more,
    }


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"ResourceId": "endpoint/absent/variant/AllTraffic"}, "endpoint doesn't exist: endpoint/"),
        ({"variant": "absent"}, "endpoint variant doesn't exist: endpoint/"),
        ({"ResourceId": "somewhere"}, "ResourceId must be endpoint/NAME/variant/NAME"),
        ({"dimension": PROVISIONED}, f"must be {INSTANCES}"),
        ({"MinCapacity": 3}, "MinCapacity (3) must not be larger than MaxCapacity (2)"),
        ({"MaxCapacity": None}, "MaxCapacity must be set"),
        ({"ServiceNamespace": "lambda"}, "does not serve ServiceNamespace='lambda'"),
    ],
)
def test_a_target_that_cannot_be_scaled_is_refused(scaling, real_time, asked, message):
    given = target(real_time, **{"MinCapacity": 1, "MaxCapacity": 2, **asked})
    given = {name: value for name, value in given.items() if value is not None}
    code, found = refused(scaling.register_scalable_target, **given)
    assert code == "ValidationException"
    assert message in found


def test_one_new_bound_must_fit_the_other_that_stays(scaling, real_time):
    scaling.register_scalable_target(**target(real_time, MinCapacity=2, MaxCapacity=3))
    for changed in ({"MinCapacity": 4}, {"MaxCapacity": 1}):
        code, found = refused(scaling.register_scalable_target, **target(real_time, **changed))
        assert (code, "must not be larger than" in found) == ("ValidationException", True)
    scaling.register_scalable_target(**target(real_time, MinCapacity=3))
    (found,) = scaling.describe_scalable_targets(
        ServiceNamespace="sagemaker", ResourceIds=[target(real_time)["ResourceId"]]
    )["ScalableTargets"]
    assert (found["MinCapacity"], found["MaxCapacity"]) == (3, 3)


@pytest.mark.parametrize(
    ("operation", "arguments", "message"),
    [
        ("deregister_scalable_target", {}, "No scalable target found for service namespace: sage"),
        ("delete_scaling_policy", {"PolicyName": "p"}, "policy name: p"),
        ("delete_scheduled_action", {"ScheduledActionName": "a"}, "action name: a"),
    ],
)
def test_what_does_not_exist_cannot_be_deleted(scaling, operation, arguments, message):
    """Terraform counts only this code as gone already; a scheduled action was no error at all."""
    code, found = refused(getattr(scaling, operation), **target("nowhere"), **arguments)
    assert code == "ObjectNotFoundException"
    assert message in found


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"Timezone": "Mars/Olympus"}, "Timezone Mars/Olympus is not a time zone"),
        ({"ScalableTargetAction": {}}, "At least one of minimum capacity and maximum capacity"),
    ],
)
def test_an_update_of_a_schedule_that_cannot_have_its_effect_is_refused(
    scaling, real_time, changed, message
):
    scaling.register_scalable_target(**target(real_time, MinCapacity=1, MaxCapacity=3))
    action = target(real_time, ScheduledActionName="changed")
    bounds = {"ScalableTargetAction": {"MinCapacity": 1}}
    scaling.put_scheduled_action(**action, **bounds, Schedule="rate(1 hour)")
    code, found = refused(scaling.put_scheduled_action, **action, **changed)
    assert (code, message in found) == ("ValidationException", True)
    scaling.put_scheduled_action(**action, Timezone="Europe/Berlin")
    scaling.delete_scheduled_action(**action)


def test_a_serverless_variant_is_scaled_by_provisioned_concurrency(aws, scaling):
    name = aws.endpoint()
    bounds = {"MinCapacity": 1, "MaxCapacity": 1}
    code, message = refused(scaling.register_scalable_target, **target(name, **bounds))
    assert (code, PROVISIONED in message) == ("ValidationException", True)
    scaling.register_scalable_target(**target(name, dimension=PROVISIONED, **bounds))


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        (
            "put_scaling_policy",
            {
                "PolicyName": "p",
                "PolicyType": "TargetTrackingScaling",
                "TargetTrackingScalingPolicyConfiguration": TRACKING,
            },
        ),
        ("put_scheduled_action", {"ScheduledActionName": "a", "Schedule": "rate(1 hour)"}),
    ],
)
def test_a_policy_or_a_schedule_needs_a_target(aws, scaling, operation, arguments):
    endpoint = aws.endpoint(**REAL_TIME)
    code, message = refused(getattr(scaling, operation), **target(endpoint), **arguments)
    assert code == "ObjectNotFoundException"
    assert message.startswith("No scalable target registered for service namespace: sagemaker")


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (
            {"PolicyType": "TargetTrackingScaling", "StepScalingPolicyConfiguration": STEP},
            "StepScalingPolicyConfiguration must not be set if PolicyType is TargetTracking",
        ),
        ({"PolicyType": "StepScaling"}, "StepScalingPolicyConfiguration must be set"),
        ({"PolicyType": "PredictiveScaling"}, "does not serve PolicyType='PredictiveScaling'"),
        (
            {
                "PolicyType": "TargetTrackingScaling",
                "TargetTrackingScalingPolicyConfiguration": {
                    "TargetValue": 5.0,
                    "PredefinedMetricSpecification": {
                        "PredefinedMetricType": "ECSServiceAverageCPUUtilization"
                    },
                },
            },
            "ECSServiceAverageCPUUtilization does not apply",
        ),
    ],
)
def test_a_policy_that_contradicts_itself_is_refused(scaling, real_time, policy, message):
    scaling.register_scalable_target(**target(real_time, MinCapacity=1, MaxCapacity=2))
    code, found = refused(scaling.put_scaling_policy, **target(real_time), PolicyName="p", **policy)
    assert code == "ValidationException"
    assert message in found


def test_a_target_is_described_with_its_bounds_and_keeps_its_tags(aws, scaling):
    asked = target(aws.endpoint(**REAL_TIME), MinCapacity=1, MaxCapacity=4, Tags={"team": "eyes"})
    arn = scaling.register_scalable_target(**asked)["ScalableTargetARN"]
    code, message = refused(scaling.register_scalable_target, **asked)
    assert (code, message[-24:]) == ("ValidationException", "use the TagResource API.")
    (found,) = scaling.describe_scalable_targets(
        ServiceNamespace="sagemaker", ResourceIds=[asked["ResourceId"]]
    )["ScalableTargets"]
    assert (found["MinCapacity"], found["MaxCapacity"]) == (1, 4)
    scaling.tag_resource(ResourceARN=arn, Tags={"cost": "clinic"})
    scaling.untag_resource(ResourceARN=arn, TagKeys=["team"])
    assert scaling.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"cost": "clinic"}


def test_policies_are_listed_by_name_and_in_pages(scaling, real_time):
    scaling.register_scalable_target(**target(real_time, MinCapacity=1, MaxCapacity=2))
    names = ["page-a", "page-b", "page-c"]
    for name in names:
        scaling.put_scaling_policy(
            **target(real_time),
            PolicyName=name,
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration=TRACKING,
        )
    asked = {"ServiceNamespace": "sagemaker", "PolicyNames": ["page-a", "page-c"]}
    found = scaling.describe_scaling_policies(**asked)["ScalingPolicies"]
    assert [one["PolicyName"] for one in found] == ["page-a", "page-c"]
    pages = scaling.get_paginator("describe_scaling_policies").paginate(
        ServiceNamespace="sagemaker", PolicyNames=names, PaginationConfig={"PageSize": 1}
    )
    assert [one["PolicyName"] for page in pages for one in page["ScalingPolicies"]] == names
    # The name of an endpoint may be a part of another endpoint's name.
    longer = target(f"{real_time}x")
    assert not scaling.describe_scaling_policies(
        ServiceNamespace="sagemaker", ResourceId=longer["ResourceId"]
    )["ScalingPolicies"]


def test_schedules_are_listed_in_pages(scaling, real_time):
    scaling.register_scalable_target(**target(real_time, MinCapacity=1, MaxCapacity=2))
    names = ["at-1", "at-2", "at-3"]
    for name in names:
        scaling.put_scheduled_action(
            **target(real_time),
            ScheduledActionName=name,
            Schedule="rate(1 hour)",
            ScalableTargetAction={"MinCapacity": 1},
        )
    pages = scaling.get_paginator("describe_scheduled_actions").paginate(
        **target(real_time), ScheduledActionNames=names, PaginationConfig={"PageSize": 2}
    )
    found = [[one["ScheduledActionName"] for one in page["ScheduledActions"]] for page in pages]
    assert found == [names[:2], names[2:]]
