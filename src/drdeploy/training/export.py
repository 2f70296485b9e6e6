"""A network becomes artifacts: a SavedModel and an ONNX file, proven to agree with it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import drdeploy
from drdeploy.artifacts import ModelFormat, Provenance, extract, pack
from drdeploy.errors import ModelError
from drdeploy.runtimes.load import load_runtime
from drdeploy.training.architectures import find_architecture
from drdeploy.training.convert import CONVERTERS
from drdeploy.training.network import build_network
from drdeploy.training.sample import sample_batch
from drdeploy.training.weights import fill

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from drdeploy.training.architectures import Architecture
    from drdeploy.training.weights import Filled, WeightsSource

TOLERANCE = 1e-4
"""Largest difference in probability between an export and its network."""

CHECKED = 2
"""Images that they are compared on: more than one, so that the batch is seen to be dynamic."""


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
        architecture: A name in :data:`drdeploy.training.architectures.ARCHITECTURES`.
        out_dir: Made if absent; archives of the same name are replaced.
        weights: ``random``, ``imagenet``, or a file for the base.
        seed: Of whatever is random.
        formats: Which to write.

    Raises:
        InvalidInput: The architecture or the weights file does not exist or fit.
        ModelError: An export disagrees with its network by more than 1e-4 in probability.
    """
    found = find_architecture(architecture)
    network = build_network(found)
    sample = sample_batch(found.transform)
    filled = fill(network, found, weights, seed=seed, sample=sample)
    check = sample[:CHECKED]
    expected = network(check, training=False).numpy()
    archives: dict[ModelFormat, Path] = {}
    for model_format in formats:
        archive = out_dir / f"{found.name.lower()}-fp32-{model_format}.tar.gz"
        with tempfile.TemporaryDirectory(prefix="drdeploy-export-") as scratch:
            draft = Path(scratch) / archive.name
            model = CONVERTERS[model_format](network, Path(scratch))
            _pack(model, draft, found, filled, seed)
            _check_agreement(draft, check, expected)
            _publish(draft, archive)
        archives[model_format] = archive
    return archives


def _pack(
    model: Path, archive: Path, architecture: Architecture, filled: Filled, seed: int
) -> None:
    pack(
        model,
        archive,
        name=architecture.name.lower(),
        architecture=architecture.name,
        weights=filled.weights,
        transform=architecture.transform,
        provenance=Provenance(
            tool_version=drdeploy.__version__, source=filled.source, seed=seed, notes=filled.notes
        ),
    )


def _check_agreement(
    archive: Path, sample: NDArray[np.float32], expected: NDArray[np.float32]
) -> None:
    artifact = extract(archive, archive.parent / "check")
    answered = load_runtime(artifact).predict(sample)
    difference = float(np.abs(answered - expected).max())
    if not difference <= TOLERANCE:
        raise ModelError(
            f"The {artifact.manifest.model_format} export differs from its network by "
            f"{difference:.2g} in probability",
            where=artifact.manifest.name,
        )


def _publish(draft: Path, archive: Path) -> None:
    """Copy beside its place, then rename: the archive is there whole or not at all."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    part = archive.with_name(f".{archive.name}.part")
    part.write_bytes(draft.read_bytes())
    part.replace(archive)
