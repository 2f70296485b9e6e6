"""What the two policies grant is what the calls need, and nothing beyond."""

import json
import re

import boto3
import pytest
from local_aws import archive as small_archive
from local_aws import client
from terraform import INFRASTRUCTURE, Terraform, realtime, serverless

from drdeploy.hosting.local.endpoints.iam_policies import allows

ACCOUNT, REGION = "123456789012", "us-east-1"
PREFIX = "dr-may"
BUCKET = f"{PREFIX}-artifacts-{ACCOUNT}-{REGION}"

ACTION_OF_CALL = {
    "s3:CreateBucket": "s3:CreateBucket",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:ListObjectVersions": "s3:ListBucketVersions",
    "s3:DeleteObjects": "s3:DeleteObjectVersion",
    "s3:DeleteBucketTagging": "s3:PutBucketTagging",
    "s3:PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "s3:GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "s3:DeletePublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "s3:PutBucketEncryption": "s3:PutEncryptionConfiguration",
    "s3:GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "s3:DeleteBucketEncryption": "s3:PutEncryptionConfiguration",
    "s3:PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
    "s3:GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "s3:DeleteBucketLifecycle": "s3:PutLifecycleConfiguration",
    "s3:DeleteBucketOwnershipControls": "s3:PutBucketOwnershipControls",
    "monitoring:PutMetricAlarm": "cloudwatch:PutMetricAlarm",
    "budgets:CreateBudget": "budgets:ModifyBudget",
    "budgets:DeleteBudget": "budgets:ModifyBudget",
    "budgets:DescribeBudget": "budgets:ViewBudget",
}
"""Where an action is not called as its operation is (service authorization reference)."""


def arn(service: str, name: str, region: str = REGION, account: str = ACCOUNT) -> str:
    return f"arn:aws:{service}:{region}:{account}:{name}"


def resource_of(service: str, operation: str, given: dict) -> str:
    """The ARN that IAM would ask about."""
    if service == "s3":
        key = f"/{given['Key']}" if "Key" in given else "/x" if "Objects" in str(given) else ""
        return f"arn:aws:s3:::{given['Bucket']}{key}"
    for key in ("ResourceArn", "resourceArn", "ResourceARN", "TopicArn"):
        if key in given:
            return given[key]
    named = {
        "EndpointName": lambda name: arn("sagemaker", f"endpoint/{name}"),
        "EndpointConfigName": lambda name: arn("sagemaker", f"endpoint-config/{name}"),
        "ModelName": lambda name: arn("sagemaker", f"model/{name}"),
        "RoleName": lambda name: f"arn:aws:iam::{ACCOUNT}:role/{name}",
        "repositoryName": lambda name: arn("ecr", f"repository/{name}"),
        "repositoryNames": lambda names: arn("ecr", f"repository/{names[0]}"),
        "logGroupName": lambda name: arn("logs", f"log-group:{name}"),
        "AlarmName": lambda name: arn("cloudwatch", f"alarm:{name}"),
        "DashboardName": lambda name: arn("cloudwatch", f"dashboard/{name}", region=""),
        "DashboardNames": lambda names: arn("cloudwatch", f"dashboard/{names[0]}", region=""),
        "BudgetName": lambda name: arn("budgets", f"budget/{name}", region=""),
        "Budget": lambda budget: arn("budgets", f"budget/{budget['BudgetName']}", region=""),
        "Name": lambda name: arn("sns", name),
        "SubscriptionArn": str,
    }
    if operation == "DeleteAlarms":
        return arn("cloudwatch", f"alarm:{given['AlarmNames'][0]}")
    return next((made(given[key]) for key, made in named.items() if key in given), "*")


class Calls:
    """Every call that clients of this process make while the context lasts."""

    def __init__(self) -> None:
        self.needs: set[tuple[str, str]] = set()
        self._session = boto3.Session()

    def __enter__(self):
        self._before = boto3.DEFAULT_SESSION
        boto3.DEFAULT_SESSION = self._session
        self._session.events.register("provide-client-params.*.*", self._note)
        return self

    def __exit__(self, *_: object) -> None:
        boto3.DEFAULT_SESSION = self._before

    def _note(self, params: dict, model, **_: object) -> None:
        service = model.service_model.signing_name
        prefix = {"monitoring": "cloudwatch"}.get(service, service)
        call = f"{prefix}:{model.name}"
        resource = resource_of(service, model.name, params)
        self.needs.add((ACTION_OF_CALL.get(call, call), resource))


@pytest.fixture(scope="module")
def deployer(provider, tmp_path_factory) -> str:
    """The deployer's policy as the real terraform writes it."""
    folder = tmp_path_factory.mktemp("deployer")
    module = INFRASTRUCTURE / "modules" / "deployer-policy"
    terraform = Terraform(module, folder, provider, {"name_prefix": PREFIX}).init()
    text = terraform.apply()["policy_json"]
    terraform.destroy()
    return text


def test_a_deployer_may_do_every_call_of_a_study(environment, service, aws, deployer):
    with Calls() as calls:  # before the provider makes its first client
        from aws_provider import provider_of

        with provider_of(endpoint_url=service.url) as own:
            study = environment("study", name_prefix=PREFIX, allow_always_on=True)
            study.provider = own
            study.apply()
            made = {
                "image_uri": "registry.example/drdeploy:lean@sha256:" + "a" * 64,
                **uploaded(aws, BUCKET),
            }
            study.values |= {
                "models": {"mobilenet": made},
                "endpoints": {
                    "small": serverless(
                        max_concurrency=2,
                        provisioned_concurrency=1,
                        provisioned_scaling={"min_capacity": 1, "max_capacity": 2}
                        | {"target_utilization": 0.5},
                    ),
                    "big": realtime(),
                },
                "create_alarms": True,
                "alarm_email": "clinic@example.org",
                "monthly_budget_usd": 20,
            }
            study.apply()
            study.values["models"]["mobilenet"]["image_uri"] = made["image_uri"].replace("aa", "bb")
            study.values["tags"] = {"clinic": "one"}
            study.apply()
            study.destroy()
    assert len(calls.needs) > 60
    sagemaker_only = {"application-autoscaling:service-namespace": "sagemaker"}
    refused = [need for need in calls.needs if not allows([deployer], *need, sagemaker_only)]
    assert sorted(refused) == []


def uploaded(aws, bucket: str, folder: str = "artifacts") -> dict:
    data, sha256 = small_archive(), "c" * 64
    key = f"{folder}/{sha256[:16]}/model.tar.gz"
    aws.s3.put_object(Bucket=bucket, Key=key, Body=data)
    return {"model_data_url": f"s3://{bucket}/{key}", "model_data_sha256": sha256}


ROLE = f"arn:aws:iam::{ACCOUNT}:role/{PREFIX}-execution-us-east-1"
SCALER = "sagemaker.application-autoscaling.amazonaws.com"
TO_SAGEMAKER = {"iam:PassedToService": "sagemaker.amazonaws.com"}


@pytest.mark.parametrize(
    ("action", "resource", "context"),
    [
        ("sagemaker:InvokeEndpoint", arn("sagemaker", f"endpoint/{PREFIX}-small"), {}),
        ("sagemaker:ListEndpoints", "*", {}),
        ("cloudwatch:GetMetricStatistics", "*", {}),
        ("s3:PutObject", f"arn:aws:s3:::{BUCKET}/artifacts/0/model.tar.gz", {}),
        ("ecr:GetAuthorizationToken", "*", {}),
        ("ecr:UploadLayerPart", arn("ecr", f"repository/{PREFIX}/drdeploy"), {}),
        ("ecr:PutImage", arn("ecr", f"repository/{PREFIX}/drdeploy"), {}),
        ("iam:PassRole", ROLE, TO_SAGEMAKER),
        (
            "cloudwatch:PutMetricAlarm",
            arn("cloudwatch", f"alarm:TargetTracking-endpoint/{PREFIX}-small/variant/AllTraffic-1"),
            {},
        ),
        (
            "iam:CreateServiceLinkedRole",
            f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/{SCALER}/AWSServiceRoleFor",
            {"iam:AWSServiceName": SCALER},
        ),
    ],
)
def test_a_deployer_may_also(deployer, action, resource, context):
    assert allows([deployer], action, resource, context)


@pytest.mark.parametrize(
    ("action", "resource", "context"),
    [
        ("sagemaker:DeleteEndpoint", arn("sagemaker", "endpoint/other-small"), {}),
        ("sagemaker:CreateTrainingJob", arn("sagemaker", f"training-job/{PREFIX}"), {}),
        ("sagemaker:CreateNotebookInstance", "*", {}),
        ("s3:GetObject", "arn:aws:s3:::other/artifacts/model.tar.gz", {}),
        ("s3:PutBucketAcl", f"arn:aws:s3:::{BUCKET}", {}),
        ("s3:ListAllMyBuckets", "*", {}),
        ("ecr:PutImage", arn("ecr", "repository/other"), {}),
        ("ecr:SetRepositoryPolicy", arn("ecr", f"repository/{PREFIX}/drdeploy"), {}),
        ("iam:PassRole", ROLE, {"iam:PassedToService": "ec2.amazonaws.com"}),
        ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/admin", TO_SAGEMAKER),
        ("iam:AttachRolePolicy", ROLE, {}),
        ("iam:CreateServiceLinkedRole", "*", {"iam:AWSServiceName": "ec2.amazonaws.com"}),
        ("iam:CreateUser", f"arn:aws:iam::{ACCOUNT}:user/{PREFIX}", {}),
        ("iam:CreateAccessKey", "*", {}),
        ("ec2:RunInstances", "*", {}),
        (
            "application-autoscaling:RegisterScalableTarget",
            "*",
            {"application-autoscaling:service-namespace": "ecs"},
        ),
        ("cloudwatch:PutMetricData", "*", {}),
        ("logs:DeleteLogGroup", arn("logs", "log-group:/aws/sagemaker/Endpoints/other"), {}),
        ("budgets:ModifyBudget", arn("budgets", "budget/other", region=""), {}),
    ],
)
def test_a_deployer_may_not(deployer, action, resource, context):
    assert not allows([deployer], action, resource, context)


@pytest.fixture
def execution(environment, aws):
    """The role's own policy, read back from IAM."""
    study = environment("study", name_prefix=PREFIX)
    name = study.apply()["execution_role_arn"].rpartition("/")[2]
    iam = client("iam", aws.url)
    (policy,) = iam.list_role_policies(RoleName=name)["PolicyNames"]
    found = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
    yield json.dumps(found)
    study.destroy()


LOGS = arn("logs", f"log-group:/aws/sagemaker/Endpoints/{PREFIX}-small")


def test_the_execution_role_may_serve_and_no_more(execution):
    repository = arn("ecr", f"repository/{PREFIX}/drdeploy")
    needed = [
        ("s3:GetObject", f"arn:aws:s3:::{BUCKET}/artifacts/0/model.tar.gz", {}),
        ("s3:ListBucket", f"arn:aws:s3:::{BUCKET}", {"s3:prefix": "artifacts/0"}),
        ("ecr:GetAuthorizationToken", "*", {}),
        ("ecr:BatchGetImage", repository, {}),
        ("ecr:BatchCheckLayerAvailability", repository, {}),
        ("ecr:GetDownloadUrlForLayer", repository, {}),
        ("logs:CreateLogStream", LOGS, {}),
        ("logs:PutLogEvents", f"{LOGS}:log-stream:AllTraffic/1", {}),
        ("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "AWS/SageMaker"}),
    ]
    assert [need for need in needed if not allows([execution], *need)] == []
    beyond = [
        ("s3:PutObject", f"arn:aws:s3:::{BUCKET}/artifacts/0/model.tar.gz", {}),
        ("s3:DeleteObject", f"arn:aws:s3:::{BUCKET}/artifacts/0/model.tar.gz", {}),
        ("s3:GetObject", f"arn:aws:s3:::{BUCKET}/patients/1.jpg", {}),
        ("s3:GetObject", "arn:aws:s3:::other/artifacts/0/model.tar.gz", {}),
        ("s3:ListBucket", f"arn:aws:s3:::{BUCKET}", {"s3:prefix": "patients/"}),
        ("ecr:BatchGetImage", arn("ecr", "repository/other"), {}),
        ("ecr:PutImage", repository, {}),
        ("logs:PutLogEvents", arn("logs", "log-group:/aws/lambda/x:log-stream:y"), {}),
        ("logs:DeleteLogGroup", LOGS, {}),
        ("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "AWS/Billing"}),
        ("cloudwatch:PutMetricData", "*", {}),
        ("sagemaker:InvokeEndpoint", arn("sagemaker", f"endpoint/{PREFIX}-small"), {}),
        ("ec2:CreateNetworkInterface", "*", {}),
        ("kms:Decrypt", arn("kms", "key/abc"), {}),
        ("iam:PassRole", "*", {}),
        ("sts:AssumeRole", "*", {}),
    ]
    assert [need for need in beyond if allows([execution], *need)] == []


def test_an_archive_that_the_role_may_not_read_fails_the_endpoint(environment, aws):
    """The local service asks the role's policy, as SageMaker does."""
    single = environment("single-endpoint", name_prefix=PREFIX)
    single.apply()
    aws.s3.create_bucket(Bucket="another-team")
    single.values |= {
        "model": {
            "image_uri": "registry.example/drdeploy:lean@sha256:" + "a" * 64,
            **uploaded(aws, "another-team"),
        },
        "endpoint": {"kind": "serverless", "memory_mb": 1024},
    }
    done = single.with_values("apply", "-auto-approve", check=False)
    message = re.sub(r"\s+", " ", done.stderr)
    assert done.returncode == 1
    assert "does not have s3:GetObject permission for the model data" in message
    single.values["model"] |= uploaded(aws, BUCKET, "artifacts")
    single.apply()
    single.destroy()
