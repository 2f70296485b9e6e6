"""Fill a network with weights: random ones, or ImageNet's with a random head."""

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
from drdeploy.grader.networks.network import base_of, run_network
from drdeploy.grader.networks.normalization import set_imagenet_normalization
from drdeploy.grader.networks.notes import RANDOM, UNTRAINED
from drdeploy.grader.networks.random_weights import randomise, set_batch_statistics

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from drdeploy.grader.artifacts import Weights
    from drdeploy.grader.networks.architectures import Architecture

WeightsSource = Path | Literal["random", "imagenet"]


@dataclass(frozen=True)
class WeightsOrigin:
    """Where a network's weights come from, for its manifest.

    Attributes:
        weights: ``random`` or ``imagenet``.
        source: Which network, and which file of weights.
        notes: What a user must know about them.
    """

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

    Random weights are drawn from ``seed``, layer by layer.  The batch normalization of a random
    base then gets the statistics of ``sample``, and the last layer is scaled so that each logit
    has mean 0 and deviation 1 over ``sample``.  Otherwise a deep random network gives every
    photograph the same answer, or enlarges rounding errors into another one.

    Args:
        network: Made by :func:`drdeploy.grader.networks.network.build_network`.
        architecture: Which network it is.
        source: ``random``, ``imagenet`` (Keras downloads it), or a file with weights of the base
            (``.weights.h5``).
        seed: Of the random weights.
        sample: Photographs as its input, ``(n, height, width, 3)``, n at least 2.

    Raises:
        InvalidInput: The file is missing, or does not fit the base.
        ModelLoadFailed: Keras cannot download the weights.
    """
    randomise(network, seed)
    filled = _fill_base(network, architecture, source)
    if source == "random":
        set_batch_statistics(network, sample)
    _spread_logits(network, sample)
    return filled


def weights_identifier(source: WeightsSource, seed: int) -> str:
    """Name the weights that a base would be filled with, without building it.

    Returns:
        ``random-SEED``, ``imagenet``, or ``file-`` and the beginning of the file's SHA-256.

    Raises:
        InvalidInput: The file is missing.
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
        set_imagenet_normalization(base)
        return WeightsOrigin("imagenet", f"{origin}(weights='imagenet')", UNTRAINED)
    _load_file(base, source)
    set_imagenet_normalization(base)
    digest = sha256_of_file(source)
    return WeightsOrigin(
        "imagenet", f"{origin}, base from {source.name} sha256:{digest}", UNTRAINED
    )


def _spread_logits(network: Any, sample: NDArray[np.float32]) -> None:
    keras = import_frameworks().keras
    last = network.get_layer("grades")
    features = run_network(keras.Model(network.input, last.input), sample)
    kernel, bias = spread_logits(features, last.kernel.numpy())
    last.kernel.assign(kernel)
    last.bias.assign(bias)


def _download(base: Any, architecture: Architecture) -> None:
    keras = import_frameworks().keras
    build_base = getattr(keras.applications, architecture.name)
    try:
        # Keras prints its progress to standard output, which is for results.
        with contextlib.redirect_stdout(sys.stderr):
            pretrained = build_base(
                include_top=False,
                weights="imagenet",
                pooling="avg",
                # The weights fit every size, but Keras offers NASNet's for this one alone.
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
            # If layers do not match, Keras only warns and leaves them as they are.
            warnings.simplefilter("error", UserWarning)
            base.load_weights(path)
    except (ValueError, OSError, KeyError, UserWarning) as err:
        raise InvalidInput(
            "The weights do not fit the network's base",
            where=str(path),
            remedy="It must be saved from keras.applications with include_top=False",
        ) from err
