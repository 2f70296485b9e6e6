"""A shadow variant gets copies of requests, and nothing that it does reaches the caller."""

from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError
from local_aws import until

INSTANCES = {"InstanceType": "ml.c5.large", "InitialInstanceCount": 1}


def make_endpoint(aws, **environment):
    name = aws.name()
    aws.model(name)
    aws.model(f"{name}-new", **environment)
    production = {"VariantName": "AllTraffic", "ModelName": name, **INSTANCES}
    shadow = {"VariantName": "Shadow", "ModelName": f"{name}-new", **INSTANCES}
    aws.sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[production],
        ShadowProductionVariants=[shadow],
    )
    aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    aws.wait(name)
    return name


def sum_metric(aws, name, variant, metric):
    now = datetime.now(UTC)
    found = aws.cloudwatch.get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName=metric,
        Dimensions=[
            {"Name": "EndpointName", "Value": name},
            {"Name": "VariantName", "Value": variant},
        ],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(seconds=1),
        Period=7200,
        Statistics=["Sum"],
    )["Datapoints"]
    return sum(one["Sum"] for one in found)


def test_a_copy_of_each_request_goes_to_the_shadow_whose_trouble_stays_its_own(aws, hold):
    name = make_endpoint(aws, SAGEMAKER_FAKE_HOLD=str(hold.folder))
    described = aws.sagemaker.describe_endpoint(EndpointName=name)
    assert [one["VariantName"] for one in described["ShadowProductionVariants"]] == ["Shadow"]
    answered = {aws.invoke(name)["pid"] for _ in range(10)}
    assert len(answered) == 1
    hold.wait_for(1)  # the shadow has not answered yet, and all callers have their answers
    assert sum_metric(aws, name, "Shadow", "Invocations") == 0
    hold.release()
    until(lambda: sum_metric(aws, name, "Shadow", "Invocations") == 10)
    assert sum_metric(aws, name, "AllTraffic", "Invocations") == 10

    with pytest.raises(ClientError, match="Variant Shadow not found"):
        aws.invoke(name, TargetVariant="Shadow")
    with pytest.raises(ClientError, match=r"\(503\)"):
        aws.invoke(name, b"!status 503")
    until(lambda: sum_metric(aws, name, "Shadow", "Invocation5XXErrors") == 1)
    pid = min(hold.folder.glob("*-*")).name.partition("-")[0]
    assert int(pid) not in answered

    change = [{"VariantName": "Shadow", "DesiredWeight": 0.0}]
    aws.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=name, DesiredWeightsAndCapacities=change
    )
    before = sum_metric(aws, name, "Shadow", "Invocations")
    for _ in range(5):
        assert aws.invoke(name)["pid"] in answered
    assert sum_metric(aws, name, "Shadow", "Invocations") == before
    aws.delete(name)


def test_a_shadow_that_cannot_be_offered_is_refused(aws):
    name = aws.name()
    aws.model(name)
    production = {"VariantName": "AllTraffic", "ModelName": name, **INSTANCES}
    shadow = {"VariantName": "Shadow", "ModelName": name, **INSTANCES}
    serverless = {"ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}}
    for message, variants, shadows in (
        (
            "1 production variants and 2 shadow",
            [production],
            [shadow, shadow | {"VariantName": "Second"}],
        ),
        ("must be unique", [production], [shadow | {"VariantName": "AllTraffic"}]),
        (
            "must have a model and instances",
            [{"VariantName": "AllTraffic", "ModelName": name, **serverless}],
            [shadow],
        ),
    ):
        with pytest.raises(ClientError, match=message):
            aws.sagemaker.create_endpoint_config(
                EndpointConfigName=name,
                ProductionVariants=variants,
                ShadowProductionVariants=shadows,
            )
