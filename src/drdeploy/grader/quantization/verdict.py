"""Whether a quantized grader may stand in for the one it was made from."""

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
    from drdeploy.grader.grading.grade import Grade

DEFAULT_MARGIN = 0.02
"""Loss of sensitivity that is still acceptable, as a share of the diseased eyes."""

MOST_NEEDED = 10_000_000
"""Where counting how many photographs it would take is given up."""


@dataclass(frozen=True)
class NonInferiorityVerdict:
    """What a paired comparison says.

    Attributes:
        outcome: ``accepted``: at grades 2 and 3, the sensitivity is shown (one-sided 95 %) to
            drop by less than the margin.  ``refused``: it dropped by more.  ``undecided``: too
            few diseased eyes to tell.
        reason: In one sentence.
        comparison: Quantized against fp32.
        ece_before: Expected calibration error in fp32.
        ece_after: And quantized.
        images_needed: How many photographs it would take, if they are like these.
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
    """Compare two graders of the same photographs, on those that both graded.

    Args:
        reference: Predictions in fp32.
        quantized: Of the same photographs in the same order.
        grade_thresholds: Of both.
        margin: See :data:`DEFAULT_MARGIN`.
        seed: Of the bootstrap of kappa.
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
            return "refused", f"{_lost(grade, rate)}, more than {margin:.1%}", None
    open_ones = {grade: rate for grade, rate in rates.items() if not _is_shown(rate, margin)}
    if not open_ones:
        bounds = " and ".join(
            f"{-(rate.lower_bound or 0.0):.1%} at grade >= {int(grade)}"
            for grade, rate in rates.items()
        )
        return (
            "accepted",
            f"with 95 % confidence the sensitivity drops by less than {bounds}",
            None,
        )
    needed = [images_needed(rate, comparison.n, margin) for rate in open_ones.values()]
    most = None if None in needed else max(one for one in needed if one is not None)
    names = " and ".join(f">= {int(grade)}" for grade in open_ones)
    wanted = "more than can be had" if most is None else f"about {most}"
    return (
        "undecided",
        f"{comparison.n} photographs are too few to tell at grade {names}: {wanted} are needed",
        most,
    )


def _lost(grade: Grade, rate: PairedRate) -> str:
    n = rate.difference.n
    return f"at grade >= {int(grade)} it lost {rate.lost} and gained {rate.gained} of {n} eyes"


def _is_shown(rate: PairedRate, margin: float) -> bool:
    return rate.lower_bound is not None and rate.lower_bound > -margin


def images_needed(rate: PairedRate, images: int, margin: float) -> int | None:
    """How many photographs would show it, were they like these; None where none would.

    Args:
        rate: Of the diseased among them.
        images: How many there were, diseased and not.
        margin: To be shown.
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
