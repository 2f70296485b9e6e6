"""Differences and pairs: what two configurations differ by, with intervals that cover it."""

import numpy as np
import pytest

from drdeploy.errors import AnalysisError
from drdeploy.statistics.differences import (
    difference_of_means,
    paired_difference,
    paired_ratio,
    paired_ratio_of_medians,
)
from drdeploy.statistics.means import ratio_of_means

REPETITIONS = 300


def pairs(rng, n: int):
    """Two configurations on the same photographs: the photograph decides most of the time."""
    photograph = rng.lognormal(0, 0.5, n)
    return photograph * rng.lognormal(0, 0.05, n), 1.1 * photograph * rng.lognormal(0, 0.05, n)


def apart(rng, n: int):
    """Two configurations measured one after the other."""
    return rng.lognormal(0, 0.3, n), 1.1 * rng.lognormal(0, 0.3, n)


@pytest.mark.parametrize("n", [5, 10, 25])
@pytest.mark.parametrize(
    ("estimate", "samples", "truth"),
    [
        (paired_ratio, pairs, 1 / 1.1),
        (paired_difference, pairs, -0.1 * np.exp(0.125 + 0.00125)),
        (difference_of_means, apart, -0.1 * np.exp(0.045)),
    ],
)
def test_the_interval_covers_the_truth(estimate, samples, truth, n):
    rng = np.random.default_rng(5)
    hits = [not estimate(*samples(rng, n)).excludes(truth) for _ in range(REPETITIONS)]
    assert 0.88 <= np.mean(hits) <= 0.995


def test_pairs_show_a_difference_that_independent_samples_hide():
    one, other = pairs(np.random.default_rng(3), 25)
    assert paired_ratio(one, other).excludes(1.0)
    assert not ratio_of_means(one, other).excludes(1.0)


def test_a_ratio_of_medians_of_pairs_is_that_of_the_medians():
    one, other = pairs(np.random.default_rng(3), 25)
    ratio = paired_ratio_of_medians(one, other)
    assert ratio.value == pytest.approx(np.median(one) / np.median(other))
    assert ratio.low < ratio.value < ratio.high
    assert not paired_ratio_of_medians([1.0, 2.0], [1.0, 2.0]).has_interval


def test_samples_of_different_length_are_no_pairs():
    with pytest.raises(AnalysisError, match="not paired: 3 on one side, 2"):
        paired_ratio([1.0, 2.0, 3.0], [1.0, 2.0])


def test_a_pair_that_lacks_one_side_is_left_out():
    assert paired_difference([1.0, np.nan, 3.0, 4.0], [1.0, 2.0, 2.0, 5.0]).n == 3


@pytest.mark.parametrize("estimate", [difference_of_means, paired_difference, paired_ratio])
def test_too_few_rows_have_no_interval_and_no_row_has_no_value(estimate):
    short = estimate([1.0, 2.0], [1.0, 3.0])
    assert (short.low, short.reason) == (None, "no interval: 2 rows, 3 needed")
    assert estimate([], []).value is None


def test_a_difference_that_is_always_the_same_has_no_interval():
    assert paired_difference([2.0, 3.0, 4.0], [1.0, 2.0, 3.0]).value == 1.0
    assert not paired_difference([2.0, 3.0, 4.0], [1.0, 2.0, 3.0]).has_interval
    assert not paired_ratio([2.0, 4.0, 6.0], [1.0, 2.0, 3.0]).has_interval
