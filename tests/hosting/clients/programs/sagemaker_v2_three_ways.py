"""Grade the photographs of a folder in S3 in three ways, with the SageMaker Python SDK, version 2.

Prints what each way answered, by the photograph's name, and how the others failed.
"""

import contextlib
import io
import json
import os
import re
import sys
import time

import boto3
from botocore.exceptions import ClientError
from sagemaker import Session
from sagemaker.async_inference import AsyncInferenceConfig
from sagemaker.deserializers import BytesDeserializer
from sagemaker.exceptions import (
    AsyncInferenceModelError,
    ObjectNotExistedError,
    UnexpectedStatusException,
)
from sagemaker.model import Model
from sagemaker.predictor import Predictor
from sagemaker.serializers import IdentitySerializer

NAME = "v2-three-ways"
BUCKET = os.environ["MODELS_BUCKET"]
PHOTOGRAPHS = os.environ["PHOTOGRAPHS"]
CONTENT_TYPE = "application/x-image"

session = Session(boto3.Session(), default_bucket=BUCKET)
s3 = boto3.client("s3")
pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=PHOTOGRAPHS)
keys = [one["Key"] for page in pages for one in page["Contents"]]
photographs = {key.removeprefix(PHOTOGRAPHS): key for key in keys}


def read(key):
    return s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()


def make_model(name):
    return Model(
        image_uri="drdeploy:lean",
        model_data=os.environ["MODEL_DATA_URL"],
        role=os.environ["ROLE_ARN"],
        name=name,
        sagemaker_session=session,
        predictor_cls=Predictor,
    )


def deploy(name, **config):
    predictor = make_model(name).deploy(
        initial_instance_count=1,
        instance_type="ml.m5.large",
        endpoint_name=name,
        serializer=IdentitySerializer(CONTENT_TYPE),
        deserializer=BytesDeserializer("application/json"),
        wait=False,  # deploy() looks every 30 seconds
        **config,
    )
    session.wait_for_endpoint(name, poll=1)
    return predictor


def delete(predictor):
    predictor.delete_model()
    predictor.delete_endpoint(delete_endpoint_config=True)


def grade_in_real_time():
    answers, failures = {}, {}
    predictor = deploy(f"{NAME}-real-time")
    for name, key in photographs.items():
        try:
            answers[name] = predictor.predict(read(key)).decode()
        except ClientError as err:
            failures[name] = err.response["OriginalMessage"]
    delete(predictor)
    return {"answers": answers, "failures": failures}


def wait_for_result(later):
    """Look twice a second: get_result(WaiterConfig) waits for a failure as for a success."""
    deadline = time.monotonic() + 500
    while True:
        try:
            return later.get_result()
        except ObjectNotExistedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def grade_asynchronously():
    answers, failures = {}, {}
    config = AsyncInferenceConfig(max_concurrent_invocations_per_instance=2)
    predictor = deploy(f"{NAME}-asynchronous", async_inference_config=config)
    queued = {
        name: predictor.predict_async(input_path=f"s3://{BUCKET}/{key}")
        for name, key in photographs.items()
    }
    for name, later in queued.items():
        try:
            answers[name] = wait_for_result(later).decode()
        except AsyncInferenceModelError as err:
            # The SDK puts what the failure's object holds between two sentences of its own.
            text = str(err)
            failures[name] = text[text.index("{") : text.rindex("}") + 1]
    delete(predictor)
    return {"answers": answers, "failures": failures}


def grade_in_a_batch():
    model = make_model(f"{NAME}-batch")
    transformer = model.transformer(
        instance_count=1,
        instance_type="ml.m5.large",
        accept="application/json",
        output_path=f"s3://{BUCKET}/{NAME}-out",
        max_concurrent_transforms=2,
    )
    transformer.transform(f"s3://{BUCKET}/{PHOTOGRAPHS}", content_type=CONTENT_TYPE, wait=False)
    job = transformer.latest_transform_job.name
    with contextlib.suppress(UnexpectedStatusException):  # photographs failed
        session.wait_for_transform_job(job, poll=1)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        session.logs_for_transform_job(job, wait=False)
    failures = dict(
        re.findall(rf"{BUCKET}/{re.escape(PHOTOGRAPHS)}(\S+): (\{{.*\}})", printed.getvalue())
    )
    answers = {
        name: read(f"{NAME}-out/{name}.out").decode()
        for name in photographs
        if name not in failures
    }
    transformer.delete_model()
    return {"answers": answers, "failures": failures}


done = {
    "real-time": grade_in_real_time(),
    "asynchronous": grade_asynchronously(),
    "batch": grade_in_a_batch(),
}
sys.stdout.write("\n")
json.dump(done, sys.stdout)
