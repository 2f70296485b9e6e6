"""Batch Transform through boto3: jobs, their outputs, failures, logs and metrics."""

from __future__ import annotations

import contextlib
import gzip
import json

import pytest
from botocore.exceptions import ClientError, WaiterError
from local_aws import client, until

from drdeploy.hosting.local.instances.processes import ProcessBackend

GROUP = "/aws/sagemaker/TransformJobs"


class Batch:
    """The steps that most tests share."""

    def __init__(self, aws) -> None:
        self.aws = aws
        self.aws.s3.create_bucket(Bucket="batch")

    def put(self, folder: str, **objects: bytes) -> str:
        for name, body in objects.items():
            key = f"{folder}/{name.replace('__', '/').replace('_', '.')}"
            self.aws.s3.put_object(Bucket="batch", Key=key, Body=body)
        return f"s3://batch/{folder}/"

    def create(self, uri: str, *, echo="answer LINE", environment=None, **request) -> str:
        name = self.aws.name()
        own = {"SAGEMAKER_FAKE_ECHO": echo} if echo else {}
        self.aws.model(name, **own, **(environment or {}))
        source = {"S3DataType": request.pop("data_type", "S3Prefix"), "S3Uri": uri}
        given = request.pop("source", {})
        output = {"S3OutputPath": f"s3://batch/{name}", **request.pop("output", {})}
        resources = {"InstanceType": "ml.m5.large", "InstanceCount": 1}
        resources |= request.pop("resources", {})
        self.aws.sagemaker.create_transform_job(
            TransformJobName=name,
            ModelName=name,
            TransformInput={"DataSource": {"S3DataSource": source}, **given},
            TransformOutput=output,
            TransformResources=resources,
            **request,
        )
        return name

    def wait(self, name: str) -> dict:
        waiter = self.aws.sagemaker.get_waiter("transform_job_completed_or_stopped")
        with contextlib.suppress(WaiterError):  # of a job that failed
            waiter.wait(TransformJobName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 600})
        return self.aws.sagemaker.describe_transform_job(TransformJobName=name)

    def outputs(self, name: str) -> dict[str, bytes]:
        listed = self.aws.s3.list_objects_v2(Bucket="batch", Prefix=f"{name}/").get("Contents", [])
        return {
            one["Key"].removeprefix(f"{name}/"): self.aws.s3.get_object(
                Bucket="batch", Key=one["Key"]
            )["Body"].read()
            for one in listed
        }

    def lines(self, name: str, suffix: str = "/data-log") -> list[str]:
        logs = client("logs", self.aws.url)
        streams = logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix=f"{name}/")
        names = [one["logStreamName"] for one in streams["logStreams"]]
        chosen = [one for one in names if one.endswith("/data-log") == bool(suffix)]
        return [
            event["message"]
            for stream in chosen
            for event in logs.get_log_events(
                logGroupName=GROUP, logStreamName=stream, startFromHead=True
            )["events"]
        ]


@pytest.fixture(scope="session")
def batch(aws) -> Batch:
    return Batch(aws)


def test_a_job_goes_through_its_life(batch):
    uri = batch.put("life", a_jpg=b"one", deep__b_jpg=b"two")
    name = batch.create(
        uri, source={"ContentType": "image/jpeg"}, Tags=[{"Key": "k", "Value": "v"}]
    )
    done = batch.wait(name)
    assert (done["TransformJobStatus"], done.get("FailureReason")) == ("Completed", None)
    assert done["CreationTime"] <= done["TransformStartTime"] <= done["TransformEndTime"]
    assert done["TransformInput"]["SplitType"] == "None"
    assert done["DataProcessing"] == {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None"}
    assert batch.outputs(name) == {"a.jpg.out": b"answer one", "deep/b.jpg.out": b"answer two"}
    assert batch.lines(name)[0].endswith(
        "[sagemaker logs]: MaxConcurrentTransforms=1, MaxPayloadInMB=6, BatchStrategy=MULTI_RECORD"
    )
    sagemaker = batch.aws.sagemaker
    tags = sagemaker.list_tags(ResourceArn=done["TransformJobArn"])["Tags"]
    assert tags == [{"Key": "k", "Value": "v"}]
    pages = sagemaker.get_paginator("list_transform_jobs").paginate(NameContains=name)
    (summary,) = [one for page in pages for one in page["TransformJobSummaries"]]
    assert (summary["TransformJobStatus"], summary["TransformJobName"]) == ("Completed", name)
    with pytest.raises(ClientError, match="is in status Completed"):
        sagemaker.stop_transform_job(TransformJobName=name)
    members = ("TransformInput", "TransformOutput", "TransformResources", "ModelName")
    again = {member: done[member] for member in members}
    with pytest.raises(ClientError, match="ResourceInUse"):
        sagemaker.create_transform_job(TransformJobName=name, **again)
    with pytest.raises(ClientError, match="Could not find requested job with name: nobody"):
        sagemaker.describe_transform_job(TransformJobName="nobody")
    metrics = batch.aws.cloudwatch.list_metrics(Namespace=GROUP)["Metrics"]
    hosts = {one["Value"] for metric in metrics for one in metric["Dimensions"]}
    assert all("/i-" in host for host in hosts)


def test_five_broken_photographs_of_a_manifest_with_a_filter_and_a_join(batch):
    records = {
        f"p{number}_json": json.dumps({"id": number, "image": "broken" if number < 5 else "good"})
        for number in range(8)
    }
    batch.put("broken", **{name: text.encode() for name, text in records.items()})
    names = [name.replace("_", ".") for name in records]
    manifest = json.dumps([{"prefix": "s3://batch/broken/"}, *names, "absent.json"]).encode()
    batch.put("manifests", broken_manifest=manifest)
    json_type = "application/json"
    name = batch.create(
        "s3://batch/manifests/broken.manifest",
        echo='{"label":LINE}',
        data_type="ManifestFile",
        source={"ContentType": json_type},
        output={"Accept": json_type, "AssembleWith": "Line"},
        DataProcessing={
            "InputFilter": "$.image",
            "JoinSource": "Input",
            "OutputFilter": "$['id','SageMakerOutput']",
        },
        MaxConcurrentTransforms=3,
    )
    done = batch.wait(name)
    assert done["TransformJobStatus"] == "Failed"
    assert done["FailureReason"] == "ClientError: See job logs for more information"
    assert batch.outputs(name) == {
        f"p{number}.json.out": b'{"id":%d,"SageMakerOutput":{"label":"good"}}\n' % number
        for number in (5, 6, 7)
    }
    lines = "\n".join(batch.lines(name))
    for number in range(5):
        assert f"batch/broken/p{number}.json: ClientError: 415" in lines
    assert lines.count("broken, says the model") == 5
    assert "batch/broken/absent.json: the object does not exist" in lines


def test_lines_of_compressed_files_are_shared_by_two_instances(batch):
    lines = b"".join(b"%d,x\n" % number for number in range(9))
    uri = batch.put("lines", **{f"f{one}_csv": gzip.compress(lines) for one in range(3)})
    name = batch.create(
        uri,
        source={"CompressionType": "Gzip", "SplitType": "Line", "ContentType": "text/csv"},
        output={"AssembleWith": "Line", "Accept": "text/csv"},
        BatchStrategy="SingleRecord",
        MaxConcurrentTransforms=4,
        resources={"InstanceCount": 2},
    )
    assert batch.wait(name)["TransformJobStatus"] == "Completed"
    expected = b"".join(b"answer %d,x\n" % number for number in range(9))
    assert batch.outputs(name) == {f"f{one}.csv.out": expected for one in range(3)}


def test_the_container_is_told_and_tells_how_it_is_used(batch):
    uri = batch.put("told", a_txt=b"photograph")
    parameters = {"MaxConcurrentTransforms": 4, "BatchStrategy": "SINGLE_RECORD"}
    environment = {"SAGEMAKER_FAKE_PARAMETERS": json.dumps(parameters), "SAGEMAKER_OF_MODEL": "m"}
    name = batch.create(
        uri,
        echo=None,
        environment=environment,
        MaxPayloadInMB=2,
        Environment={"SAGEMAKER_OF_JOB": "j", "SAGEMAKER_OF_MODEL": "job"},
        source={"ContentType": "image/jpeg"},
        output={"Accept": "application/json"},
    )
    assert batch.wait(name)["TransformJobStatus"] == "Completed"
    seen = json.loads(batch.outputs(name)["a.txt.out"])
    assert seen["headers"]["content-type"] == "image/jpeg"
    assert seen["headers"]["accept"] == "application/json"
    variables = {
        "SAGEMAKER_BATCH": "true",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": "2",
        "SAGEMAKER_OF_JOB": "j",
        "SAGEMAKER_OF_MODEL": "job",
    }
    assert variables.items() <= seen["environment"].items()
    assert "SAGEMAKER_BATCH_STRATEGY" not in seen["environment"]
    assert (
        "MaxConcurrentTransforms=4, MaxPayloadInMB=2, BatchStrategy=SINGLE_RECORD"
        in (batch.lines(name)[0])
    )


def test_a_payload_of_any_size_is_sent_in_chunks(batch):
    name = batch.create(batch.put("chunks", a_txt=b"photograph"), MaxPayloadInMB=0)
    assert batch.wait(name)["TransformJobStatus"] == "Completed"
    assert batch.outputs(name) == {"a.txt.out": b"answer chunked:photograph"}


def test_failures_of_the_container_are_retried_and_end_the_job(batch):
    uri = batch.put("failing", a_txt=b"failing", b_txt=b"good")
    name = batch.create(uri, ModelClientConfig={"InvocationsMaxRetries": 1})
    done = batch.wait(name)
    assert done["FailureReason"] == "AlgorithmError: See job logs for more information"
    assert batch.outputs(name) == {"b.txt.out": b"answer good"}
    assert any("Bad HTTP status received from algorithm: 500" in one for one in batch.lines(name))
    slow = batch.create(
        batch.put("slow", a_txt=b"!sleep 30"),
        echo=None,
        ModelClientConfig={"InvocationsMaxRetries": 0, "InvocationsTimeoutInSeconds": 1},
    )
    assert batch.wait(slow)["TransformJobStatus"] == "Failed"
    assert any("no answer within 1 s" in one for one in batch.lines(slow))
    dead = batch.create(batch.put("dead", a_txt=b"!die now"), echo=None)
    assert batch.wait(dead)["FailureReason"] == (
        "AlgorithmError: The container ended before it answered."
    )


@pytest.mark.parametrize(
    ("uri", "data_type", "reason"),
    [
        ("s3://batch/nothing/", "S3Prefix", "No S3 objects found under S3 URL"),
        ("s3://nobucket/nothing/", "S3Prefix", "No S3 objects found under S3 URL"),
        ("s3://batch/no.manifest", "ManifestFile", "does not exist"),
    ],
)
def test_a_job_without_input_fails(batch, uri, data_type, reason):
    done = batch.wait(batch.create(uri, data_type=data_type))
    assert done["TransformJobStatus"] == "Failed"
    assert reason in done["FailureReason"]
    assert "TransformStartTime" not in done


def test_a_container_that_does_not_start_fails_the_job(batch):
    uri = batch.put("unstarted", a_txt=b"one")
    done = batch.wait(batch.create(uri, environment={"SAGEMAKER_FAKE_FAILS": "1"}))
    assert done["FailureReason"].startswith("AlgorithmError: The container ended before")
    starting = batch.create(uri, environment={"SAGEMAKER_FAKE_START_S": "60"})
    batch.aws.sagemaker.stop_transform_job(TransformJobName=starting)
    assert batch.wait(starting)["TransformJobStatus"] == "Stopped"


def test_a_job_that_is_stopped_has_no_output(batch, hold):
    uri = batch.put("stopped", a_txt=b"first", b_txt=hold.body)
    name = batch.create(uri, echo=None)
    hold.wait_for(1)
    until(lambda: "a.txt.out" in batch.outputs(name))
    batch.aws.sagemaker.stop_transform_job(TransformJobName=name)
    assert batch.aws.sagemaker.describe_transform_job(TransformJobName=name)[
        "TransformJobStatus"
    ] in {"Stopping", "Stopped"}
    # The container still holds the request: it is ended, and not waited for.
    assert batch.wait(name)["TransformJobStatus"] == "Stopped"
    assert batch.outputs(name) == {}


CSV = {"source": {"ContentType": "text/csv"}, "output": {"Accept": "text/csv"}}


@pytest.mark.parametrize(
    ("request_members", "message"),
    [
        ({"MaxConcurrentTransforms": 20, "MaxPayloadInMB": 6}, "must not exceed 100 MB"),
        ({"MaxConcurrentTransforms": 101, "MaxPayloadInMB": 0}, "(101) must not exceed 100."),
        ({"Environment": {"NAME": "\ud800"}}, "Environment.NAME must be UTF-8 text"),
        ({"source": {"ContentType": "text/\u0394"}}, "ContentType is sent as a header"),
        ({"output": {"S3OutputPath": "s3://b/\ud800"}}, "S3OutputPath must be UTF-8 text"),
        ({"MaxPayloadInMB": 101}, "must not exceed 100 MB"),
        ({"DataProcessing": {"InputFilter": "$..a"}}, "recursive descent"),
        ({"DataProcessing": {"JoinSource": "Input"}}, "ContentType must be one of"),
        (CSV | {"DataProcessing": {"InputFilter": "$[1:]"}}, "SplitType must be Line"),
        ({"data_type": "AugmentedManifestFile"}, "S3DataType='AugmentedManifestFile'"),
        ({"resources": {"InstanceCount": 101}}, "must not exceed 100"),
        ({"resources": {"InstanceType": "ml.g5.xlarge"}}, "InstanceType='ml.g5.xlarge'"),
        ({"resources": {"InstanceType": "ml.none"}}, "Member must satisfy enum value set"),
        ({"Environment": {"LD_PRELOAD": "x"}}, "LD_PRELOAD"),
        ({"DataCaptureConfig": {"DestinationS3Uri": "s3://b"}}, "DataCaptureConfig"),
        ({"output": {"S3OutputPath": "https://b"}}, "Write it as s3://BUCKET/FOLDER"),
        ({"output": {"KmsKeyId": "nokey"}}, "does not exist in us-east-1"),
    ],
)
def test_a_job_that_cannot_be_served_is_refused_by_name(batch, request_members, message):
    with pytest.raises(ClientError) as refused:
        batch.create("s3://batch/any/", **request_members)
    assert message in str(refused.value)
    assert "ValidationException" in str(refused.value)


def test_an_image_for_gpus_is_refused_with_the_ami_versions_of_batch_transform(batch, monkeypatch):
    monkeypatch.setattr(
        ProcessBackend, "find_image_variables", lambda *_: {"NVIDIA_REQUIRE_CUDA": "cuda>=12.2"}
    )
    with pytest.raises(ClientError) as refused:
        batch.create("s3://batch/any/", resources={"InstanceType": "ml.g5.xlarge"})
    assert "Set TransformAmiVersion to al2-ami-sagemaker-batch-gpu-535" in str(refused.value)


def test_instances_here_get_no_gpu(batch):
    with pytest.raises(ClientError, match="instances on this machine get no GPU"):
        batch.create("s3://batch/any/", resources={"InstanceType": "ml.g5.xlarge"})
