"""Inference components: models that share the instances of an endpoint, down to no instance."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError
from local_aws import FAKE_SERVER, ROLE, Aws, client, refused, until

from drdeploy.hosting.local import LocalService, ServiceOptions

SMALL = {"MinMemoryRequiredInMb": 1024, "NumberOfCpuCoresRequired": 1}
NO_CAPACITY = (
    "Inference Component has no capacity to process this request. ApplicationAutoScaling may be "
    "in-progress (if configured) or try to increase the capacity by invoking "
    "UpdateInferenceComponentRuntimeConfig API."
)


@pytest.fixture(scope="module")
def aws(home):
    """A service that releases instances without copies at once."""
    options = ServiceOptions(trial_start=False, idle_s=0.2)
    with LocalService(0, isolation="process", options=options, server_command=FAKE_SERVER) as it:
        yield Aws.at(it.url)


def make_config(aws, name, **request):
    variant = {
        "VariantName": "AllTraffic",
        "InstanceType": "ml.c5.large",
        "InitialInstanceCount": 1,
        **request.pop("variant", {}),
    }
    request = {"ExecutionRoleArn": ROLE} | request
    aws.sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[variant],
        **{member: value for member, value in request.items() if value is not None},
    )


def make_endpoint(aws, **scaling):
    name = aws.name()
    managed = {"ManagedInstanceScaling": {"Status": "ENABLED", **scaling}} if scaling else {}
    make_config(aws, name, variant=managed)
    aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    aws.wait(name)
    return name


def create_component(aws, endpoint, *, copies=1, needed=None, name=None, **specification):
    name = name or aws.name()
    if not specification:
        specification = {"Container": {"Image": "drdeploy:lean", "ArtifactUrl": aws.put_archive()}}
    aws.sagemaker.create_inference_component(
        InferenceComponentName=name,
        EndpointName=endpoint,
        VariantName="AllTraffic",
        Specification={"ComputeResourceRequirements": needed or SMALL, **specification},
        RuntimeConfig={"CopyCount": copies},
    )
    return name


def describe(aws, name):
    return aws.sagemaker.describe_inference_component(InferenceComponentName=name)


def wait_until_in_service(aws, name, copies):
    until(lambda: describe(aws, name)["InferenceComponentStatus"] not in {"Creating", "Updating"})
    described = describe(aws, name)
    assert described["InferenceComponentStatus"] == "InService", described
    assert described["RuntimeConfig"] == {"DesiredCopyCount": copies, "CurrentCopyCount": copies}


def set_copies(aws, name, count):
    aws.sagemaker.update_inference_component_runtime_config(
        InferenceComponentName=name, DesiredRuntimeConfig={"CopyCount": count}
    )


def count_instances(aws, endpoint):
    variant = aws.sagemaker.describe_endpoint(EndpointName=endpoint)["ProductionVariants"][0]
    return variant["CurrentInstanceCount"]


def delete_component(aws, name):
    aws.sagemaker.delete_inference_component(InferenceComponentName=name)
    with pytest.raises(ClientError, match="Could not find inference component"):
        until(lambda: not describe(aws, name))


def read_metric(aws, component, metric, namespace="AWS/SageMaker"):
    now = datetime.now(UTC)
    return aws.cloudwatch.get_metric_statistics(
        Namespace=namespace,
        MetricName=metric,
        Dimensions=[{"Name": "InferenceComponentName", "Value": component}],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(seconds=1),
        Period=7200,
        Statistics=["Sum", "SampleCount"],
    )["Datapoints"]


def sum_metric(aws, component, metric):
    return sum(one["Sum"] for one in read_metric(aws, component, metric))


def count_samples(aws, component, metric, namespace):
    return sum(one["SampleCount"] for one in read_metric(aws, component, metric, namespace))


def test_a_component_goes_to_zero_instances_and_wakes_while_calls_fail_as_on_aws(aws, tmp_path):
    endpoint = make_endpoint(aws, MinInstanceCount=0, MaxInstanceCount=1)
    model = aws.name()
    # The file holds the second start of a copy back until the test has made its calls.
    gate = tmp_path / "gate"
    gate.touch()
    aws.model(model, SAGEMAKER_FAKE_START_AFTER=str(gate))
    name = create_component(aws, endpoint, ModelName=model)
    wait_until_in_service(aws, name, 1)
    answer = aws.invoke(endpoint, InferenceComponentName=name)
    assert answer["model_files"] == ["1", "1/one", "1/saved_model.pb"]
    assert count_instances(aws, endpoint) == 1

    set_copies(aws, name, 0)
    wait_until_in_service(aws, name, 0)
    until(lambda: count_instances(aws, endpoint) == 0)
    invoke = {"EndpointName": endpoint, "InferenceComponentName": name, "Body": b"x"}
    assert refused(aws.runtime.invoke_endpoint, **invoke) == ("ValidationError", NO_CAPACITY)

    gate.unlink()
    set_copies(aws, name, 1)
    assert describe(aws, name)["InferenceComponentStatus"] == "Updating"
    assert refused(aws.runtime.invoke_endpoint, **invoke) == ("ValidationError", NO_CAPACITY)
    code, message = refused(aws.sagemaker.delete_inference_component, InferenceComponentName=name)
    assert (code, "in Updating status" in message) == ("ValidationException", True)
    gate.touch()
    wait_until_in_service(aws, name, 1)
    assert aws.invoke(endpoint, InferenceComponentName=name)["invocation"] == 1
    assert count_instances(aws, endpoint) == 1

    assert sum_metric(aws, name, "NoCapacityInvocationFailures") == 2
    for metric in ("Invocations", "InvocationsPerCopy"):
        assert sum_metric(aws, name, metric) == 2
    # Measured at each request, and every ten seconds too, when one may just be in progress.
    assert sum_metric(aws, name, "ConcurrentRequestsPerCopy") >= 2
    used = "CPUUtilizationNormalized"
    until(lambda: count_samples(aws, name, used, "/aws/sagemaker/InferenceComponents"))
    # Without requests there are samples too, which are zero.
    assert count_samples(aws, name, "InvocationsPerCopy", "AWS/SageMaker") > 2
    assert aws.metric(endpoint, "Invocations", "Sum")[0]["Sum"] == 2
    logs = client("logs", aws.url)
    streams = logs.describe_log_streams(logGroupName=f"/aws/sagemaker/InferenceComponents/{name}")
    assert len(streams["logStreams"]) == 2

    code, message = refused(aws.sagemaker.delete_endpoint, EndpointName=endpoint)
    assert code == "ValidationException"
    assert message.startswith("Cannot delete endpoint with inference component associated.")
    delete_component(aws, name)
    aws.delete(endpoint)


def test_target_tracking_removes_the_last_copy_and_a_call_without_capacity_adds_one(aws):
    endpoint = make_endpoint(aws, MinInstanceCount=0, MaxInstanceCount=1)
    name = create_component(aws, endpoint)
    wait_until_in_service(aws, name, 1)
    scaling = client("application-autoscaling", aws.url)
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"inference-component/{name}",
        "ScalableDimension": "sagemaker:inference-component:DesiredCopyCount",
    }
    with pytest.raises(ClientError, match="inference component doesn't exist"):
        scaling.register_scalable_target(
            **target | {"ResourceId": "inference-component/other"}, MinCapacity=0, MaxCapacity=1
        )
    scaling.register_scalable_target(**target, MinCapacity=0, MaxCapacity=1)
    predefined = "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution"
    alarms = scaling.put_scaling_policy(
        **target,
        PolicyName="concurrency",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 5.0,
            "PredefinedMetricSpecification": {"PredefinedMetricType": predefined},
            "DisableScaleIn": True,
        },
    )["Alarms"]
    (alarm,) = aws.cloudwatch.describe_alarms(AlarmNames=[alarms[0]["AlarmName"]])["MetricAlarms"]
    assert alarm["Dimensions"] == [{"Name": "InferenceComponentName", "Value": name}]
    assert (alarm["MetricName"], alarm["Period"]) == ("ConcurrentRequestsPerCopy", 10)

    # A metric with samples in the past makes the policy act now.
    queue = {"MetricName": "Queue", "Dimensions": [{"Name": "Component", "Value": name}]}
    now = datetime.now(UTC)
    aws.cloudwatch.put_metric_data(
        Namespace="Clinic",
        MetricData=[
            {**queue, "Timestamp": now - timedelta(minutes=minute), "Value": 0.0}
            for minute in range(1, 18)
        ],
    )
    scaling.put_scaling_policy(
        **target,
        PolicyName="queue",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 5.0,
            "CustomizedMetricSpecification": {
                "Namespace": "Clinic",
                "Statistic": "Average",
                **queue,
            },
        },
    )
    until(lambda: describe(aws, name)["RuntimeConfig"]["CurrentCopyCount"] == 0)
    until(lambda: count_instances(aws, endpoint) == 0)
    scaling.delete_scaling_policy(**target, PolicyName="queue")

    step = scaling.put_scaling_policy(
        **target,
        PolicyName="wake",
        PolicyType="StepScaling",
        StepScalingPolicyConfiguration={
            "AdjustmentType": "ChangeInCapacity",
            "MetricAggregationType": "Maximum",
            "StepAdjustments": [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}],
        },
    )["PolicyARN"]
    aws.cloudwatch.put_metric_alarm(
        AlarmName=f"{name}-asleep",
        AlarmActions=[step],
        Namespace="AWS/SageMaker",
        MetricName="NoCapacityInvocationFailures",
        Dimensions=[{"Name": "InferenceComponentName", "Value": name}],
        Statistic="Sum",
        Period=10,
        EvaluationPeriods=1,
        Threshold=1.0,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
    )
    with pytest.raises(ClientError, match="has no capacity to process this request"):
        aws.invoke(endpoint, InferenceComponentName=name)
    # The alarm would see the failure at the end of its period.
    aws.cloudwatch.set_alarm_state(
        AlarmName=f"{name}-asleep", StateValue="ALARM", StateReason="a call failed"
    )
    until(lambda: describe(aws, name)["RuntimeConfig"]["CurrentCopyCount"] == 1)
    wait_until_in_service(aws, name, 1)
    assert aws.invoke(endpoint, InferenceComponentName=name)["invocation"] == 1
    delete_component(aws, name)
    until(
        lambda: (
            not scaling.describe_scalable_targets(
                ServiceNamespace="sagemaker", ResourceIds=[target["ResourceId"]]
            )["ScalableTargets"]
        )
    )
    aws.delete(endpoint)


def test_copies_fill_instances_and_what_does_not_fit_is_refused_or_fails_as_on_aws(aws):
    endpoint = make_endpoint(aws, MinInstanceCount=1, MaxInstanceCount=2)
    whole = {"MinMemoryRequiredInMb": 3000, "MaxMemoryRequiredInMb": 3500}
    first = create_component(aws, endpoint, needed=whole, copies=2)
    wait_until_in_service(aws, first, 2)
    assert count_instances(aws, endpoint) == 2

    second = create_component(aws, endpoint, needed=whole)
    until(lambda: describe(aws, second)["InferenceComponentStatus"] == "Failed")
    reason = describe(aws, second)["FailureReason"]
    assert reason.startswith(
        f"Inference component {second}: There is not enough hardware resources"
    )

    set_copies(aws, first, 3)
    until(lambda: describe(aws, first)["InferenceComponentStatus"] == "InService")
    described = describe(aws, first)
    assert "not enough hardware resources" in described["FailureReason"]
    assert described["RuntimeConfig"] == {"DesiredCopyCount": 2, "CurrentCopyCount": 2}

    for needed in ({"MinMemoryRequiredInMb": 4097}, SMALL | {"NumberOfCpuCoresRequired": 2.25}):
        with pytest.raises(
            ClientError, match=r"a copy needs more hardware than an ml\.c5\.large has"
        ):
            create_component(aws, endpoint, needed=needed)
    with pytest.raises(ClientError, match=r"CopyCount \(101\) must not exceed 100"):
        create_component(aws, endpoint, copies=101)
    with pytest.raises(ClientError, match=r"CopyCount \(101\) must not exceed 100"):
        set_copies(aws, first, 101)
    delete_component(aws, second)
    third = create_component(aws, endpoint, needed=SMALL | {"MinMemoryRequiredInMb": 1000})
    wait_until_in_service(aws, third, 1)

    listed = aws.sagemaker.list_inference_components(EndpointNameEquals=endpoint, SortBy="Name")
    assert {one["InferenceComponentName"] for one in listed["InferenceComponents"]} == {
        first,
        third,
    }
    for name in (first, third):
        delete_component(aws, name)
    until(lambda: count_instances(aws, endpoint) == 1)
    aws.delete(endpoint)


def test_an_update_replaces_the_copies_and_a_bad_one_leaves_them(aws):
    endpoint = make_endpoint(aws)
    name = create_component(aws, endpoint)
    wait_until_in_service(aws, name, 1)

    def update(environment):
        container = {
            "Image": "drdeploy:lean",
            "ArtifactUrl": aws.put_archive(),
            "Environment": environment,
        }
        aws.sagemaker.update_inference_component(
            InferenceComponentName=name,
            Specification={"ComputeResourceRequirements": SMALL, "Container": container},
        )
        until(lambda: describe(aws, name)["InferenceComponentStatus"] == "InService")
        return describe(aws, name)

    described = update({"SAGEMAKER_COLOUR": "blue"})
    assert "FailureReason" not in described
    assert described["Specification"]["Container"]["DeployedImage"]["SpecifiedImage"] == (
        "drdeploy:lean"
    )
    environment = aws.invoke(endpoint, InferenceComponentName=name)["environment"]
    assert environment["SAGEMAKER_COLOUR"] == "blue"
    assert "the model cannot be loaded" in update({"SAGEMAKER_FAKE_FAILS": "1"})["FailureReason"]
    environment = aws.invoke(endpoint, InferenceComponentName=name)["environment"]
    assert environment["SAGEMAKER_COLOUR"] == "blue"

    change = {"VariantName": "AllTraffic", "DesiredInstanceCount": 2}
    aws.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=endpoint, DesiredWeightsAndCapacities=[change]
    )
    assert count_instances(aws, endpoint) == 2
    with pytest.raises(ClientError, match="1 instances host copies"):
        aws.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=endpoint,
            DesiredWeightsAndCapacities=[change | {"DesiredInstanceCount": 0}],
        )
    with pytest.raises(ClientError, match="does not serve UpdateEndpoint for variants without"):
        aws.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=endpoint)

    invoke = {"EndpointName": endpoint, "Body": b"x"}
    _, message = refused(aws.runtime.invoke_endpoint, **invoke)
    assert message.startswith("Inference Component Name header is required")
    _, message = refused(aws.runtime.invoke_endpoint, **invoke, InferenceComponentName="other")
    assert message == f"Inference Component other of endpoint {endpoint} not found."
    delete_component(aws, name)
    aws.delete(endpoint)


@pytest.mark.parametrize(
    ("request_part", "message"),
    [
        ({"ExecutionRoleArn": None}, "ExecutionRoleArn must be set"),
        ({"variant": {"ModelName": "m"}}, "ExecutionRoleArn applies only to"),
        (
            {"variant": {"ManagedInstanceScaling": {"MinInstanceCount": 0}}},
            "takes effect only with the Status ENABLED",
        ),
        (
            {"variant": {"ManagedInstanceScaling": {"Status": "ENABLED", "MinInstanceCount": 2}}},
            r"InitialInstanceCount \(1\) of variant AllTraffic must be from MinInstanceCount \(2\)",
        ),
        (
            {
                "variant": {
                    "ManagedInstanceScaling": {
                        "Status": "ENABLED",
                        "ScaleInPolicy": {"Strategy": "CONSOLIDATION"},
                    }
                }
            },
            "ManagedInstanceScaling.ScaleInPolicy.Strategy='CONSOLIDATION'",
        ),
    ],
)
def test_a_configuration_that_contradicts_itself_is_refused(aws, request_part, message):
    with pytest.raises(ClientError, match=message):
        make_config(aws, aws.name(), **request_part)


def test_a_specification_that_contradicts_itself_is_refused(aws):
    endpoint = make_endpoint(aws)
    both = {"ModelName": "m", "Container": {"Image": "drdeploy:lean"}}
    smaller = {"MinMemoryRequiredInMb": 512, "MaxMemoryRequiredInMb": 256}
    for message, arguments in (
        ("ModelName and Container", both),
        ("names no image", {"Container": {"Environment": {"A": "b"}}}),
        ("must not be smaller", {"needed": smaller, "ModelName": "m"}),
        ("Could not find model", {"ModelName": "absent"}),
        ("not serve Specification.BaseInf", {"BaseInferenceComponentName": "b", "ModelName": "m"}),
    ):
        with pytest.raises(ClientError, match=message):
            create_component(aws, endpoint, **arguments)
    aws.delete(endpoint)


def test_requests_in_progress_end_when_their_copies_are_removed(aws, hold):
    endpoint = make_endpoint(aws)
    name = create_component(aws, endpoint)
    wait_until_in_service(aws, name, 1)
    answers = []
    call = threading.Thread(
        target=lambda: answers.append(aws.invoke(endpoint, hold.body, InferenceComponentName=name))
    )
    call.start()
    hold.wait_for(1)
    aws.sagemaker.delete_inference_component(InferenceComponentName=name)
    hold.release()
    call.join()
    assert answers[0]["model_files"]
    with pytest.raises(ClientError, match="Could not find inference component"):
        until(lambda: not describe(aws, name))
    aws.delete(endpoint)


def test_a_change_ends_when_the_last_request_of_a_removed_copy_has_ended(aws, hold):
    """Until then there is no room for another copy."""
    endpoint = make_endpoint(aws)
    whole = {"MinMemoryRequiredInMb": 1024, "NumberOfCpuCoresRequired": 2}
    name = create_component(aws, endpoint, needed=whole)
    wait_until_in_service(aws, name, 1)
    call = threading.Thread(
        target=lambda: aws.invoke(endpoint, hold.body, InferenceComponentName=name)
    )
    call.start()
    hold.wait_for(1)
    set_copies(aws, name, 0)
    until(lambda: describe(aws, name)["RuntimeConfig"]["CurrentCopyCount"] == 0)
    assert describe(aws, name)["InferenceComponentStatus"] == "Updating"
    hold.release()
    call.join()
    wait_until_in_service(aws, name, 0)
    other = create_component(aws, endpoint, needed=whole)
    wait_until_in_service(aws, other, 1)
    for component in (name, other):
        delete_component(aws, component)
    aws.delete(endpoint)
