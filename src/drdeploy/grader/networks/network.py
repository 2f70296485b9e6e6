"""Build a network of the 2023 study: a Keras base with two dense layers and a softmax on top."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from drdeploy.grader.grading.grade import ICDR_CLASSES
from drdeploy.grader.networks.frameworks import import_tensorflow_and_keras

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.grader.networks.architectures import Architecture

HIDDEN_UNITS = 128
IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
"""Standard deviations of red, green and blue in ImageNet, for pixel values from 0 to 1."""


def build_network(architecture: Architecture, *, class_count: int = len(ICDR_CLASSES)) -> Any:
    """Build a network whose weights are not yet set.

    The base network ends in global average pooling.  On top of the base are two dense layers of 128
    units with ReLU, and a softmax.

    Returns:
        A ``keras.Model``.
    """
    keras = import_tensorflow_and_keras().keras
    build_base = getattr(keras.applications, architecture.name)
    base = build_base(
        include_top=False, weights=None, pooling="avg", input_shape=architecture.shape_of_input
    )
    set_imagenet_normalization(base)
    base.trainable = False
    features = base.output
    for index in (1, 2):
        layer = keras.layers.Dense(HIDDEN_UNITS, activation="relu", name=f"hidden_{index}")
        features = layer(features)
    # Probabilities in single precision, even if the rest computes in half precision.
    last = keras.layers.Dense(class_count, activation="softmax", dtype="float32", name="grades")
    return keras.Model(base.input, last(features), name=architecture.name.lower())


def convert_network_to_float32(network: Any, architecture: Architecture) -> Any:
    """Return a network that computes in single precision, with the same weights."""
    if all(layer.compute_dtype == "float32" for layer in network.layers):
        return network
    policies = import_tensorflow_and_keras().keras.mixed_precision
    before = policies.dtype_policy()
    policies.set_dtype_policy("float32")
    try:
        single = build_network(architecture)
    finally:
        policies.set_dtype_policy(before)
    single.set_weights(network.get_weights())
    return single


def extract_pooled_feature_network(network: Any) -> Any:
    """Return a network without its last layers, as a Keras model that gives pooled features."""
    keras = import_tensorflow_and_keras().keras
    return keras.Model(network.input, network.get_layer("hidden_1").input)


def run_network(network: Any, batch: NDArray[np.float32], *, training: bool = False) -> Any:
    """Compute a network's output for a batch.

    The network runs as a TensorFlow graph.  If the network were called directly, Keras would keep
    the output of every layer until the end, which takes gigabytes.
    """
    tf = import_tensorflow_and_keras().tensorflow
    graph = tf.function(lambda images: network(images, training=training), autograph=False)
    return graph(tf.constant(batch)).numpy()


def set_imagenet_normalization(network: Any) -> None:
    """Make an EfficientNet normalize its input correctly, with any kind of weights.

    The input should become (x - mean) / deviation, with ImageNet's mean and standard deviation. But
    Keras's own file of weights holds the deviation in the place of the variance. The normalization
    layer therefore divides by the square root of the deviation. With ``weights="imagenet"``, Keras
    adds a second layer that divides by this root once more (TensorFlow issue 49930). Without
    weights, Keras adds no second layer, and the first layer has no statistics. This function writes
    the right statistics into the first layer, so no second layer is needed. If other weights bring
    statistics of their own, these stay unchanged.

    Call this function after a network is built, and again whenever its weights have been set.
    """
    keras = import_tensorflow_and_keras().keras
    for layer in network.layers:
        if isinstance(layer, keras.layers.Normalization):
            is_unset = not np.any(layer.adapt_mean) and np.all(np.equal(layer.adapt_variance, 1))
            if is_unset or np.allclose(layer.adapt_variance, IMAGENET_STD, atol=1e-3):
                layer.adapt_mean.assign(IMAGENET_MEAN)
                layer.adapt_variance.assign(np.square(IMAGENET_STD))
            layer.finalize_state()  # what the layer computes with is a copy


def turn_normalization_into_constants(network: Any) -> None:
    """Make the statistics of normalization layers constants, because converters need constants."""
    keras = import_tensorflow_and_keras().keras
    for layer in network.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.mean, layer.variance = np.asarray(layer.mean), np.asarray(layer.variance)
