"""Raw outputs become predictions as the manifest says."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from drdeploy.errors import PredictionFailed
from drdeploy.grader.artifacts import ModelArtifact, ModelManifest
from drdeploy.grader.grading import ICDR_CLASSES, Grade
from drdeploy.grader.runtimes.classifier import Classifier, softmax_of_logits

BATCH = np.zeros((2, 4, 4, 3), np.float32)


class Answering:
    """A runtime that answers with what it was given."""

    name = "onnxruntime"
    version = "0"

    def __init__(self, outputs):
        self.outputs = np.array(outputs, np.float32)

    def predict(self, batch):
        return self.outputs


def classifier(outputs, **fields):
    manifest = ModelManifest(
        name="x", architecture="x", model_format="onnx", entry="x", weights="random", **fields
    )
    return Classifier(ModelArtifact(Path(), manifest, ""), Answering(outputs))


def test_probabilities_are_taken_as_they_are():
    rows = [[0.1, 0.2, 0.7, 0, 0], [1, 0, 0, 0, 0]]
    grades = [one.grade for one in classifier(rows, classes=ICDR_CLASSES).predict(BATCH)]
    assert grades == [Grade.MODERATE, Grade.NO_DR]


def test_logits_become_probabilities():
    rows = [[0, 0, 800], [-5, 5, -5]]
    got = classifier(rows, classes=("a", "b", "c"), output="logits").predict(BATCH)
    assert [one.label for one in got] == ["c", "b"]
    assert got[0].probabilities.tolist() == [0, 0, 1]


def test_outputs_that_nobody_named_are_numbered():
    got = classifier([[0.1, 0.9], [0.6, 0.4]], classes=()).predict(BATCH)
    assert [one.label for one in got] == ["class_1", "class_0"]


@pytest.mark.parametrize("outputs", [[[0.5, 0.5]], [0.5, 0.5], [[[0.5, 0.5]], [[0.5, 0.5]]]])
def test_one_row_per_image_is_required(outputs):
    with pytest.raises(PredictionFailed, match="for 2 images"):
        classifier(outputs, classes=("a", "b")).predict(BATCH)


@given(arrays(np.float32, (3, 5), elements=st.floats(-1e4, 1e4, width=32)))
def test_softmax_is_a_distribution_in_the_order_of_the_logits(logits):
    probabilities = softmax_of_logits(logits)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    top = np.take_along_axis(probabilities, logits.argmax(axis=1)[:, None], axis=1)
    assert (top[:, 0] == probabilities.max(axis=1)).all()
