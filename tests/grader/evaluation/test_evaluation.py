"""Every figure of a grader's quality is the one that the field computes, with its interval."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drdeploy.errors import InvalidInput
from drdeploy.grader.artifacts import OperatingPoint, Rate
from drdeploy.grader.evaluation.evaluation import estimate_predictive_values, evaluate_probabilities
from drdeploy.grader.evaluation.metrics import (
    compute_quadratic_weighted_kappa,
    compute_reliability_bins,
    count_confusion_matrix,
    estimate_calibration_error,
    estimate_kappa,
)
from drdeploy.grader.grading import Grade
from drdeploy.statistics.proportions import (
    estimate_auroc,
    estimate_proportion,
    newcombe_limits_of_auroc,
)


def grader(n=300, seed=0, noise=0.8):
    """Labels, and probabilities that know something of them."""
    random = np.random.default_rng(seed)
    labels = random.choice(5, size=n, p=[0.35, 0.1, 0.3, 0.15, 0.1])
    logits = -((np.arange(5) - (labels + random.normal(0, noise, n))[:, None]) ** 2)
    powers = np.exp(logits)
    return labels, powers / powers.sum(axis=1, keepdims=True)


def test_kappa_and_accuracy_are_scikit_learn_s():
    from sklearn.metrics import accuracy_score, cohen_kappa_score

    labels, probabilities = grader()
    result = evaluate_probabilities(labels, probabilities)
    answers = probabilities.argmax(axis=1)
    assert result.kappa.value == pytest.approx(
        cohen_kappa_score(labels, answers, weights="quadratic")
    )
    assert result.accuracy.value == pytest.approx(accuracy_score(labels, answers))
    assert result.kappa.low < result.kappa.value < result.kappa.high


def test_auroc_is_scikit_learn_s_also_with_ties():
    from sklearn.metrics import roc_auc_score

    labels, probabilities = grader()
    scores = np.round(probabilities[:, 2:].sum(axis=1), 1)
    assert estimate_auroc(labels >= 2, scores).value == pytest.approx(
        roc_auc_score(labels >= 2, scores)
    )


def test_delong_s_interval_covers_the_truth():
    random = np.random.default_rng(1)
    truth = 0.7602  # P(N(1, 1) > N(0, 1)) = Phi(1 / sqrt 2)
    covered = 0
    for _ in range(400):
        scores = np.concatenate([random.normal(1, 1, 40), random.normal(0, 1, 60)])
        covered += not estimate_auroc(np.arange(100) < 40, scores).interval_excludes(truth)
    assert 0.92 <= covered / 400 <= 0.98


def test_delong_s_interval_is_about_the_bootstrap_s():
    labels, probabilities = grader(150)
    is_ill, scores = labels >= 2, probabilities[:, 2:].sum(axis=1)
    random = np.random.default_rng(3)
    drawn = [random.integers(0, 150, 150) for _ in range(800)]
    areas = [estimate_auroc(is_ill[chosen], scores[chosen]).value for chosen in drawn]
    found = estimate_auroc(is_ill, scores)
    assert (found.low, found.high) == pytest.approx(np.quantile(areas, [0.025, 0.975]), abs=0.012)


def test_copies_of_a_photograph_do_not_narrow_the_interval_of_the_area():
    labels, probabilities = grader(100)
    is_ill, scores = labels >= 2, probabilities[:, 2:].sum(axis=1)
    alone = estimate_auroc(is_ill, scores)
    together = estimate_auroc(is_ill.repeat(3), scores.repeat(3), np.arange(100).repeat(3))
    apart = estimate_auroc(is_ill.repeat(3), scores.repeat(3))
    assert (together.low, together.high) == pytest.approx((alone.low, alone.high), abs=1e-9)
    assert apart.high - apart.low < 0.7 * (alone.high - alone.low)


def test_sessions_with_both_eyes_get_the_interval_that_a_bootstrap_over_sessions_gives():
    random = np.random.default_rng(5)
    session = np.arange(80).repeat(2)
    common = random.normal(0, 1, 80).repeat(2)
    is_ill = random.random(160) < 0.5
    scores = is_ill + common + random.normal(0, 0.5, 160)
    eyes = np.arange(160).reshape(80, 2)
    drawn = [eyes[random.integers(0, 80, 80)].ravel() for _ in range(800)]
    areas = [estimate_auroc(is_ill[chosen], scores[chosen]).value for chosen in drawn]
    found = estimate_auroc(is_ill, scores, session)
    assert (found.low, found.high) == pytest.approx(np.quantile(areas, [0.025, 0.975]), abs=0.02)


@pytest.mark.parametrize(("ill", "well"), [(1, 1), (1, 30), (5, 9), (60, 200)])
def test_two_sides_that_do_not_overlap_are_no_proof_of_a_perfect_area(ill, well):
    is_ill = np.arange(ill + well) < ill
    found = estimate_auroc(is_ill, is_ill * 1.0)
    assert found.value == found.high == 1
    assert 0 < found.low < 1
    assert found.low == pytest.approx(1 - newcombe_limits_of_auroc(0.0, well, ill)[1])


def test_newcombe_s_interval_covers_the_truth_of_a_very_good_grader():
    random = np.random.default_rng(2)
    truth = 0.98558  # Phi(3.09 / sqrt 2)
    covered = 0
    for _ in range(400):
        scores = np.concatenate([random.normal(3.09, 1, 12), random.normal(0, 1, 15)])
        covered += not estimate_auroc(np.arange(27) < 12, scores).interval_excludes(truth)
    assert covered / 400 >= 0.92


def test_wilson_s_interval_is_the_published_one():
    # Newcombe, Stat. Med. 1998, 17:857-872, table I.
    for successes, n, low, high in [(81, 263, 0.2553, 0.3662), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)]:  # fmt: skip # noqa: E501
        found = estimate_proportion(successes, n)
        assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)


def test_sensitivity_and_specificity_are_counted_at_both_grades():
    labels, probabilities = grader()
    grades = probabilities.argmax(axis=1)
    result = evaluate_probabilities(labels, probabilities)
    for found, grade in [(result.referable, 2), (result.vision_threatening, 3)]:
        assert found.sensitivity.value == pytest.approx((grades >= grade)[labels >= grade].mean())
        assert found.specificity.value == pytest.approx((grades < grade)[labels < grade].mean())
        assert found.positives == found.sensitivity.n == (labels >= grade).sum()


def test_operating_points_are_evaluated_at_their_own_threshold():
    labels, probabilities = grader()
    when_chosen = Rate(0.95, 0.9, 0.99, 100)
    point = OperatingPoint(
        name="high_sensitivity",
        at_or_above=2,
        threshold=0.1,
        sensitivity=when_chosen,
        specificity=when_chosen,
    )
    result = evaluate_probabilities(labels, probabilities, operating_points=[point], prevalence=0.3)
    (found,) = result.referable.operating_points
    assert result.vision_threatening.operating_points == ()
    flagged = probabilities[:, 2:].sum(axis=1) >= 0.1
    assert found.sensitivity.value == pytest.approx(flagged[labels >= 2].mean())
    assert (found.ppv, found.npv) == estimate_predictive_values(
        found.sensitivity, found.specificity, 0.3
    )


def test_ungradable_photographs_count_in_their_share_alone():
    labels, probabilities = grader()
    is_gradable = np.arange(labels.size) >= 30
    probabilities[:30] = np.nan
    result = evaluate_probabilities(labels, probabilities, is_gradable=is_gradable)
    assert result.n == labels.size - 30
    assert result.ungradable.value == pytest.approx(0.1)
    assert np.isfinite(result.kappa.value)


def test_severe_eyes_that_were_graded_healthy_are_listed():
    probabilities = np.eye(5)[[0, 0, 4, 3]]
    assert evaluate_probabilities([4, 0, 4, 0], probabilities).missed == (0,)


def test_an_eye_that_cannot_be_graded_counts_as_referred_where_that_is_asked():
    probabilities = np.eye(5)[[4, 0, 0, 0, 0]]
    found = evaluate_probabilities(
        [4, 4, 0, 0, 3], probabilities, is_gradable=[1, 0, 1, 0, 1]
    ).referable
    assert (found.sensitivity.value, found.sensitivity.n) == (0.5, 2)
    assert (found.sensitivity_referring.value, found.sensitivity_referring.n) == (
        pytest.approx(2 / 3),
        3,
    )
    assert (found.specificity.value, found.specificity_referring.value) == (1, 0.5)


def test_predictive_values_follow_bayes():
    ppv, npv = estimate_predictive_values(
        estimate_proportion(90, 100), estimate_proportion(80, 100), 0.2
    )
    assert ppv.value == pytest.approx(0.18 / (0.18 + 0.16))
    assert npv.value == pytest.approx(0.64 / (0.64 + 0.02))
    assert ppv.low < ppv.value < ppv.high


def test_a_predictive_value_of_what_nobody_gets_is_no_number():
    ppv, npv = estimate_predictive_values(estimate_proportion(9, 9), estimate_proportion(0, 9), 0.2)
    assert ppv.value == pytest.approx(0.2)
    assert (npv.value, npv.low, npv.reason) == (None, None, "every eye is flagged")


def test_a_grader_that_is_right_has_no_calibration_error():
    labels = np.arange(5).repeat(4)
    result = evaluate_probabilities(labels, np.eye(5)[labels])
    assert (result.kappa.value, result.accuracy.value, result.ece.value) == (1, 1, 0)


def test_all_right_is_no_proof_of_never_wrong():
    labels = np.arange(5).repeat(4)
    found = evaluate_probabilities(labels, np.eye(5)[labels])
    assert found.accuracy.low == pytest.approx(estimate_proportion(20, 20).low)
    assert found.kappa.low is None
    assert "all bootstrap resamples" in found.kappa.reason
    by_pair = evaluate_probabilities(labels, np.eye(5)[labels], groups=np.arange(20) // 2).accuracy
    assert (by_pair.low, by_pair.n) == (pytest.approx(estimate_proportion(10, 10).low), 20)


def test_the_calibration_error_s_interval_knows_that_small_samples_look_worse():
    """The plain percentile interval covers next to never here."""
    random = np.random.default_rng(4)

    def drawn(n):
        logits = random.normal(0, 1.2, (n, 5))
        said, true = (
            np.exp(scaled) / np.exp(scaled).sum(axis=1, keepdims=True)
            for scaled in (logits, logits * 0.8)
        )
        return (true.cumsum(axis=1) > random.random((n, 1))).argmax(axis=1), said

    labels, said = drawn(400_000)
    truth = sum(  # of a large sample, without its interval
        abs(one.share.value - one.probability) * one.share.n / labels.size
        for one in compute_reliability_bins(said.max(axis=1), said.argmax(axis=1) == labels)
    )
    found = [estimate_calibration_error(*drawn(200)) for _ in range(60)]
    assert all(one.low <= one.value <= one.high for one in found)
    assert np.mean([one.low <= truth <= one.high for one in found]) >= 0.85


def test_the_brier_score_is_scikit_learn_s():
    from sklearn.metrics import brier_score_loss

    labels, probabilities = grader()
    found = evaluate_probabilities(labels, probabilities).brier
    expected = sum(brier_score_loss(labels == grade, probabilities[:, grade]) for grade in Grade)
    assert found.value == pytest.approx(expected)
    assert found.low < found.value < found.high


def test_kappa_s_interval_covers_the_truth():
    def graded(n, seed):
        labels, probabilities = grader(n, seed)
        return labels, probabilities.argmax(axis=1)

    truth = estimate_kappa(*graded(200_000, 0)).value
    found = [estimate_kappa(*graded(150, seed)) for seed in range(1, 121)]
    assert 0.87 <= np.mean([not one.interval_excludes(truth) for one in found]) <= 1


def test_sessions_that_agree_within_themselves_widen_the_interval():
    labels, probabilities = grader(100)
    alone = evaluate_probabilities(labels, probabilities).kappa
    copies = evaluate_probabilities(labels.repeat(4), probabilities.repeat(4, axis=0))
    together = evaluate_probabilities(
        labels.repeat(4), probabilities.repeat(4, axis=0), groups=np.arange(100).repeat(4)
    )
    width = together.kappa.high - together.kappa.low
    assert width == pytest.approx(alone.high - alone.low, rel=0.1)
    assert width > 1.5 * (copies.kappa.high - copies.kappa.low)


def test_the_same_seed_gives_the_same_interval():
    labels, probabilities = grader()
    assert (
        evaluate_probabilities(labels, probabilities).kappa
        == evaluate_probabilities(labels, probabilities).kappa
    )


@pytest.mark.parametrize(
    ("labels", "kappa", "auroc"),
    [
        ([], "there is no photograph", "no diseased photograph"),
        ([0, 0, 0], "undefined for these photographs", "no diseased photograph"),
        (
            [4, 4],
            "no interval: all bootstrap resamples give the same value",
            "no healthy photograph",
        ),
    ],
    ids=["none", "healthy", "diseased"],
)
def test_a_figure_that_photographs_do_not_support_says_why(labels, kappa, auroc):
    # Every photograph is answered "no DR".
    result = evaluate_probabilities(labels, np.full((len(labels), 5), 0.2))
    assert result.kappa.reason == kappa
    assert result.kappa.value == (0 if labels == [4, 4] else None)
    assert (result.referable.auroc.value, result.referable.auroc.reason) == (None, auroc)
    assert result.referable.ppv.value is None
    assert not result.kappa.has_interval


@pytest.mark.parametrize(
    ("labels", "shape"), [([0, 1], (3, 5)), ([0, 1], (2, 4)), ([0, 5], (2, 5)), ([-1], (1, 5))]
)
def test_labels_and_probabilities_that_do_not_fit_are_refused(labels, shape):
    with pytest.raises(InvalidInput):
        evaluate_probabilities(labels, np.full(shape, 0.2))


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=40))
@settings(max_examples=50, deadline=None)
def test_kappa_is_symmetric_at_most_one_and_undefined_for_a_single_grade(pairs):
    labels, answers = np.array(pairs).T
    one = compute_quadratic_weighted_kappa(count_confusion_matrix(labels, answers))
    other = compute_quadratic_weighted_kappa(count_confusion_matrix(answers, labels))
    assert one == pytest.approx(other, nan_ok=True)
    assert np.isnan(one) == (len({*labels, *answers}) == 1)
    assert not one > 1
