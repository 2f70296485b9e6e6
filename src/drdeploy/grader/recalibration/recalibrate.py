"""Write an artifact that is adapted to a clinic's photographs, and measure the gain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from drdeploy.errors import InvalidInput
from drdeploy.files import choose_output_folder
from drdeploy.grader.artifacts import (
    OperatingPoint,
    Recalibration,
    open_artifact,
    pack_archive,
)
from drdeploy.grader.datasets import load_dataset, split_into_grouped_folds
from drdeploy.grader.datasets.columns import group_by_patient_column
from drdeploy.grader.datasets.dataset import write_note_on_photographs_set_aside
from drdeploy.grader.evaluation.document import describe_photograph_and_group_counts
from drdeploy.grader.evaluation.graders import choose_test_photographs
from drdeploy.grader.evaluation.predictions import predict_dataset
from drdeploy.grader.evaluation.training_photographs import (
    find_listed_photographs,
    list_short_digests,
)
from drdeploy.grader.fundus.limits import LOCAL_FILE_LIMITS
from drdeploy.grader.grading.grade import Grade
from drdeploy.grader.grading.prediction import grades_from_probabilities
from drdeploy.grader.inference import InferenceService
from drdeploy.grader.recalibration.checks import (
    refuse_too_few_photographs,
    refuse_training_photographs,
)
from drdeploy.grader.recalibration.fit import (
    Adjustment,
    choose_operating_points_for_clinic,
    cross_fit_adjustment_and_thresholds,
    fit_adjustment,
    move_to_stated_prevalence,
)
from drdeploy.grader.recalibration.gains import (
    Decisions,
    measure_gain,
    warn_about_specificity,
)
from drdeploy.grader.runtimes.classifier import Classifier
from drdeploy.grader.runtimes.model_loading import load_model_in_runtime
from drdeploy.grader.training.calibration import make_rate_of_estimate
from drdeploy.grader.training.fit import MEDIAN_GRADE
from drdeploy.photograph_names import PhotographNames
from drdeploy.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from drdeploy.grader.artifacts import Clinical, ModelArtifact
    from drdeploy.grader.datasets import Dataset
    from drdeploy.grader.evaluation.predictions import GradedSet
    from drdeploy.grader.recalibration.gains import RecalibrationGain
    from drdeploy.grader.runtimes.runtime import RuntimeName
    from drdeploy.statistics.estimate import Estimate

FOLDS = 5
DIGITS = 4


@dataclass(frozen=True, eq=False)
class RecalibrationOutcome:
    """The result of recalibrating a grader.

    Attributes:
        archive: The recalibrated artifact.
        recalibration: The temperature and the weights of the grades, and how they were found, as in
            the new manifest.
        clinical: The new operating points. Their sensitivity and specificity are cross-fitted: each
            photograph is flagged by a threshold that was chosen on photographs of other patients.
        gain: How good the grader is before and after the recalibration. After the recalibration,
            each photograph is graded with values that were chosen on photographs of other patients.
        left_out: The names of the clinic's photographs that the grader could not grade, with the
            reasons.
        notes: Sentences for the user about limits of these results.
        warnings: Sentences for the user about what may make the new artifact useless.
    """

    archive: Path
    recalibration: Recalibration
    clinical: Clinical
    gain: RecalibrationGain
    left_out: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def document(self) -> dict[str, Any]:
        """The result as a dictionary for JSON."""
        return {
            "archive": str(self.archive),
            "recalibration": msgspec.to_builtins(self.recalibration),
            "thresholds": [
                {
                    "name": point.name,
                    "at_or_above": point.at_or_above,
                    "threshold": point.threshold,
                }
                for point in self.clinical.operating_points
            ],
            "gain": self.gain.document,
            "left_out": [{"file": file, "reason": reason} for file, reason in self.left_out],
            "notes": list(self.notes),
            "warnings": list(self.warnings),
        }


def recalibrate(
    artifact: Path | str,
    data: Path | str,
    out: Path | str | None = None,
    *,
    split: str | None = None,
    patient: str | None = None,
    prevalence: float | None = None,
    runtime: RuntimeName | None = None,
    seed: int = 0,
    own_names: bool = False,
    track: Callable[[Sequence[Path]], Sequence[Path]] = lambda files: files,
) -> RecalibrationOutcome:
    """Adapt a grader's temperature, grade weights and thresholds to a clinic's photographs.

    ::

        outcome = recalibrate("model.tar.gz", "our-photographs")
        outcome.gain.outcome, outcome.archive

    The network itself does not change.  If the grader was recalibrated before, the new
    recalibration replaces the earlier one.

    Args:
        artifact: A ``model.tar.gz``, or the folder that it was extracted to.
        data: A folder of at least 50 photographs that the clinic graded itself.
        out: The archive to write; None writes it beside ``artifact``.
        split: The split of ``data`` to use. None means the split ``test`` if there is one,
            otherwise all photographs.
        patient: The column with the patients in the table of labels. It is needed only if drdeploy
            does not recognise the column by its name.
        prevalence: The share of grade 2 or worse among the clinic's patients, if it differs from
            the share among the photographs.
        runtime: The library that runs the model.
        seed: Seed of the folds, and of the bootstrap interval of kappa.
        own_names: Show the file names of photographs. Otherwise, hashes of the names are shown.
        track: Function that takes the list of files and returns a list to iterate over. It can show
            the progress.

    Raises:
        InvalidInput: The model does not grade retinopathy, or the grader was trained on one of the
            photographs. This error is also raised if there are too few photographs or patients. For
            grade 2 and for grade 3, enough photographs must be below the grade, and enough must
            have the grade or a worse one.
        ArtifactError: The artifact cannot be used.
        ModelError: The model's runtime is missing, or refuses the model.
    """
    target = make_path_of_recalibrated_archive(Path(artifact)) if out is None else Path(out)
    if target.resolve() == Path(artifact).resolve():
        raise InvalidInput(
            "The recalibrated grader would overwrite the original",
            where=str(target),
            remedy="Give another file with --out",
        )
    if prevalence is not None and not 0 < prevalence < 1:
        raise InvalidInput(
            f"The prevalence must be between 0 and 1, not {prevalence:g}",
            where="--prevalence",
            remedy="Give a number like 0.2",
        )
    opened = open_artifact(artifact)
    names = PhotographNames.choose_file_names_or_hashes(own=own_names)
    dataset = load_dataset(Path(data), keep_unreadable=True, names=names)
    if patient is not None:
        dataset = group_by_patient_column(dataset, patient, names)
    choice = choose_test_photographs(dataset, split, offers_new_sessions=False)
    refuse_training_photographs(opened.manifest, choice.photographs, choice.whole)
    enough: dict[str, Any] = {"knows_groups": dataset.knows_groups, "where": str(data)}
    photographs = choice.photographs
    refuse_too_few_photographs(photographs.grades, photographs.groups, **enough)
    service = _load_without_recalibration(opened, runtime)
    everything = predict_dataset(service, choice.photographs, track=track)
    kept = [at for at, reason in enumerate(everything.reasons) if not reason]
    graded = everything.select_by_position(kept)
    refuse_too_few_photographs(graded.labels, graded.groups, **enough)
    used = choice.photographs.select_by_index(kept)
    folds = split_into_grouped_folds(used, FOLDS, seed=seed)
    found = cross_fit_adjustment_and_thresholds(graded, folds, prevalence=prevalence)
    adjustment = move_to_stated_prevalence(
        fit_adjustment(graded.labels, graded.probabilities), graded.labels, prevalence
    )
    before = _apply_earlier_recalibration(opened, graded)
    flags = _flag_by_operating_points(opened.manifest.clinical, before)
    original = opened.manifest.clinical
    new_thresholds = MEDIAN_GRADE if original is None else original.grade_thresholds
    gain = measure_gain(
        graded,
        Decisions(
            before, grades_from_probabilities(before, opened.manifest.grade_thresholds), flags
        ),
        Decisions(
            found.probabilities,
            grades_from_probabilities(found.stated, new_thresholds),
            found.flags,
        ),
        seed=seed,
    )
    recalibration = _describe_recalibration(
        opened, graded, used, adjustment, prevalence, knows_groups=dataset.knows_groups
    )
    clinical = choose_operating_points_for_clinic(
        graded.labels,
        adjustment.apply_to(graded.probabilities),
        original=opened.manifest.clinical,
        chosen_on=recalibration.adapted_on,
    )
    clinical = _replace_rates_by_cross_fitted_rates(clinical, gain.after.points)
    description = msgspec.structs.replace(
        opened.manifest,
        clinical=clinical,
        recalibration=recalibration,
        prevalence=None,
        provenance=msgspec.structs.replace(opened.manifest.provenance, tool_version=VERSION),
    )
    pack_archive(opened.entry_path, target, description)
    left_out = tuple(
        (everything.files[at], reason) for at, reason in enumerate(everything.reasons) if reason
    )
    notes = [
        *write_note_on_photographs_set_aside(choice.test_set.set_aside),
        *choice.test_set.notes,
        *_list_notes_on_limits(opened, used, prevalence),
    ]
    return RecalibrationOutcome(
        target,
        recalibration,
        clinical,
        gain,
        left_out,
        notes=tuple(notes),
        warnings=tuple(warn_about_specificity(gain)),
    )


def make_path_of_recalibrated_archive(artifact: Path) -> Path:
    """Return the path of the new archive: ``grader-recalibrated.tar.gz`` for ``grader.tar.gz``."""
    name = artifact.resolve().name.removesuffix(".tar.gz").removesuffix("-recalibrated")
    return choose_output_folder(artifact) / f"{name}-recalibrated.tar.gz"


def _load_without_recalibration(
    artifact: ModelArtifact, runtime: RuntimeName | None
) -> InferenceService:
    """Load the grader as it was before any recalibration."""
    plain = msgspec.structs.replace(artifact.manifest, recalibration=None)
    bare = replace(artifact, manifest=plain)
    return InferenceService(
        Classifier(bare, load_model_in_runtime(bare, runtime=runtime)), LOCAL_FILE_LIMITS
    )


def _apply_earlier_recalibration(artifact: ModelArtifact, graded: GradedSet) -> NDArray[np.float64]:
    earlier = artifact.manifest.recalibration
    if earlier is None:
        return graded.probabilities
    return Adjustment(earlier.temperature, earlier.grade_weights).apply_to(graded.probabilities)


def _flag_by_operating_points(
    clinical: Clinical | None, probabilities: NDArray[np.float64]
) -> dict[tuple[str, int], NDArray[np.bool_]]:
    return {
        (point.name, point.at_or_above): point.reaches_threshold(
            probabilities[:, point.at_or_above :].sum(axis=1)
        )
        for point in (() if clinical is None else clinical.operating_points)
    }


def _describe_recalibration(
    artifact: ModelArtifact,
    graded: GradedSet,
    used: Dataset,
    adjustment: Adjustment,
    prevalence: float | None,
    *,
    knows_groups: bool,
) -> Recalibration:
    counts = [int((graded.labels == grade).sum()) for grade in Grade]
    groups = len(set(graded.groups))
    share = float((graded.labels >= Grade.MODERATE).mean())
    described = describe_photograph_and_group_counts(len(graded), groups, graded.group_unit)
    return Recalibration(
        temperature=adjustment.temperature,
        grade_weights=tuple(adjustment.grade_weights),  # type: ignore[arg-type]  # five of them
        adapted_on=f"{described} in {used.name}",
        photographs=len(graded),
        groups=groups if knows_groups else None,
        photographs_per_grade=tuple(counts),  # type: ignore[arg-type]  # five of them
        prevalence=round(share if prevalence is None else prevalence, DIGITS),
        is_prevalence_stated=prevalence is not None,
        original_digest=artifact.digest,
        adapted_to=list_short_digests(used),
    )


def _replace_rates_by_cross_fitted_rates(
    clinical: Clinical, rates: Mapping[tuple[str, int], tuple[Estimate, Estimate]]
) -> Clinical:
    """Replace the rates of the operating points by cross-fitted rates.

    An operating point looks too good on the photographs on which it was chosen.
    """
    points: list[OperatingPoint] = []
    for point in clinical.operating_points:
        sensitivity, specificity = map(
            make_rate_of_estimate, rates[(point.name, point.at_or_above)]
        )
        points.append(
            msgspec.structs.replace(
                point, sensitivity=sensitivity, specificity=specificity, cross_fitted=True
            )
        )
    return msgspec.structs.replace(clinical, operating_points=tuple(points))


def _list_notes_on_limits(
    artifact: ModelArtifact, used: Dataset, prevalence: float | None
) -> list[str]:
    notes = []
    if artifact.manifest.prevalence is not None:
        notes.append(
            "The original artifact had a prevalence. The new artifact has none, because the "
            "recalibrated probabilities assume another share of disease. Set the prevalence again "
            "with `drdeploy artifact set-prevalence`."
        )
    earlier = artifact.manifest.recalibration
    known = 0 if earlier is None else len(find_listed_photographs(earlier.adapted_to, used))
    if known:
        notes.append(
            f"The grader was recalibrated before, on {known} of these {len(used)} photographs. The "
            "values before this recalibration therefore look better than they are."
        )
    if not artifact.manifest.provenance.trained_on:
        notes.append(
            "The artifact does not list the photographs that it was trained on. The photographs "
            "given here may be among the training photographs."
        )
    if prevalence is not None:
        notes.append(
            "The calibration before and after recalibration was measured at the prevalence in the "
            "photographs. The calibration at the prevalence that you stated cannot be tested with "
            "these photographs. The answered grade and the operating points are those at the "
            "stated prevalence. If the stated prevalence is lower than the prevalence in the "
            "photographs, the grader answers with lower grades, and the answered grade misses more "
            "disease."
        )
    return notes
