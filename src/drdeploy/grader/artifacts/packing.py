"""Pack a model on disk into ``model.tar.gz``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from drdeploy.errors import ArtifactError
from drdeploy.files import sha256_of_file
from drdeploy.grader.artifacts.archive import write_archive
from drdeploy.grader.artifacts.artifact import SAVED_MODEL_NAME
from drdeploy.grader.artifacts.manifest import (
    MANIFEST_NAME,
    Clinical,
    FileDigest,
    ModelFormat,
    ModelManifest,
    Precision,
    Provenance,
    Quantization,
    Weights,
    check_manifest,
    encode_manifest,
)
from drdeploy.grader.fundus.transform import FundusTransform
from drdeploy.grader.grading.grade import ICDR_CLASSES

if TYPE_CHECKING:
    from pathlib import Path

    from drdeploy.grader.fundus.gradability_limits import GradabilityLimits

ENTRIES: dict[ModelFormat, str] = {"saved_model": "saved_model", "onnx": "model.onnx"}
DEFAULT_TRANSFORM = FundusTransform()
DEFAULT_PROVENANCE = Provenance()


def pack(
    model_path: Path,
    archive: Path,
    *,
    name: str,
    architecture: str = "unknown",
    weights: Weights = "unknown",
    precision: Precision = "fp32",
    classes: tuple[str, ...] = ICDR_CLASSES,
    output: Literal["probabilities", "logits"] = "probabilities",
    transform: FundusTransform = DEFAULT_TRANSFORM,
    gradability: GradabilityLimits | None = None,
    clinical: Clinical | None = None,
    quantization: Quantization | None = None,
    provenance: Provenance = DEFAULT_PROVENANCE,
) -> ModelManifest:
    """Write an archive with a manifest; the same arguments make the same bytes.

    Args:
        model_path: A SavedModel's folder, or an ``.onnx`` file (its external data, if any,
            is the file beside it called ``NAME.onnx.data`` or ``NAME.onnx_data``).
        archive: Where to write ``model.tar.gz``; replaced if it exists.
        name: What the user calls the model.
        architecture: The network.
        weights: Where the weights come from.
        precision: Number format of the weights.
        classes: Class names in output order.
        output: Whether the outputs are probabilities or logits.
        transform: How a photograph becomes the model's input.
        gradability: Limits beyond which a photograph is not graded; None checks nothing.
        clinical: How probabilities become grades and decisions.
        quantization: The verdict of the comparison with the fp32 model, of a quantized one.
        provenance: Where the model comes from.

    Raises:
        ArtifactError: ``model_path`` is neither a SavedModel nor an ONNX file.
        ManifestError: A field is wrong.
    """
    model_format = format_of(model_path)
    sources = _files_by_member(model_path, model_format)
    manifest = ModelManifest(
        name=name,
        architecture=architecture,
        model_format=model_format,
        entry=ENTRIES[model_format],
        weights=weights,
        precision=precision,
        classes=classes,
        output=output,
        transform=transform,
        gradability=gradability,
        clinical=clinical,
        quantization=quantization,
        files=tuple(
            FileDigest(path, sha256_of_file(source), source.stat().st_size)
            for path, source in sources.items()
        ),
        provenance=provenance,
    )
    check_manifest(manifest)
    write_archive(archive, {MANIFEST_NAME: encode_manifest(manifest), **sources})
    return manifest


def format_of(model_path: Path) -> ModelFormat:
    """Tell whether a path is a SavedModel's folder or an ONNX file.

    Raises:
        ArtifactError: It is neither.
    """
    if model_path.is_file() and model_path.suffix == ".onnx":
        return "onnx"
    if (model_path / SAVED_MODEL_NAME).is_file():
        return "saved_model"
    raise ArtifactError(
        "It is neither a SavedModel's folder nor an .onnx file", where=str(model_path)
    )


def _files_by_member(model_path: Path, model_format: ModelFormat) -> dict[str, Path]:
    """The model's files by their names in the archive, always in the same order."""
    entry = ENTRIES[model_format]
    if model_format == "saved_model":
        files = sorted(path for path in model_path.rglob("*") if path.is_file())
        return {f"{entry}/{path.relative_to(model_path).as_posix()}": path for path in files}
    # An ONNX graph refers to its external data by file name, so that keeps its own.
    external = (model_path.with_name(f"{model_path.name}{suffix}") for suffix in (".data", "_data"))
    beside = {path.name: path for path in external if path.is_file()}
    return dict(sorted({entry: model_path, **beside}.items()))
