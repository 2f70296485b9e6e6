"""Export a network as artifacts, and check that each predicts the same as the network."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from drdeploy.errors import ModelError
from drdeploy.files import write_atomically
from drdeploy.grader.artifacts import ModelFormat, Provenance, extract, pack
from drdeploy.grader.fundus.gradability_limits import GradabilityLimits
from drdeploy.grader.networks.architectures import find_architecture
from drdeploy.grader.networks.convert import CONVERTERS
from drdeploy.grader.networks.frameworks import import_frameworks
from drdeploy.grader.networks.network import build_network
from drdeploy.grader.networks.sample import sample_batch
from drdeploy.grader.networks.weights import fill
from drdeploy.grader.runtimes.load import load_runtime
from drdeploy.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from drdeploy.grader.artifacts import Clinical, Weights
    from drdeploy.grader.fundus.transform import FundusTransform
    from drdeploy.grader.networks.architectures import Architecture
    from drdeploy.grader.networks.weights import WeightsSource

TOLERANCE = 1e-4
"""Largest difference in probability between an exported model and its network."""

DEFAULT_GRADABILITY = GradabilityLimits()

CHECKED = 2
"""Images that the two are compared on; more than one, to show that any batch size works."""


@dataclass(frozen=True)
class ModelDescription:
    """What the manifest of an exported network says about it.

    Attributes:
        name: Of the model and of its archives.
        architecture: Name of the network.
        weights: Kind of its weights.
        transform: How a photograph becomes its input.
        provenance: Where it comes from.
        gradability: Limits beyond which a photograph is not graded; None checks nothing.
        clinical: How probabilities become grades and decisions, if it was trained.
    """

    name: str
    architecture: str
    weights: Weights
    transform: FundusTransform
    provenance: Provenance
    gradability: GradabilityLimits | None = DEFAULT_GRADABILITY
    clinical: Clinical | None = None


def export_model(
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
        out_dir: Created if it does not exist; archives of the same name are replaced.
        weights: ``random``, ``imagenet``, or a file with weights of the base.
        seed: Of the random weights.
        formats: Which to write.

    Raises:
        InvalidInput: There is no such architecture, or the file of weights is missing or does not
            fit it.
        ModelError: An exported model differs from its network by more than 1e-4 in probability.
    """
    built = build_filled(find_architecture(architecture), weights, seed=seed)
    return export_network(
        built.network, built.description, out_dir, sample=built.sample, formats=formats
    )


@dataclass(frozen=True, eq=False)
class BuiltNetwork:
    """A network with its weights, ready to export.

    Attributes:
        network: The Keras model.
        description: For its manifest.
        sample: Photographs as its input, shape ``(n, height, width, 3)``.
    """

    network: Any
    description: ModelDescription
    sample: NDArray[np.float32]


def build_filled(architecture: Architecture, weights: WeightsSource, *, seed: int) -> BuiltNetwork:
    """Build a network and fill it with weights; those of the head are random.

    Raises:
        InvalidInput: The file of weights is missing or does not fit.
        ModelLoadFailed: Keras cannot download the weights.
    """
    network = build_network(architecture)
    sample = sample_batch(architecture.transform)
    filled = fill(network, architecture, weights, seed=seed, sample=sample)
    description = ModelDescription(
        name=architecture.name.lower(),
        architecture=architecture.name,
        weights=filled.weights,
        transform=architecture.transform,
        provenance=Provenance(
            tool_version=VERSION, source=filled.source, seed=seed, notes=filled.notes
        ),
    )
    return BuiltNetwork(network, description, sample)


def export_network(
    network: Any,
    description: ModelDescription,
    out_dir: Path,
    *,
    sample: NDArray[np.float32],
    formats: Sequence[ModelFormat] = ("saved_model", "onnx"),
) -> dict[ModelFormat, Path]:
    """Write one archive per format, each checked against the network.

    Args:
        network: With its final weights.
        description: For the manifest.
        out_dir: Created if it does not exist; archives of the same name are replaced.
        sample: Photographs as the network's input, ``(n, height, width, 3)``.
        formats: Which to write.

    Raises:
        ModelError: An exported model differs from its network by more than 1e-4 in probability.
    """
    check = sample[:CHECKED]
    expected = network(check, training=False).numpy()
    archives: dict[ModelFormat, Path] = {}
    for model_format in formats:
        archive = out_dir / f"{description.name}-fp32-{model_format}.tar.gz"
        with tempfile.TemporaryDirectory(prefix="drdeploy-export-") as scratch:
            draft = Path(scratch) / archive.name
            model = CONVERTERS[model_format](network, Path(scratch))
            pack(
                model,
                draft,
                name=description.name,
                architecture=description.architecture,
                weights=description.weights,
                transform=description.transform,
                gradability=description.gradability,
                clinical=description.clinical,
                provenance=description.provenance,
            )
            _check_agreement(draft, check, expected)
            write_atomically(archive, draft.read_bytes())
        archives[model_format] = archive
    return archives


def export_keras(network: Any, file: Path, *, sample: NDArray[np.float32]) -> Path:
    """Write a ``.keras`` file to train further with, checked against the network.

    Raises:
        ModelError: The saved network differs by more than 1e-4 in probability.
    """
    keras = import_frameworks().keras
    file.parent.mkdir(parents=True, exist_ok=True)
    network.save(file)
    check = sample[:CHECKED]
    read = keras.models.load_model(file, compile=False)
    _check_difference(
        read(check, training=False).numpy(), network(check, training=False).numpy(), file.name
    )
    return file


def _check_agreement(
    archive: Path, sample: NDArray[np.float32], expected: NDArray[np.float32]
) -> None:
    artifact = extract(archive, archive.parent / "check")
    manifest = artifact.manifest
    answered = load_runtime(artifact).predict(sample)
    _check_difference(answered, expected, f"{manifest.name} as {manifest.model_format}")


def _check_difference(
    answered: NDArray[np.float32], expected: NDArray[np.float32], where: str
) -> None:
    difference = float(np.abs(answered - expected).max())
    if not difference <= TOLERANCE:
        raise ModelError(
            f"The exported model differs from its network by {difference:.2g} in probability",
            where=where,
        )
