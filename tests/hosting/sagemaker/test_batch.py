"""What a transform job leaves behind, and what it must not touch."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError

from drdeploy.errors import EndpointError
from drdeploy.hosting.sagemaker import BatchJob, BatchTransform

JOB = BatchJob("nightly", "drdeploy:lean", "s3://eyes/a.tar.gz", "s3://eyes/in/", "s3://eyes/out")


def refuse(code):
    def call(**_):
        raise ClientError({"Error": {"Code": code, "Message": "no"}}, "Call")

    return call


def batch(sagemaker=None, s3=None):
    clients = SimpleNamespace(sagemaker=sagemaker, s3=s3)
    return BatchTransform(clients, logs=None, is_local=True)


@pytest.mark.parametrize(("refused", "deleted"), [("create_model", []), ("job", ["nightly"])])
def test_a_model_that_the_job_did_not_create_is_left_alone(refused, deleted):
    """A second run of the name would delete the model of the job that works."""
    seen = []
    sagemaker = SimpleNamespace(
        create_model=refuse("ValidationException") if refused == "create_model" else dict,
        create_transform_job=refuse("ResourceInUse"),
        delete_model=lambda **given: seen.append(given["ModelName"]),
    )
    with pytest.raises(EndpointError):
        batch(sagemaker).run_job(JOB)
    assert seen == deleted


@pytest.mark.parametrize(
    ("chosen", "sent"),
    [
        ({}, None),
        ({"retries": 0}, {"InvocationsMaxRetries": 0}),
        (
            {"timeout_s": 60, "retries": 0},
            {"InvocationsTimeoutInSeconds": 60, "InvocationsMaxRetries": 0},
        ),
    ],
)
def test_what_a_job_does_not_choose_is_left_to_sagemaker(chosen, sent):
    seen = []
    sagemaker = SimpleNamespace(
        create_model=dict, create_transform_job=lambda **given: seen.append(given)
    )
    batch(sagemaker).start_job(replace(JOB, **chosen))
    assert [given.get("ModelClientConfig") for given in seen] == [sent]


def test_an_object_that_s3_does_not_delete_is_an_error():
    """S3 answers 200 and lists the objects that it refuses to delete."""
    versions = {"Versions": [{"Key": "in/eye.jpg", "VersionId": "1"}]}
    s3 = SimpleNamespace(
        get_paginator=lambda _: SimpleNamespace(paginate=lambda **_: [versions]),
        delete_objects=lambda **_: {"Errors": [{"Key": "in/eye.jpg", "Code": "AccessDenied"}]},
    )
    with pytest.raises(EndpointError, match="AccessDenied") as failed:
        batch(s3=s3).delete_folder("s3://eyes/in/")
    assert failed.value.where == "s3://eyes/in/eye.jpg"
