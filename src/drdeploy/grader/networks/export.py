"""Export a network as artifacts, and check that each artifact gives the network's answers."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from drdeploy.errors import ModelError
from drdeploy.files import write_file_atomically
from drdeploy.grader.artifacts import (
    ModelDescription,
    ModelFormat,
    Provenance,
    extract_archive,
    pack_archive,
)
from drdeploy.grader.fundus.gradability_limits import GradabilityLimits
from drdeploy.grader.networks.architectures import find_architecture
from drdeploy.grader.networks.convert import CONVERTERS
from drdeploy.grader.networks.frameworks import import_tensorflow_and_keras
from drdeploy.grader.networks.network import build_network
from drdeploy.grader.networks.sample import make_sample_batch
from drdeploy.grader.networks.weights import set_network_weights
from drdeploy.grader.runtimes.model_loading import load_model_in_runtime
from drdeploy.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from drdeploy.grader.networks.architectures import Architecture
    from drdeploy.grader.networks.weights import WeightsSource

TOLERANCE = 1e-4
"""Largest allowed difference in probability between an exported model and its network."""

CHECKED = 2
"""Number of images on which an exported model is compared with its network.

The number is more than one, to show that any batch size works.
"""


def build_and_export_model(
    architecture: str,
    out_dir: Path,
    *,
    weights: WeightsSource = "random",
    seed: int = 0,
    formats: Sequence[ModelFormat] = ("saved_model", "onnx"),
) -> dict[ModelFormat, Path]:
    """Build a network and write one archive per format, ``NAME-fp32-FORMAT.tar.gz``.

    Args:
        architecture: A name in :data:`drdeploy.grader.networks.architectures.ARCHITECTURES`.
        out_dir: Folder for the archives, which is created if needed; archives of the same name are
            replaced.
        weights: ``random``, ``imagenet``, or a file with the weights of the base network.
        seed: Seed of the random weights.
        formats: The formats to write.

    Raises:
        InvalidInput: The architecture is unknown, or the file of weights is missing or belongs to
            another architecture.
        ModelError: An exported model differs from its network by more than 1e-4 in probability, or
            the weights for ImageNet cannot be downloaded.
    """
    built = build_network_with_weights(find_architecture(architecture), weights, seed=seed)
    return export_network_as_archives(built, out_dir, formats=formats)


@dataclass(frozen=True, eq=False)
class BuiltNetwork:
    """A network with its weights, ready to export.

    Attributes:
        network: The Keras model.
        description: The description for the network's manifest.
        sample: A few photographs in the form of the network's input, shape ``(n, height, width,
            3)``.
    """

    network: Any
    description: ModelDescription
    sample: NDArray[np.float32]


def build_network_with_weights(
    architecture: Architecture, weights: WeightsSource, *, seed: int
) -> BuiltNetwork:
    """Build a network and set its weights; the last layers always get random weights.

    Raises:
        InvalidInput: The file of weights is missing or does not fit the network.
        ModelLoadFailed: Keras cannot download the weights.
    """
    network = build_network(architecture)
    sample = make_sample_batch(architecture.transform)
    filled = set_network_weights(network, architecture, weights, seed=seed, sample=sample)
    description = ModelDescription(
        name=architecture.name.lower(),
        architecture=architecture.name,
        weights=filled.weights,
        transform=architecture.transform,
        gradability=GradabilityLimits(),
        provenance=Provenance(
            tool_version=VERSION, source=filled.source, seed=seed, notes=filled.notes
        ),
    )
    return BuiltNetwork(network, description, sample)


def export_network_as_archives(
    built: BuiltNetwork,
    out_dir: Path,
    *,
    formats: Sequence[ModelFormat] = ("saved_model", "onnx"),
) -> dict[ModelFormat, Path]:
    """Write one archive per format, and compare each archive's answers with the network's.

    Existing archives with the same name are replaced.

    Raises:
        ModelError: An exported model differs from its network by more than 1e-4 in probability.
    """
    network, description, check = built.network, built.description, built.sample[:CHECKED]
    expected = network(check, training=False).numpy()
    archives: dict[ModelFormat, Path] = {}
    for model_format in formats:
        archive = out_dir / f"{description.name}-fp32-{model_format}.tar.gz"
        with tempfile.TemporaryDirectory(prefix="drdeploy-export-") as scratch:
            draft = Path(scratch) / archive.name
            pack_archive(CONVERTERS[model_format](network, Path(scratch)), draft, description)
            artifact = extract_archive(draft, Path(scratch) / "check")
            answered = load_model_in_runtime(artifact).predict(check)
            _check_exported_answers(answered, expected, f"{description.name} as {model_format}")
            write_file_atomically(archive, draft.read_bytes())
        archives[model_format] = archive
    return archives


def export_network_as_keras_file(built: BuiltNetwork, file: Path) -> Path:
    """Write a ``.keras`` file for further training, and compare it with the network.

    Raises:
        ModelError: The saved network differs from the original by more than 1e-4 in probability.
    """
    keras = import_tensorflow_and_keras().keras
    file.parent.mkdir(parents=True, exist_ok=True)
    built.network.save(file)
    read = keras.models.load_model(file, compile=False)
    answered, expected = (
        network(built.sample[:CHECKED], training=False).numpy() for network in (read, built.network)
    )
    _check_exported_answers(answered, expected, file.name)
    return file


def _check_exported_answers(
    answered: NDArray[np.float32], expected: NDArray[np.float32], where: str
) -> None:
    difference = float(np.abs(answered - expected).max())
    if not difference <= TOLERANCE:
        raise ModelError(
            "The probabilities of the exported model differ from those of its network by "
            f"{difference:.2g}",
            where=where,
            remedy="Choose another network, or report this as an error of drdeploy",
        )
