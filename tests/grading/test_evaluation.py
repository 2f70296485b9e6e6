"""Every figure of a grader's quality is the one that the field computes, with its interval."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drdeploy.errors import InvalidInput
from drdeploy.grading import Grade
from drdeploy.grading.evaluation import DecisionRule, evaluate, predictive_values
from drdeploy.grading.intervals import auroc, wilson
from drdeploy.grading.metrics import confusion_matrix, quadratic_weighted_kappa


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
    result = evaluate(labels, probabilities)
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
    assert auroc(labels >= 2, scores).value == pytest.approx(roc_auc_score(labels >= 2, scores))


def test_delong_s_interval_covers_the_truth():
    random = np.random.default_rng(1)
    truth = 0.7602  # P(N(1, 1) > N(0, 1)) = Phi(1 / sqrt 2)
    covered = 0
    for _ in range(400):
        scores = np.concatenate([random.normal(1, 1, 40), random.normal(0, 1, 60)])
        covered += not auroc(np.arange(100) < 40, scores).excludes(truth)
    assert 0.92 <= covered / 400 <= 0.98


def test_wilson_s_interval_is_the_published_one():
    # Newcombe, Stat. Med. 1998, 17:857-872, table I.
    for successes, n, low, high in [(81, 263, 0.2553, 0.3662), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)]:  # fmt: skip # noqa: E501
        found = wilson(successes, n)
        assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)


def test_sensitivity_and_specificity_are_counted_at_both_grades():
    labels, probabilities = grader()
    grades = probabilities.argmax(axis=1)
    result = evaluate(labels, probabilities)
    for found, grade in [(result.referable, 2), (result.vision_threatening, 3)]:
        assert found.sensitivity.value == pytest.approx((grades >= grade)[labels >= grade].mean())
        assert found.specificity.value == pytest.approx((grades < grade)[labels < grade].mean())
        assert found.positives == found.sensitivity.n == (labels >= grade).sum()


def test_operating_points_are_judged_at_their_own_threshold():
    labels, probabilities = grader()
    rules = [DecisionRule("high_sensitivity", Grade.MODERATE, 0.1)]
    (found,) = evaluate(labels, probabilities, rules=rules).referable.decisions
    flagged = probabilities[:, 2:].sum(axis=1) >= 0.1
    assert found.sensitivity.value == pytest.approx(flagged[labels >= 2].mean())


def test_ungradable_photographs_count_in_their_share_alone():
    labels, probabilities = grader()
    is_gradable = np.arange(labels.size) >= 30
    probabilities[:30] = np.nan
    result = evaluate(labels, probabilities, is_gradable=is_gradable)
    assert result.n == labels.size - 30
    assert result.ungradable.value == pytest.approx(0.1)
    assert np.isfinite(result.kappa.value)


def test_severe_eyes_that_were_graded_healthy_are_listed():
    probabilities = np.eye(5)[[0, 0, 4, 3]]
    assert evaluate([4, 0, 4, 0], probabilities).missed == (0,)


def test_predictive_values_follow_bayes():
    ppv, npv = predictive_values(wilson(90, 100), wilson(80, 100), 0.2)
    assert ppv.value == pytest.approx(0.18 / (0.18 + 0.16))
    assert npv.value == pytest.approx(0.64 / (0.64 + 0.02))
    assert ppv.low < ppv.value < ppv.high


def test_a_grader_that_is_right_has_no_calibration_error():
    labels = np.arange(5).repeat(4)
    result = evaluate(labels, np.eye(5)[labels])
    assert (result.kappa.value, result.accuracy.value, result.ece.value) == (1, 1, 0)


def test_sessions_that_agree_within_themselves_widen_the_interval():
    labels, probabilities = grader(100)
    alone = evaluate(labels, probabilities).kappa
    copies = evaluate(labels.repeat(4), probabilities.repeat(4, axis=0))
    together = evaluate(
        labels.repeat(4), probabilities.repeat(4, axis=0), groups=np.arange(100).repeat(4)
    )
    width = together.kappa.high - together.kappa.low
    assert width == pytest.approx(alone.high - alone.low, rel=0.1)
    assert width > 1.5 * (copies.kappa.high - copies.kappa.low)


def test_the_same_seed_gives_the_same_interval():
    labels, probabilities = grader()
    assert evaluate(labels, probabilities).kappa == evaluate(labels, probabilities).kappa


@pytest.mark.parametrize("labels", [[], [0], [0, 0, 0], [4, 4]], ids=len)
def test_what_cannot_be_told_says_why(labels):
    result = evaluate(labels, np.full((len(labels), 5), 0.2))
    for estimate in (result.kappa, result.referable.auroc, result.referable.ppv):
        assert estimate.value is None or np.isfinite(estimate.value)
        assert estimate.has_interval or estimate.reason


@pytest.mark.parametrize(
    ("labels", "shape"), [([0, 1], (3, 5)), ([0, 1], (2, 4)), ([0, 5], (2, 5)), ([-1], (1, 5))]
)
def test_labels_and_probabilities_that_do_not_fit_are_refused(labels, shape):
    with pytest.raises(InvalidInput):
        evaluate(labels, np.full(shape, 0.2))


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=40))
@settings(max_examples=50, deadline=None)
def test_kappa_is_symmetric_and_at_most_one(pairs):
    labels, answers = np.array(pairs).T
    one = quadratic_weighted_kappa(confusion_matrix(labels, answers))
    other = quadratic_weighted_kappa(confusion_matrix(answers, labels))
    assert np.isnan(one) or (one <= 1 and one == pytest.approx(other))
