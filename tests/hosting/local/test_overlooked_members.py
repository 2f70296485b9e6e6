"""Members that moto overlooks are refused by name, and values that moto fails with are refused."""

import base64
import hashlib
import importlib
import inspect
import io
import json
import re
import zlib
from email.message import Message

import pytest
from botocore.exceptions import ClientError
from local_aws import client

from drdeploy.hosting.local.api.overlooked_members import OVERLOOKED, refuse_overlooked_members
from drdeploy.hosting.local.api.request_validation import load_service_model
from drdeploy.hosting.local.api_errors import ApiError
from drdeploy.hosting.local.http_server import ServiceRequest

RESPONSES = {
    "budgets": "BudgetsResponse",
    "ecr": "ECRResponse",
    "iam": "IamResponse",
    "kms": "KmsResponse",
    "scheduler": "EventBridgeSchedulerResponse",
    "sns": "SNSResponse",
    "sqs": "SQSResponse",
    "sts": "TokenResponse",
}
PAGES = {"Limit", "Marker", "MaxItems", "MaxResults", "NextToken", "maxResults", "nextToken"}
"""moto answers these lists whole."""
HARMLESS = {
    # moto reads them in a function that all operations share.
    ("kms", "KeyId"), ("kms", "AliasName"), ("kms", "TargetKeyId"), ("kms", "KeySpec"),
    ("kms", "EncryptionContext"), ("kms", "NumberOfBytes"), ("sqs", "QueueUrl"),
    # A request that is repeated is refused where it would do something twice.
    ("scheduler", "ClientToken"), ("sqs", "ReceiveRequestAttemptId"),
    # They give rights, or keep somebody from losing them, where everybody has all.
    ("kms", "GrantTokens"), ("kms", "BypassPolicyLockoutSafetyCheck"), ("sts", "WebIdentityToken"),
    # There is one algorithm for the symmetric keys that encrypt here.
    ("kms", "EncryptionAlgorithm"), ("kms", "SourceEncryptionAlgorithm"),
    ("kms", "DestinationEncryptionAlgorithm"),
    # There is one registry, and every layer and manifest has one form.
    ("ecr", "registryId"), ("ecr", "repositoryName"), ("ecr", "layerDigest"),
    ("ecr", "acceptedMediaTypes"),
    # Each subscription is confirmed, and its ARN is answered at once.
    ("sns", "ReturnSubscriptionArn"),
    # A role is deleted at once, so that every task has succeeded.
    ("iam", "DeletionTaskId"),
    # No schedule is carried out.
    ("scheduler", "ActionAfterCompletion"),
}  # fmt: skip
"""Members that moto's code does not name, and that change nothing here."""


def snake(name):
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


@pytest.mark.parametrize("service", RESPONSES)
def test_every_member_of_the_model_is_read_refused_or_known_to_be_harmless(service):
    responses = getattr(importlib.import_module(f"moto.{service}.responses"), RESPONSES[service])
    model = load_service_model(service)
    undecided = []
    for operation in model.operation_names:
        method = getattr(responses, snake(operation), None)
        shape = model.operation_model(operation).input_shape
        if (
            method is None
            or shape is None
            or not inspect.getmodule(method).__name__.startswith("moto")
        ):
            continue  # nobody answers it, or the service does by itself
        code = inspect.getsource(method)
        undecided += [
            (operation, member)
            for member in shape.members
            if member not in code
            and snake(member) not in code
            and member not in PAGES
            and (service, member) not in HARMLESS
            and member not in OVERLOOKED[service].get(operation, ())
        ]
    assert undecided == []


def test_every_overlooked_member_is_one_of_the_model():
    for service, operations in OVERLOOKED.items():
        model = load_service_model(service)
        for operation, members in operations.items():
            known = {*model.operation_model(operation).input_shape.members}
            # What restricts a session is one set for all operations that begin one.
            assert members <= known or (service == "sts" and members & known)


def refused(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]


@pytest.mark.parametrize(
    ("service_name", "operation", "arguments", "member"),
    [
        ("kms", "revoke_grant", {"KeyId": "k", "GrantId": "g", "DryRun": True}, "DryRun"),
        ("iam", "create_user", {"UserName": "u", "PermissionsBoundary": "a" * 20}, "Boundary"),
        ("sns", "create_topic", {"Name": "t", "DataProtectionPolicy": "{}"}, "DataProtection"),
        ("sts", "assume_role", {"RoleArn": "arn:aws:iam::123456789012:role/r",
            "RoleSessionName": "me", "TokenCode": "123456"}, "TokenCode"),
        ("s3", "put_object", {"Bucket": "models", "Key": "k", "SSECustomerAlgorithm": "AES256",
            "SSECustomerKey": "k" * 32}, "customer-algorithm"),
        ("s3", "delete_object", {"Bucket": "models", "Key": "k", "MFA": "1 2"}, "x-amz-mfa"),
    ],
    ids=lambda value: value if isinstance(value, str) and "_" in value else "",
)  # fmt: skip
def test_an_overlooked_member_is_refused_by_its_name(
    aws, service_name, operation, arguments, member
):
    call = getattr(client(service_name, aws.url), operation)
    status, error = refused(call, **arguments)
    assert 400 <= status < 500
    assert "does not serve" in error["Message"]
    assert member in error["Message"]


@pytest.mark.parametrize("filler", ["", "Tags.member.1.Value=" + "x" * (2 << 20) + "&"])
@pytest.mark.parametrize("place", ["query", "form"])
def test_an_overlooked_member_is_found_wherever_moto_reads_members(place, filler):
    text = f"Action=CreateUser&UserName=u&{filler}PermissionsBoundary=arn"
    headers = Message()
    headers["Content-Type"] = "application/x-www-form-urlencoded; charset=utf-8"
    body = text.encode() if place == "form" else b""
    target = f"/?{text}" if place == "query" else "/"
    request = ServiceRequest("POST", target, headers, io.BytesIO(body), len(body))
    with pytest.raises(ApiError, match="PermissionsBoundary of CreateUser"):
        refuse_overlooked_members("iam", request)
    assert request.body.read() == body


def test_an_action_in_a_query_string_is_refused_like_one_in_a_form(aws):
    made = client("iam", aws.url)
    made.meta.events.register("before-sign.iam.CreateUser", move_form_to_query)
    status, error = refused(made.create_user, UserName="u", PermissionsBoundary="a" * 20)
    assert 400 <= status < 500
    assert "PermissionsBoundary of CreateUser" in error["Message"]


def move_form_to_query(request, **_):
    request.method = "GET"
    request.params, request.data = dict(request.data), {}


@pytest.mark.parametrize(
    "member", [{"Tags": [{"Key": "team", "Value": "eyes"}]}, {"TransitiveTagKeys": ["team"]}]
)
def test_session_tags_are_refused_with_what_to_do_instead(aws, member):
    sts = client("sts", aws.url)
    role = "arn:aws:iam::123456789012:role/r"
    status, error = refused(sts.assume_role, RoleArn=role, RoleSessionName="me", **member)
    assert status == 400
    assert f"{next(iter(member))} of AssumeRole. Leave this value out" in error["Message"]
    assert "iam:SimulateCustomPolicy" in error["Message"]


def test_a_member_that_asks_for_nothing_is_accepted(aws):
    kms = client("kms", aws.url)
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    assert kms.encrypt(KeyId=key, Plaintext=b"x", DryRun=False)["CiphertextBlob"]


def test_a_queue_is_found_by_the_only_account_there_is():
    def ask(account):
        body = json.dumps({"QueueName": "q", "QueueOwnerAWSAccountId": account}).encode()
        headers = Message()
        headers["X-Amz-Target"] = "AmazonSQS.GetQueueUrl"
        request = ServiceRequest("POST", "/", headers, io.BytesIO(body), len(body))
        refuse_overlooked_members("sqs", request)

    ask("123456789012")
    with pytest.raises(ApiError, match="QueueOwnerAWSAccountId of GetQueueUrl"):
        ask("210987654321")


def test_a_bucket_of_another_owner_is_not_written_to(aws):
    aws.put_archive()
    status, error = refused(
        aws.s3.put_object, Bucket="models", Key="k", Body=b"", ExpectedBucketOwner="210987654321"
    )
    assert (status, error["Code"]) == (403, "AccessDenied")
    aws.s3.put_object(Bucket="models", Key="k", Body=b"", ExpectedBucketOwner="123456789012")


@pytest.mark.parametrize(
    ("service_name", "operation", "arguments", "code"),
    [
        ("sns", "get_topic_attributes", {"TopicArn": "none"}, "ValidationError"),
        ("sns", "list_topics", {"NextToken": "[1]"}, "ValidationError"),
        ("kms", "retire_grant", {}, "ValidationException"),
        ("kms", "generate_random", {}, "ValidationException"),
        ("budgets", "describe_notifications_for_budget",
            {"AccountId": "123456789012", "BudgetName": "none"}, "ValidationException"),
        ("scheduler", "delete_schedule_group", {"Name": "none"}, "ValidationException"),
        ("iam", "create_service_linked_role", {"AWSServiceName": "/x"}, "ValidationError"),
    ],
    ids=lambda value: value if isinstance(value, str) and "_" in value else "",
)  # fmt: skip
def test_values_that_moto_fails_with_are_refused_and_no_failure_of_the_service(
    aws, service_name, operation, arguments, code
):
    status, error = refused(getattr(client(service_name, aws.url), operation), **arguments)
    assert 400 <= status < 500
    assert error["Message"]
    if "cannot carry out" in error["Message"]:
        assert error["Code"].startswith(code)


def test_a_registry_without_rules_of_scanning_takes_repositories(aws):
    ecr = client("ecr", aws.url)
    answer = ecr.put_registry_scanning_configuration(scanType="BASIC")
    assert answer["registryScanningConfiguration"]["scanType"] == "BASIC"
    assert ecr.create_repository(repositoryName=aws.name())["repository"]["repositoryArn"]


def encode(digest):
    return base64.b64encode(digest).decode()


@pytest.mark.parametrize(
    ("stated", "code"),
    [
        ({"ContentMD5": encode(hashlib.md5(b"other").digest())}, "BadDigest"),
        ({"ContentMD5": "no"}, "InvalidDigest"),
        ({"ChecksumSHA256": encode(hashlib.sha256(b"other").digest())}, "BadDigest"),
        ({"ChecksumSHA1": encode(hashlib.sha1(b"other").digest())}, "BadDigest"),
        ({"ChecksumCRC32": encode(zlib.crc32(b"other").to_bytes(4))}, "BadDigest"),
        ({"SSEKMSKeyId": "no-key", "ServerSideEncryption": "aws:kms"}, "KMS.NotFoundException"),
    ],
)
def test_a_damaged_object_and_a_key_that_is_none_are_refused(aws, stated, code):
    aws.put_archive()
    status, error = refused(aws.s3.put_object, Bucket="models", Key="bad", Body=b"x", **stated)
    assert (status, error["Code"]) == (400, code)
    assert "bad" not in [one["Key"] for one in aws.s3.list_objects(Bucket="models")["Contents"]]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("disable_key", "KMS.DisabledException"),
        ("schedule_key_deletion", "KMS.KMSInvalidStateException"),
    ],
)
def test_an_object_is_not_encrypted_with_a_key_that_kms_would_not_use(aws, change, code):
    aws.put_archive()
    kms = client("kms", aws.url)
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    getattr(kms, change)(KeyId=key)
    encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key}
    status, error = refused(aws.s3.put_object, Bucket="models", Key="no", Body=b"x", **encryption)
    assert (status, error["Code"]) == (400, code)


def test_an_object_with_its_digests_is_stored(aws):
    aws.put_archive()
    key = client("kms", aws.url).create_key()["KeyMetadata"]["KeyId"]
    aws.s3.put_object(
        Bucket="models", Key="whole", Body=b"x", ContentMD5=encode(hashlib.md5(b"x").digest()),
        ChecksumSHA256=encode(hashlib.sha256(b"x").digest()),
        ServerSideEncryption="aws:kms", SSEKMSKeyId=key,
    )  # fmt: skip
    assert aws.s3.get_object(Bucket="models", Key="whole")["Body"].read() == b"x"


def test_a_character_that_xml_cannot_hold_is_refused_and_lists_stay_readable(aws):
    iam = client("iam", aws.url, parameter_validation=False)
    status, error = refused(iam.create_instance_profile, InstanceProfileName="a\0b")
    assert (status, error["Code"]) == (400, "ValidationError")
    assert r"'\x00'" in error["Message"]
    assert iam.list_instance_profiles()["InstanceProfiles"] == []
