"""The normalization inside a graph: EfficientNet's, which Keras builds in two ways.

With ``weights="imagenet"`` Keras follows the layer with a division by the square root of the
deviation, and the file of weights holds the deviation where the layer wants the variance
(TensorFlow issue 49930).  Without weights there is no division, and no statistics either.  The
two parts together are the usual (x - mean) / deviation: written into the layer's statistics, one
graph serves any weights.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from drdeploy.grader.networks.frameworks import import_frameworks

IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
"""RGB, of values from 0 to 1."""


def settle_normalization(network: Any) -> None:
    """Make a graph's own normalization ImageNet's, unless its weights brought another.

    To be called after a network is built, and again whenever its weights were set.
    """
    keras = import_frameworks().keras
    for layer in network.layers:
        if isinstance(layer, keras.layers.Normalization):
            if _is_unset(layer) or np.allclose(layer.adapt_variance, IMAGENET_STD, atol=1e-3):
                layer.adapt_mean.assign(IMAGENET_MEAN)
                layer.adapt_variance.assign(np.square(IMAGENET_STD))
            layer.finalize_state()  # what the layer computes with is a copy


def fix_normalization(network: Any) -> None:
    """Make a graph's own statistics constants of it: a converter takes tensors for inputs."""
    keras = import_frameworks().keras
    for layer in network.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.mean, layer.variance = np.asarray(layer.mean), np.asarray(layer.variance)


def _is_unset(layer: Any) -> bool:
    return not np.any(layer.adapt_mean) and bool(np.all(np.equal(layer.adapt_variance, 1)))
