"""Fill a network with weights: random ones, or ImageNet's under a random head."""

from __future__ import annotations

import contextlib
import hashlib
import math
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from drdeploy.errors import InvalidInput, ModelLoadFailed
from drdeploy.training.architectures import STUDY_SIDE_PX
from drdeploy.training.frameworks import import_frameworks
from drdeploy.training.network import base_of
from drdeploy.training.normalization import settle_normalization

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.artifacts import Weights
    from drdeploy.training.architectures import Architecture

WeightsSource = Path | Literal["random", "imagenet"]

LEAST_SPREAD = 0.01
"""Of the logits' size: a smaller spread is not stretched to one, it would be rounding errors."""

UNTRAINED = "The head is untrained (random): its grades mean nothing."
RANDOM = "All weights are random: good for size, latency and cost; its grades mean nothing."


@dataclass(frozen=True)
class Filled:
    """What a network was filled with, for its manifest."""

    weights: Weights
    source: str
    notes: str


def fill(
    network: Any,
    architecture: Architecture,
    source: WeightsSource,
    *,
    seed: int,
    sample: NDArray[np.float32],
) -> Filled:
    """Give a network its weights.

    Whatever is random is drawn from ``seed``, layer by layer.  The last layer is then scaled so
    that its logits vary over ``sample`` with unit standard deviation about zero: a deep random
    network otherwise gives every photograph the same answer.

    Args:
        network: Made by :func:`drdeploy.training.network.build_network`.
        architecture: What it is.
        source: ``random``, ``imagenet`` (Keras downloads it), or a file for the base
            (``.weights.h5``).
        seed: Of the random weights.
        sample: Input of the network, ``(n, height, width, 3)``, n at least 2.

    Raises:
        InvalidInput: The file is not there, or does not fit the base.
        ModelLoadFailed: Keras cannot download the weights.
    """
    _randomise(network, seed)
    filled = _fill_base(network, architecture, source)
    _spread_logits(network, sample)
    return filled


def _fill_base(network: Any, architecture: Architecture, source: WeightsSource) -> Filled:
    base = base_of(network)
    origin = f"keras.applications.{architecture.name}"
    if source == "random":
        return Filled("random", origin, RANDOM)
    if source == "imagenet":
        _download(base, architecture)
        settle_normalization(base)
        return Filled("imagenet", f"{origin}(weights='imagenet')", UNTRAINED)
    _load_file(base, source)
    settle_normalization(base)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    return Filled("imagenet", f"{origin}, base from {source.name} sha256:{digest}", UNTRAINED)


def _randomise(network: Any, seed: int) -> None:
    """He initialisation (He et al., ICCV 2015): keeps the scale through ReLU layers."""
    keras = import_frameworks().keras
    for index, layer in enumerate(network.layers):
        rng = np.random.default_rng([seed, index])
        is_depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        for variable in layer.weights:
            if "kernel" in variable.name:
                shape = tuple(variable.shape)
                # (height, width, channels, multiplier): each output sees one channel.
                sees_one = is_depthwise or variable.name == "depthwise_kernel"
                fan_in = math.prod(shape[:2] if sees_one else shape[:-1])
                variable.assign(_he_normal(rng, shape, fan_in))


def _he_normal(
    rng: np.random.Generator, shape: tuple[int, ...], fan_in: int
) -> NDArray[np.float32]:
    drawn = rng.standard_normal(shape, dtype=np.float32)
    return np.asarray(drawn * np.sqrt(2.0 / fan_in), dtype=np.float32)


def _spread_logits(network: Any, sample: NDArray[np.float32]) -> None:
    keras = import_frameworks().keras
    last = network.get_layer("grades")
    features = keras.Model(network.input, last.input)(sample, training=False).numpy()
    kernel = last.kernel.numpy()
    logits = features @ kernel
    # Rounded, so that the last bits of another machine's sums do not make another model.
    scale = _round(1.0 / np.maximum(logits.std(axis=0), LEAST_SPREAD * np.abs(logits).max()))
    last.kernel.assign(kernel * scale)
    last.bias.assign(-_round(logits.mean(axis=0) * scale))


def _round(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Three significant digits."""
    return np.asarray([float(f"{value:.3g}") for value in values], dtype=np.float32)


def _download(base: Any, architecture: Architecture) -> None:
    keras = import_frameworks().keras
    build_base = getattr(keras.applications, architecture.name)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # results alone go to standard output
            pretrained = build_base(
                include_top=False,
                weights="imagenet",
                pooling="avg",
                # Its weights fit every size; NASNet's are given out for this one alone.
                input_shape=(STUDY_SIDE_PX, STUDY_SIDE_PX, 3),
            )
    except Exception as err:  # Keras raises a bare Exception when a URL cannot be fetched
        raise ModelLoadFailed(
            "Keras cannot download the ImageNet weights",
            where=architecture.name,
            remedy="Download them where there is a network and give the file, or use random",
        ) from err
    base.set_weights(pretrained.get_weights())


def _load_file(base: Any, path: Path) -> None:
    if not path.is_file():
        raise InvalidInput(
            "There is no such file of weights",
            where=str(path),
            remedy="Give 'random', 'imagenet' or the path of a .weights.h5 file",
        )
    try:
        with warnings.catch_warnings():
            # Keras only warns of layers that it leaves as they are.
            warnings.simplefilter("error", UserWarning)
            base.load_weights(path)
    except (ValueError, OSError, KeyError, UserWarning) as err:
        raise InvalidInput(
            "The weights do not fit the network's base",
            where=str(path),
            remedy="It must be saved from keras.applications with include_top=False",
        ) from err
