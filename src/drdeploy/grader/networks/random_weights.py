"""Draw random weights that make a deep network behave as steadily as trained weights do.

To compare the costs of a small and a large model, drdeploy needs a large model. The large model's
trained weights cannot be part of the package. Random weights are enough to measure size, latency
and cost. Two builds must give the same file, and different photographs must get different answers.
The weights are drawn with NumPy, so they do not depend on the library that builds the network.

With random kernels alone, values would grow to 1e10 in some networks. Rounding errors could then
change the grades of an exported model. Therefore every batch normalization gets statistics that are
measured on a few photographs. Its output is also shifted upwards, so that ReLU does not set half of
the values to zero. In a residual network, each branch gets a small gain, so that the sums of the
branches do not grow.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from drdeploy.grader.networks.frameworks import import_tensorflow_and_keras
from drdeploy.grader.networks.network import run_network

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_SPREAD = 0.01
"""Smallest standard deviation by which a logit is divided, as a share of the largest logit.
Dividing by a smaller number would enlarge rounding errors until they decide the answer.
"""


def draw_he_normal_kernel(
    rng: np.random.Generator, shape: tuple[int, ...], fan_in: int
) -> NDArray[np.float32]:
    """Draw a kernel that keeps the scale of values from layer to layer (He et al., ICCV 2015)."""
    drawn = rng.standard_normal(shape, dtype=np.float32)
    return np.asarray(drawn * np.sqrt(2.0 / fan_in), dtype=np.float32)


def scale_last_layer_to_unit_logits(
    features: NDArray[np.float32], kernel: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scale the last layer so that each logit has mean 0 and standard deviation 1.

    The mean and the standard deviation are taken over ``n`` photographs; ``features`` is the
    layer's input for these photographs, in shape ``(n, units)``.  The function returns the scaled
    kernel ``(units, classes)`` and a bias ``(classes,)``.
    """
    logits = features @ kernel
    # Rounded, because the last bits of sums differ between machines, and the model must not.
    scale = round_to_three_digits(
        1.0 / np.maximum(logits.std(axis=0), LEAST_SPREAD * np.abs(logits).max())
    )
    return kernel * scale, -round_to_three_digits(logits.mean(axis=0) * scale)


def round_to_three_digits(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Round each value to three significant digits, so that all machines give the same weights."""
    return np.asarray([float(f"{value:.3g}") for value in values], dtype=np.float32)


BRANCH_GAIN = 0.1
"""Gain of a residual branch.

The identity to which the branch is added has a gain of 1.  Goyal et al. start with a gain of zero
(arXiv:1706.02677, section 5.1).
"""

OFFSET = 1.0
"""Shift of normalized values, in standard deviations.  Without the shift, ReLU would cut off all
values below the mean, and small differences between photographs would grow by a third with every
pair of layers (Yang et al., A Mean Field Theory of Batch Normalization, 2019).
"""


def draw_random_kernels(network: Any, seed: int) -> None:
    """Draw every kernel with a separate random generator for each layer."""
    keras = import_tensorflow_and_keras().keras
    for index, layer in enumerate(network.layers):
        rng = np.random.default_rng([seed, index])
        is_depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        for variable in layer.weights:
            if "kernel" in variable.name:
                shape = tuple(variable.shape)
                # Of shape (height, width, channels, multiplier): an output has one input channel.
                has_one_channel = is_depthwise or variable.name == "depthwise_kernel"
                fan_in = math.prod(shape[:2] if has_one_channel else shape[:-1])
                variable.assign(draw_he_normal_kernel(rng, shape, fan_in))


def set_batch_statistics(network: Any, sample: NDArray[np.float32]) -> None:
    """Set the statistics of every batch normalization to the statistics of ``sample``.

    The network is run on ``sample`` once, in training mode. Each layer then normalizes by the
    statistics of this batch. With a momentum of zero, these statistics replace the old ones. A
    network without batch normalization is not changed. The sample consists of photographs as the
    network's input, ``(n, height, width, 3)``.
    """
    layers = import_tensorflow_and_keras().keras.layers
    normalizing = _select_layers_of_kind(network, layers.BatchNormalization)
    dropping = _select_layers_of_kind(network, layers.Dropout)
    if not normalizing:
        return
    for layer in normalizing:
        layer.beta.assign(np.full(layer.beta.shape, OFFSET))
    for layer in _find_last_normalizations_of_branches(network):
        layer.gamma.assign(np.full(layer.gamma.shape, BRANCH_GAIN))
    before = [(layer, layer.trainable, layer.momentum) for layer in normalizing]
    rates = [layer.rate for layer in dropping]
    for layer in normalizing:
        layer.trainable, layer.momentum = True, 0.0
    for layer in dropping:
        layer.rate = 0.0
    run_network(network, sample, training=True)
    for layer, trainable, momentum in before:
        layer.trainable, layer.momentum = trainable, momentum
        layer.moving_mean.assign(round_to_three_digits(layer.moving_mean.numpy()))
        layer.moving_variance.assign(round_to_three_digits(layer.moving_variance.numpy()))
    for layer, rate in zip(dropping, rates, strict=True):
        layer.rate = rate


def _find_last_normalizations_of_branches(network: Any) -> list[Any]:
    """Find the last normalization of each residual branch.

    A residual branch ends at an addition of the branch's output and the branch's input. The output
    comes from a normalization, directly or through dropout. The input does not. If both summands
    come from normalizations, the addition is not the end of a branch.
    """
    layers = import_tensorflow_and_keras().keras.layers
    by_output = {
        id(one.output): one for one in _select_layers_of_kind(network, layers.BatchNormalization)
    }
    for layer in _select_layers_of_kind(network, layers.Dropout):
        if id(layer.input) in by_output:
            by_output[id(layer.output)] = by_output[id(layer.input)]
    summed = [
        [by_output[id(tensor)] for tensor in layer.input if id(tensor) in by_output]
        for layer in _select_layers_of_kind(network, layers.Add)
    ]
    return [ends[0] for ends in summed if len(ends) == 1]


def _select_layers_of_kind(network: Any, kind: type) -> list[Any]:
    return [layer for layer in network.layers if isinstance(layer, kind)]
