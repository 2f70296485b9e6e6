"""Batch Transform through the SageMaker Python SDK, version 2."""

import json
import os
import sys

import boto3
from botocore.exceptions import ClientError
from sagemaker import Session
from sagemaker.exceptions import UnexpectedStatusException
from sagemaker.model import Model
from sagemaker.transformer import Transformer

BUCKET = os.environ["MODELS_BUCKET"]
ROLE = "arn:aws:iam::123456789012:role/drdeploy"

done = {}
session = Session(boto3.Session(), default_bucket=BUCKET)
client = session.sagemaker_client
s3 = boto3.client("s3")
for name, body in (("a.csv", b"id-1,2,3\nid-2,4,5\n"), ("b.csv", b"id-3,6,7\n")):
    s3.put_object(Bucket=BUCKET, Key=f"v2-rows/{name}", Body=body)
s3.put_object(Bucket=BUCKET, Key="v2-broken/a.csv", Body=b"broken\n")
s3.put_object(Bucket=BUCKET, Key="v2-broken/b.csv", Body=b"good\n")


def read(uri):
    key = uri.removeprefix(f"s3://{BUCKET}/")
    return s3.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode()


model = Model(
    image_uri="drdeploy:lean",
    model_data=os.environ["MODEL_DATA_URL"],
    role=ROLE,
    name="v2-transform",
    env={"SAGEMAKER_FAKE_ECHO": "seen LINE"},
    sagemaker_session=session,
)
transformer = model.transformer(
    instance_count=1,
    instance_type="ml.m5.large",
    strategy="MultiRecord",
    assemble_with="Line",
    accept="text/csv",
    output_path=f"s3://{BUCKET}/v2-out",
    max_concurrent_transforms=2,
    max_payload=6,
    env={"SAGEMAKER_COLOUR": "blue"},
    tags=[{"Key": "clinic", "Value": "north"}],
)
transformer.transform(
    f"s3://{BUCKET}/v2-rows/",
    content_type="text/csv",
    split_type="Line",
    input_filter="$[1:]",
    join_source="Input",
    output_filter="$[0,-1]",
    model_client_config={"InvocationsTimeoutInSeconds": 30, "InvocationsMaxRetries": 1},
    wait=False,
)
job = transformer.latest_transform_job.name
session.wait_for_transform_job(job, poll=1)
done["outputs"] = [read(f"s3://{BUCKET}/v2-out/{name}.csv.out") for name in "ab"]
attached = Transformer.attach(job, sagemaker_session=session)
done["attached"] = [attached.model_name, attached.strategy, attached.assemble_with]
session.logs_for_transform_job(job, wait=False)
try:
    transformer.stop_transform_job(wait=False)  # the SDK swallows SageMaker's refusal
    done["stopped"] = session.describe_transform_job(job)["TransformJobStatus"]
except ClientError as err:
    done["stopped"] = err.response["Error"]["Code"]
transformer.transform(f"s3://{BUCKET}/v2-broken/", split_type="Line", wait=False)
broken = transformer.latest_transform_job.name
try:
    session.wait_for_transform_job(broken, poll=1)
except UnexpectedStatusException as err:
    done["failed"] = str(err).rpartition("Reason: ")[2].partition(". Check")[0]
done["kept"] = read(f"s3://{BUCKET}/v2-out/b.csv.out")
pages = client.get_paginator("list_transform_jobs").paginate(
    NameContains="v2-transform", PaginationConfig={"PageSize": 1}
)
done["listed"] = sorted(
    one["TransformJobStatus"] for page in pages for one in page["TransformJobSummaries"]
)
transformer.delete_model()
sys.stdout.write("\n")
json.dump(done, sys.stdout)
