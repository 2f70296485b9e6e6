"""What IAM is asked when a client calls AWS: actions, resources and condition keys.

An action is mostly called as its operation is; where it is not, and which further actions a call
takes, is from AWS's service authorization reference.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from botocore.client import BaseClient

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCOUNT, REGION = "123456789012", "us-east-1"
SAGEMAKER = {"iam:PassedToService": "sagemaker.amazonaws.com"}
SCHEDULER = {"iam:PassedToService": "scheduler.amazonaws.com"}
OWN_BUCKET = {"s3:ResourceAccount": ACCOUNT}

ACTION_OF_CALL = {
    "s3:HeadBucket": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:ListObjectVersions": "s3:ListBucketVersions",
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
    "s3:CreateMultipartUpload": "s3:PutObject",
    "s3:UploadPart": "s3:PutObject",
    "s3:CompleteMultipartUpload": "s3:PutObject",
    "budgets:CreateBudget": "budgets:ModifyBudget",
    "budgets:DeleteBudget": "budgets:ModifyBudget",
    "budgets:DescribeBudget": "budgets:ViewBudget",
}
SERVICES = {"monitoring": "cloudwatch"}
TAGGING = {
    "sagemaker": "sagemaker:AddTags",
    "iam": "iam:TagRole",
    "ecr": "ecr:TagResource",
    "logs": "logs:TagResource",
    "cloudwatch": "cloudwatch:TagResource",
    "sns": "sns:TagResource",
    "budgets": "budgets:TagResource",
    "application-autoscaling": "application-autoscaling:TagResource",
}
"""What a call that creates something with tags takes besides."""
WITHOUT_RESOURCE = frozenset(
    {
        *("sns:Unsubscribe", "sns:GetSubscriptionAttributes", "logs:DescribeLogGroups"),
        *("cloudwatch:DescribeAlarms", "cloudwatch:GetMetricStatistics"),
    }
)
"""Actions that IAM knows no resource of, although their parameters name one."""


@dataclass(frozen=True)
class IamRequest:
    """One question to IAM.

    Attributes:
        action: For example ``s3:GetObject``.
        resource: ARN, or ``*``.
        context: Condition keys and their values.
    """

    action: str
    resource: str
    context: tuple[tuple[str, str | tuple[str, ...]], ...] = ()

    @classmethod
    def of(cls, action: str, resource: str = "*", context: dict[str, Any] | None = None):
        frozen = {key: tuple(v) if isinstance(v, list) else v for key, v in (context or {}).items()}
        return cls(action, resource, tuple(sorted(frozen.items())))

    def replaced(self, old: str, new: str) -> IamRequest:
        """Return the same question about resources of another name."""
        return IamRequest(self.action, self.resource.replace(old, new), self.context)


def arn(service: str, name: str, region: str = REGION, account: str = ACCOUNT) -> str:
    return f"arn:aws:{service}:{region}:{account}:{name}"


def role_arn(name: str) -> str:
    return arn("iam", f"role/{name}", region="")


@dataclass
class CallRecorder:
    """What IAM was asked for every call that clients of this process made.

    Attributes:
        requests: Each question once.
    """

    requests: set[IamRequest] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._boundaries: dict[str, str | None] = {}
        self._lock = threading.Lock()

    def note(self, service: str, operation: str, given: dict[str, Any]) -> None:
        service = SERVICES.get(service, service)
        with self._lock:
            self.requests |= set(self._questions(service, operation, given))

    def _questions(self, service: str, operation: str, given: dict) -> Iterator[IamRequest]:
        call = f"{service}:{operation}"
        if call == "s3:DeleteObjects":
            objects = given["Delete"]["Objects"]
            for one in objects:
                action = "s3:DeleteObjectVersion" if "VersionId" in one else "s3:DeleteObject"
                yield IamRequest.of(
                    action, f"arn:aws:s3:::{given['Bucket']}/{one['Key']}", OWN_BUCKET
                )
            return
        action = ACTION_OF_CALL.get(call, call)
        context = self._context(service, operation, given)
        resources = ["*"] if action in WITHOUT_RESOURCE else _resources(service, operation, given)
        for resource in resources:
            yield IamRequest.of(action, resource, context)
        tags = given.get("Tags") or given.get("tags") or given.get("ResourceTags")
        if operation.startswith(("Create", "Put", "Register")) and tags and service in TAGGING:
            yield from (IamRequest.of(TAGGING[service], one) for one in resources)
        if operation == "CreateModel":
            yield IamRequest.of("iam:PassRole", given["ExecutionRoleArn"], SAGEMAKER)
        if operation in {"CreateSchedule", "UpdateSchedule"}:
            yield IamRequest.of("iam:PassRole", given["Target"]["RoleArn"], SCHEDULER)
        yield from _keys_of(service, operation, given)

    def _context(self, service: str, operation: str, given: dict) -> dict[str, Any]:
        if service == "s3":
            # Before there is a bucket it has no account.
            return {} if operation == "CreateBucket" else OWN_BUCKET
        if service == "application-autoscaling" and "tag" not in operation.lower():
            return {"application-autoscaling:service-namespace": given["ServiceNamespace"]}
        if operation == "PutMetricAlarm":
            return {"cloudwatch:AlarmActions": list(given.get("AlarmActions", []))}
        if operation == "Subscribe":
            return {"sns:Protocol": given["Protocol"]}
        if operation == "CreateRole":
            self._boundaries[given["RoleName"]] = given.get("PermissionsBoundary")
        if operation in {"CreateRole", "PutRolePolicy", "DeleteRolePolicy"}:
            boundary = self._boundaries.get(given["RoleName"])
            return {"iam:PermissionsBoundary": boundary} if boundary else {}
        return {}


@contextmanager
def recorded_calls() -> Iterator[CallRecorder]:
    """Record what is called while the block lasts, by whatever client in this process."""
    recorder = CallRecorder()
    plain = BaseClient._make_api_call

    def noting(self, operation, given):
        recorder.note(self.meta.service_model.signing_name, operation, given)
        return plain(self, operation, given)

    with patch.object(BaseClient, "_make_api_call", noting):
        yield recorder


def _resources(service: str, operation: str, given: dict) -> list[str]:
    """Return the ARNs that IAM would ask about."""
    if service == "s3":
        key = f"/{given['Key']}" if "Key" in given else ""
        return [f"arn:aws:s3:::{given['Bucket']}{key}"]
    if service == "application-autoscaling" and not operation.startswith("Describe"):
        return [arn(service, "scalable-target/0f1e2d3c")]
    if service == "scheduler":
        return [arn(service, f"schedule/{given['GroupName']}/{given['Name']}")]
    for key in ("ResourceArn", "resourceArn", "ResourceARN", "TopicArn", "PolicyArn"):
        if key in given:
            return [given[key]]
    named = {
        "EndpointName": lambda name: arn("sagemaker", f"endpoint/{name}"),
        "EndpointConfigName": lambda name: arn("sagemaker", f"endpoint-config/{name}"),
        "ModelName": lambda name: arn("sagemaker", f"model/{name}"),
        "RoleName": role_arn,
        "repositoryName": lambda name: arn("ecr", f"repository/{name}"),
        "repositoryNames": lambda names: arn("ecr", f"repository/{names[0]}"),
        "logGroupName": lambda name: arn("logs", f"log-group:{name}"),
        "AlarmName": lambda name: arn("cloudwatch", f"alarm:{name}"),
        "AlarmNames": lambda names: arn("cloudwatch", f"alarm:{names[0]}"),
        "DashboardName": lambda name: arn("cloudwatch", f"dashboard/{name}", region=""),
        "DashboardNames": lambda names: arn("cloudwatch", f"dashboard/{names[0]}", region=""),
        "BudgetName": lambda name: arn("budgets", f"budget/{name}", region=""),
        "Budget": lambda budget: arn("budgets", f"budget/{budget['BudgetName']}", region=""),
        "Name": lambda name: arn("sns", name),
    }
    # Creating an endpoint, or giving it another configuration, asks about both.
    return [made(given[key]) for key, made in named.items() if key in given] or ["*"]


def _keys_of(service: str, operation: str, given: dict) -> Iterator[IamRequest]:
    """Yield what a call takes of a key, which AWS asks about in the caller's name.

    Sources: "Encryption at rest" in the ECR user guide; "API permissions reference" in SageMaker's
    developer guide (CreateEndpoint needs kms:CreateGrant where the configuration names a key).
    """
    if operation == "CreateRepository" and "kmsKey" in given.get("encryptionConfiguration", {}):
        key = given["encryptionConfiguration"]["kmsKey"]
        yield IamRequest.of("kms:DescribeKey", key)
        yield IamRequest.of("kms:CreateGrant", key, via("ecr"))
        yield IamRequest.of("kms:RetireGrant", key)
    if operation == "CreateEndpointConfig" and "KmsKeyId" in given:
        yield IamRequest.of("kms:CreateGrant", given["KmsKeyId"], via("sagemaker"))
    if operation == "PutBucketEncryption":
        for rule in given["ServerSideEncryptionConfiguration"]["Rules"]:
            key = rule["ApplyServerSideEncryptionByDefault"].get("KMSMasterKeyID")
            if key:  # whoever uploads an archive then needs it; in parts, also to read them
                yield IamRequest.of("kms:GenerateDataKey", key, via("s3"))
                yield IamRequest.of("kms:Decrypt", key, via("s3"))


def via(service: str) -> dict[str, str]:
    return {"kms:ViaService": f"{service}.{REGION}.amazonaws.com"}
