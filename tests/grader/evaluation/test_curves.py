"""The curves of an evaluation's pictures."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drdeploy.grader.evaluation.metrics import (
    compute_reliability_bins,
    compute_risk_over_coverage,
    compute_roc_curve,
)
from drdeploy.statistics.proportions import estimate_auroc

graded = st.lists(st.tuples(st.integers(0, 10), st.booleans()), min_size=1, max_size=40)


def arrays(pairs):
    scores, flags = zip(*pairs, strict=True)
    return np.array(scores) / 10, np.array(flags)


def test_the_roc_curve_is_scikit_learn_s():
    from sklearn import metrics

    random = np.random.default_rng(0)
    is_ill, scores = random.random(200) < 0.4, random.integers(0, 20, 200) / 20
    healthy, diseased, _ = metrics.roc_curve(is_ill, scores, drop_intermediate=False)
    found = compute_roc_curve(is_ill, scores)
    assert found.of_healthy == pytest.approx(healthy)
    assert found.of_diseased == pytest.approx(diseased)


@given(graded)
@settings(deadline=None)
def test_the_area_under_the_roc_curve_is_the_area_reported(pairs):
    scores, is_ill = arrays(pairs)
    found = compute_roc_curve(is_ill, scores)
    if found is None:
        assert estimate_auroc(is_ill, scores).value is None
    else:
        area = np.trapezoid(found.of_diseased, found.of_healthy)
        assert area == pytest.approx(estimate_auroc(is_ill, scores).value)


@given(graded)
@settings(deadline=None)
def test_every_photograph_is_in_one_bin(pairs):
    probabilities, came_true = arrays(pairs)
    bins = compute_reliability_bins(probabilities, came_true)
    assert sum(one.share.n for one in bins) == len(pairs)
    assert sum(one.share.n * one.probability for one in bins) == pytest.approx(probabilities.sum())
    assert sum(one.share.n * one.share.value for one in bins) == pytest.approx(came_true.sum())


@given(graded)
@settings(deadline=None)
def test_risk_ends_at_the_share_of_all_that_is_wrong(pairs):
    confidence, is_wrong = arrays(pairs)
    found = compute_risk_over_coverage(confidence, is_wrong)
    assert found.coverage[-1] == 1
    assert found.risk[-1] == pytest.approx(is_wrong.mean())
    assert len(found.coverage) == len(np.unique(confidence))


def test_keeping_the_most_confident_answers_lowers_the_risk_where_confidence_means_something():
    found = compute_risk_over_coverage(
        np.array([0.5, 0.9, 0.6, 0.8]), np.array([True, False, True, False])
    )
    assert found.risk.tolist() == [0, 0, pytest.approx(1 / 3), 0.5]


def test_without_a_photograph_there_is_no_curve():
    nothing, none = np.zeros(0), np.zeros(0, dtype=bool)
    assert compute_roc_curve(none, nothing) is None
    assert compute_reliability_bins(nothing, none) == ()
    assert compute_risk_over_coverage(nothing, none).coverage.size == 0
