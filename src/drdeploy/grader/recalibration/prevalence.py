"""Write an artifact whose answers hold probabilities at another prevalence.

No graded photographs are needed: the prevalence is stated by the user, or estimated from a clinic's
ungraded photographs (:mod:`drdeploy.grader.evaluation.prevalence`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from drdeploy.errors import InvalidInput, PredictionFailed, RequestRefused, format_count
from drdeploy.files import choose_output_folder, explain_unusable_path, sha256_of_bytes
from drdeploy.grader.artifacts import AssumedPrevalence, open_artifact, pack_archive
from drdeploy.grader.artifacts.manifest import SHORT_DIGEST
from drdeploy.grader.evaluation.prevalence import (
    DiseaseShares,
    estimate_prevalence,
    find_shares_during_calibration,
)
from drdeploy.grader.fundus.limits import LOCAL_FILE_LIMITS
from drdeploy.grader.grading.grade import Grade
from drdeploy.grader.grading.prediction import probability_of_grade_or_worse
from drdeploy.grader.inference import InferenceService
from drdeploy.grader.photograph_files import (
    read_photograph_bytes,
    search_folder_for_photographs,
    write_sentences_on_left_out_files,
)
from drdeploy.grader.recalibration.checks import FEWEST_PHOTOGRAPHS
from drdeploy.grader.recalibration.fit import Adjustment
from drdeploy.grader.runtimes.classifier import Classifier
from drdeploy.grader.runtimes.model_loading import load_model_in_runtime
from drdeploy.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from drdeploy.grader.artifacts import ModelArtifact
    from drdeploy.grader.runtimes.runtime import RuntimeName

DIGITS = 4
ASSUMPTION = (
    "The estimate is right only if photographs of one grade look the same to the grader in your "
    "clinic and among the photographs on which it was calibrated. With another camera, photographs "
    "often look different. To check this, evaluate the grader on graded photographs with `drdeploy "
    "model evaluate`."
)


@dataclass(frozen=True)
class PrevalenceOutcome:
    """The result of setting a prevalence.

    Attributes:
        archive: The new artifact.
        assumed: The prevalence and the weights of the grades, as in the new manifest.
        during_calibration: The share of grade 2 or worse that the grader's own probabilities
            assume.
        notes: Sentences for the user about limits of the result.
    """

    archive: Path
    assumed: AssumedPrevalence
    during_calibration: float
    notes: tuple[str, ...]


def set_prevalence(
    artifact: Path | str,
    prevalence: float | Literal["estimate"],
    out: Path | str | None = None,
    *,
    data: Path | str | None = None,
    runtime: RuntimeName | None = None,
    seed: int = 0,
    track: Callable[[Sequence[Path]], Sequence[Path]] = lambda files: files,
) -> PrevalenceOutcome:
    """Write an artifact whose answers also hold the probabilities at another prevalence.

    The grade and the decisions do not change, and neither do their sensitivity and specificity. An
    earlier prevalence in the artifact is replaced.

    Args:
        artifact: A ``model.tar.gz``, or the folder that it was extracted to.
        prevalence: The share of grade 2 or worse among the patients, or ``estimate``.
        out: The archive to write; None writes it beside ``artifact``.
        data: A folder of at least 50 ungraded photographs of the clinic, for ``estimate``.
        runtime: The library that runs the model.
        seed: Seed of the bootstrap interval of an estimated prevalence.
        track: Function that takes the list of files and returns a list to iterate over. It can show
            the progress.

    Raises:
        InvalidInput: The prevalence is not between 0 and 1, or the artifact does not say how
            frequent the grades were during calibration. This error is also raised if there are too
            few photographs, or if the grader was trained on one of them.
        ArtifactError: The artifact cannot be used.
        ModelError: The model's runtime is missing, or refuses the model.
    """
    target = _choose_path(Path(artifact)) if out is None else Path(out)
    if target.resolve() == Path(artifact).resolve():
        raise InvalidInput(
            "The new artifact would overwrite the original",
            where=str(target),
            remedy="Give another file with --out",
        )
    _check_options(prevalence, data)
    opened = open_artifact(artifact)
    manifest = opened.manifest
    before = find_shares_during_calibration(manifest.clinical, manifest.recalibration)
    if before is None:
        raise InvalidInput(
            "The artifact does not say how frequent grades 2 and 3 were among the photographs on "
            "which it was calibrated, so its probabilities cannot be adjusted",
            where=str(artifact),
            remedy="Use a grader with operating points at grades 2 and 3, such as the packaged one",
        )
    notes: list[str] = []
    if prevalence == "estimate":
        folder = _require_folder(data)
        predictions = _predict_ungraded_photographs(opened, folder, runtime, track)
        found = _estimate_from_predictions(predictions, folder, before, seed)
        notes += predictions.notes
        notes.append(ASSUMPTION)
    else:
        found = AssumedPrevalence(
            prevalence=prevalence, how="stated", grade_weights=_find_weights(prevalence, before)
        )
    if manifest.prevalence is not None:
        notes.append(
            "The new prevalence replaces the earlier prevalence of the artifact, "
            f"{manifest.prevalence.prevalence:.1%}."
        )
    provenance = msgspec.structs.replace(manifest.provenance, tool_version=VERSION)
    description = msgspec.structs.replace(manifest, prevalence=found, provenance=provenance)
    pack_archive(opened.entry_path, target, description)
    return PrevalenceOutcome(target, found, before.at_or_above[Grade.MODERATE], tuple(notes))


def _choose_path(artifact: Path) -> Path:
    name = artifact.resolve().name.removesuffix(".tar.gz").removesuffix("-prevalence")
    return choose_output_folder(artifact) / f"{name}-prevalence.tar.gz"


def _check_options(prevalence: float | Literal["estimate"], data: Path | str | None) -> None:
    if prevalence == "estimate":
        return
    if not 0 < prevalence < 1:
        raise InvalidInput(
            f"The prevalence must be between 0 and 1, not {prevalence:g}",
            where="--prevalence",
            remedy="Give a number like 0.1 for 10 %, or `estimate`",
        )
    if data is not None:
        raise InvalidInput(
            "A stated prevalence needs no photographs",
            where="--data",
            remedy="Leave --data out, or give --prevalence estimate",
        )


def _find_weights(
    prevalence: float, before: DiseaseShares
) -> tuple[float, float, float, float, float]:
    plain = Adjustment(1.0, (1.0,) * len(Grade))
    moved = plain.move_to_prevalence(prevalence, before.at_or_above[Grade.MODERATE])
    one, two, three, four, five = moved.grade_weights
    return one, two, three, four, five


def _require_folder(data: Path | str | None) -> Path:
    if data is None:
        raise InvalidInput(
            "Without photographs, the prevalence cannot be estimated",
            where="--prevalence estimate",
            remedy="Give a folder of ungraded photographs with --data",
        )
    folder = Path(data)
    if not folder.is_dir():
        raise InvalidInput(
            explain_unusable_path(
                folder, "The folder of photographs does not exist", wanted="folder"
            ),
            where=str(folder),
            remedy="Give a folder of ungraded photographs with --data",
        )
    return folder


@dataclass(frozen=True)
class _Predictions:
    """The probabilities of each photograph by its short digest, and notes on those left out."""

    probabilities: dict[str, NDArray[np.float32]]
    notes: tuple[str, ...]


def _predict_ungraded_photographs(
    artifact: ModelArtifact,
    folder: Path,
    runtime: RuntimeName | None,
    track: Callable[[Sequence[Path]], Sequence[Path]],
) -> _Predictions:
    files = search_folder_for_photographs(folder)
    service = InferenceService(
        Classifier(artifact, load_model_in_runtime(artifact, runtime=runtime)), LOCAL_FILE_LIMITS
    )
    probabilities: dict[str, NDArray[np.float32]] = {}
    copies = failed = 0
    for file in track(files.photographs):
        try:
            data = read_photograph_bytes(file)
            digest = sha256_of_bytes(data)[:SHORT_DIGEST]
            if digest in probabilities:
                copies += 1
                continue
            [inference] = service.infer([data])
        except (OSError, RequestRefused, PredictionFailed):
            failed += 1
            continue
        if inference.prediction is None:
            failed += 1
        else:
            probabilities[digest] = inference.prediction.probabilities
    known = len(frozenset(artifact.manifest.provenance.trained_on) & probabilities.keys())
    if known:
        raise InvalidInput(
            f"The grader was trained on {known} of the photographs, so they say nothing about the "
            "prevalence in your clinic",
            where=str(folder),
            remedy="Use photographs of your own clinic",
        )
    notes = [f"{sentence}." for sentence in write_sentences_on_left_out_files(files.left_out)]
    if failed:
        notes.append(f"Photographs that were left out because they cannot be graded: {failed}.")
    if copies:
        notes.append(f"Photographs that were left out because they are copies of others: {copies}.")
    return _Predictions(probabilities, tuple(notes))


def _estimate_from_predictions(
    predictions: _Predictions, folder: Path, before: DiseaseShares, seed: int
) -> AssumedPrevalence:
    rows = [*predictions.probabilities.values()]
    if len(rows) < FEWEST_PHOTOGRAPHS:
        raise InvalidInput(
            f"{format_count(len(rows), 'photograph')} can be graded, but an estimate needs at "
            f"least {FEWEST_PHOTOGRAPHS}",
            where=str(folder),
            remedy="Add photographs, or state the prevalence as a number",
        )
    or_worse = np.asarray(probability_of_grade_or_worse(np.stack(rows)), dtype=np.float64)
    estimate = estimate_prevalence(or_worse, before, seed=seed)
    value = round(estimate.value or 0.0, DIGITS)
    if not 0 < value < 1 or estimate.low is None or estimate.high is None:
        raise InvalidInput(
            f"The estimated share of grade 2 or worse is {value:g}, which cannot be used",
            where=str(folder),
            remedy="Add photographs, or state the prevalence as a number",
        )
    return AssumedPrevalence(
        prevalence=value,
        how="estimated",
        grade_weights=_find_weights(value, before),
        low=round(estimate.low, DIGITS),
        high=round(estimate.high, DIGITS),
        estimated_on=f"{len(rows)} ungraded photographs in {folder.resolve().name}",
        photographs=len(rows),
        adapted_to=tuple(sorted(predictions.probabilities)),
    )
