"""Set a network's weights: all random, or ImageNet weights with random last layers."""

from __future__ import annotations

import contextlib
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from drdeploy.errors import InvalidInput, ModelLoadFailed
from drdeploy.files import explain_unusable_path, sha256_of_file
from drdeploy.grader.networks.architectures import STUDY_SIDE_PX
from drdeploy.grader.networks.frameworks import import_tensorflow_and_keras
from drdeploy.grader.networks.network import (
    extract_pooled_feature_network,
    run_network,
    set_imagenet_normalization,
)
from drdeploy.grader.networks.notes import RANDOM, UNTRAINED
from drdeploy.grader.networks.random_weights import (
    draw_random_kernels,
    scale_last_layer_to_unit_logits,
    set_batch_statistics,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from drdeploy.grader.artifacts import Weights
    from drdeploy.grader.networks.architectures import Architecture

WeightsSource = Path | Literal["random", "imagenet"]


@dataclass(frozen=True)
class WeightsOrigin:
    """The origin of a network's weights, for its manifest.

    Attributes:
        weights: ``random`` or ``imagenet``.
        source: Name of the network, and name and digest of the file of weights if there is one.
        notes: Notes on the weights for the user.
    """

    weights: Weights
    source: str
    notes: str


def set_network_weights(
    network: Any,
    architecture: Architecture,
    source: WeightsSource,
    *,
    seed: int,
    sample: NDArray[np.float32],
) -> WeightsOrigin:
    """Set the weights of a network.

    Random weights are drawn from ``seed``, layer by layer. The batch normalization of a random base
    gets the statistics of ``sample``. The last layer is scaled so that each logit has mean 0 and
    standard deviation 1 over ``sample``. Without these statistics, a deep random network would give
    every photograph the same answer, or its answers would depend on rounding errors.

    Args:
        network: A network that :func:`drdeploy.grader.networks.network.build_network` made.
        architecture: Architecture of the network.
        source: ``random``, ``imagenet`` (Keras downloads the weights), or a file with weights of
            the base network (``.weights.h5``).
        seed: Seed of the random weights.
        sample: At least two photographs as the network's input, ``(n, height, width, 3)``.

    Raises:
        InvalidInput: The file is missing, or does not fit the base network.
        ModelLoadFailed: Keras cannot download the weights.
    """
    draw_random_kernels(network, seed)
    filled = _set_base_weights(network, architecture, source)
    if source == "random":
        set_batch_statistics(network, sample)
    _scale_last_layer_of_network(network, sample)
    return filled


def identifier_of_weights(source: WeightsSource, seed: int) -> str:
    """Identify the weights that a network would get, without building the network.

    Returns:
        ``random-SEED``, ``imagenet``, or ``file-`` and the beginning of the file's SHA-256.

    Raises:
        InvalidInput: The file is missing.
    """
    if isinstance(source, str):
        return f"random-{seed}" if source == "random" else source
    _require_weights_file(source)
    return f"file-{sha256_of_file(source)[:12]}"


def _set_base_weights(
    network: Any, architecture: Architecture, source: WeightsSource
) -> WeightsOrigin:
    base = extract_pooled_feature_network(network)
    origin = f"keras.applications.{architecture.name}"
    if source == "random":
        return WeightsOrigin("random", origin, RANDOM)
    if source == "imagenet":
        _download_imagenet_weights(base, architecture)
        set_imagenet_normalization(base)
        return WeightsOrigin("imagenet", f"{origin}(weights='imagenet')", UNTRAINED)
    _load_weights_file(base, source)
    set_imagenet_normalization(base)
    digest = sha256_of_file(source)
    return WeightsOrigin(
        "imagenet", f"{origin}, base from {source.name} sha256:{digest}", UNTRAINED
    )


def _scale_last_layer_of_network(network: Any, sample: NDArray[np.float32]) -> None:
    keras = import_tensorflow_and_keras().keras
    last = network.get_layer("grades")
    features = run_network(keras.Model(network.input, last.input), sample)
    kernel, bias = scale_last_layer_to_unit_logits(features, last.kernel.numpy())
    last.kernel.assign(kernel)
    last.bias.assign(bias)


def _download_imagenet_weights(base: Any, architecture: Architecture) -> None:
    keras = import_tensorflow_and_keras().keras
    build_base = getattr(keras.applications, architecture.name)
    try:
        # Keras prints its progress to standard output, which is for results.
        with contextlib.redirect_stdout(sys.stderr):
            pretrained = build_base(
                include_top=False,
                weights="imagenet",
                pooling="avg",
                # The weights fit every size, but Keras offers NASNet's weights for this size alone.
                input_shape=(STUDY_SIDE_PX, STUDY_SIDE_PX, 3),
            )
    except Exception as err:  # Keras raises a bare Exception when a URL cannot be fetched
        raise ModelLoadFailed(
            "Keras cannot download the ImageNet weights",
            where=architecture.name,
            remedy="Download the weights on another machine and give the path of the file in place "
            "of 'imagenet', or give 'random'",
        ) from err
    base.set_weights(pretrained.get_weights())


def _require_weights_file(path: Path) -> None:
    if not path.is_file():
        raise InvalidInput(
            explain_unusable_path(path, "The weights file does not exist", wanted="file"),
            where=str(path),
            remedy="Give 'random', 'imagenet' or the path of an .h5 file with weights",
        )


def _load_weights_file(base: Any, path: Path) -> None:
    _require_weights_file(path)
    try:
        with warnings.catch_warnings():
            # If layers do not match, Keras only warns and leaves them as they are.
            warnings.simplefilter("error", UserWarning)
            base.load_weights(path)
    except (ValueError, OSError, KeyError, UserWarning) as err:
        raise InvalidInput(
            "The weights do not fit the base of the network, that is, all but its last layers",
            where=str(path),
            remedy="Save the weights from keras.applications with include_top=False",
        ) from err
