"""Data capture of real-time endpoints, and the keys of KMS that endpoint configurations name."""

import base64
import json
import re
import threading
from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError
from local_aws import FAKE_SERVER, ROLE, Aws, client, until

from drdeploy.hosting.local import LocalService
from drdeploy.hosting.local.endpoints.data_capture import (
    FILE_BYTES_MAX,
    CapturedInvocation,
    CaptureLog,
    CaptureSettings,
)

REALTIME = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
INPUT, OUTPUT, BOTH = ({"CaptureMode": mode} for mode in ("Input", "Output", "InputAndOutput"))
JSON_TYPES = {"JsonContentTypes": ["application/json"], "CsvContentTypes": ["text/csv"]}
PHOTOGRAPH = b"\xff\xd8\xff\xe0 a photograph"


@pytest.fixture(scope="module")
def kms(service):
    return client("kms", service.url)


@pytest.fixture(scope="module")
def bucket(aws):
    aws.s3.create_bucket(Bucket="captured-here")
    return "captured-here"


def capture(place, options=(INPUT, OUTPUT), percentage=100, **others):
    return {
        "InitialSamplingPercentage": percentage,
        "DestinationS3Uri": place,
        "CaptureOptions": list(options),
        **others,
    }


def make_config(aws, **members):
    """Create a model and a real-time configuration of one name, and return the name."""
    name = aws.name()
    aws.model(name)
    aws.sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[{"VariantName": "AllTraffic", "ModelName": name} | REALTIME],
        **members,
    )
    return name


def make_endpoint(aws, **members):
    name = make_config(aws, **members)
    aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    aws.wait(name)
    return name


def refusal(aws, **members):
    with pytest.raises(ClientError) as caught:
        make_config(aws, **members)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def keys_below(aws, bucket, prefix):
    found = aws.s3.list_objects_v2(Bucket=bucket, Prefix=prefix)
    return [one["Key"] for one in found.get("Contents", ())]


def records_below(aws, bucket, prefix, count=1):
    """Wait for so many records, and return all of them."""

    def read():
        bodies = [
            aws.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            for key in keys_below(aws, bucket, prefix)
        ]
        return [json.loads(line) for body in bodies for line in body.splitlines()]

    until(lambda: len(read()) >= count)
    return read()


def test_requests_and_answers_are_stored_as_sagemaker_stores_them(aws, bucket):
    config = capture(f"s3://{bucket}/deep/folder/", CaptureContentTypeHeader=JSON_TYPES)
    name = make_endpoint(aws, DataCaptureConfig=config)
    begin = datetime.now(UTC).replace(microsecond=0)
    aws.invoke(name, PHOTOGRAPH, ContentType="image/jpeg", InferenceId="exam-7")
    (record,) = records_below(aws, bucket, f"deep/folder/{name}/")
    assert record.keys() == {"captureData", "eventMetadata", "eventVersion"}
    assert record["eventVersion"] == "0"
    sent, answered = (record["captureData"][one] for one in ("endpointInput", "endpointOutput"))
    assert sent == {
        "observedContentType": "image/jpeg",
        "mode": "INPUT",
        "data": base64.b64encode(PHOTOGRAPH).decode(),
        "encoding": "BASE64",
    }
    # The fake server names no type where it adds a header of its own.
    assert answered["mode"] == "OUTPUT"
    assert answered["observedContentType"] == "application/octet-stream"
    assert json.loads(base64.b64decode(answered["data"]))["length"] == len(PHOTOGRAPH)
    event = record["eventMetadata"]
    assert event.keys() == {"eventId", "inferenceId", "inferenceTime"}
    assert event["inferenceId"] == "exam-7"
    at = datetime.strptime(event["inferenceTime"], "%Y-%m-%dT%H:%M:%S%z")
    assert begin <= at <= datetime.now(UTC)
    (key,) = keys_below(aws, bucket, "deep/folder/")
    file = r"\d\d-\d\d-\d{3}-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.jsonl"
    assert re.fullmatch(rf"deep/folder/{name}/AllTraffic/{at:%Y/%m/%d/%H}/{file}", key)


def test_each_request_is_one_line_and_a_failed_one_is_none(aws, bucket):
    name = make_endpoint(aws, DataCaptureConfig=capture(f"s3://{bucket}", [BOTH]))
    with pytest.raises(ClientError):
        aws.invoke(name, b"!status 500")
    for _ in range(3):
        aws.invoke(name)
    records = records_below(aws, bucket, f"{name}/AllTraffic/", 3)
    assert len({record["eventMetadata"]["eventId"] for record in records}) == 3
    assert all(record["eventMetadata"].keys() == {"eventId", "inferenceTime"} for record in records)


def test_a_description_says_what_is_captured(aws, bucket, kms):
    key = kms.create_key()["KeyMetadata"]["Arn"]
    place = f"s3://{bucket}/described"
    name = make_endpoint(aws, DataCaptureConfig=capture(place, percentage=20, KmsKeyId=key))
    summary = {
        "EnableCapture": True,
        "CaptureStatus": "Started",
        "CurrentSamplingPercentage": 20,
        "DestinationS3Uri": place,
        "KmsKeyId": key,
    }
    described = aws.sagemaker.describe_endpoint(EndpointName=name)
    assert described["DataCaptureConfig"] == summary
    described = aws.sagemaker.describe_endpoint_config(EndpointConfigName=name)
    assert described["DataCaptureConfig"] == capture(place, percentage=20, KmsKeyId=key)

    off = make_config(aws, DataCaptureConfig=capture("s3://b", EnableCapture=False))
    aws.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=off)
    aws.wait(name)
    described = aws.sagemaker.describe_endpoint(EndpointName=name)["DataCaptureConfig"]
    assert (described["EnableCapture"], described["CaptureStatus"]) == (False, "Stopped")
    aws.invoke(name)


def test_captured_objects_are_encrypted_with_the_key(aws, bucket, kms):
    key = kms.create_key()["KeyMetadata"]
    kms.create_alias(AliasName="alias/captures", TargetKeyId=key["KeyId"])
    config = capture(f"s3://{bucket}/keyed", KmsKeyId="alias/captures")
    name = make_endpoint(aws, DataCaptureConfig=config)
    aws.invoke(name)
    until(lambda: keys_below(aws, bucket, "keyed/"))
    (stored,) = keys_below(aws, bucket, "keyed/")
    head = aws.s3.head_object(Bucket=bucket, Key=stored)
    assert head["ServerSideEncryption"] == "aws:kms"
    assert head["SSEKMSKeyId"] == key["Arn"]


def test_what_cannot_be_written_is_counted_and_never_fails_a_request(service, aws, caplog):
    aws.s3.create_bucket(Bucket="soon-gone")
    name = make_endpoint(aws, DataCaptureConfig=capture("s3://soon-gone/a"))
    aws.s3.delete_bucket(Bucket="soon-gone")
    before = service.status()["lost_captures"]
    for _ in range(2):
        aws.invoke(name)
    until(lambda: service.status()["lost_captures"] == before + 2)

    def lines():
        return [one for one in caplog.messages if name in one]

    until(lines)  # a loss is counted before it is logged
    (line,) = lines()
    assert line.startswith(f"requests of endpoint {name} are not captured to s3://soon-gone/a/")


def test_an_endpoint_whose_bucket_does_not_exist_fails_with_the_reason(aws):
    name = make_config(aws, DataCaptureConfig=capture("s3://no-such-bucket/a"))
    aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    aws.wait(name, "Failed")
    assert "The bucket no-such-bucket of the DataCaptureConfig" in aws.failure_reason(name)


def test_the_role_must_be_allowed_to_write_what_is_captured(aws, bucket, service):
    iam = client("iam", service.url)
    read = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
    write = {
        "Effect": "Allow",
        "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{bucket}/by-role/*",
    }
    trusted = {"Service": "sagemaker.amazonaws.com"}
    trust = {"Effect": "Allow", "Principal": trusted, "Action": "sts:AssumeRole"}
    iam.create_role(RoleName="capturing", AssumeRolePolicyDocument=as_policy(trust))
    role = ROLE.replace("drdeploy", "capturing")
    model = aws.name()
    container = {"Image": "drdeploy:lean", "ModelDataUrl": aws.put_archive()}
    aws.sagemaker.create_model(ModelName=model, ExecutionRoleArn=role, PrimaryContainer=container)
    variant = {"VariantName": "AllTraffic", "ModelName": model} | REALTIME
    aws.sagemaker.create_endpoint_config(
        EndpointConfigName=model,
        ProductionVariants=[variant],
        DataCaptureConfig=capture(f"s3://{bucket}/by-role"),
    )
    iam.put_role_policy(RoleName="capturing", PolicyName="p", PolicyDocument=as_policy(read))
    aws.sagemaker.create_endpoint(EndpointName=model, EndpointConfigName=model)
    aws.wait(model, "Failed")
    assert "does not have s3:PutObject permission for the captured data" in (
        aws.failure_reason(model)
    )
    aws.delete(model)
    iam.put_role_policy(RoleName="capturing", PolicyName="p", PolicyDocument=as_policy(read, write))
    aws.sagemaker.create_endpoint(EndpointName=model, EndpointConfigName=model)
    aws.wait(model)


def as_policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def test_what_is_queued_is_written_when_the_service_stops(home):
    with LocalService(0, isolation="process", server_command=FAKE_SERVER) as own:
        aws = Aws.at(own.url)
        aws.s3.create_bucket(Bucket="captured-at-the-end")
        name = make_endpoint(aws, DataCaptureConfig=capture("s3://captured-at-the-end"))
        for _ in range(3):
            aws.invoke(name)
    assert own.status()["captured_requests"] == 3
    assert own.status()["lost_captures"] == 0


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("https://s3.amazonaws.com/b/c", "Write the destination as s3://BUCKET/FOLDER"),
        ("s3:///folder", "destinationS3Uri"),
    ],
)
def test_a_destination_that_is_no_folder_of_a_bucket_is_refused(aws, place, expected):
    assert expected in refusal(aws, DataCaptureConfig=capture(place))[1]


def test_serverless_endpoints_capture_nothing_and_have_no_volume_to_encrypt(aws, kms):
    name = aws.name()
    aws.model(name)
    serverless = {"ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}}
    variant = {"VariantName": "AllTraffic", "ModelName": name} | serverless
    key = kms.create_key()["KeyMetadata"]["Arn"]
    for member, value in (("DataCaptureConfig", capture("s3://b/c")), ("KmsKeyId", key)):
        with pytest.raises(ClientError, match=member):
            aws.sagemaker.create_endpoint_config(
                EndpointConfigName=name, ProductionVariants=[variant], **{member: value}
            )


# -- keys ----------------------------------------------------------------------------------


@pytest.mark.parametrize("named_by", ["KeyId", "Arn", "alias", "alias ARN"])
def test_the_key_of_a_volume_is_looked_up_and_described(aws, kms, named_by):
    key = kms.create_key()["KeyMetadata"]
    alias = f"alias/{key['KeyId']}"
    kms.create_alias(AliasName=alias, TargetKeyId=key["KeyId"])
    prefix = key["Arn"].partition(":key/")[0]
    named = {**key, "alias": alias, "alias ARN": f"{prefix}:{alias}"}[named_by]
    name = make_endpoint(aws, KmsKeyId=named)
    described = aws.sagemaker.describe_endpoint_config(EndpointConfigName=name)
    assert described["KmsKeyId"] == named


MISSING = "1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.mark.parametrize(
    "key",
    [
        MISSING,
        f"arn:aws:kms:us-east-1:123456789012:key/{MISSING}",
        "alias/nobody",
        "arn:aws:kms:us-east-1:123456789012:alias/nobody",
        "arn:x",
    ],
)
def test_a_key_that_does_not_exist_is_refused(aws, key):
    expected = ("ValidationException", f"The KMS key {key} does not exist in us-east-1.")
    assert refusal(aws, KmsKeyId=key) == expected
    assert refusal(aws, DataCaptureConfig=capture("s3://b", KmsKeyId=key)) == expected


def test_a_key_of_another_region_or_account_is_refused(aws, kms):
    arn = kms.create_key()["KeyMetadata"]["Arn"]
    for other in (arn.replace("us-east-1", "eu-central-1"), arn.replace("123456789012", "9" * 12)):
        assert "does not exist in us-east-1" in refusal(aws, KmsKeyId=other)[1]


def test_a_key_that_cannot_encrypt_is_refused(aws, kms):
    for usage in (
        {"KeyUsage": "SIGN_VERIFY", "KeySpec": "ECC_NIST_P256"},
        {"KeyUsage": "GENERATE_VERIFY_MAC", "KeySpec": "HMAC_256"},
    ):
        key = kms.create_key(**usage)["KeyMetadata"]["KeyId"]
        assert "not a symmetric key for encryption" in refusal(aws, KmsKeyId=key)[1]


def test_a_key_that_was_disabled_or_is_to_be_deleted_is_refused_in_every_request(aws, kms):
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    name = make_config(aws, KmsKeyId=key)
    other = make_endpoint(aws)
    kms.disable_key(KeyId=key)
    with pytest.raises(ClientError, match="its state is Disabled"):
        aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    with pytest.raises(ClientError, match="its state is Disabled"):
        aws.sagemaker.update_endpoint(EndpointName=other, EndpointConfigName=name)
    assert aws.status(other) == "InService"
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    assert "its state is PendingDeletion" in refusal(aws, KmsKeyId=key)[1]


# -- the queue -----------------------------------------------------------------------------


class Store:
    """Takes objects, keeps their bodies, and can be told to wait or to fail."""

    def __init__(self):
        self.objects = {}
        self.may_go = threading.Event()
        self.may_go.set()
        self.is_asked = threading.Event()
        self.failure = None

    def put(self, region, bucket, key, body, kms_key_id):
        self.is_asked.set()
        assert self.may_go.wait(60)
        if self.failure:
            raise self.failure
        self.objects[key] = body


def invocation(body=b"x", endpoint="e", answer=(b"", "text/plain"), **config):
    settings = CaptureSettings.from_config(
        {"DataCaptureConfig": capture("s3://b/p", **config)}, "us-east-1"
    )
    at = datetime(2030, 1, 2, 3, 4, 5, 67_000, UTC)
    return CapturedInvocation(
        settings, endpoint, "v", at, None, ("text/csv", body), (answer[1], answer[0])
    )


def test_a_share_of_the_requests_is_captured():
    numbers = iter([0.0, 0.199, 0.2, 0.999])
    store = Store()
    captures = CaptureLog(store.put, sample=lambda: next(numbers))
    for _ in range(4):
        captures.queue_invocation(invocation(percentage=20))
    captures.write_queued_captures()
    (body,) = store.objects.values()
    assert body.count(b"\n") == 2
    assert (captures.capture_counts.written, captures.capture_counts.lost) == (2, 0)


@pytest.mark.parametrize(("percentage", "count"), [(0, 0), (100, 1)])
def test_none_and_all_are_exact(percentage, count):
    captures = CaptureLog(Store().put, sample=lambda: 0.0 if percentage == 0 else 0.9999999)
    captures.queue_invocation(invocation(percentage=percentage))
    captures.write_queued_captures()
    assert captures.capture_counts.written == count


@pytest.mark.parametrize(
    ("options", "captured"),
    [
        ([INPUT], {"endpointInput"}),
        ([OUTPUT], {"endpointOutput"}),
        ([BOTH], {"endpointInput", "endpointOutput"}),
        ([INPUT, OUTPUT], {"endpointInput", "endpointOutput"}),
    ],
)
def test_the_options_say_which_side_is_captured(options, captured):
    assert (
        json.loads(invocation(options=options).make_json_line())["captureData"].keys() == captured
    )


@pytest.mark.parametrize(
    ("content_type", "body", "encoding", "data"),
    [
        ("text/csv; charset=utf-8", b"1,2", "CSV", "1,2"),
        ("Application/JSON", '{"a": "ä"}'.encode(), "JSON", '{"a": "ä"}'),
        ("text/csv", b"\xff", "BASE64", "/w=="),
        ("image/png", b"1", "BASE64", "MQ=="),
        ("", b"1", "BASE64", "MQ=="),
    ],
)
def test_text_of_the_named_types_stays_text(content_type, body, encoding, data):
    line = invocation(
        answer=(body, content_type), CaptureContentTypeHeader=JSON_TYPES
    ).make_json_line()
    assert json.loads(line)["captureData"]["endpointOutput"] == {
        "observedContentType": content_type,
        "mode": "OUTPUT",
        "data": data,
        "encoding": encoding,
    }


def test_a_stuck_store_holds_up_nobody_and_a_full_queue_loses_and_says_so(caplog):
    store = Store()
    store.may_go.clear()
    captures = CaptureLog(store.put, queue_bytes_max=10)
    captures.queue_invocation(invocation(b"12345"))
    writer = threading.Thread(target=captures.write_queued_captures)
    writer.start()
    assert store.is_asked.wait(60)
    for _ in range(4):
        captures.queue_invocation(invocation(b"12345"))  # two fit in
    store.may_go.set()
    writer.join(60)
    captures.write_queued_captures()
    assert (captures.capture_counts.written, captures.capture_counts.lost) == (3, 2)
    assert "2 requests were not captured: too many waited to be written to S3" in caplog.messages


def test_files_stay_small_and_are_of_one_endpoint_each():
    store = Store()
    captures = CaptureLog(store.put)
    half = b"x" * (FILE_BYTES_MAX // 2)
    for endpoint in ("a", "b", "a", "a", "a"):
        captures.queue_invocation(invocation(half, endpoint))
    captures.write_queued_captures()
    folders = sorted(key.rpartition("/")[0] for key in store.objects)
    assert set(folders) == {"p/a/v/2030/01/02/03", "p/b/v/2030/01/02/03"}
    assert all(body.count(b"\n") <= 2 for body in store.objects.values())
    assert sum(body.count(b"\n") for body in store.objects.values()) == 5


def test_a_lasting_failure_is_logged_once_and_counted_each_time(caplog):
    store = Store()
    store.failure = OSError("S3 answers NoSuchBucket")
    captures = CaptureLog(store.put)
    for _ in range(3):
        captures.queue_invocation(invocation())
        captures.write_queued_captures()
    assert captures.capture_counts.lost == 3
    assert caplog.messages == [
        "requests of endpoint e are not captured to s3://b/p/e/: S3 answers NoSuchBucket"
    ]
