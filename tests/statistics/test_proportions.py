"""Shares and areas under ROC curves are as uncertain as their patients make them."""

import numpy as np
import pytest

from drdeploy.statistics.proportions import (
    estimate_auroc,
    estimate_auroc_change,
    estimate_grouped_mean,
    estimate_grouped_proportion,
    estimate_proportion,
)


def test_the_change_of_an_auroc_has_the_spread_of_resampled_patients():
    random = np.random.default_rng(3)
    patients = np.repeat(np.arange(150), 2)
    is_positive = random.random(300) < 0.4
    shared = is_positive + random.normal(0, 1, 150)[patients]
    first, second = (shared + random.normal(0, 0.5, 300) for _ in range(2))
    found = estimate_auroc_change(is_positive, first, second, patients)
    areas = [estimate_auroc(is_positive, scores).value for scores in (first, second)]
    assert found.value == pytest.approx(areas[1] - areas[0])
    changes = []
    for _ in range(400):
        drawn = np.concatenate(
            [np.flatnonzero(patients == one) for one in random.integers(0, 150, 150)]
        )
        resampled = (estimate_auroc(is_positive[drawn], one[drawn]) for one in (first, second))
        before, after = (one.value for one in resampled)
        changes.append(after - before)
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(np.std(changes), rel=0.15)


def test_a_change_of_an_auroc_without_two_sides_or_without_spread_says_so():
    scores = np.arange(10.0)
    alone = estimate_auroc_change(np.ones(10, bool), scores, scores)
    assert alone.reason == "no healthy photograph"
    same = estimate_auroc_change(scores > 4, scores, 2 * scores)
    assert (same.value, same.low) == (0.0, None)
    assert "no photograph changed its rank" in same.reason


def test_a_mean_over_one_patient_has_no_interval_and_says_why():
    found = estimate_grouped_mean(np.array([0.1, 0.2, 0.6]), ["patient"] * 3)
    assert (found.value, found.low) == (pytest.approx(0.3), None)
    assert found.reason == "no interval: 1 group, 2 needed"


@pytest.mark.parametrize("is_success", [True, False])
def test_if_nothing_varies_each_patient_counts_as_one_photograph(is_success):
    results, patients = np.full(40, is_success), np.repeat(np.arange(10), 4)
    found = estimate_grouped_proportion(results, patients)
    alone = estimate_proportion(10 * is_success, 10)
    assert (found.value, found.low, found.high) == (alone.value, alone.low, alone.high)
    assert found.n == 40


def test_the_photographs_of_one_patient_are_no_sample_of_patients():
    found = estimate_grouped_proportion(np.array([True, True, False, True]), np.zeros(4))
    assert found.low < 0.2
    assert found.high > 0.9
