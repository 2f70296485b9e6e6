"""Intervals cover the truth about as often as they say, and are absent where none exists."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drdeploy.statistics import means as statistics
from drdeploy.statistics.means import Estimate

REPETITIONS = 300
SIGMA = 0.3

latencies = st.lists(st.floats(0.001, 60), min_size=1, max_size=40)


def plain(rng, n: int) -> np.ndarray:
    return rng.lognormal(0, SIGMA, n)


def with_tail(rng, n: int) -> np.ndarray:
    """One row in twenty takes two and a half times as long."""
    return rng.lognormal(0, 0.25, n) * np.where(rng.random(n) < 0.05, 2.5, 1)


MEAN = {plain: np.exp(SIGMA**2 / 2), with_tail: np.exp(0.25**2 / 2) * 1.075}
MEDIAN = {plain: 1.0, with_tail: 1.01663}  # 0.95 F(x) + 0.05 F(x / 2.5) = 0.5
P95 = {plain: np.exp(1.6448536 * SIGMA), with_tail: 1.86478}
both = pytest.mark.parametrize("latencies", [plain, with_tail])


def coverage(estimate_of, latencies, truth: float, n: int, samples: int = 1) -> float:
    rng = np.random.default_rng(11)
    hits = 0
    for _ in range(REPETITIONS):
        estimate = estimate_of(*(latencies(rng, n) for _ in range(samples)))
        hits += estimate.has_interval and not estimate.excludes(truth)
    return hits / REPETITIONS


@both
@pytest.mark.parametrize("n", [10, 25, 100])
def test_the_interval_of_a_mean_covers_it(latencies, n):
    assert 0.92 <= coverage(statistics.mean, latencies, MEAN[latencies], n) <= 0.993


@both
@pytest.mark.parametrize("n", [10, 25, 100])
def test_the_interval_of_a_median_covers_it(latencies, n):
    assert 0.91 <= coverage(statistics.median, latencies, MEDIAN[latencies], n) <= 0.99


@both
@pytest.mark.parametrize("n", [10, 25, 100])
@pytest.mark.parametrize("ratio", [statistics.ratio_of_means, statistics.ratio_of_medians])
def test_the_interval_of_a_ratio_covers_it(ratio, latencies, n):
    assert 0.92 <= coverage(ratio, latencies, 1.0, n, samples=2) <= 0.997


@both
def test_the_interval_of_a_p95_covers_it_at_100_rows(latencies):
    covered = coverage(lambda x: statistics.percentile(x, 0.95), latencies, P95[latencies], 100)
    assert 0.92 <= covered <= 0.99


def test_five_rows_of_log_normal_latencies_cover_a_mean_as_well():
    assert coverage(statistics.mean, plain, MEAN[plain], 5) >= 0.91


def test_a_p95_from_ten_rows_has_no_interval_and_says_how_many_rows_it_takes():
    estimate = statistics.percentile(np.arange(1.0, 11.0), 0.95)
    assert (estimate.low, estimate.high) == (None, None)
    assert estimate.reason == "no interval: 10 rows, 59 needed"


@pytest.mark.parametrize(("share", "rows"), [(0.5, 6), (0.9, 29), (0.95, 59), (0.99, 299)])
def test_the_rows_a_percentile_needs_are_those_of_its_extremes(share, rows):
    assert statistics.rows_needed(share) == rows
    assert not statistics.percentile(np.arange(rows - 1.0), share).has_interval
    assert statistics.percentile(np.arange(float(rows)), share).has_interval


def test_two_rows_have_a_mean_without_an_interval():
    estimate = statistics.mean([1.0, 2.0])
    assert estimate.value == 1.5
    assert estimate.reason == "no interval: 2 rows, 3 needed"


def test_no_row_gives_no_value():
    assert statistics.mean([]).value is None
    assert statistics.percentile([], 0.95).value is None
    assert statistics.ratio_of_means([], [1.0, 2.0]).value is None


def test_rows_that_are_all_equal_give_no_interval():
    assert statistics.mean([2.0] * 12).reason == "no interval: all rows are equal"


def test_the_same_rows_give_the_same_interval():
    sample = np.random.default_rng(1).lognormal(0, 0.3, 12)
    assert statistics.mean(sample) == statistics.mean(sample)


def test_a_ratio_knows_the_size_of_both_samples():
    ratio = statistics.ratio_of_means([2.0, 2.2, 2.1, 1.9], [1.0, 1.1, 0.9])
    assert (ratio.n, ratio.n_other) == (4, 3)


def test_a_share_pairs_its_rows_and_skips_those_that_lack_one_side():
    part = [0.5, 0.6, np.nan, 0.55, 0.52]
    whole = [1.0, 1.2, 9.0, 1.1, 1.0]
    share = statistics.share_of(part, whole)
    assert share.n == 4
    assert share.value == pytest.approx(2.17 / 4.3)


@given(latencies)
@settings(max_examples=40, deadline=None)
def test_an_interval_holds_its_value(sample):
    for estimate in (
        statistics.mean(sample),
        statistics.median(sample),
        statistics.percentile(sample, 0.9),
        statistics.ratio_of_means(sample, sample[::-1]),
    ):
        if estimate.has_interval:
            assert estimate.low <= estimate.value * (1 + 1e-9)
            assert estimate.high >= estimate.value * (1 - 1e-9)


@given(latencies, st.floats(0.01, 1000))
@settings(max_examples=25, deadline=None)
def test_another_unit_changes_nothing_but_the_unit(sample, factor):
    direct = statistics.mean(np.array(sample) * factor)
    scaled = statistics.mean(sample).scaled(factor)
    assert direct.value == pytest.approx(scaled.value)
    if direct.has_interval and scaled.has_interval:
        assert direct.low == pytest.approx(scaled.low, rel=1e-6)


def test_an_estimate_without_an_interval_excludes_nothing():
    assert not Estimate(5.0, None, None, 2, "").excludes(1.0)
