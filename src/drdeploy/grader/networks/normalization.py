"""Repair the normalization layer inside EfficientNet, which Keras builds in two ways.

With ``weights="imagenet"`` the file of weights holds the standard deviation where the layer expects
the variance, so the layer divides by the square root of the deviation; Keras makes up for it with a
second division by that root (TensorFlow issue 49930).  Without weights there is no second division,
and the layer has no statistics either.  Both together are the usual (x - mean) / deviation.  Here
the layer's own statistics are set to that, so that one graph works with any weights.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from drdeploy.grader.networks.frameworks import import_frameworks

IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
"""RGB, of values from 0 to 1."""


def set_imagenet_normalization(network: Any) -> None:
    """Normalize the input by ImageNet's statistics, unless the weights brought others.

    Call it after a network is built, and again whenever its weights have been set.
    """
    keras = import_frameworks().keras
    for layer in network.layers:
        if isinstance(layer, keras.layers.Normalization):
            is_unset = not np.any(layer.adapt_mean) and np.all(np.equal(layer.adapt_variance, 1))
            if is_unset or np.allclose(layer.adapt_variance, IMAGENET_STD, atol=1e-3):
                layer.adapt_mean.assign(IMAGENET_MEAN)
                layer.adapt_variance.assign(np.square(IMAGENET_STD))
            layer.finalize_state()  # what the layer computes with is a copy


def freeze_normalization(network: Any) -> None:
    """Turn the normalization's statistics into constants: converters take tensors for inputs."""
    keras = import_frameworks().keras
    for layer in network.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.mean, layer.variance = np.asarray(layer.mean), np.asarray(layer.variance)
