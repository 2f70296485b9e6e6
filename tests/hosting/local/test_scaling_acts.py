"""Application Auto Scaling changes endpoints: instances come and go as policies and schedules say.

A metric with samples in the past makes an alarm act at once, so no test waits for minutes.
"""

import time
from datetime import UTC, datetime, timedelta

from botocore.exceptions import ClientError
from local_aws import client

INSTANCES = "sagemaker:variant:DesiredInstanceCount"
NAMESPACE = "Clinic"
WAIT_S = 60.0


class ScaledEndpoint:
    """A real-time endpoint that is registered to be scaled, and its metric ``Queue``."""

    def __init__(self, aws, count=1, least=1, most=4):
        self.aws = aws
        self.scaling = client("application-autoscaling", aws.url)
        self.name = aws.endpoint(InstanceType="ml.m5.large", InitialInstanceCount=count)
        self.target = {
            "ServiceNamespace": "sagemaker",
            "ResourceId": f"endpoint/{self.name}/variant/AllTraffic",
            "ScalableDimension": INSTANCES,
        }
        self.register(MinCapacity=least, MaxCapacity=most)

    def register(self, **members):
        self.scaling.register_scalable_target(**self.target, **members)

    def put_metric(self, value, minutes, metric="Queue"):
        """Publish one sample in each of the last minutes."""
        now = datetime.now(UTC)
        data = [
            {
                "MetricName": metric,
                "Dimensions": [{"Name": "Endpoint", "Value": self.name}],
                "Timestamp": now - timedelta(minutes=minute),
                "Value": value,
            }
            for minute in range(1, minutes + 1)
        ]
        self.aws.cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=data)

    def track(self, name="track", metric="Queue", **more):
        """Put a policy that keeps the metric at 10 per instance."""
        specification = {
            "Namespace": NAMESPACE,
            "MetricName": metric,
            "Dimensions": [{"Name": "Endpoint", "Value": self.name}],
            "Statistic": "Average",
        }
        configuration = {"TargetValue": 10.0, "CustomizedMetricSpecification": specification}
        return self.scaling.put_scaling_policy(
            **self.target,
            PolicyName=name,
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration=configuration | more,
        )

    def counts(self):
        (variant,) = self.aws.sagemaker.describe_endpoint(EndpointName=self.name)[
            "ProductionVariants"
        ]
        return variant["DesiredInstanceCount"], variant["CurrentInstanceCount"]

    def wait_for(self, count):
        return wait_until(lambda: self.counts() == (count, count), self.counts)

    def activities(self, **more):
        return self.scaling.describe_scaling_activities(
            ServiceNamespace="sagemaker", ResourceId=self.target["ResourceId"], **more
        )["ScalingActivities"]

    def wait_for_activity(self, **more):
        wait_until(lambda: self.activities(**more), lambda: "no activity")
        return self.activities(**more)[0]


def wait_until(condition, explain):
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, explain()
        time.sleep(0.05)


def test_target_tracking_adds_the_instances_that_meet_the_target(aws):
    scaled = ScaledEndpoint(aws)
    scaled.put_metric(25.0, 3)
    alarms = scaled.track()["Alarms"]
    scaled.wait_for(3)
    wait_until(lambda: scaled.activities()[0]["StatusCode"] == "Successful", scaled.activities)
    (activity,) = scaled.activities()
    assert activity["Description"] == "Setting desired instance count to 3."
    assert activity["Cause"] == (
        f"monitor alarm {alarms[0]['AlarmName']} in state ALARM triggered policy track"
    )
    (found,) = aws.cloudwatch.describe_alarms(AlarmNames=[alarms[0]["AlarmName"]])["MetricAlarms"]
    assert (found["EvaluationPeriods"], found["Period"], found["Threshold"]) == (3, 60, 10.0)
    # The policy's alarms go with the target.
    scaled.scaling.deregister_scalable_target(**scaled.target)
    names = [one["AlarmName"] for one in alarms]
    assert not aws.cloudwatch.describe_alarms(AlarmNames=names)["MetricAlarms"]
    assert not scaled.scaling.describe_scaling_policies(
        ServiceNamespace="sagemaker", ResourceId=scaled.target["ResourceId"]
    )["ScalingPolicies"]


def test_target_tracking_scales_in_only_below_nine_tenths_of_the_target(aws):
    scaled = ScaledEndpoint(aws, count=3)
    scaled.put_metric(9.5, 17, "Steady")
    scaled.put_metric(3.0, 17)
    scaled.track("steady", "Steady", DisableScaleIn=True)
    scaled.track("kept", DisableScaleIn=True)
    scaled.track("quiet", ScaleInCooldown=0)
    scaled.wait_for(1)
    assert [one["Description"] for one in scaled.activities()] == [
        "Setting desired instance count to 1."
    ]


def test_a_step_policy_acts_when_its_alarm_does_and_within_the_bounds(aws):
    scaled = ScaledEndpoint(aws, most=3)
    steps = [
        {"MetricIntervalLowerBound": 0.0, "MetricIntervalUpperBound": 10.0, "ScalingAdjustment": 1},
        {"MetricIntervalLowerBound": 10.0, "ScalingAdjustment": 5},
    ]
    policy = {
        "PolicyName": "steps",
        "PolicyType": "StepScaling",
        "StepScalingPolicyConfiguration": {
            "AdjustmentType": "ChangeInCapacity",
            "StepAdjustments": steps,
            "MetricAggregationType": "Maximum",
            "Cooldown": 60,
        },
    }
    arn = scaled.scaling.put_scaling_policy(**scaled.target, **policy)["PolicyARN"]
    # The alarm still names the policy after an update of the policy.
    assert scaled.scaling.put_scaling_policy(**scaled.target, **policy)["PolicyARN"] == arn
    alarm = f"{scaled.name}-queue"
    scaled.put_metric(25.0, 2)
    aws.cloudwatch.put_metric_alarm(
        AlarmName=alarm,
        Namespace=NAMESPACE,
        MetricName="Queue",
        Dimensions=[{"Name": "Endpoint", "Value": scaled.name}],
        Statistic="Average",
        Period=60,
        EvaluationPeriods=1,
        Threshold=5.0,
        ComparisonOperator="GreaterThanThreshold",
        AlarmActions=[arn],
    )
    scaled.wait_for(3)

    def actions():
        history = aws.cloudwatch.describe_alarm_history(AlarmName=alarm, HistoryItemType="Action")
        return history["AlarmHistoryItems"]

    wait_until(actions, lambda: "no action")  # written once the endpoint has its new capacity
    assert actions()[-1]["HistorySummary"] == f"Successfully executed action {arn}"
    aws.cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="OK", StateReason="test")
    aws.cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="test")
    found = scaled.wait_for_activity(IncludeNotScaledActivities=True)
    assert scaled.counts() == (3, 3)
    wait_until(
        lambda: "NotScaledReasons" in scaled.activities(IncludeNotScaledActivities=True)[0],
        lambda: found,
    )
    assert scaled.activities(IncludeNotScaledActivities=True)[0]["NotScaledReasons"] == [
        {"Code": "AlreadyAtMaxCapacity", "MaxCapacity": 3, "CurrentCapacity": 3}
    ]
    assert len(scaled.activities()) == 1


def schedule_soon(scaled, **bounds):
    """Schedule new bounds for a moment that is still to come when the service has stored them."""
    at = datetime.now(UTC)
    while at <= datetime.now(UTC):
        at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
        try:
            scaled.scaling.put_scheduled_action(
                **scaled.target,
                ScheduledActionName="morning",
                Schedule=f"at({at:%Y-%m-%dT%H:%M:%S})",
                ScalableTargetAction=bounds,
            )
        except ClientError as err:
            assert "is in the past" in str(err)  # noqa: PT017  it took longer to arrive


def test_a_suspended_target_waits_and_a_scheduled_action_sets_bounds(aws):
    scaled = ScaledEndpoint(aws)
    scaled.register(SuspendedState={"DynamicScalingOutSuspended": True})
    scaled.put_metric(40.0, 3)
    scaled.track()
    schedule_soon(scaled, MinCapacity=2)
    scaled.wait_for(2)
    found = [(one["Description"], one["Cause"]) for one in scaled.activities()]
    assert found == [
        ("Setting desired instance count to 2.", "minimum capacity was set to 2"),
        ("Setting min capacity to 2", "scheduled action name morning was triggered"),
    ]


def test_a_deleted_endpoint_is_no_longer_registered(aws):
    """Also if it is deleted before the scaler has ever looked at it."""
    scaled = ScaledEndpoint(aws)
    asked = {"ServiceNamespace": "sagemaker", "ResourceIds": [scaled.target["ResourceId"]]}
    wait_until(
        lambda: scaled.scaling.describe_scalable_targets(**asked)["ScalableTargets"], lambda: asked
    )
    aws.sagemaker.delete_endpoint(EndpointName=scaled.name)
    wait_until(
        lambda: not scaled.scaling.describe_scalable_targets(**asked)["ScalableTargets"],
        lambda: "still registered",
    )
