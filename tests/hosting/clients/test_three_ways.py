"""The same photographs in real time, asynchronously and in a batch, through two clients.

The real server and the packaged grader: 195 real photographs and five files that are none.
"""

from __future__ import annotations

import contextlib
import json
import re

import pytest
from botocore.exceptions import ClientError, WaiterError
from local_aws import Aws, client, until
from photographs import photograph

from drdeploy.grader.box import FOLDER, NAME
from drdeploy.hosting.local import LocalService, ServiceOptions

BUCKET = "models"
FOLDER_OF_PHOTOGRAPHS = "three-ways/"
CONTENT_TYPE = "application/x-image"
WAYS = ("real-time", "asynchronous", "batch")
OF_ONE_RESPONSE = ("container", "timing", "requestLatency", "predictionLatency")
"""What an answer says of the container and the time, which differ from answer to answer."""


@pytest.fixture(scope="module")
def real(home):
    """A service whose instances run the real server."""
    with LocalService(isolation="process", options=ServiceOptions(trial_start=False)) as service:
        yield Aws.at(service.url)


@pytest.fixture(scope="module")
def model_url(real):
    archive = (FOLDER / f"{NAME}-int8.tar.gz").read_bytes()
    return real.put_archive(archive, "grader.tar.gz")


@pytest.fixture(scope="module")
def photographs(real, model_url, shared):
    """The keys of 200 objects by their names; five are no photographs that can be graded."""
    found = sorted((shared / "data" / "idrid_512").glob("t*/*.jpg"))[:195]
    bodies = {f"{path.parent.name}-{path.name}": path.read_bytes() for path in found}
    bodies |= {
        "broken-cut-off.jpg": found[0].read_bytes()[:5000],
        "broken-empty.jpg": b"\xff\xd8\xff",
        "broken-bitmap.jpg": photograph(64, kind="BMP"),
        "broken-text.jpg": b"this is not a picture",
        "broken-gif.jpg": b"GIF89a" + bytes(100),
    }
    assert len(bodies) == 200
    for name, body in bodies.items():
        real.s3.put_object(Bucket=BUCKET, Key=FOLDER_OF_PHOTOGRAPHS + name, Body=body)
    return {name: FOLDER_OF_PHOTOGRAPHS + name for name in bodies}


def read(aws, key):
    return aws.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode()


def grade_in_real_time(aws, photographs, model_url):
    name = aws.endpoint(url=model_url, InstanceType="ml.m5.large", InitialInstanceCount=1)
    answers, failures = {}, {}
    for photograph_name, key in photographs.items():
        body = aws.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        try:
            answer = aws.runtime.invoke_endpoint(
                EndpointName=name, Body=body, ContentType=CONTENT_TYPE
            )
            answers[photograph_name] = answer["Body"].read().decode()
        except ClientError as err:
            failures[photograph_name] = err.response["OriginalMessage"]
    aws.delete(name)
    return {"answers": answers, "failures": failures}


def grade_asynchronously(aws, photographs, model_url):
    name = aws.name()
    aws.model(name, url=model_url)
    variant = {
        "VariantName": "AllTraffic", "ModelName": name, "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }  # fmt: skip
    output = {"S3OutputPath": f"s3://{BUCKET}/out", "S3FailurePath": f"s3://{BUCKET}/failed"}
    aws.sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[variant],
        AsyncInferenceConfig={"OutputConfig": output},
    )
    aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    aws.wait(name)
    queued = {
        photograph_name: aws.runtime.invoke_endpoint_async(
            EndpointName=name, InputLocation=f"s3://{BUCKET}/{key}", ContentType=CONTENT_TYPE
        )
        for photograph_name, key in photographs.items()
    }
    answers, failures = {}, {}
    for photograph_name, answer in queued.items():
        places = (
            (answers, answer["OutputLocation"].removeprefix(f"s3://{BUCKET}/")),
            (failures, answer["FailureLocation"].removeprefix(f"s3://{BUCKET}/")),
        )

        def find(places=places, photograph_name=photograph_name):
            for found, key in places:
                with contextlib.suppress(aws.s3.exceptions.NoSuchKey):
                    found[photograph_name] = read(aws, key)
                    return True
            return False

        until(find)
    aws.delete(name)
    return {"answers": answers, "failures": failures}


def grade_in_a_batch(aws, photographs, model_url):
    name = aws.name()
    aws.model(name, url=model_url)
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{FOLDER_OF_PHOTOGRAPHS}"}
    aws.sagemaker.create_transform_job(
        TransformJobName=name,
        ModelName=name,
        MaxConcurrentTransforms=2,
        TransformInput={"DataSource": {"S3DataSource": source}, "ContentType": CONTENT_TYPE},
        TransformOutput={"S3OutputPath": f"s3://{BUCKET}/{name}", "Accept": "application/json"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    waiter = aws.sagemaker.get_waiter("transform_job_completed_or_stopped")
    with contextlib.suppress(WaiterError):  # photographs failed
        waiter.wait(TransformJobName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 600})
    pages = (
        client("logs", aws.url)
        .get_paginator("filter_log_events")
        .paginate(logGroupName="/aws/sagemaker/TransformJobs", logStreamNamePrefix=f"{name}/")
    )
    line = re.compile(rf".*{BUCKET}/{FOLDER_OF_PHOTOGRAPHS}(\S+): (\{{.*\}})")
    found = [line.fullmatch(event["message"]) for page in pages for event in page["events"]]
    failures = dict(one.groups() for one in found if one)
    answers = {
        photograph_name: read(aws, f"{name}/{photograph_name}.out")
        for photograph_name in photographs
        if photograph_name not in failures
    }
    return {"answers": answers, "failures": failures}


def without_what_differs(found):
    """Return answers and failures, as JSON without what a response says of itself."""
    return {
        kind: {
            name: {
                member: value
                for member, value in json.loads(text).items()
                if member not in OF_ONE_RESPONSE
            }
            for name, text in texts.items()
        }
        for kind, texts in found.items()
    }


def test_200_photographs_have_the_same_answers_in_three_ways_through_two_clients(
    real, photographs, model_url, run_client, client_environment
):
    place = {"AWS_ENDPOINT_URL": real.url, "MODEL_DATA_URL": model_url}
    place |= {"PHOTOGRAPHS": FOLDER_OF_PHOTOGRAPHS}
    with_boto3 = {
        "real-time": grade_in_real_time(real, photographs, model_url),
        "asynchronous": grade_asynchronously(real, photographs, model_url),
        "batch": grade_in_a_batch(real, photographs, model_url),
    }
    with_sdk = run_client("sagemaker-v2", "sagemaker_v2_three_ways.py", **place)
    expected = without_what_differs(with_boto3["real-time"])
    assert len(expected["answers"]) == 195
    assert sorted(expected["failures"]) == sorted(
        name for name in photographs if name.startswith("broken-")
    )
    assert all("error" in one for one in expected["failures"].values())
    for way in WAYS:
        for found in map(without_what_differs, (with_boto3[way], with_sdk[way])):
            assert sorted(found["answers"]) == sorted(expected["answers"])
            assert found["failures"] == expected["failures"]
            for name, answer in expected["answers"].items():
                assert found["answers"][name] == answer, f"{way}: {name}"
