"""The module asynchronous-endpoint on the local service: applied, used and destroyed."""

import json

from local_aws import client, until
from terraform import INFRASTRUCTURE, Terraform

TRUST = {"Effect": "Allow", "Action": "sts:AssumeRole"}
TRUST["Principal"] = {"Service": "sagemaker.amazonaws.com"}
SERVING = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": "arn:aws:s3:::models/*"}


def policy(statement):
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def test_an_asynchronous_endpoint_answers_notifies_and_scales_from_zero(aws, provider, tmp_path):
    iam = client("iam", aws.url)
    role = iam.create_role(RoleName="archive", AssumeRolePolicyDocument=policy(TRUST))["Role"]
    iam.put_role_policy(RoleName="archive", PolicyName="p", PolicyDocument=policy(SERVING))
    container = {"Image": "drdeploy:lean", "ModelDataUrl": aws.put_archive()}
    aws.sagemaker.create_model(
        ModelName="archive", ExecutionRoleArn=role["Arn"], PrimaryContainer=container
    )
    values = {
        "name": "archive",
        "model_name": "archive",
        "execution_role_name": "archive",
        "instance_type": "ml.m5.large",
        "bucket_name": "archive-results",
        "force_destroy": True,
        "max_concurrent_invocations_per_instance": 2,
    }
    folder = INFRASTRUCTURE / "modules" / "asynchronous-endpoint"
    terraform = Terraform(folder, tmp_path, provider, values).init()
    made = terraform.apply()
    try:
        aws.s3.put_object(Bucket="archive-results", Key="asynchronous/inputs/1.jpg", Body=b"eye")
        answer = aws.runtime.invoke_endpoint_async(
            EndpointName="archive", InputLocation=f"{made['inputs_uri']}1.jpg"
        )
        assert answer["OutputLocation"].startswith(made["results_uri"])
        key = answer["OutputLocation"].removeprefix("s3://archive-results/")
        until(lambda: find(aws, key))
        scaling = client("application-autoscaling", aws.url)
        variant = "endpoint/archive/variant/AllTraffic"
        target = scaling.describe_scalable_targets(
            ServiceNamespace="sagemaker", ResourceIds=[variant]
        )
        assert [one["MinCapacity"] for one in target["ScalableTargets"]] == [0]
        policies = scaling.describe_scaling_policies(
            ServiceNamespace="sagemaker", ResourceId=variant
        )
        kinds = {one["PolicyType"] for one in policies["ScalingPolicies"]}
        assert kinds == {"StepScaling", "TargetTrackingScaling"}
        (alarm,) = aws.cloudwatch.describe_alarms(AlarmNames=["archive-waiting-without-instances"])[
            "MetricAlarms"
        ]
        assert alarm["AlarmActions"][0].endswith("policyName/archive-wake")
        assert set(made["topic_arns"]) == {"completed", "failed"}
        planned = terraform.with_values("plan", "-detailed-exitcode", check=False)
        assert planned.returncode == 0, planned.stdout
    finally:
        terraform.destroy()
    assert not aws.sagemaker.list_endpoints(NameContains="archive")["Endpoints"]


def find(aws, key):
    return "Contents" in aws.s3.list_objects_v2(Bucket="archive-results", Prefix=key)
