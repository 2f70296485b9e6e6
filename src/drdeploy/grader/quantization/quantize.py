"""Make a smaller archive from one in fp32, and write the verdict into its manifest."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from drdeploy.errors import InvalidInput
from drdeploy.grader.artifacts import Quantization, extract, pack
from drdeploy.grader.datasets import deduplicate, load_dataset
from drdeploy.grader.evaluation.document import comparison_document
from drdeploy.grader.evaluation.predictions import predict_dataset
from drdeploy.grader.inference import InferenceService
from drdeploy.grader.quantization.convert import quantize_onnx
from drdeploy.grader.quantization.verdict import DEFAULT_MARGIN, compare_quantized
from drdeploy.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from drdeploy.grader.artifacts import ModelArtifact, ModelManifest
    from drdeploy.grader.datasets import Dataset
    from drdeploy.grader.evaluation.predictions import GradedSet
    from drdeploy.grader.quantization.convert import SmallPrecision
    from drdeploy.grader.quantization.verdict import NonInferiorityVerdict

CALIBRATION_IMAGES = 100
"""Photographs to calibrate on, unless the caller names another number."""


@dataclass(frozen=True)
class QuantizationOutcome:
    """The result of quantizing a grader.

    Attributes:
        archive: The quantized artifact; None if it was refused.
        size_bytes: Of its model file.
        reference_size_bytes: Of the fp32 model file.
        verdict: Of the comparison with the fp32 artifact.
        reference: The fp32 predictions of the validation photographs.
        calibrated_on: How many photographs of which data set.
        validated_on: The same for the photographs of the comparison.
    """

    archive: Path | None
    size_bytes: int
    reference_size_bytes: int
    verdict: NonInferiorityVerdict
    reference: GradedSet
    calibrated_on: str
    validated_on: str

    @property
    def document(self) -> dict[str, Any]:
        """The result as plain values, for JSON."""
        verdict = self.verdict
        return {
            "calibrated_on": self.calibrated_on,
            "judged_on": self.validated_on,
            "verdict": verdict.outcome,
            "reason": verdict.reason,
            "margin": verdict.margin,
            "images_needed": verdict.images_needed,
            "size_bytes": self.size_bytes,
            "reference_size_bytes": self.reference_size_bytes,
            "ece": {"fp32": verdict.ece_before, "quantized": verdict.ece_after},
            **comparison_document(verdict.comparison, self.reference),
            "archive": None if self.archive is None else str(self.archive),
        }


def quantize(
    artifact: Path | str,
    calibration: Path | str,
    out: Path | str | None = None,
    *,
    precision: SmallPrecision = "int8",
    validation: Path | str | None = None,
    split: str | None = None,
    images: int = CALIBRATION_IMAGES,
    margin: float = DEFAULT_MARGIN,
    seed: int = 0,
    force: bool = False,
    track: Callable[[Sequence[Path]], Sequence[Path]] = lambda files: files,
) -> QuantizationOutcome:
    """Quantize a grader and compare it with the original, photograph by photograph.

    ::

        outcome = quantize("grader-fp32.tar.gz", "photographs")
        outcome.verdict.outcome, outcome.verdict.reason, outcome.archive

    The smaller archive is written unless the comparison shows that it finds fewer diseased eyes.

    Args:
        artifact: A ``model.tar.gz`` that holds an ONNX model in fp32.
        calibration: A folder of labelled photographs, to take the ranges of activations from.
        out: The archive to write; beside ``artifact``, named after the precision, if None.
        precision: ``int8``, ``bf16`` or ``fp16``.
        validation: A folder of labelled photographs to compare the two graders on; the
            photographs of ``calibration`` that were not calibrated on, if None.
        split: Which split of ``validation``; all of it if None.
        images: How many photographs to calibrate on, at most half of ``calibration``.
        margin: Loss of sensitivity that is acceptable, as a share of the diseased eyes.
        seed: Of the choice of photographs and of the bootstrap.
        force: Write the archive although it was refused; its manifest says so.
        track: Wraps the files that are graded, to show progress.

    Raises:
        InvalidInput: The artifact is not ONNX in fp32, or a folder has no usable photograph.
        ModelError: ONNX Runtime cannot rewrite or run the model.
        MissingExtra: The extra ``study`` is not installed.
    """
    archive = Path(artifact)
    sample, rest = split_for_calibration(
        deduplicate(load_dataset(Path(calibration))).training_part(), images=images, seed=seed
    )
    if validation is not None:
        rest = deduplicate(load_dataset(Path(validation)))
        rest = rest if split is None else rest.of_split(split)
    return quantize_artifact(
        archive,
        quantized_path(archive, precision) if out is None else Path(out),
        precision=precision,
        calibration=sample,
        validation=rest,
        margin=margin,
        seed=seed,
        force=force,
        track=track,
    )


def quantized_path(archive: Path, precision: SmallPrecision) -> Path:
    """Return a path beside the artifact: ``grader-int8.tar.gz`` for ``grader-fp32.tar.gz``."""
    name = archive.name.removesuffix(".tar.gz")
    renamed = name.replace("fp32", precision) if "fp32" in name else f"{name}-{precision}"
    return archive.with_name(f"{renamed}.tar.gz")


def split_for_calibration(
    dataset: Dataset, *, images: int = CALIBRATION_IMAGES, seed: int = 0
) -> tuple[Dataset, Dataset]:
    """Choose photographs to calibrate on, at most half, and return them and the rest.

    Photographs of the same sessions as the chosen ones are in neither: the rest is for the
    comparison, which must not see a calibrated eye again.
    """
    order = np.random.default_rng(seed).permutation(len(dataset))
    sample = np.sort(order[: min(images, len(dataset) // 2)])
    sessions = set(dataset.groups[sample])
    rest = [at for at in range(len(dataset)) if dataset.groups[at] not in sessions]
    return dataset.take(sample.tolist()), dataset.take(rest)


def quantize_artifact(
    archive: Path,
    out: Path,
    *,
    precision: SmallPrecision,
    calibration: Dataset,
    validation: Dataset,
    margin: float = DEFAULT_MARGIN,
    seed: int = 0,
    force: bool = False,
    track: Callable[[Sequence[Path]], Sequence[Path]] = lambda files: files,
) -> QuantizationOutcome:
    """Quantize an archive, compare it with the original, and write it unless it is refused.

    Args:
        archive: Holds an ONNX model in fp32.
        out: The archive to write.
        precision: Number format of its weights.
        calibration: Photographs that the ranges of activations are taken from.
        validation: Labelled photographs for the comparison; best not those of ``calibration``.
        margin: Loss of sensitivity that is acceptable, as a share of the diseased eyes.
        seed: Of the bootstrap interval.
        force: Write the archive although it was refused; its manifest says so.
        track: Wraps the files that are graded, to show progress.

    Raises:
        InvalidInput: The archive is not ONNX in fp32, or a data set is empty.
        ModelError: ONNX Runtime cannot rewrite or run the model.
    """
    _check_inputs(archive, calibration, validation)
    with tempfile.TemporaryDirectory(prefix="drdeploy-quantize-") as scratch:
        artifact = extract(archive, Path(scratch) / "fp32")
        _require_onnx_in_fp32(artifact.manifest)
        model = quantize_onnx(
            artifact.entry_path,
            Path(scratch) / "model.onnx",
            precision,
            calibration_inputs(artifact, calibration),
        )
        draft = Path(scratch) / "draft.tar.gz"
        pack_quantized(model, draft, artifact, precision, None)
        reference, quantized = (
            predict_dataset(InferenceService.load(model), validation, track=track)
            for model in (artifact.folder, draft)
        )
        verdict = compare_quantized(
            reference,
            quantized,
            grade_thresholds=artifact.manifest.grade_thresholds,
            margin=margin,
            seed=seed,
        )
        is_kept = force or verdict.outcome != "refused"
        if is_kept:
            pack_quantized(model, out, artifact, precision, verdict)
        return QuantizationOutcome(
            out if is_kept else None,
            model.stat().st_size,
            artifact.entry_path.stat().st_size,
            verdict,
            reference,
            calibrated_on=f"{len(calibration)} photographs of {calibration.name}",
            validated_on=f"{len(validation)} photographs of {validation.name}",
        )


def pack_quantized(
    model: Path,
    archive: Path,
    reference: ModelArtifact,
    precision: SmallPrecision,
    verdict: NonInferiorityVerdict | None,
) -> ModelManifest:
    """Pack a quantized model with the manifest of the fp32 artifact and the verdict, if any."""
    manifest = reference.manifest
    return pack(
        model,
        archive,
        name=manifest.name,
        architecture=manifest.architecture,
        weights=manifest.weights,
        precision=precision,
        classes=manifest.classes,
        output=manifest.output,
        transform=manifest.transform,
        gradability=manifest.gradability,
        clinical=manifest.clinical,
        quantization=None
        if verdict is None
        else Quantization(
            verdict=verdict.outcome,
            reason=verdict.reason,
            reference_digest=reference.digest,
            images=verdict.comparison.n,
            margin=verdict.margin,
        ),
        provenance=msgspec.structs.replace(manifest.provenance, tool_version=VERSION),
    )


def calibration_inputs(
    artifact: ModelArtifact, photographs: Dataset
) -> Iterator[NDArray[np.float32]]:
    """Yield the model's input for each photograph, ``(1, h, w, 3)``, just as a server makes it."""
    service = InferenceService.load(artifact.folder)
    for one in photographs.photographs:
        yield service.model_input(one.file.read_bytes())[None]


def _check_inputs(archive: Path, calibration: Dataset, validation: Dataset) -> None:
    if not archive.is_file():
        raise InvalidInput("There is no such artifact", where=str(archive))
    for purpose, dataset in (
        ("calibrate on", calibration),
        ("compare the two graders on", validation),
    ):
        if not len(dataset):
            raise InvalidInput(
                f"There is no photograph left to {purpose}", where=str(dataset.folder)
            )


def _require_onnx_in_fp32(manifest: ModelManifest) -> None:
    if manifest.model_format != "onnx" or manifest.precision != "fp32":
        raise InvalidInput(
            f"Only an ONNX model in fp32 can be quantized, not {manifest.model_format} "
            f"in {manifest.precision}",
            where=manifest.name,
            remedy="Export it with --format onnx",
        )
