"""Fill a network with weights: random ones, or ImageNet's under a random head."""

from __future__ import annotations

import contextlib
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from drdeploy.errors import InvalidInput, ModelLoadFailed
from drdeploy.files import sha256_of_file
from drdeploy.grader.networks.architectures import STUDY_SIDE_PX
from drdeploy.grader.networks.frameworks import import_frameworks
from drdeploy.grader.networks.initial import spread_logits
from drdeploy.grader.networks.network import answer, base_of
from drdeploy.grader.networks.normalization import settle_normalization
from drdeploy.grader.networks.notes import RANDOM, UNTRAINED
from drdeploy.grader.networks.random_weights import randomise, settle

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from drdeploy.grader.artifacts import Weights
    from drdeploy.grader.networks.architectures import Architecture

WeightsSource = Path | Literal["random", "imagenet"]


@dataclass(frozen=True)
class WeightsOrigin:
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
) -> WeightsOrigin:
    """Give a network its weights.

    Whatever is random is drawn from ``seed``, layer by layer.  A random base then gets the
    statistics of ``sample`` in its batch normalization, and the last layer is scaled so that its
    logits vary over ``sample`` with unit standard deviation about zero: a deep random network
    otherwise gives every photograph the same answer, or enlarges rounding errors into another.

    Args:
        network: Made by :func:`drdeploy.grader.networks.network.build_network`.
        architecture: What it is.
        source: ``random``, ``imagenet`` (Keras downloads it), or a file for the base
            (``.weights.h5``).
        seed: Of the random weights.
        sample: Input of the network, ``(n, height, width, 3)``, n at least 2.

    Raises:
        InvalidInput: The file is not there, or does not fit the base.
        ModelLoadFailed: Keras cannot download the weights.
    """
    randomise(network, seed)
    filled = _fill_base(network, architecture, source)
    if source == "random":
        settle(network, sample)
    _spread_logits(network, sample)
    return filled


def identify(source: WeightsSource, seed: int) -> str:
    """A name for what a base will be filled with, without building it.

    Returns:
        ``random-SEED``, ``imagenet``, or ``file-`` and the beginning of the file's SHA-256.

    Raises:
        InvalidInput: The file is not there.
    """
    if isinstance(source, str):
        return f"random-{seed}" if source == "random" else source
    _check_file(source)
    return f"file-{sha256_of_file(source)[:12]}"


def _fill_base(network: Any, architecture: Architecture, source: WeightsSource) -> WeightsOrigin:
    base = base_of(network)
    origin = f"keras.applications.{architecture.name}"
    if source == "random":
        return WeightsOrigin("random", origin, RANDOM)
    if source == "imagenet":
        _download(base, architecture)
        settle_normalization(base)
        return WeightsOrigin("imagenet", f"{origin}(weights='imagenet')", UNTRAINED)
    _load_file(base, source)
    settle_normalization(base)
    digest = sha256_of_file(source)
    return WeightsOrigin(
        "imagenet", f"{origin}, base from {source.name} sha256:{digest}", UNTRAINED
    )


def _spread_logits(network: Any, sample: NDArray[np.float32]) -> None:
    keras = import_frameworks().keras
    last = network.get_layer("grades")
    features = answer(keras.Model(network.input, last.input), sample)
    kernel, bias = spread_logits(features, last.kernel.numpy())
    last.kernel.assign(kernel)
    last.bias.assign(bias)


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


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise InvalidInput(
            "There is no such file of weights",
            where=str(path),
            remedy="Give 'random', 'imagenet' or the path of a .weights.h5 file",
        )


def _load_file(base: Any, path: Path) -> None:
    _check_file(path)
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
