"""The networks are the study's, and each sees what it was designed for."""

import sys

import numpy as np
import pytest

from drdeploy.errors import InvalidInput
from drdeploy.grader.fundus.apply import apply_transform
from drdeploy.grader.fundus.photograph import DecodedPhotograph
from drdeploy.grader.networks.architectures import ARCHITECTURES, find_architecture
from drdeploy.grader.networks.network import build_network, extract_pooled_feature_network

EVERY = ARCHITECTURES.values()


@pytest.fixture(scope="module", params=EVERY, ids=lambda one: one.name)
def built(request):
    """An architecture and its network: building all of them takes most of a minute."""
    import keras

    keras.backend.clear_session()
    return request.param, build_network(request.param)


def test_the_network_has_the_number_of_parameters_that_is_listed(built):
    architecture, network = built
    assert network.count_params() == architecture.parameter_count


def test_the_head_is_the_study_s_and_alone_is_trainable(built):
    _, network = built
    head = [layer.get_config() for layer in network.layers[-3:]]
    assert [layer["units"] for layer in head] == [128, 128, 5]
    assert [layer["activation"] for layer in head] == ["relu", "relu", "softmax"]
    assert type(network.layers[-4]).__name__ == "GlobalAveragePooling2D"
    assert extract_pooled_feature_network(network).trainable_weights == []
    assert len(network.trainable_weights) == 6


@pytest.mark.parametrize(("name", "count"), [("MobileNet", 3_377_221), ("VGG19", 20_107_205)])
def test_the_two_that_the_study_chose_have_its_numbers_of_parameters(name, count):
    assert find_architecture(name).parameter_count == count


def test_there_are_27_and_no_two_are_the_same_network():
    assert len(ARCHITECTURES) == 27
    assert len({architecture.parameter_count for architecture in EVERY}) == 27


@pytest.mark.parametrize("architecture", EVERY, ids=lambda one: one.name)
def test_the_transform_is_the_preprocessing_that_keras_documents(architecture):
    import keras

    module = sys.modules[getattr(keras.applications, architecture.name).__module__]
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    ours = apply_transform(architecture.transform, DecodedPhotograph.from_pixels(image))
    keras_own = module.preprocess_input(image.astype(np.float32))
    assert np.allclose(ours, keras_own, atol=1e-3)


def test_a_network_that_takes_all_pixel_values_scales_them_itself():
    for architecture in EVERY:
        takes_all = architecture.transform.value_range == (0.0, 255.0)
        scales = architecture.preprocessing == "in-graph"
        assert takes_all == (scales or architecture.preprocessing == "caffe")


def test_another_size_of_input_keeps_the_preprocessing():
    larger = find_architecture("DenseNet121").with_input_side(300)
    assert larger.shape_of_input == (300, 300, 3)
    assert (larger.transform.height_px, larger.transform.width_px) == (300, 300)
    assert larger.transform.std == find_architecture("DenseNet121").transform.std


def test_names_are_found_whatever_their_case():
    assert find_architecture("vgg19").name == find_architecture("VGG19").name == "VGG19"


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(InvalidInput, match=r"DenseNet121, .*VGG19, Xception"):
        find_architecture("LeNet")
