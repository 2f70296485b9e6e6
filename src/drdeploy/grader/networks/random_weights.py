"""Random weights that leave a deep network as stable as a trained one.

With random kernels alone, values grow to 1e10 in some networks, and the rounding errors of an
exported model grow until it answers another grade.  So the batch normalization of every layer gets
the statistics of a few photographs, is shifted so that most values pass the activation, and
residual branches start small.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from drdeploy.grader.networks.frameworks import import_frameworks
from drdeploy.grader.networks.initial import he_normal, round_digits
from drdeploy.grader.networks.network import run_network

if TYPE_CHECKING:
    from numpy.typing import NDArray

BRANCH_GAIN = 0.1
"""Gain of a residual branch; its identity has 1.  Goyal et al. start from zero (arXiv:1706.02677,
section 5.1)."""

OFFSET = 1.0
"""Shift of normalized values, in deviations.  Without it, ReLU cuts them at their mean, and small
differences between photographs grow by a third with every pair of layers (Yang et al., A Mean Field
Theory of Batch Normalization, 2019)."""


def randomise(network: Any, seed: int) -> None:
    """Draw every kernel, with a generator of its own for each layer."""
    keras = import_frameworks().keras
    for index, layer in enumerate(network.layers):
        rng = np.random.default_rng([seed, index])
        is_depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        for variable in layer.weights:
            if "kernel" in variable.name:
                shape = tuple(variable.shape)
                # Of shape (height, width, channels, multiplier): an output has one input channel.
                has_one_channel = is_depthwise or variable.name == "depthwise_kernel"
                fan_in = math.prod(shape[:2] if has_one_channel else shape[:-1])
                variable.assign(he_normal(rng, shape, fan_in))


def set_batch_statistics(network: Any, sample: NDArray[np.float32]) -> None:
    """Give every batch normalization the statistics of ``sample``, as training would.

    One pass is enough: in training mode a layer normalizes by the batch at hand, and with a
    momentum of zero its moving statistics become those of that batch.  A network without batch
    normalization is left as it is.

    Args:
        network: With random kernels.
        sample: Photographs as its input, ``(n, height, width, 3)``.
    """
    layers = import_frameworks().keras.layers
    normalizing = _layers(network, layers.BatchNormalization)
    dropping = _layers(network, layers.Dropout)
    if not normalizing:
        return
    for layer in normalizing:
        layer.beta.assign(np.full(layer.beta.shape, OFFSET))
    for layer in _ends_of_branches(network):
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
        layer.moving_mean.assign(round_digits(layer.moving_mean.numpy()))
        layer.moving_variance.assign(round_digits(layer.moving_variance.numpy()))
    for layer, rate in zip(dropping, rates, strict=True):
        layer.rate = rate


def _ends_of_branches(network: Any) -> list[Any]:
    """Find the last normalization of each residual branch that is added to an identity.

    At an addition, the branch is the one input that comes from a normalization, directly or
    through dropout.  If both do, there is no identity.
    """
    layers = import_frameworks().keras.layers
    by_output = {id(one.output): one for one in _layers(network, layers.BatchNormalization)}
    for layer in _layers(network, layers.Dropout):
        if id(layer.input) in by_output:
            by_output[id(layer.output)] = by_output[id(layer.input)]
    summed = [
        [by_output[id(tensor)] for tensor in layer.input if id(tensor) in by_output]
        for layer in _layers(network, layers.Add)
    ]
    return [ends[0] for ends in summed if len(ends) == 1]


def _layers(network: Any, kind: type) -> list[Any]:
    return [layer for layer in network.layers if isinstance(layer, kind)]
