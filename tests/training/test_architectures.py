"""The networks are the study's, and each sees what it was designed for."""

import numpy as np
import pytest

from drdeploy.errors import InvalidInput
from drdeploy.fundus.apply import apply
from drdeploy.training.architectures import ARCHITECTURES, find_architecture
from drdeploy.training.network import base_of, build_network

EVERY = pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=lambda one: one.name)


@pytest.mark.parametrize(("name", "count"), [("MobileNet", 3_377_221), ("VGG19", 20_107_205)])
def test_the_network_has_the_study_s_number_of_parameters(name, count):
    network = build_network(find_architecture(name))
    assert network.count_params() == find_architecture(name).parameter_count == count


@EVERY
def test_the_head_is_the_study_s(architecture):
    network = build_network(architecture)
    head = [layer.get_config() for layer in network.layers[-3:]]
    assert [layer["units"] for layer in head] == [128, 128, 5]
    assert [layer["activation"] for layer in head] == ["relu", "relu", "softmax"]
    assert "global_average_pooling" in network.layers[-4].name


@EVERY
def test_only_the_head_is_trainable(architecture):
    network = build_network(architecture)
    assert base_of(network).trainable_weights == []
    assert len(network.trainable_weights) == 6


@EVERY
def test_the_transform_is_the_preprocessing_that_keras_documents(architecture):
    import keras

    module = getattr(keras.applications, architecture.name.lower())
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    ours = apply(architecture.transform, image)
    keras_own = module.preprocess_input(image.astype(np.float32))
    assert np.allclose(ours, keras_own, atol=1e-3)


def test_names_are_found_whatever_their_case():
    assert find_architecture("vgg19").name == find_architecture("VGG19").name == "VGG19"


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(InvalidInput, match="MobileNet, VGG19"):
        find_architecture("LeNet")
