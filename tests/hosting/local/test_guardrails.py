"""What ``DeploymentConfig`` asks of an update happens: it is watched, and an alarm undoes it."""

import pytest
from botocore.exceptions import ClientError
from local_aws import until

from drdeploy.hosting.local.api_errors import ApiError
from drdeploy.hosting.local.endpoints.guardrails import Guardrails

REAL_TIME = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}


def guardrails(*alarms, wait_s=0, termination_s=0, kind="ALL_AT_ONCE", **policy):
    routing = {"Type": kind, "WaitIntervalInSeconds": wait_s}
    config = {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": routing,
            "TerminationWaitInSeconds": termination_s,
            **policy,
        }
    }
    if alarms:
        config["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": one} for one in alarms]}
    return config


@pytest.fixture
def alarm(aws):
    """An alarm of CloudWatch that is OK."""
    name = aws.name()
    aws.cloudwatch.put_metric_alarm(
        AlarmName=name,
        ComparisonOperator="GreaterThanThreshold",
        EvaluationPeriods=1,
        MetricName="ModelLatency",
        Namespace="AWS/SageMaker",
        Period=60,
        Statistic="Average",
        Threshold=1.0,
    )
    return name


def another_config(aws, **variant):
    name = aws.name()
    aws.model(name, SAGEMAKER_COLOUR="new")
    aws.config(name, **REAL_TIME | variant)
    return name


def update(aws, endpoint, **request):
    config = another_config(aws)
    aws.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=config, **request)
    return config


def colour(aws, endpoint):
    return aws.invoke(endpoint)["environment"].get("SAGEMAKER_COLOUR")


def test_an_alarm_while_an_update_is_watched_brings_the_old_instances_back(aws, alarm):
    endpoint = aws.endpoint(**REAL_TIME)
    before = aws.sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointConfigName"]
    update(aws, endpoint, DeploymentConfig=guardrails(alarm, wait_s=600))
    until(lambda: colour(aws, endpoint) == "new")
    described = aws.sagemaker.describe_endpoint(EndpointName=endpoint)
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("Updating", before)
    aws.cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="test")
    aws.wait(endpoint)
    assert colour(aws, endpoint) is None
    assert alarm in aws.failure_reason(endpoint)
    described = aws.sagemaker.describe_endpoint(EndpointName=endpoint)
    assert described["EndpointConfigName"] == before


def test_an_update_without_an_alarm_is_done_after_its_waits(aws, alarm):
    endpoint = aws.endpoint(**REAL_TIME)
    asked = guardrails(alarm, wait_s=1, termination_s=1)
    config = update(aws, endpoint, DeploymentConfig=asked)
    aws.wait(endpoint)
    described = aws.sagemaker.describe_endpoint(EndpointName=endpoint)
    assert described["EndpointConfigName"] == config
    assert described["LastDeploymentConfig"] == asked
    assert colour(aws, endpoint) == "new"


def test_a_deployment_configuration_can_be_used_again(aws, alarm):
    endpoint = aws.endpoint(**REAL_TIME)
    asked = guardrails(alarm)
    update(aws, endpoint, DeploymentConfig=asked)
    aws.wait(endpoint)
    update(aws, endpoint, RetainDeploymentConfig=True)
    aws.wait(endpoint)
    described = aws.sagemaker.describe_endpoint(EndpointName=endpoint)
    assert described["LastDeploymentConfig"] == asked
    update(aws, endpoint)
    aws.wait(endpoint)
    assert "LastDeploymentConfig" not in aws.sagemaker.describe_endpoint(EndpointName=endpoint)


def test_an_endpoint_can_be_deleted_while_an_update_is_watched(aws):
    endpoint = aws.endpoint(**REAL_TIME)
    update(aws, endpoint, DeploymentConfig=guardrails(wait_s=600))
    until(lambda: colour(aws, endpoint) == "new")
    aws.delete(endpoint)


def test_an_endpoint_under_update_says_what_arrives(aws):
    endpoint = aws.endpoint(**REAL_TIME)
    config = update(aws, endpoint, DeploymentConfig=guardrails(wait_s=600))
    until(lambda: colour(aws, endpoint) == "new")
    pending = aws.sagemaker.describe_endpoint(EndpointName=endpoint)["PendingDeploymentSummary"]
    assert pending["EndpointConfigName"] == config
    (variant,) = pending["ProductionVariants"]
    assert (variant["VariantName"], variant["CurrentInstanceCount"]) == ("AllTraffic", 1)
    until(lambda: stage(aws, endpoint) == "Baking")
    aws.delete(endpoint)


def stage(aws, endpoint):
    """The stage of an update, or None before its variants are known."""
    described = aws.sagemaker.describe_endpoint(EndpointName=endpoint)
    variants = described["PendingDeploymentSummary"].get("ProductionVariants")
    return variants[0]["VariantStatus"][0]["Status"] if variants else None


def percent(value):
    return {"Type": "CAPACITY_PERCENT", "Value": value}


def instances(value):
    return {"Type": "INSTANCE_COUNT", "Value": value}


def routed(kind, *alarms, wait_s=0, **sizes):
    config = guardrails(*alarms, wait_s=wait_s, kind=kind)
    config["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"] |= sizes
    return config


def rolling(*alarms, wait_s=0, size=None, **policy):
    size = size or instances(1)
    policy = {"MaximumBatchSize": size, "WaitIntervalInSeconds": wait_s} | policy
    config = guardrails(*alarms)
    del config["BlueGreenUpdatePolicy"]
    return config | {"RollingUpdatePolicy": policy}


def share_of_new(aws, endpoint, calls=60):
    return sum(colour(aws, endpoint) == "new" for _ in range(calls)) / calls


def test_a_canary_gets_a_share_of_the_traffic_and_an_alarm_takes_it_back(aws, alarm):
    endpoint = aws.endpoint(**REAL_TIME)
    aws.sagemaker.update_endpoint(
        EndpointName=endpoint,
        EndpointConfigName=another_config(aws, InitialInstanceCount=2),
        DeploymentConfig=routed("CANARY", alarm, wait_s=600, CanarySize=percent(25)),
    )
    until(lambda: stage(aws, endpoint) == "Baking")
    # 1 in 4: none or more than half of 60 has a chance below 0.0001.
    assert 0 < share_of_new(aws, endpoint) < 0.5
    aws.cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="test")
    aws.wait(endpoint)
    assert share_of_new(aws, endpoint, calls=5) == 0
    assert alarm in aws.failure_reason(endpoint)


@pytest.mark.parametrize(
    "config",
    [
        routed("CANARY", CanarySize=percent(50)),
        routed("LINEAR", LinearStepSize=percent(30)),
        routed("LINEAR", LinearStepSize=instances(1)),
        rolling(),
        rolling(size=percent(50), RollbackMaximumBatchSize=percent(100)),
    ],
    ids=["canary", "linear", "linear instances", "rolling", "rolling percent"],
)
def test_an_update_in_steps_ends_with_all_traffic_on_the_new_instances(aws, config):
    endpoint = aws.endpoint(**REAL_TIME | {"InitialInstanceCount": 2})
    name = another_config(aws, InitialInstanceCount=2)
    aws.sagemaker.update_endpoint(
        EndpointName=endpoint, EndpointConfigName=name, DeploymentConfig=config
    )
    aws.wait(endpoint)
    described = aws.sagemaker.describe_endpoint(EndpointName=endpoint)
    assert described["EndpointConfigName"] == name
    assert described["ProductionVariants"][0]["CurrentInstanceCount"] == 2
    assert share_of_new(aws, endpoint, calls=5) == 1


def test_a_rolling_update_replaces_instances_in_batches_and_an_alarm_brings_them_back(aws, alarm):
    endpoint = aws.endpoint(**REAL_TIME | {"InitialInstanceCount": 2})
    name = another_config(aws, InitialInstanceCount=2)
    aws.sagemaker.update_endpoint(
        EndpointName=endpoint,
        EndpointConfigName=name,
        DeploymentConfig=rolling(alarm, wait_s=600),
    )
    until(lambda: stage(aws, endpoint) == "Baking")
    described = aws.sagemaker.describe_endpoint(EndpointName=endpoint)
    old, new = described, described["PendingDeploymentSummary"]
    assert [one["ProductionVariants"][0]["CurrentInstanceCount"] for one in (old, new)] == [1, 1]
    assert 0 < share_of_new(aws, endpoint) < 1
    aws.cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="test")
    aws.wait(endpoint)
    described = aws.sagemaker.describe_endpoint(EndpointName=endpoint)
    assert described["EndpointConfigName"] != name
    assert described["ProductionVariants"][0]["CurrentInstanceCount"] == 2
    assert share_of_new(aws, endpoint, calls=5) == 0


SERVERLESS = {"MemorySizeInMB": 1024, "MaxConcurrency": 1}
FOUR = REAL_TIME | {"InitialInstanceCount": 4}


@pytest.mark.parametrize(
    ("variant", "config", "message"),
    [
        (REAL_TIME, guardrails("absent"), "Could not find alarm absent"),
        (REAL_TIME, routed("CANARY"), "CanarySize must be set if Type is CANARY"),
        (REAL_TIME, routed("LINEAR"), "LinearStepSize must be set if Type is LINEAR"),
        (REAL_TIME, routed("ALL_AT_ONCE", CanarySize=percent(9)), "CanarySize must not be set"),
        (REAL_TIME, routed("CANARY", CanarySize=percent(51)), "CanarySize must be at most 50%"),
        (REAL_TIME, routed("CANARY", CanarySize=instances(1)), "CanarySize must be at most 50%"),
        (REAL_TIME, routed("CANARY", CanarySize=percent(25)), "needs at least 2 instances"),
        (REAL_TIME, routed("LINEAR", LinearStepSize=percent(9)), "must be 10% to 50%"),
        (REAL_TIME, rolling(), "MaximumBatchSize must be 5% to 50% of the variant's"),
        (FOUR, rolling(size=instances(3)), "it is 75% of 4"),
        (FOUR, rolling(RollbackMaximumBatchSize=instances(5)), "RollbackMaximumBatchSize must be"),
        (FOUR, rolling() | guardrails(), "are mutually exclusive"),
        (FOUR, guardrails(wait_s=600, MaximumExecutionTimeoutInSeconds=600), "must be larger"),
        (FOUR, routed("LINEAR", LinearStepSize=percent(10), wait_s=3600), "(36000)"),
    ],
)
@pytest.mark.parametrize("operation", ["create_endpoint", "update_endpoint"])
def test_guardrails_that_contradict_themselves_or_the_endpoint_are_refused(
    aws, real_time, operation, variant, config, message
):
    name = aws.name()
    aws.config(name, model=real_time, **variant)
    endpoint = name if operation == "create_endpoint" else real_time
    with pytest.raises(ClientError) as caught:
        getattr(aws.sagemaker, operation)(
            EndpointName=endpoint, EndpointConfigName=name, DeploymentConfig=config
        )
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert message in caught.value.response["Error"]["Message"]


@pytest.fixture(scope="module")
def real_time(aws):
    return aws.endpoint(**REAL_TIME)


@pytest.mark.parametrize(
    "config",
    [
        rolling(),
        routed("CANARY", CanarySize=instances(1)),
        routed("LINEAR", LinearStepSize=percent(10)),
    ],
    ids=["rolling", "canary", "linear"],
)
def test_steps_for_a_variant_that_was_scaled_to_no_instance_are_refused(config):
    """An asynchronous endpoint may have none, and an update may retain their number."""
    variant = {"VariantName": "v", **REAL_TIME, "InitialInstanceCount": 0}
    with pytest.raises(ApiError, match="needs instances, and variant v has none"):
        Guardrails.from_deployment_config(config, [variant])
    assert Guardrails.from_deployment_config(guardrails(), [variant]).steps == (1.0,)


def test_guardrails_of_a_serverless_endpoint_are_refused(aws, real_time):
    name = aws.name()
    aws.config(name, model=real_time, ServerlessConfig=SERVERLESS)
    with pytest.raises(ClientError, match="does not apply to a serverless endpoint"):
        aws.sagemaker.create_endpoint(
            EndpointName=name, EndpointConfigName=name, DeploymentConfig=guardrails()
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"RetainDeploymentConfig": True, "DeploymentConfig": guardrails()},
            "RetainDeploymentConfig=true and DeploymentConfig are mutually exclusive",
        ),
        (
            {"ExcludeRetainedVariantProperties": [{"VariantPropertyType": "DesiredWeight"}]},
            "has no effect without RetainAllVariantProperties=true",
        ),
        (
            {
                "RetainAllVariantProperties": True,
                "ExcludeRetainedVariantProperties": [{"VariantPropertyType": "DataCaptureConfig"}],
            },
            "ExcludeRetainedVariantProperties[1].VariantPropertyType='DataCaptureConfig'",
        ),
    ],
)
def test_an_update_with_a_member_without_effect_is_refused(aws, real_time, arguments, message):
    with pytest.raises(ClientError) as caught:
        update(aws, real_time, **arguments)
    assert message in caught.value.response["Error"]["Message"]


def test_guardrails_need_the_variants_of_the_old_configuration(aws, real_time):
    name = aws.name()
    variant = {"VariantName": "other", "ModelName": real_time, **REAL_TIME}
    aws.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    with pytest.raises(ClientError, match=r"The old one has AllTraffic, and the new one has other"):
        aws.sagemaker.update_endpoint(
            EndpointName=real_time, EndpointConfigName=name, DeploymentConfig=guardrails()
        )


@pytest.mark.parametrize(
    ("arguments", "weight", "count"),
    [
        ({}, 1.0, 1),
        ({"RetainAllVariantProperties": True}, 3.0, 2),
        ({"RetainAllVariantProperties": True, "excluded": "DesiredWeight"}, 1.0, 2),
        ({"RetainAllVariantProperties": True, "excluded": "DesiredInstanceCount"}, 3.0, 1),
    ],
    ids=["nothing", "all", "not the weight", "not the count"],
)
def test_an_update_retains_the_properties_of_the_variants(aws, arguments, weight, count):
    endpoint = aws.endpoint(**REAL_TIME)
    change = {"VariantName": "AllTraffic", "DesiredWeight": 3.0, "DesiredInstanceCount": 2}
    aws.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=endpoint, DesiredWeightsAndCapacities=[change]
    )
    arguments = dict(arguments)
    if "excluded" in arguments:
        excluded = {"VariantPropertyType": arguments.pop("excluded")}
        arguments["ExcludeRetainedVariantProperties"] = [excluded]
    config = update(aws, endpoint, **arguments)
    aws.wait(endpoint)
    described = aws.sagemaker.describe_endpoint(EndpointName=endpoint)
    (variant,) = described["ProductionVariants"]
    assert described["EndpointConfigName"] == config
    assert (variant["DesiredWeight"], variant["CurrentInstanceCount"]) == (weight, count)
