"""S3, ECR, IAM and STS answer on the same port."""

import io
import urllib.request

import pytest
from local_aws import client, refused


def test_sts_reports_the_account(aws):
    identity = client("sts", aws.url).get_caller_identity()
    assert identity["Account"] == "123456789012"


def test_iam_stores_a_role(aws):
    iam = client("iam", aws.url)
    iam.create_role(RoleName="drdeploy-hosting", AssumeRolePolicyDocument="{}")
    assert iam.get_role(RoleName="drdeploy-hosting")["Role"]["Arn"].endswith("/drdeploy-hosting")


TRUST = """{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
  "Principal": {"Service": "sagemaker.amazonaws.com"}}]}"""
READ = """{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject",
  "Resource": "*"}]}"""
NOTHING = READ.replace("Allow", "Deny")


@pytest.mark.parametrize(
    ("name", "trust", "granted", "boundary", "refusal"),
    [
        ("may", TRUST, READ, None, ""),
        ("may-within", TRUST, READ, READ, ""),
        ("may-not", TRUST, NOTHING, None, "does not have s3:GetObject permission"),
        ("bounded", TRUST, READ, NOTHING, "does not have s3:GetObject permission"),
        ("others", TRUST.replace("sagemaker", "ec2"), READ, None, "Could not assume role"),
        ("nobody", "{}", READ, None, "Could not assume role"),
    ],
)
def test_a_role_that_iam_knows_is_asked_for_trust_policy_and_boundary(
    aws, name, trust, granted, boundary, refusal
):
    iam = client("iam", aws.url)
    policy = iam.create_policy(PolicyName=name, PolicyDocument=granted)["Policy"]["Arn"]
    limit = {}
    if boundary:
        made = iam.create_policy(PolicyName=f"{name}-boundary", PolicyDocument=boundary)
        limit = {"PermissionsBoundary": made["Policy"]["Arn"]}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust, **limit)["Role"]["Arn"]
    iam.attach_role_policy(RoleName=name, PolicyArn=policy)
    container = {"Image": "drdeploy:lean", "ModelDataUrl": aws.put_archive()}
    aws.sagemaker.create_model(ModelName=name, ExecutionRoleArn=role, PrimaryContainer=container)
    aws.config(name)
    aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    aws.wait(name, "Failed" if refusal else "InService")
    assert not refusal or refusal in aws.failure_reason(name)
    aws.delete(name)


def test_ecr_stores_a_repository(aws):
    ecr = client("ecr", aws.url)
    ecr.create_repository(repositoryName="drdeploy")
    names = [one["repositoryName"] for one in ecr.describe_repositories()["repositories"]]
    assert "drdeploy" in names  # other tests of this process share the account


def test_a_large_archive_travels_in_parts(aws):
    aws.s3.create_bucket(Bucket="large")
    data = bytes(range(256)) * 4096 * 20
    aws.s3.upload_fileobj(io.BytesIO(data), "large", "model.tar.gz")
    fetched = io.BytesIO()
    aws.s3.download_fileobj("large", "model.tar.gz", fetched)
    assert fetched.getvalue() == data


def test_a_body_of_unknown_length_travels_in_chunks(aws):
    aws.s3.create_bucket(Bucket="chunked")
    chunks = (b"x" * 100_000 for _ in range(5))
    request = urllib.request.Request(f"{aws.url}/chunked/key", data=chunks, method="PUT")
    request.add_header("Transfer-Encoding", "chunked")
    request.add_header("Content-Type", "application/gzip")
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200
    found = aws.s3.get_object(Bucket="chunked", Key="key")
    assert found["Body"].read() == b"x" * 500_000


def test_keys_with_spaces_and_accents_keep_their_names(aws):
    aws.s3.create_bucket(Bucket="names")
    aws.s3.put_object(Bucket="names", Key="a b/é+%.gz", Body=b"1", Metadata={"grade": "2"})
    listed = aws.s3.list_objects_v2(Bucket="names")["Contents"]
    assert [item["Key"] for item in listed] == ["a b/é+%.gz"]
    found = aws.s3.head_object(Bucket="names", Key="a b/é+%.gz")
    assert (found["ContentLength"], found["Metadata"]) == (1, {"grade": "2"})


@pytest.mark.parametrize(("name", "is_possible"), [("é.jpg", True), ("фото.jpg", False)])
def test_a_header_that_http_cannot_carry_is_refused_as_on_s3(aws, name, is_possible):
    """The connection was closed without an answer."""
    aws.s3.create_bucket(Bucket="named")
    aws.s3.put_object(Bucket="named", Key="1", Body=b"1")
    asked = {
        "Bucket": "named",
        "Key": "1",
        "ResponseContentDisposition": f'attachment; filename="{name}"',
    }
    if is_possible:
        assert name in aws.s3.get_object(**asked)["ContentDisposition"]
    else:
        code, message = refused(aws.s3.get_object, **asked)
        assert code == "InvalidArgument"
        assert message == "Header value cannot be represented using ISO-8859-1."


def test_an_absent_object_is_an_error_and_not_a_hang(aws):
    aws.s3.create_bucket(Bucket="empty")
    with pytest.raises(aws.s3.exceptions.NoSuchKey):
        aws.s3.get_object(Bucket="empty", Key="absent")


def test_status_reports_what_runs(aws, service):
    with urllib.request.urlopen(f"{aws.url}/_drdeploy/status") as answer:
        text = answer.read().decode()
    assert f'"isolation": "{service.isolation}"' in text
