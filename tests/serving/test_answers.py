"""What clients read, for a grader and for any other classifier."""

import csv
import io

import pytest
from tiny_models import onnx_artifact

ANIMALS = ("cat", "dog", "horse")


@pytest.fixture(scope="module")
def animals_dir(tmp_path_factory):
    return onnx_artifact(tmp_path_factory.mktemp("animals"), classes=ANIMALS)


def test_another_classifier_has_labels_but_no_grade(animals_dir, serve, photo):
    server = serve(animals_dir)
    answer = server.invoke(photo).json()
    assert set(answer["probabilities"]) == set(ANIMALS)
    assert answer["label"] in ANIMALS
    assert not {"grade", "referable"} & set(answer)
    rows = list(csv.reader(io.StringIO(server.invoke(photo, accept="text/csv").text)))
    assert rows[0] == ["class", "label", *ANIMALS]
    assert ANIMALS[int(rows[1][0])] == rows[1][1] == answer["label"]


def test_a_batch_container_says_how_large_its_files_may_be(model_dir, serve):
    server = serve(model_dir, SAGEMAKER_BATCH="true", DRDEPLOY_CONCURRENCY=3)
    answer = server.client.get("/execution-parameters").json()
    assert answer == {
        "MaxConcurrentTransforms": 3,
        "BatchStrategy": "SINGLE_RECORD",
        "MaxPayloadInMB": 20,
    }
