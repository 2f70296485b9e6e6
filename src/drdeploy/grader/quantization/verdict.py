"""Decide whether a quantized grader may replace the one it was made from.

The question is one of non-inferiority: not whether the two differ, but whether the sensitivity can
have dropped by more than a margin.  A test that finds no difference proves nothing if it had few
photographs.  So the smaller grader is accepted only if the one-sided 95 % bound of the loss lies
within the margin, refused if the observed loss exceeds it, and otherwise left undecided with the
number of photographs that would decide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from drdeploy.grader.evaluation.comparison import compare, score_limits
from drdeploy.grader.evaluation.metrics import expected_calibration_error
from drdeploy.grader.grading.prediction import grades_of
from drdeploy.statistics.proportions import Z_ONE_SIDED

if TYPE_CHECKING:
    from drdeploy.grader.evaluation.comparison import GraderComparison, PairedRate
    from drdeploy.grader.evaluation.predictions import GradedSet

DEFAULT_MARGIN = 0.02
"""Loss of sensitivity that is acceptable, as a share of the diseased eyes."""

MOST_NEEDED = 10_000_000
"""If more photographs than that were needed, no number is named."""


@dataclass(frozen=True)
class NonInferiorityVerdict:
    """Whether a quantized grader is as sensitive as the one it was made from.

    Attributes:
        outcome: ``accepted``: at grades 2 and 3, with 95 % confidence, the sensitivity drops by
            less than the margin.  ``refused``: it dropped by more.  ``undecided``: there are too
            few diseased eyes to tell.
        reason: In one sentence.
        margin: Loss of sensitivity that is acceptable, as a share of the diseased eyes.
        comparison: The quantized grader against the fp32 one.
        ece_before: Expected calibration error in fp32.
        ece_after: Expected calibration error of the quantized grader.
        images_needed: How many photographs like these would decide; only if undecided.
    """

    outcome: Literal["accepted", "refused", "undecided"]
    reason: str
    margin: float
    comparison: GraderComparison
    ece_before: float | None
    ece_after: float | None
    images_needed: int | None = None


def compare_quantized(
    reference: GradedSet,
    quantized: GradedSet,
    *,
    grade_thresholds: tuple[float, ...] | None,
    margin: float = DEFAULT_MARGIN,
    seed: int = 0,
) -> NonInferiorityVerdict:
    """Compare a quantized grader with its original, on the photographs that both graded.

    Args:
        reference: Predictions in fp32.
        quantized: Predictions of the same photographs in the same order.
        grade_thresholds: Of both graders.
        margin: Loss of sensitivity that is acceptable, as a share of the diseased eyes.
        seed: Of the bootstrap interval of kappa.
    """
    both = reference.is_gradable & quantized.is_gradable
    labels, groups = reference.labels[both], reference.groups[both]
    before, after = reference.probabilities[both], quantized.probabilities[both]
    comparison = compare(
        labels,
        grades_of(before, grade_thresholds),
        grades_of(after, grade_thresholds),
        groups=groups,
        seed=seed,
    )
    outcome, reason, needed = _decide(comparison, margin)
    return NonInferiorityVerdict(
        outcome,
        reason,
        margin,
        comparison,
        expected_calibration_error(labels, before, groups).value,
        expected_calibration_error(labels, after, groups).value,
        needed,
    )


def _decide(
    comparison: GraderComparison, margin: float
) -> tuple[Literal["accepted", "refused", "undecided"], str, int | None]:
    rates = comparison.sensitivity
    for grade, rate in rates.items():
        change = rate.difference.value
        if change is not None and change < -margin:
            lost = (
                f"at grade >= {int(grade)} it lost {rate.lost} and gained {rate.gained} "
                f"of {rate.difference.n} eyes"
            )
            return "refused", f"{lost}, more than {margin:.1%}", None
    undecided = {
        grade: rate
        for grade, rate in rates.items()
        if rate.lower_bound is None or rate.lower_bound <= -margin
    }
    if not undecided:
        bounds = " and ".join(
            f"{-(rate.lower_bound or 0.0):.1%} at grade >= {int(grade)}"
            for grade, rate in rates.items()
        )
        return (
            "accepted",
            f"with 95 % confidence the sensitivity drops by less than {bounds}",
            None,
        )
    needed = [images_needed(rate, comparison.n, margin) for rate in undecided.values()]
    most = None if None in needed else max(one for one in needed if one is not None)
    grades = " and ".join(f">= {int(grade)}" for grade in undecided)
    how_many = "more than can be had" if most is None else f"about {most}"
    return (
        "undecided",
        f"{comparison.n} photographs are too few to tell at grade {grades}: {how_many} are needed",
        most,
    )


def images_needed(rate: PairedRate, images: int, margin: float) -> int | None:
    """Return how many photographs like these would show that the loss is within the margin.

    The counts are scaled up together until the lower bound passes the margin; the bisection is on
    a logarithmic scale, as the answer may be anything from a few more to millions.

    Args:
        rate: The difference in sensitivity.
        images: How many photographs there were, diseased or not.
        margin: Loss of sensitivity that is acceptable, as a share of the diseased eyes.

    Returns:
        None if there is no diseased eye, or more than :data:`MOST_NEEDED` would be needed.
    """
    diseased = rate.difference.n
    if diseased == 0:
        return None

    def is_enough(factor: float) -> bool:
        counts = (rate.gained * factor, rate.lost * factor)
        low, _ = score_limits(*counts, round(diseased * factor), Z_ONE_SIDED)
        return low > -margin

    least, most = 1.0, MOST_NEEDED / images
    if not is_enough(most):
        return None
    while most - least > 0.5 / diseased:
        middle = math.sqrt(least * most)
        least, most = (least, middle) if is_enough(middle) else (middle, most)
    return math.ceil(images * most)
