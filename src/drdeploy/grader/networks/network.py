"""Build the study's network: a Keras base with two dense layers and a softmax on top."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drdeploy.grader.grading.grade import ICDR_CLASSES
from drdeploy.grader.networks.frameworks import import_frameworks
from drdeploy.grader.networks.normalization import set_imagenet_normalization

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from drdeploy.grader.networks.architectures import Architecture

HIDDEN_UNITS = 128


def build_network(architecture: Architecture, *, class_count: int = len(ICDR_CLASSES)) -> Any:
    """Build a network without meaningful weights.

    The base ends in global average pooling.  On top are two dense layers of 128 units with ReLU,
    and a softmax.

    Returns:
        A ``keras.Model``; :func:`base_of` returns its base.
    """
    keras = import_frameworks().keras
    build_base = getattr(keras.applications, architecture.name)
    base = build_base(
        include_top=False, weights=None, pooling="avg", input_shape=architecture.input_shape
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


def in_float32(network: Any, architecture: Architecture) -> Any:
    """Return a network that computes in single precision, with the same weights."""
    policy = import_frameworks().keras.mixed_precision
    if policy.dtype_policy().compute_dtype == "float32":
        return network
    policy.set_dtype_policy("float32")
    single = build_network(architecture)
    single.set_weights(network.get_weights())
    return single


def base_of(network: Any) -> Any:
    """Return the base of a network: everything up to the pooled features."""
    keras = import_frameworks().keras
    return keras.Model(network.input, network.get_layer("hidden_1").input)


def run_network(network: Any, batch: NDArray[np.float32], *, training: bool = False) -> Any:
    """Compute a network's output for a batch.

    It runs as a TensorFlow graph.  Called directly, Keras keeps the output of every layer until
    the end, which takes gigabytes.
    """
    tf = import_frameworks().tensorflow
    graph = tf.function(lambda images: network(images, training=training), autograph=False)
    return graph(tf.constant(batch)).numpy()
