"""Every runtime of the same model answers the same, whatever the network."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from drdeploy.errors import PredictionFailed
from drdeploy.grader.artifacts import extract_archive
from drdeploy.grader.networks.sample import make_sample_batch
from drdeploy.grader.runtimes.classifier import Classifier
from drdeploy.grader.runtimes.model_loading import load_model_in_runtime

WAYS = [
    ("saved_model", "tensorflow"),
    ("saved_model", "openvino"),
    ("onnx", "onnxruntime"),
    ("onnx", "openvino"),
]


@pytest.fixture(scope="session")
def classifiers(exported, tmp_path_factory):
    """Load every way of running a network."""

    def load(architecture):
        folder = tmp_path_factory.mktemp(architecture)
        archives = exported(architecture)
        artifacts = {name: extract_archive(path, folder / name) for name, path in archives.items()}
        return {
            (model_format, runtime): Classifier(
                artifacts[model_format],
                load_model_in_runtime(artifacts[model_format], runtime=runtime),
            )
            for model_format, runtime in WAYS
        }

    return load


@pytest.fixture(scope="session")
def mobilenets(classifiers):
    return classifiers("mobilenet")


def answers(classifier, batch):
    return np.stack([one.probabilities for one in classifier.predict(batch)])


@pytest.fixture(scope="session")
def batch(mobilenets):
    return make_sample_batch(next(iter(mobilenets.values())).artifact.manifest.transform)


@pytest.mark.parametrize("way", WAYS[1:], ids="-".join)
def test_mobilenet_answers_the_same_within_a_thousandth(mobilenets, batch, way):
    expected = answers(mobilenets[WAYS[0]], batch)
    assert np.abs(answers(mobilenets[way], batch) - expected).max() < 1e-3


def test_its_answers_depend_on_the_image(mobilenets, batch):
    got = answers(mobilenets[WAYS[2]], batch)
    assert got.std(axis=0).max() > 0.05
    assert got.max() < 0.999


@pytest.mark.parametrize("way", WAYS, ids="-".join)
def test_a_batch_answers_as_its_images_do_one_by_one(mobilenets, batch, way):
    alone = np.concatenate([answers(mobilenets[way], batch[i : i + 1]) for i in range(3)])
    assert np.allclose(answers(mobilenets[way], batch[:3]), alone, atol=1e-4)


@pytest.mark.parametrize("way", WAYS, ids="-".join)
def test_threads_may_predict_at_once(mobilenets, batch, way):
    expected = answers(mobilenets[way], batch)
    indices = [index % len(batch) for index in range(24)]
    with ThreadPoolExecutor(4) as pool:
        got = pool.map(lambda i: answers(mobilenets[way], batch[i : i + 1])[0], indices)
    assert np.allclose(np.stack(list(got)), expected[indices], atol=1e-4)


@pytest.mark.parametrize("way", WAYS, ids="-".join)
def test_a_batch_of_another_size_is_refused_as_an_error_of_ours(mobilenets, way):
    with pytest.raises(PredictionFailed):
        mobilenets[way].predict(np.zeros((1, 100, 224, 3), np.float32))


def test_vgg19_answers_the_same_within_a_thousandth(classifiers):
    loaded = classifiers("vgg19")
    batch = make_sample_batch(next(iter(loaded.values())).artifact.manifest.transform)[:2]
    got = [answers(classifier, batch) for classifier in loaded.values()]
    assert np.ptp(np.stack(got), axis=0).max() < 1e-3
    assert np.abs(got[0][0] - got[0][1]).max() > 0.01
