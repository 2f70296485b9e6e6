"""Every photograph takes the one way from bytes to a prediction."""

import numpy as np
import pytest
from photographs import photograph
from tiny_models import described, onnx_artifact, tiny_onnx

from drdeploy.errors import UnsupportedImage
from drdeploy.grader.artifacts import extract_archive, pack_archive
from drdeploy.grader.fundus.gradability_limits import GradabilityLimits
from drdeploy.grader.inference import InferenceService


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    return InferenceService.load(onnx_artifact(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    """A model that grades hardly any photograph."""
    folder = tmp_path_factory.mktemp("strict")
    limits = GradabilityLimits(min_eye_px=5000)
    pack_archive(
        tiny_onnx(folder), folder / "model.tar.gz", described("strict", gradability=limits)
    )
    return InferenceService.load(extract_archive(folder / "model.tar.gz", folder / "model").folder)


def test_the_models_input_is_what_it_predicts_from(service):
    data = photograph(600)
    (inference,) = service.infer([data])
    (prediction,) = service.classifier.predict(service.model_input(data)[None])
    assert np.array_equal(inference.prediction.probabilities, prediction.probabilities)


def test_a_photograph_that_cannot_be_graded_is_not_predicted(strict):
    (inference,) = strict.infer([photograph()])
    assert (inference.prediction, inference.ungradable) == (None, "too_small")
    assert inference.is_assessed


def test_a_photograph_that_cannot_be_graded_has_model_input_all_the_same(strict, service):
    data = photograph()
    assert np.array_equal(strict.model_input(data), service.model_input(data))


def test_without_limits_in_the_manifest_gradability_is_not_checked(service):
    (inference,) = service.infer([photograph(40)])
    assert inference.prediction is not None
    assert not inference.is_assessed


def test_of_several_images_the_message_says_which_cannot_be_used(service):
    with pytest.raises(UnsupportedImage, match=r"Image 2 of 3: "):
        service.infer([photograph(), b"no image", photograph()])


def test_several_images_get_what_each_gets_alone(service):
    images = [photograph(seed=seed) for seed in range(3)]
    for together, image in zip(service.infer(images), images, strict=True):
        (alone,) = service.infer([image])
        assert np.array_equal(together.prediction.probabilities, alone.prediction.probabilities)


def test_the_times_of_the_steps_are_those_of_the_clock(service):
    ticks = iter(range(100))
    counted = InferenceService(service.classifier, clock=lambda: float(next(ticks)))
    (inference,) = counted.infer([photograph()])
    assert (inference.decode_s, inference.transform_s, inference.predict_s) == (2, 2, 1)
