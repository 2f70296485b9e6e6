"""Decide whether a quantized grader may replace its original.

The verdict rests on tests of non-inferiority. A test is passed if one can be 95 % sure that a
measure of quality has dropped by less than a margin. A test for a difference between the graders
would prove nothing: with few photographs, it would find no difference even if there is one.

Ten measures are tested for every grader. Sensitivity and specificity of the grade, AUROC and
calibration are tested at grade 2 and at grade 3. The other two measures are quadratic weighted
kappa and the Brier score. Sensitivity alone would not suffice: a model that flags all eyes finds
every diseased eye. The test of specificity refuses this model.

Sensitivity and specificity are also tested at each operating point, because an operating point, and
not the grade, decides whether an answer says "referable". Each grader decides with its own
thresholds, since these are the decisions that users get. If a threshold was chosen on photographs
of the comparison, each of these photographs is judged by a threshold that was chosen on the others
(cross-fitting). Cross-fitting is left out if there are too few photographs. A quantized grader
whose threshold was chosen for the same sensitivity may find a few more diseased eyes and flag many
more healthy eyes. Both changes are reported. A gain in sensitivity does not make up for a loss in
specificity, because the right exchange rate depends on the clinic, which the verdict does not know.
For the same reason, a gain in specificity does not make up for a loss in sensitivity. The bounds
take the thresholds as given. They do not include how much a threshold would change if it were
chosen on other photographs.

The quantized grader is accepted only if every one-sided 95 % bound is within its margin. Because
all tests must pass, the risk of accepting a worse grader stays at 5 %, and the level of the single
tests needs no correction (Berger, Technometrics 1982, 24:295-300). The quantized grader is refused
if an observed loss exceeds its margin. In all other cases the verdict is undecided, and estimates
how many photographs would be enough.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from drdeploy.grader.evaluation.comparison import (
    compare_grades,
    compare_right_decisions,
    tango_score_limits,
)
from drdeploy.grader.evaluation.metrics import estimate_calibration_error
from drdeploy.grader.grading.grade import Grade
from drdeploy.grader.grading.prediction import (
    grades_from_probabilities,
    probability_of_grade_or_worse,
)
from drdeploy.grader.quantization.losses import (
    estimate_brier_change,
    estimate_calibration_gap_change,
    estimate_kappa_change,
    lower_bound_without_spread,
)
from drdeploy.statistics.proportions import Z_ONE_SIDED, estimate_auroc_change

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from drdeploy.grader.evaluation.comparison import GraderComparison, PairedRate
    from drdeploy.grader.evaluation.predictions import FlagsByPoint, GradedSet
    from drdeploy.statistics.estimate import Estimate


NonInferiorityOutcome = Literal["accepted", "refused", "undecided"]

DEFAULT_MARGIN = 0.02
"""Largest acceptable loss in each measure. No guideline states a margin for rounding a network's
weights; this one is the project's choice. Rounding makes a grader faster but not better, so the
loss of quality must be small. After rounding, at most two more of a hundred diseased eyes may get a
wrong answer. The same holds for healthy eyes, for the decisions at each operating point, and for
the pairs of a diseased and a healthy eye that AUROC counts. An operating point gets the same margin
as the grade, even if its threshold was chosen on few photographs, because both are decisions about
one eye. Kappa may fall by at most 0.02. The Brier score, and the gap between the mean predicted
probability and the share of diseased eyes, may each rise by at most 0.02."""

MOST_NEEDED = 10_000_000
"""If a decision needs more photographs than this, the verdict states no number."""

THRESHOLDS = (Grade.MODERATE, Grade.SEVERE)

NO_SUCH_POINT = "the quantized grader has no such operating point"


@dataclass(frozen=True)
class NonInferiorityTest:
    """The test of whether a quantized grader is worse than its original in one measure.

    Attributes:
        measure: The name of the measure, for example ``specificity at grade >= 2``.
        change: How much the measure changed from the original to the quantized grader, with the
            sign that makes a loss negative. None if the measure cannot be computed from the
            photographs.
        lower_bound: One-sided lower 95 % bound of ``change``, or None if the bound is not known.
        margin: Largest acceptable loss.
        images_needed: How many similar photographs would be needed to show that the loss is within
            the margin. None if more than :data:`MOST_NEEDED` photographs would be needed. The
            number has a meaning only if the test has neither passed nor failed.
        detail: The observed loss in a few words. If the grader is refused because of this test, the
            verdict's ``reason`` quotes this text.
    """

    measure: str
    change: float | None
    lower_bound: float | None
    margin: float
    images_needed: int | None
    detail: str

    @property
    def has_passed(self) -> bool:
        """Whether one can be 95 % sure that the loss is within the margin."""
        return self.lower_bound is not None and self.lower_bound > -self.margin

    @property
    def has_failed(self) -> bool:
        """Whether the observed loss exceeds the margin."""
        return self.change is not None and self.change < -self.margin


@dataclass(frozen=True)
class NonInferiorityVerdict:
    """The verdict on whether a quantized grader is as good as its original.

    Attributes:
        outcome: ``accepted`` if every test has passed, and ``refused`` if at least one has failed.
            ``undecided`` if there are too few photographs.
        reason: The reason for the outcome, in one sentence.
        margin: Largest acceptable loss in each measure.
        tests: The test of each measure.
        comparison: Comparison of the quantized grader with the fp32 grader.
        ece_before: Expected calibration error of the fp32 grader.
        ece_after: Expected calibration error of the quantized grader.
        images_needed: How many similar photographs would be needed for a decision. Only an
            undecided verdict states this number.
    """

    outcome: NonInferiorityOutcome
    reason: str
    margin: float
    tests: tuple[NonInferiorityTest, ...]
    comparison: GraderComparison
    ece_before: float | None
    ece_after: float | None
    images_needed: int | None = None


def decide_non_inferiority(
    reference: GradedSet,
    quantized: GradedSet,
    *,
    grade_thresholds: tuple[float, ...] | None,
    reference_flags: FlagsByPoint,
    quantized_flags: FlagsByPoint,
    quantized_thresholds: tuple[float, ...] | None = None,
    margin: float = DEFAULT_MARGIN,
    seed: int = 0,
) -> NonInferiorityVerdict:
    """Compare a quantized grader with its fp32 original, on the photographs that both graded.

    Args:
        reference: Predictions of the fp32 grader.
        quantized: Predictions of the quantized grader for the same photographs in the same order.
        grade_thresholds: The fp32 grader's thresholds, see
            :class:`drdeploy.grader.grading.Prediction`.
        reference_flags: The fp32 grader's decisions at each of its operating points. The key is the
            name of the point and the grade that it looks for, for example ``("high_sensitivity",
            2)``. The value says which photographs the point flags, shape ``(n,)``.
        quantized_flags: The decisions of the quantized grader. If an operating point of the fp32
            grader is missing here, the verdict cannot be ``accepted``.
        quantized_thresholds: The quantized grader's thresholds; None means those of the fp32
            grader.
        margin: Largest acceptable loss in each measure.
        seed: Seed of the bootstrap.
    """
    both = reference.is_gradable & quantized.is_gradable
    labels, groups = reference.labels[both], reference.groups[both]
    before, after = reference.probabilities[both], quantized.probabilities[both]
    grades_before = grades_from_probabilities(before, grade_thresholds)
    grades_after = grades_from_probabilities(after, quantized_thresholds or grade_thresholds)
    comparison = compare_grades(labels, grades_before, grades_after, groups=groups, seed=seed)
    kappa = estimate_kappa_change(labels, grades_before, grades_after, groups, seed=seed)
    tests = (
        *_test_sensitivity_and_specificity(comparison, margin),
        *_test_operating_points(
            labels,
            {point: flagged[both] for point, flagged in reference_flags.items()},
            {point: flagged[both] for point, flagged in quantized_flags.items()},
            groups,
            margin=margin,
        ),
        *_test_probabilities(labels, (before, after), groups, margin=margin, seed=seed),
        _test_loss_against_margin(
            "quadratic weighted kappa", kappa, len(set(groups.tolist())), margin
        ),
    )
    outcome, reason, needed = _choose_outcome_with_reason(tests, comparison.n, margin)
    return NonInferiorityVerdict(
        outcome,
        reason,
        margin,
        tests,
        comparison,
        estimate_calibration_error(labels, before, groups).value,
        estimate_calibration_error(labels, after, groups).value,
        needed,
    )


def _test_sensitivity_and_specificity(
    comparison: GraderComparison, margin: float
) -> Iterator[NonInferiorityTest]:
    """Test the sensitivity and specificity of the graders' grades, at grade 2 and at grade 3."""
    for name, rates, kind in (
        ("sensitivity", comparison.sensitivity, "at or above"),
        ("specificity", comparison.specificity, "below"),
    ):
        for grade, rate in rates.items():
            yield _test_paired_rate(
                f"{name} at grade >= {int(grade)}", rate, kind, comparison.n, margin
            )


def _test_operating_points(
    labels: NDArray[np.intp],
    before: FlagsByPoint,
    after: FlagsByPoint,
    groups: NDArray[np.str_],
    *,
    margin: float,
) -> Iterator[NonInferiorityTest]:
    """Test the sensitivity and specificity of the decisions at each operating point."""
    for point, flagged in before.items():
        name, grade = point
        is_positive = labels >= grade
        at_point = f"at the {name.replace('_', '-')} point, grade >= {grade}"
        if point not in after:
            for measure in ("sensitivity", "specificity"):
                yield NonInferiorityTest(
                    f"{measure} {at_point}", None, None, margin, None, NO_SUCH_POINT
                )
            continue
        is_right = flagged == is_positive, after[point] == is_positive
        sensitivity, specificity = (
            compare_right_decisions(*is_right, among, groups)
            for among in (is_positive, ~is_positive)
        )
        # The other rate is quoted, because a moved threshold trades one rate for the other.
        for measure, rate, kind, other, other_rate in (
            ("sensitivity", sensitivity, "at or above", "specificity", specificity),
            ("specificity", specificity, "below", "sensitivity", sensitivity),
        ):
            test = _test_paired_rate(f"{measure} {at_point}", rate, kind, len(labels), margin)
            change = other_rate.difference.value
            if change is not None:
                of_other = f"the {other} changes by {100 * change:+.1f} percentage points"
                test = replace(test, detail=f"{test.detail}, while {of_other}")
            yield test


def _test_paired_rate(
    measure: str, rate: PairedRate, kind: str, images: int, margin: float
) -> NonInferiorityTest:
    """Test whether the loss in a sensitivity or specificity is within its margin."""
    return NonInferiorityTest(
        measure,
        rate.difference.value,
        rate.lower_bound,
        margin,
        count_images_needed_for_decision(rate, images, margin),
        f"of {rate.difference.n} photographs {kind} this grade, {rate.lost} are newly wrong and "
        f"{rate.gained} newly right",
    )


def _test_probabilities(
    labels: NDArray[np.intp],
    probabilities: tuple[NDArray[np.float64], NDArray[np.float64]],
    groups: NDArray[np.str_],
    *,
    margin: float,
    seed: int,
) -> Iterator[NonInferiorityTest]:
    """Test AUROC and calibration at grade 2 and at grade 3, and the Brier score."""
    worse_before, worse_after = map(probability_of_grade_or_worse, probabilities)
    for grade in THRESHOLDS:
        is_positive = labels >= grade
        first, second = worse_before[:, grade], worse_after[:, grade]
        area = estimate_auroc_change(is_positive, first, second, groups, z=Z_ONE_SIDED)
        fewer = min(len(set(groups[side].tolist())) for side in (is_positive, ~is_positive))
        yield _test_loss_against_margin(f"AUROC at grade >= {int(grade)}", area, fewer, margin)
        gap = estimate_calibration_gap_change(is_positive, first, second, groups, seed=seed)
        yield _test_loss_against_margin(
            f"calibration at grade >= {int(grade)}", gap, len(set(groups.tolist())), margin
        )
    brier = estimate_brier_change(labels, *probabilities, groups, seed=seed)
    yield _test_loss_against_margin("Brier score", brier, len(set(groups.tolist())), margin)


def _test_loss_against_margin(
    measure: str, change: Estimate, independent: int, margin: float
) -> NonInferiorityTest:
    """Test whether the loss in a measure is within its margin, with one-sided limits.

    Args:
        measure: The name of the measure.
        change: The change of the measure, with one-sided 95 % limits.
        independent: Number of patients or sessions. It is used to compute the bound if the change
            has no interval.
        margin: Largest acceptable loss.
    """
    value, bound = change.value, change.low
    factor = math.inf
    if value is not None and bound is None:
        bound = lower_bound_without_spread(value, independent)
        z2 = Z_ONE_SIDED**2
        if value > -margin:
            factor = z2 * (1 / (value + margin) - 1) / independent
    elif value is not None and bound is not None and value > -margin:
        # The distance between a value and its bound shrinks with the root of the photographs.
        factor = ((value - bound) / (value + margin)) ** 2
    needed = math.ceil(change.n * factor) if change.n * factor <= MOST_NEEDED else None
    detail = change.reason if value is None else f"it changed by {value:+.3f}"
    return NonInferiorityTest(measure, value, bound, margin, needed, detail)


def _choose_outcome_with_reason(
    tests: tuple[NonInferiorityTest, ...], n: int, margin: float
) -> tuple[NonInferiorityOutcome, str, int | None]:
    failed = [test for test in tests if test.has_failed]
    if failed:
        losses = "; ".join(f"{test.measure}: {test.detail}" for test in failed)
        return "refused", f"the loss is larger than the margin of {margin:.1%}: {losses}", None
    undecided = [test for test in tests if not test.has_passed]
    if not undecided:
        closest = min(tests, key=lambda test: test.lower_bound or 0.0)
        reason = (
            f"with 95 % confidence, no measure drops by more than {margin:.1%}. {closest.measure} "
            f"comes closest to the margin: it drops by at most {-(closest.lower_bound or 0.0):.1%}"
        )
        return "accepted", reason, None
    needed = [test.images_needed for test in undecided]
    most = None if None in needed else max(one for one in needed if one is not None)
    measures = ", ".join(
        f"{test.measure} ({test.detail})" if test.detail == NO_SUCH_POINT else test.measure
        for test in undecided
    )
    how_many = (
        "no number of photographs would be enough" if most is None else f"about {most} are needed"
    )
    return (
        "undecided",
        f"{n} photograph{' is' if n == 1 else 's are'} too few to judge {measures}: {how_many}",
        most,
    )


def count_images_needed_for_decision(rate: PairedRate, images: int, margin: float) -> int | None:
    """Estimate how many photographs would be enough to show that the loss is within the margin.

    The observed counts are those of the eyes that quantization newly gets right, of the eyes that
    it newly gets wrong, and of all eyes. All three counts are multiplied by the same factor, until
    the lower bound is within the margin. The factor is found by bisection on a logarithmic scale,
    because the answer may lie anywhere from a few photographs to millions.

    Args:
        rate: The difference in sensitivity or specificity.
        images: How many photographs were compared, diseased and healthy ones together.
        margin: Largest acceptable loss, as a share of the diseased eyes (for sensitivity) or of the
            healthy eyes (for specificity).

    Returns:
        None if there is no eye from which the rate could be computed, or if more than
        :data:`MOST_NEEDED` photographs are needed.
    """
    eyes = rate.difference.n
    if eyes == 0:
        return None

    def are_enough_images(factor: float) -> bool:
        scale = factor / rate.design_effect
        counts = (rate.gained * scale, rate.lost * scale, eyes * scale)
        low, _ = tango_score_limits(*counts, Z_ONE_SIDED)
        return low > -margin

    least, most = 1.0, MOST_NEEDED / images
    if not are_enough_images(most):
        return None
    while most - least > 0.5 / eyes:
        middle = math.sqrt(least * most)
        least, most = (least, middle) if are_enough_images(middle) else (middle, most)
    return math.ceil(images * most)
