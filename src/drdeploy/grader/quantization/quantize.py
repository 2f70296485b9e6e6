"""Make a quantized archive from an fp32 archive, and write the verdict into the new manifest."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from drdeploy.errors import InvalidInput
from drdeploy.files import choose_output_folder, explain_unusable_path
from drdeploy.grader.artifacts import Quantization, extract_archive, pack_archive
from drdeploy.grader.datasets import load_dataset, set_copies_aside, set_undecodable_aside
from drdeploy.grader.datasets.dataset import write_note_on_photographs_set_aside
from drdeploy.grader.evaluation.document import build_comparison_document
from drdeploy.grader.evaluation.predictions import predict_dataset
from drdeploy.grader.inference import InferenceService
from drdeploy.grader.quantization.calibration import (
    calibrate_quantized_grader,
    flag_at_operating_points,
)
from drdeploy.grader.quantization.convert import (
    divide_onnx_logits_by_temperature,
    ends_in_softmax,
    write_quantized_onnx,
)
from drdeploy.grader.quantization.verdict import DEFAULT_MARGIN, decide_non_inferiority
from drdeploy.photograph_names import PhotographNames
from drdeploy.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from drdeploy.grader.artifacts import Clinical, ModelArtifact, ModelManifest
    from drdeploy.grader.datasets import Dataset
    from drdeploy.grader.evaluation.predictions import GradedSet
    from drdeploy.grader.quantization.convert import SmallPrecision
    from drdeploy.grader.quantization.verdict import NonInferiorityVerdict

CALIBRATION_IMAGES = 100
"""Default number of photographs to calibrate on."""


@dataclass(frozen=True)
class QuantizationOutcome:
    """The result of quantizing a grader.

    Attributes:
        archive: The quantized artifact, or None if it was refused and not written.
        size_bytes: Size of the quantized model file.
        reference_size_bytes: Size of the fp32 model file.
        verdict: Verdict of the comparison with the fp32 artifact.
        reference: The predictions of the fp32 model for the photographs of the comparison.
        calibrated_on: Text that says how many photographs of which data set were used for
            calibration.
        validated_on: Text that says how many photographs of which data set were used for the
            comparison.
        notes: Sentences for the user about photographs that were not used, and about what was
            assumed about the data sets.
    """

    archive: Path | None
    size_bytes: int
    reference_size_bytes: int
    verdict: NonInferiorityVerdict
    reference: GradedSet
    calibrated_on: str
    validated_on: str
    notes: tuple[str, ...] = ()

    @property
    def document(self) -> dict[str, Any]:
        """The result of quantizing a grader as a dictionary for JSON."""
        verdict = self.verdict
        return {
            "calibrated_on": self.calibrated_on,
            "judged_on": self.validated_on,
            "verdict": verdict.outcome,
            "reason": verdict.reason,
            "margin": verdict.margin,
            "images_needed": verdict.images_needed,
            "tests": build_tests_document(verdict),
            "size_bytes": self.size_bytes,
            "reference_size_bytes": self.reference_size_bytes,
            "ece": {"fp32": verdict.ece_before, "quantized": verdict.ece_after},
            **build_comparison_document(verdict.comparison, self.reference),
            "archive": None if self.archive is None else str(self.archive),
            "notes": list(self.notes),
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
    own_names: bool = False,
    track: Callable[[Sequence[Path]], Sequence[Path]] = lambda files: files,
) -> QuantizationOutcome:
    """Quantize a grader and compare it with the original, photograph by photograph.

    ::

        outcome = quantize("grader-fp32.tar.gz", "photographs")
        outcome.verdict.outcome, outcome.verdict.reason, outcome.archive

    The quantized archive is not written if the comparison shows a loss of more than ``margin`` in
    one of the measures of :mod:`drdeploy.grader.quantization.verdict`.  The quantized model gets
    its own temperature and operating points, which are chosen on its own predictions. The
    comparison uses the decisions of each grader at its own operating points. If the original's
    thresholds were chosen on photographs of another camera or clinic, the decisions may therefore
    differ although the two networks give nearly the same probabilities.

    Args:
        artifact: A ``model.tar.gz`` that holds an ONNX model in fp32.
        calibration: A folder of labelled photographs, on which the ranges of activations are
            measured. If the folder has a split ``train``, only this split is used.
        out: The archive to write; None writes it beside ``artifact``, named after the precision.
        precision: ``int8``, ``bf16`` or ``fp16``.
        validation: A folder of labelled photographs to compare the two graders on. With None, the
            comparison uses the photographs of ``calibration`` that were not used for calibration.
        split: The split of ``validation`` to use; None means all photographs.
        images: How many photographs to calibrate on; at most half of those in ``calibration`` are
            used.
        margin: Largest acceptable loss in each measure.
        seed: Seed of the choice of photographs and of the bootstrap.
        force: Write the archive even if it is refused. The manifest records the refusal.
        own_names: Show photographs under their file names, instead of under hashes.
        track: Function that wraps the iteration over the graded files, to show progress.

    Raises:
        InvalidInput: The artifact is not ONNX in fp32, or a folder has no usable photograph.
        ArtifactError: The artifact cannot be used.
        ModelError: ONNX Runtime cannot rewrite or run the model.
        MissingExtra: The extra ``study`` is not installed.
    """
    archive = Path(artifact)
    if not archive.is_file():
        raise InvalidInput(
            explain_unusable_path(archive, "The artifact does not exist", wanted="file"),
            where=str(archive),
            remedy="Give a model.tar.gz with an ONNX model in fp32",
        )
    target = path_of_quantized_archive(archive, precision) if out is None else Path(out)
    if target.resolve() == archive.resolve():
        raise InvalidInput(
            "The quantized grader would overwrite the original",
            where=str(target),
            remedy="Give another file with --out",
        )
    if split is not None and validation is None:
        raise InvalidInput(
            "A split can be chosen only among the photographs of --validation",
            where="--split",
            remedy="Add --validation, or leave --split out",
        )
    if images < 1:
        raise InvalidInput(
            f"A model cannot be calibrated on {images} photographs",
            where="--images",
            remedy="Give a number of 1 or more",
        )
    names = PhotographNames.choose_file_names_or_hashes(own=own_names)
    labelled = set_copies_aside(load_dataset(Path(calibration), names=names))
    sample, rest = split_for_calibration(labelled.select_training_part(), images=images, seed=seed)
    sample = set_undecodable_aside(sample)
    notes = [*write_note_on_photographs_set_aside(sample.set_aside), *sample.notes]
    if validation is not None:
        rest = set_copies_aside(load_dataset(Path(validation), names=names))
        rest = rest if split is None else rest.select_split(split)
        notes += [*write_note_on_photographs_set_aside(rest.set_aside), *rest.notes]
    for purpose, dataset, remedy in (
        ("calibrate on", sample, "Give a folder of labelled photographs with --calibration"),
        (
            "compare the two graders on",
            rest,
            "Calibrate on fewer photographs with --images, or give others with --validation",
        ),
    ):
        if not len(dataset):
            raise InvalidInput(
                f"No photographs are left to {purpose}", where=str(dataset.folder), remedy=remedy
            )
    with tempfile.TemporaryDirectory(prefix="drdeploy-quantize-") as scratch:
        fp32 = extract_archive(archive, Path(scratch) / "fp32")
        _require_onnx_in_fp32(fp32.manifest)
        small = Path(scratch) / "model.onnx"
        write_quantized_onnx(
            fp32.entry_path, small, precision, iterate_calibration_inputs(fp32, sample)
        )
        draft = Path(scratch) / "draft.tar.gz"
        pack_quantized_model(small, draft, fp32, precision, None, clinical=None)
        reference, quantized = (
            predict_dataset(InferenceService.load(model), rest, track=track)
            for model in (fp32.folder, draft)
        )
        own = calibrate_quantized_grader(
            fp32.manifest.clinical,
            quantized,
            rest,
            may_calibrate=ends_in_softmax(small),
            seed=seed,
        )
        if own.temperature != 1:
            divide_onnx_logits_by_temperature(small, own.temperature)
        verdict = decide_non_inferiority(
            reference,
            own.cross_fitted,
            grade_thresholds=fp32.manifest.grade_thresholds,
            reference_flags=flag_at_operating_points(fp32.manifest.clinical, reference),
            quantized_flags=own.flags,
            margin=margin,
            seed=seed,
        )
        is_kept = force or verdict.outcome != "refused"
        if is_kept:
            pack_quantized_model(small, target, fp32, precision, verdict, clinical=own.clinical)
        return QuantizationOutcome(
            target if is_kept else None,
            small.stat().st_size,
            fp32.entry_path.stat().st_size,
            verdict,
            reference,
            calibrated_on=f"{len(sample)} photographs of {sample.name}",
            validated_on=f"{len(rest)} photographs of {rest.name}",
            notes=tuple(notes),
        )


def build_tests_document(verdict: NonInferiorityVerdict) -> list[dict[str, Any]]:
    """Return the non-inferiority test of each measure, as a list of dictionaries for JSON."""
    return [
        {
            "measure": test.measure,
            "change": test.change,
            "lower_bound_95": test.lower_bound,
            "margin": test.margin,
            "passed": test.has_passed,
        }
        for test in verdict.tests
    ]


def path_of_quantized_archive(archive: Path, precision: SmallPrecision) -> Path:
    """Return the path of the new archive: ``grader-int8.tar.gz`` for ``grader-fp32.tar.gz``."""
    name = archive.name.removesuffix(".tar.gz")
    renamed = name.replace("fp32", precision) if "fp32" in name else f"{name}-{precision}"
    return choose_output_folder(archive) / f"{renamed}.tar.gz"


def split_for_calibration(
    dataset: Dataset, *, images: int = CALIBRATION_IMAGES, seed: int = 0
) -> tuple[Dataset, Dataset]:
    """Choose at most half of the photographs for calibration, and return both parts.

    The second part is for the comparison of the graders. The second part must not show an eye that
    was used for calibration. Therefore, if some photographs of a session are used for calibration,
    the session's other photographs are in neither part.
    """
    order = np.random.default_rng(seed).permutation(len(dataset))
    sample = np.sort(order[: min(images, len(dataset) // 2)])
    sessions = set(dataset.groups[sample])
    rest = [at for at in range(len(dataset)) if dataset.groups[at] not in sessions]
    return dataset.select_by_index(sample.tolist()), dataset.select_by_index(rest)


def pack_quantized_model(
    model: Path,
    archive: Path,
    reference: ModelArtifact,
    precision: SmallPrecision,
    verdict: NonInferiorityVerdict | None,
    *,
    clinical: Clinical | None,
) -> ModelManifest:
    """Pack a quantized model with its own thresholds, and with the verdict if there is one.

    The rest of the manifest, such as the transform and the origin of the weights, is copied from
    the fp32 model.
    """
    manifest = reference.manifest
    provenance = msgspec.structs.replace(manifest.provenance, tool_version=VERSION)
    quantization = None
    if verdict is not None:
        quantization = Quantization(
            verdict=verdict.outcome,
            reason=verdict.reason,
            reference_digest=reference.digest,
            images=verdict.comparison.n,
            margin=verdict.margin,
        )
    description = msgspec.structs.replace(
        manifest,
        precision=precision,
        clinical=clinical,
        quantization=quantization,
        provenance=provenance,
    )
    return pack_archive(model, archive, description)


def iterate_calibration_inputs(
    artifact: ModelArtifact, photographs: Dataset
) -> Iterator[NDArray[np.float32]]:
    """Yield the model's input for each photograph, ``(1, h, w, 3)``, as a server makes it."""
    service = InferenceService.load(artifact.folder)
    for one in photographs.photographs:
        yield service.model_input(one.read_file_bytes())[None]


def _require_onnx_in_fp32(manifest: ModelManifest) -> None:
    if manifest.model_format != "onnx" or manifest.precision != "fp32":
        raise InvalidInput(
            f"Only an ONNX model in fp32 can be quantized, not {manifest.model_format} "
            f"in {manifest.precision}",
            where=manifest.name,
            remedy="Give the artifact in ONNX and fp32, which `drdeploy model train` and `drdeploy "
            "model export --format onnx` write",
        )
    if manifest.recalibration is not None:
        raise InvalidInput(
            "The grader was recalibrated for a clinic. A quantized grader needs a recalibration of "
            "its own",
            where=manifest.name,
            remedy="Quantize the original grader, and then recalibrate the quantized grader",
        )
    if manifest.prevalence is not None:
        raise InvalidInput(
            "The grader has probabilities for a stated or estimated prevalence. A quantized grader "
            "needs an adjustment of its own",
            where=manifest.name,
            remedy="Quantize the original grader, and then use `drdeploy artifact set-prevalence`",
        )
