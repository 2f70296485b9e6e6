"""The infrastructure of the 2023 study, as it was described, stands on the local service."""

from pathlib import Path

import pytest
from local_aws import archive
from terraform import Terraform

CONFIGURATION = Path(__file__).with_name("original-study")


@pytest.fixture
def study(provider, tmp_path):
    terraform = Terraform(CONFIGURATION, tmp_path, provider, {"stored": False}).init()
    yield terraform
    if terraform.has_resources():
        terraform.destroy()


def test_its_endpoints_answer_converge_and_go(study, aws):
    study.apply()
    for network in ("mobilenet", "vgg19"):
        key = f"{network}/model.tar.gz"
        aws.s3.put_object(Bucket="dr-2023-models", Key=key, Body=archive(network))
    study.values["stored"] = True
    endpoints = study.apply()["endpoints"]
    assert len(endpoints) == 2 * 3 + 2 * 4
    answer = aws.invoke("dr-2023-vgg19-3072", b"photograph")
    assert "1/vgg19" in answer["model_files"]
    assert aws.invoke("dr-2023-mobilenet-c7g-xlarge")["length"] == 10
    assert study.planned() == {}
    study.destroy()
    assert aws.sagemaker.list_endpoints(NameContains="dr-2023")["Endpoints"] == []
