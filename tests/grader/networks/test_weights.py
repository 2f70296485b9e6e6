"""What a network is filled with, and that the manifest will say so."""

import hashlib

import numpy as np
import pytest

from drdeploy.errors import InvalidInput, ModelLoadFailed
from drdeploy.grader.networks import random_weights
from drdeploy.grader.networks.architectures import find_architecture
from drdeploy.grader.networks.network import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    build_network,
    extract_pooled_feature_network,
)
from drdeploy.grader.networks.sample import make_sample_batch
from drdeploy.grader.networks.weights import set_network_weights

MOBILENET = find_architecture("MobileNet")


@pytest.fixture(scope="module")
def sample():
    return make_sample_batch(MOBILENET.transform)


def filled(source, sample, seed=0):
    network = build_network(MOBILENET)
    return network, set_network_weights(network, MOBILENET, source, seed=seed, sample=sample)


def same(left, right):
    pairs = zip(left.get_weights(), right.get_weights(), strict=True)
    return all(np.array_equal(one, other) for one, other in pairs)


def test_a_seed_determines_the_random_weights(sample):
    first, second, third = (filled("random", sample, seed)[0] for seed in (3, 3, 4))
    assert same(first, second)
    assert not same(first, third)


def test_random_weights_answer_differently_to_different_photographs(sample):
    network, _ = filled("random", sample)
    probabilities = network(sample, training=False).numpy()
    assert len(set(probabilities.argmax(axis=1))) >= 3
    assert probabilities.max() < 0.999


@pytest.mark.parametrize("name", ["MobileNet", "EfficientNetB0", "Xception"])
def test_every_kind_of_kernel_keeps_the_scale_of_what_it_sees(name, monkeypatch):
    drawn = []

    def record(rng, shape, fan_in):
        drawn.append((shape, fan_in))
        return np.zeros(shape, np.float32)

    monkeypatch.setattr(random_weights, "draw_he_normal_kernel", record)
    random_weights.draw_random_kernels(build_network(find_architecture(name)), seed=0)
    depthwise = [(shape, fan_in) for shape, fan_in in drawn if len(shape) == 4 and shape[3] == 1]
    assert len(depthwise) >= 13
    assert {fan_in for _, fan_in in depthwise} <= {9, 25}


@pytest.mark.parametrize("name", ["MobileNetV2", "EfficientNetB0"])
def test_random_weights_keep_the_scale_through_a_deep_network(name):
    architecture = find_architecture(name)
    photographs = make_sample_batch(architecture.transform)
    network = build_network(architecture)
    set_network_weights(network, architecture, "random", seed=0, sample=photographs)
    features = extract_pooled_feature_network(network)(photographs, training=False).numpy()
    assert 0.05 < np.abs(features).mean() < 5
    assert extract_pooled_feature_network(network).trainable_weights == []


def test_random_weights_are_called_random(sample):
    _, said = filled("random", sample)
    assert said.weights == "random"
    assert "mean nothing" in said.notes


@pytest.fixture(scope="module")
def base_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "base.weights.h5"
    network = build_network(MOBILENET)
    network.layers[1].set_weights([np.full((3, 3, 3, 32), 0.25, np.float32)])
    extract_pooled_feature_network(network).save_weights(path)
    return path


def test_a_file_fills_the_base_and_the_head_stays_random(base_file, sample):
    network, _ = filled(base_file, sample)
    expected = build_network(MOBILENET)
    extract_pooled_feature_network(expected).load_weights(base_file)
    assert same(extract_pooled_feature_network(network), extract_pooled_feature_network(expected))
    assert network.get_layer("hidden_1").kernel.numpy().std() > 0.01


def test_an_untrained_head_on_imagenet_weights_is_not_to_be_trusted(base_file, sample):
    _, said = filled(base_file, sample)
    assert said.weights == "imagenet"
    assert "untrained" in said.notes
    assert hashlib.sha256(base_file.read_bytes()).hexdigest() in said.source


def test_the_imagenet_weights_beside_the_project_fit(shared, sample):
    path = shared / "weights" / "mobilenet_1_0_224_imagenet_notop.weights.h5"
    network, _ = filled(path, sample)
    features = extract_pooled_feature_network(network)(sample, training=False).numpy()
    assert np.abs(features).mean() > 0.1


@pytest.fixture(scope="module")
def efficientnet_file(tmp_path_factory):
    """As Keras gives EfficientNet's weights out: with the deviation in the variance's place."""
    import keras

    base = keras.applications.EfficientNetB0(include_top=False, weights=None, pooling="avg")
    layer = next(one for one in base.layers if isinstance(one, keras.layers.Normalization))
    layer.set_weights([np.array(IMAGENET_MEAN), np.array(IMAGENET_STD), np.array(0)])
    path = tmp_path_factory.mktemp("weights") / "efficientnetb0.weights.h5"
    base.save_weights(path)
    return path


@pytest.mark.parametrize("is_downloaded", [True, False], ids=["imagenet", "file"])
def test_efficientnet_s_own_normalization_is_the_one_it_was_trained_with(
    efficientnet_file, monkeypatch, is_downloaded
):
    import keras

    monkeypatch.setattr(
        "keras.src.utils.file_utils.get_file", lambda *_args, **_options: str(efficientnet_file)
    )
    efficientnet = find_architecture("EfficientNetB0")
    photographs = make_sample_batch(efficientnet.transform)[:2]
    keras_own = keras.applications.EfficientNetB0(
        include_top=False, weights="imagenet", pooling="avg"
    )
    network = build_network(efficientnet)
    source = "imagenet" if is_downloaded else efficientnet_file
    set_network_weights(network, efficientnet, source, seed=0, sample=photographs)
    ours = extract_pooled_feature_network(network)(photographs, training=False).numpy()
    expected = keras_own(photographs, training=False).numpy()
    assert np.abs(ours - expected).max() < 1e-3 * np.abs(expected).max()


def test_a_file_that_is_not_there_is_named(tmp_path, sample):
    with pytest.raises(InvalidInput, match=r"absent\.h5: The weights file does not exist"):
        filled(tmp_path / "absent.h5", sample)


@pytest.mark.parametrize("name", ["photo.weights.h5", "photo.jpg"])
def test_a_file_that_holds_no_weights_is_refused(tmp_path, sample, name):
    (tmp_path / name).write_bytes(b"not weights")
    with pytest.raises(InvalidInput, match="do not fit"):
        filled(tmp_path / name, sample)


def test_another_network_s_weights_are_refused(tmp_path, sample):
    import keras

    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    other.save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(InvalidInput, match="do not fit"):
        filled(tmp_path / "other.weights.h5", sample)


def test_without_a_network_imagenet_weights_are_refused_with_the_remedy(sample, monkeypatch):
    import keras

    def unreachable(*args, **kwargs):
        raise Exception("URL fetch failure")  # noqa: TRY002 - what Keras itself raises

    monkeypatch.setattr(keras.utils, "get_file", unreachable)
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", unreachable)
    with pytest.raises(ModelLoadFailed, match=r"cannot download.*give the path of the file"):
        filled("imagenet", sample)
