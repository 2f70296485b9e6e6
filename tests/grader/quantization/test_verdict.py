"""A quantized grader is accepted on evidence, refused on evidence, or left open."""

import numpy as np
import pytest

from drdeploy.grader.evaluation.comparison import paired_rate
from drdeploy.grader.evaluation.predictions import GradedSet
from drdeploy.grader.quantization.verdict import compare_quantized, images_needed


def graded(grades, labels=None):
    labels = grades if labels is None else labels
    n = len(grades)
    return GradedSet(
        files=tuple(f"{at}.jpg" for at in range(n)),
        groups=np.arange(n).astype(str),
        labels=np.asarray(labels),
        probabilities=np.eye(5)[np.asarray(grades)],
        reasons=("",) * n,
    )


def verdict_on(labels, changed, margin=0.02):
    after = np.array(labels)
    for at, grade in changed.items():
        after[at] = grade
    return compare_quantized(
        graded(labels), graded(after, labels), grade_thresholds=None, margin=margin
    )


def test_the_same_grades_of_enough_eyes_are_accepted():
    verdict = verdict_on(np.repeat([0, 3], 200), {})
    assert verdict.outcome == "accepted"
    assert verdict.images_needed is None
    assert "1.3%" in verdict.reason  # z² / (200 + z²)


def test_too_few_eyes_leave_it_open_and_say_how_many_it_takes():
    verdict = verdict_on(np.repeat([0, 3], 50), {})
    assert verdict.outcome == "undecided"
    assert verdict.images_needed == pytest.approx(2 * 133, abs=3)  # 133 diseased: z²(1-m)/m
    enough = verdict.images_needed // 2 + 1
    assert verdict_on(np.repeat([0, 3], enough), {}).outcome == "accepted"


def test_a_loss_beyond_the_margin_is_refused():
    verdict = verdict_on(np.repeat([0, 3], 100), dict.fromkeys(range(100, 106), 1))
    assert verdict.outcome == "refused"
    assert len(verdict.comparison.new_misses) == 6
    assert "lost 6 and gained 0 of 100" in verdict.reason


def test_a_small_loss_is_left_open_until_there_are_many():
    lost_one = verdict_on(np.repeat([0, 3], 100), {100: 1})
    assert lost_one.outcome == "undecided"
    assert lost_one.images_needed > 400
    assert verdict_on(np.repeat([0, 3], 5000), {6000: 1}).outcome == "accepted"


def test_a_loss_of_the_margin_itself_is_never_shown_to_be_less():
    assert images_needed(paired_rate(0, 2, 100), 200, 0.02) is None


def test_without_a_diseased_eye_nothing_is_accepted():
    assert verdict_on(np.zeros(500, int), {}).outcome == "undecided"


def test_a_photograph_that_one_of_them_could_not_grade_counts_for_neither():
    labels = np.repeat([0, 3], 200)
    first = graded(labels)
    second = GradedSet(
        first.files,
        first.groups,
        first.labels,
        np.where(np.arange(400)[:, None] == 0, np.nan, first.probabilities),
        ("too_dark", *first.reasons[1:]),
    )
    assert compare_quantized(first, second, grade_thresholds=None).comparison.n == 399
