"""Compute the additional results of an evaluation, such as decision curves and subgroups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from drdeploy.errors import InvalidInput
from drdeploy.grader.evaluation.calibration import BinaryCalibration, estimate_binary_calibration
from drdeploy.grader.evaluation.decision_curves import NetBenefit, compute_net_benefits
from drdeploy.grader.evaluation.evaluation import find_high_sensitivity_point
from drdeploy.grader.evaluation.patients import PatientEvaluation, evaluate_patients
from drdeploy.grader.evaluation.photograph_flow import (
    PhotographFlow,
    count_photographs_at_each_step,
)
from drdeploy.grader.evaluation.predictions import UNLIKE_TRAINING
from drdeploy.grader.evaluation.prevalence import (
    AdjustedProbabilities,
    DiseaseShares,
    adjust_probabilities_to_shares,
    compute_weights_to_match_shares,
    estimate_disease_shares,
    find_shares_during_calibration,
    make_shares_for_prevalence,
)
from drdeploy.grader.evaluation.risk_at_coverage import RiskAtCoverage, measure_risk_at_coverages
from drdeploy.grader.evaluation.second_reader import SecondReader, compare_with_second_reader
from drdeploy.grader.evaluation.subgroups import Subgroup, evaluate_subgroups
from drdeploy.grader.evaluation.unlike_training import FlagQuality, measure_unlike_training_flag
from drdeploy.grader.grading.grade import Grade
from drdeploy.grader.grading.prediction import (
    grades_from_probabilities,
    probability_of_grade_or_worse,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from drdeploy.grader.artifacts import Clinical, Recalibration
    from drdeploy.grader.datasets import SetAside
    from drdeploy.grader.evaluation.predictions import GradedSet

BY_PATIENT = "patient"
ESTIMATE: Final = "estimate"
TARGETS = (Grade.MODERATE, Grade.SEVERE)


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """The options of an evaluation.

    Attributes:
        by: Further results to compute. ``patient`` asks for results by patient. Any other text is a
            column of the table of labels, and asks for results for each value in this column.
        second_label: The column with a second reader's grades.
        prevalence: Share of patients with grade 2 or worse at the place where the grader will be
            used. ``estimate`` means that this share is estimated from the probabilities. None means
            the share among the photographs.
        seed: Seed of the bootstrap intervals.
    """

    by: tuple[str, ...] = ()
    second_label: str | None = None
    prevalence: float | Literal["estimate"] | None = None
    seed: int = 0

    @property
    def subgroup_columns(self) -> tuple[str, ...]:
        """The columns of the table of labels that define subgroups."""
        return tuple(dict.fromkeys(one for one in self.by if one != BY_PATIENT))

    @property
    def columns(self) -> dict[str, str]:
        """The needed columns of the table of labels, each mapped to the option that asks for it."""
        asked = dict.fromkeys(self.subgroup_columns, "--by")
        return asked | ({self.second_label: "--second-label"} if self.second_label else {})


@dataclass(frozen=True)
class AdjustedCalibration:
    """The calibration at each grade after the probabilities were adjusted to another prevalence."""

    adjusted: AdjustedProbabilities
    calibration: dict[Grade, BinaryCalibration]


@dataclass(frozen=True, eq=False)
class EvaluationDetails:
    """The results of an evaluation that are not in :class:`Evaluation`.

    Attributes:
        flow: How many photographs were left at each step of the evaluation.
        adjustments: Calibration after each adjustment to another prevalence; empty if the manifest
            does not state how frequent the grades were among the photographs for calibration.
        net_benefits: The decision curve at each grade.
        risks: How often the grader's decisions are wrong if it decides only on the photographs
            about which it is most confident. There is one result for each share of the photographs.
            The grader refers an eye if its grade is at least 2.
        high_sensitivity_risks: The same for the decisions of the high-sensitivity point at grade 2,
            which decides ``referable`` in each answer. Empty if the manifest has no such point.
        flag: How often photographs are flagged as unlike the training photographs, and how often
            the grader errs with and without the flag. None if the manifest has no rule for this
            flag.
        patients: Results by patient, if asked for.
        subgroups: Results in the subgroups of each column, if asked for.
        second_reader: Agreement with a second reader, if asked for.
    """

    flow: PhotographFlow
    adjustments: tuple[AdjustedCalibration, ...]
    net_benefits: dict[Grade, tuple[NetBenefit, ...]]
    risks: tuple[RiskAtCoverage, ...]
    high_sensitivity_risks: tuple[RiskAtCoverage, ...]
    flag: FlagQuality | None
    patients: PatientEvaluation | None
    subgroups: dict[str, tuple[Subgroup, ...]]
    second_reader: SecondReader | None


def resolve_prevalence(
    graded: GradedSet,
    clinical: Clinical | None,
    prevalence: float | Literal["estimate"] | None,
    recalibration: Recalibration | None = None,
) -> float | None:
    """Return the prevalence of grade 2 or worse for which predictive values are computed.

    If ``prevalence`` is ``estimate``, the prevalence is estimated from the grader's probabilities.
    None is returned unchanged, and means the share among the photographs.

    Raises:
        InvalidInput: The prevalence cannot be estimated, because the manifest does not state how
            frequent the grades were among the photographs for calibration, or because no photograph
            was graded.
    """
    if not isinstance(prevalence, str):
        return prevalence
    before = find_shares_during_calibration(clinical, recalibration)
    or_worse = np.asarray(
        probability_of_grade_or_worse(graded.probabilities[graded.is_gradable]), dtype=np.float64
    )
    if before is None or not len(or_worse):
        raise InvalidInput(
            "The prevalence cannot be estimated, because "
            + (
                "the artifact has no usable operating points at grades 2 and 3"
                if before is None
                else "no photograph was graded"
            ),
            where="--prevalence estimate",
            remedy="State the prevalence as a number, for example --prevalence 0.1",
        )
    return estimate_disease_shares(or_worse, before).at_or_above[Grade.MODERATE]


def compute_evaluation_details(
    graded: GradedSet,
    clinical: Clinical | None,
    options: EvaluationOptions,
    set_aside: Sequence[SetAside] = (),
    recalibration: Recalibration | None = None,
) -> EvaluationDetails:
    """Compute the details of an evaluation.

    Raises:
        InvalidInput: The options ask for results by patient, for subgroups or for a second reader,
            but the data set lacks this information. This error is also raised if a column for
            subgroups has too few or too many values, or if the prevalence cannot be estimated.
    """
    thresholds = None if clinical is None else clinical.grade_thresholds
    point = find_high_sensitivity_point(clinical, Grade.MODERATE)
    share = resolve_prevalence(graded, clinical, options.prevalence, recalibration)
    known = graded.select_by_position(np.flatnonzero(graded.is_gradable))
    or_worse = np.asarray(probability_of_grade_or_worse(known.probabilities), dtype=np.float64)
    grades = grades_from_probabilities(known.probabilities, thresholds)
    is_referred = None if point is None else point.reaches_threshold(or_worse[:, Grade.MODERATE])
    return EvaluationDetails(
        flow=count_photographs_at_each_step(graded, set_aside),
        adjustments=_adjust_calibration_to_prevalence(
            known, or_worse, find_shares_during_calibration(clinical, recalibration), options
        ),
        net_benefits={
            grade: compute_net_benefits(known.labels >= grade, or_worse[:, grade], known.groups)
            for grade in TARGETS
        },
        risks=measure_risk_at_coverages(
            known.labels, grades >= Grade.MODERATE, or_worse, known.groups
        ),
        high_sensitivity_risks=()
        if is_referred is None
        else measure_risk_at_coverages(known.labels, is_referred, or_worse, known.groups),
        flag=measure_unlike_training_flag(
            known.labels,
            grades,
            known.columns[UNLIKE_TRAINING] == "yes",
            known.groups,
            is_referred=is_referred,
            seed=options.seed,
        )
        if UNLIKE_TRAINING in known.columns
        else None,
        patients=evaluate_patients(graded, clinical, prevalence=share, seed=options.seed)
        if BY_PATIENT in options.by
        else None,
        subgroups={
            column: evaluate_subgroups(graded, column, clinical, seed=options.seed)
            for column in options.subgroup_columns
        },
        second_reader=compare_with_second_reader(
            graded, options.second_label, clinical, seed=options.seed
        )
        if options.second_label
        else None,
    )


def _adjust_calibration_to_prevalence(
    known: GradedSet,
    or_worse: NDArray[np.float64],
    before: DiseaseShares | None,
    options: EvaluationOptions,
) -> tuple[AdjustedCalibration, ...]:
    if before is None or not len(known):
        return ()
    estimated = estimate_disease_shares(or_worse, before)
    adjusted: list[tuple[AdjustedProbabilities, NDArray[np.float64] | None]] = [
        (adjust_probabilities_to_shares(or_worse, before, estimated, "estimated"), None)
    ]
    if isinstance(options.prevalence, float):
        shares = make_shares_for_prevalence(
            options.prevalence, before.severe / (before.moderate + before.severe)
        )
        # These photographs do not have the stated shares, so each photograph is weighted.
        weights = compute_weights_to_match_shares(known.labels, shares)
        if weights is not None:
            adjusted.append(
                (adjust_probabilities_to_shares(or_worse, before, shares, "stated"), weights)
            )
    return tuple(
        AdjustedCalibration(
            one,
            {
                grade: estimate_binary_calibration(
                    known.labels >= grade, one.or_worse[grade], known.groups, weights
                )
                for grade in TARGETS
            },
        )
        for one, weights in adjusted
    )
