"""A quantized grader is accepted on evidence, refused on evidence, or left open."""

import numpy as np
import pytest

from drdeploy.grader.evaluation.comparison import estimate_paired_rate
from drdeploy.grader.evaluation.predictions import GradedSet
from drdeploy.grader.quantization.verdict import (
    count_images_needed_for_decision,
    decide_non_inferiority,
)

NO_POINTS = {"reference_flags": {}, "quantized_flags": {}}


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
    return decide_non_inferiority(
        graded(labels), graded(after, labels), grade_thresholds=None, margin=margin, **NO_POINTS
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
    assert (
        "of 100 photographs at or above this grade, 6 are newly wrong and 0 newly right"
        in verdict.reason
    )


def test_a_small_loss_is_left_open_until_there_are_many():
    lost_one = verdict_on(np.repeat([0, 3], 100), {100: 1})
    assert lost_one.outcome == "undecided"
    assert lost_one.images_needed > 400
    assert verdict_on(np.repeat([0, 3], 5000), {6000: 1}).outcome == "accepted"


def test_a_loss_of_the_margin_itself_is_never_shown_to_be_less():
    assert count_images_needed_for_decision(estimate_paired_rate(0, 2, 100), 200, 0.02) is None


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
    flags = {("balanced", 2): labels >= 2}
    verdict = decide_non_inferiority(
        first, second, grade_thresholds=None, reference_flags=flags, quantized_flags=flags
    )
    assert verdict.comparison.n == 399
    assert verdict.outcome == "accepted"


RANDOM = np.random.default_rng(5)
LABELS = np.repeat(np.arange(5), (400, 60, 300, 150, 90))


def sound_probabilities(noise=1.0):
    """Probabilities of a grader that is often right and never certain."""
    logits = -((np.arange(5) - LABELS[:, None] + RANDOM.normal(0, noise, (1000, 1))) ** 2)
    shares = np.exp(logits)
    return shares / shares.sum(axis=1, keepdims=True)


SOUND = sound_probabilities()


def probable(probabilities, groups=None):
    return GradedSet(
        files=tuple(f"{at}.jpg" for at in range(1000)),
        groups=np.arange(1000).astype(str) if groups is None else groups,
        labels=LABELS,
        probabilities=probabilities,
        reasons=("",) * 1000,
    )


POINTS = {("high_sensitivity", 2): 0.2, ("balanced", 2): 0.5, ("high_sensitivity", 3): 0.15}


def flag(probabilities, points=POINTS):
    return {
        (name, grade): probabilities[:, grade:].sum(axis=1) >= threshold
        for (name, grade), threshold in points.items()
    }


def compare_sound_with(after, groups=None, **options):
    options = {"reference_flags": flag(SOUND), "quantized_flags": flag(after)} | options
    return decide_non_inferiority(
        probable(SOUND, groups), probable(after, groups), grade_thresholds=(0.5,) * 4, **options
    )


def test_rounding_that_changes_next_to_nothing_is_accepted():
    rounded = SOUND + RANDOM.uniform(-0.002, 0.002, SOUND.shape).clip(-SOUND)
    verdict = compare_sound_with(rounded / rounded.sum(axis=1, keepdims=True))
    assert verdict.outcome == "accepted", verdict.reason
    assert len(verdict.tests) == 16  # two for each of three operating points
    assert all(test.has_passed and test.lower_bound <= test.change for test in verdict.tests)


@pytest.mark.parametrize("grade", range(5))
def test_a_model_that_always_answers_the_same_grade_is_refused(grade):
    constant = np.full((1000, 5), 0.025)
    constant[:, grade] = 0.9
    assert compare_sound_with(constant).outcome == "refused"


def test_a_model_that_always_answers_grade_4_fails_on_specificity():
    """It finds every diseased eye, so sensitivity alone would accept it."""
    verdict = compare_sound_with(np.tile(np.eye(5)[4], (1000, 1)))
    assert verdict.outcome == "refused"
    failed = {test.measure for test in verdict.tests if test.has_failed}
    assert "specificity at grade >= 2" in failed
    assert "specificity at grade >= 3" in failed
    assert not any(measure.startswith("sensitivity") for measure in failed)
    assert "specificity at grade >= 2: of " in verdict.reason


def test_permuted_classes_are_refused():
    assert compare_sound_with(SOUND[:, ::-1]).outcome == "refused"
    assert compare_sound_with(SOUND[:, [1, 0, 2, 4, 3]]).outcome == "refused"


def test_answers_shuffled_among_the_photographs_are_refused():
    assert compare_sound_with(RANDOM.permutation(SOUND)).outcome == "refused"


@pytest.mark.parametrize("threshold", [0.3, 0.7])
def test_moved_thresholds_are_refused(threshold):
    verdict = compare_sound_with(SOUND, quantized_thresholds=(threshold,) * 4)
    assert verdict.outcome == "refused"
    rate = "specificity" if threshold < 0.5 else "sensitivity"
    assert f"{rate} at grade >= 2" in verdict.reason


@pytest.mark.parametrize("temperature", [0.4, 6.0])
def test_wrong_probabilities_behind_right_grades_are_refused(temperature):
    """Sharper or flatter probabilities keep the order, and most grades."""
    scaled = SOUND ** (1 / temperature)
    verdict = compare_sound_with(scaled / scaled.sum(axis=1, keepdims=True))
    assert verdict.outcome == "refused"
    assert "Brier score" in verdict.reason or "calibration" in verdict.reason


def test_a_shift_that_flags_a_few_healthy_eyes_more_is_not_accepted():
    """The kind of change that int8 makes: all logits of the diseased grades rise by 0.22."""
    shifted = SOUND * np.exp([0, 0, 0.22, 0.22, 0.22])
    verdict = compare_sound_with(shifted / shifted.sum(axis=1, keepdims=True))
    assert verdict.outcome != "accepted"


def test_eyes_of_one_patient_are_not_counted_as_many():
    """Ten photographs of each patient change together."""
    after = SOUND.copy()
    after[:400:80] = np.eye(5)[3]  # five healthy eyes are flagged
    alone = compare_sound_with(after)
    together = SOUND.copy()
    together[:5] = np.eye(5)[3]
    patients = np.repeat(np.arange(100), 10).astype(str)
    clustered = compare_sound_with(together, patients)
    named = {test.measure: test for test in clustered.tests}
    for test in alone.tests:
        if "specificity" in test.measure:
            assert named[test.measure].change == pytest.approx(test.change, abs=0.005)
            assert named[test.measure].lower_bound < test.lower_bound


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize(("factor", "rate"), [(0.5, "specificity"), (1.6, "sensitivity")])
def test_a_moved_operating_point_is_refused(point, factor, rate):
    """No probability and no grade changes, only decisions at one operating point."""
    moved = POINTS | {point: factor * POINTS[point]}
    verdict = compare_sound_with(SOUND, quantized_flags=flag(SOUND, moved))
    name, grade = point
    at_point = f"at the {name.replace('_', '-')} point, grade >= {grade}"
    assert verdict.outcome == "refused"
    assert [test.measure for test in verdict.tests if test.has_failed] == [f"{rate} {at_point}"]
    assert not verdict.comparison.changes


def test_a_gain_in_sensitivity_does_not_make_up_for_a_loss_in_specificity():
    moved = POINTS | {("balanced", 2): 0.3}
    verdict = compare_sound_with(SOUND, quantized_flags=flag(SOUND, moved))
    named = {test.measure: test for test in verdict.tests}
    gain = named["sensitivity at the balanced point, grade >= 2"].change
    loss = named["specificity at the balanced point, grade >= 2"].change
    assert gain > 0 > -0.02 > loss
    assert verdict.outcome == "refused"
    assert f"while the sensitivity changes by {100 * gain:+.1f} percentage points" in verdict.reason


def test_the_bound_of_a_decision_is_the_paired_one():
    lost = flag(SOUND)
    healthy = np.flatnonzero((LABELS < 2) & ~lost["balanced", 2])[:3]
    changed = lost["balanced", 2].copy()
    changed[healthy] = True
    verdict = compare_sound_with(SOUND, quantized_flags=lost | {("balanced", 2): changed})
    [test] = (one for one in verdict.tests if one.measure.startswith("specificity at the balanced"))
    expected = estimate_paired_rate(0, 3, 460)
    assert (test.change, test.lower_bound) == (-3 / 460, expected.lower_bound)
    assert "of 460 photographs below this grade, 3 are newly wrong and 0 newly right" in test.detail


def test_decisions_on_the_eyes_of_one_patient_are_not_counted_as_many():
    """All ten photographs of each patient are decided alike, by both graders."""
    groups = np.repeat(np.arange(100), 10).astype(str)
    changed = {point: flags.copy() for point, flags in flag(SOUND).items()}
    changed["balanced", 2][:10] = True
    alone, together = (
        compare_sound_with(SOUND, names, quantized_flags=changed) for names in (None, groups)
    )
    [one, ten] = (
        test.lower_bound
        for verdict in (alone, together)
        for test in verdict.tests
        if test.measure == "specificity at the balanced point, grade >= 2"
    )
    assert ten < one


def test_a_lost_operating_point_is_named_and_never_accepted():
    flags = {point: flagged for point, flagged in flag(SOUND).items() if point[1] == 2}
    verdict = compare_sound_with(SOUND, quantized_flags=flags)
    assert verdict.outcome == "undecided"
    assert "the quantized grader has no such operating point" in verdict.reason
    assert "specificity at the high-sensitivity point, grade >= 3" in verdict.reason
