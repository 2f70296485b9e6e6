"""Intervals cover the truth about as often as they say, and are absent where none exists."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from drdeploy.errors import AnalysisError
from drdeploy.statistics import means as statistics
from drdeploy.statistics import percentiles
from drdeploy.statistics.estimate import Estimate

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
        hits += estimate.has_interval and not estimate.interval_excludes(truth)
    return hits / REPETITIONS


@both
@pytest.mark.parametrize("n", [10, 25, 100])
def test_the_interval_of_a_mean_covers_it(latencies, n):
    assert 0.92 <= coverage(statistics.estimate_mean, latencies, MEAN[latencies], n) <= 0.993


@both
@pytest.mark.parametrize("n", [10, 25, 100])
def test_the_interval_of_a_median_covers_it(latencies, n):
    assert 0.91 <= coverage(percentiles.estimate_median, latencies, MEDIAN[latencies], n) <= 0.99


@both
@pytest.mark.parametrize("n", [10, 25, 100])
@pytest.mark.parametrize(
    "ratio", [statistics.estimate_ratio_of_means, statistics.estimate_ratio_of_medians]
)
def test_the_interval_of_a_ratio_covers_it(ratio, latencies, n):
    assert 0.92 <= coverage(ratio, latencies, 1.0, n, samples=2) <= 0.997


@both
def test_the_interval_of_a_p95_covers_it_at_100_rows(latencies):
    covered = coverage(
        lambda x: percentiles.estimate_percentile(x, 0.95), latencies, P95[latencies], 100
    )
    assert 0.92 <= covered <= 0.99


def test_five_rows_of_log_normal_latencies_cover_a_mean_as_well():
    assert coverage(statistics.estimate_mean, plain, MEAN[plain], 5) >= 0.91


def test_a_p95_from_ten_rows_has_no_interval_and_says_how_many_rows_it_takes():
    estimate = percentiles.estimate_percentile(np.arange(1.0, 11.0), 0.95)
    assert (estimate.low, estimate.high) == (None, None)
    assert estimate.reason == "no interval: 10 rows, 59 needed"


@pytest.mark.parametrize(("share", "rows"), [(0.5, 6), (0.9, 29), (0.95, 59), (0.99, 299)])
def test_the_rows_a_percentile_needs_are_those_of_its_extremes(share, rows):
    assert percentiles.rows_needed_for_percentile(share) == rows
    assert not percentiles.estimate_percentile(np.arange(rows - 1.0), share).has_interval
    assert percentiles.estimate_percentile(np.arange(float(rows)), share).has_interval


def test_two_rows_have_a_mean_without_an_interval():
    estimate = statistics.estimate_mean([1.0, 2.0])
    assert estimate.value == 1.5
    assert estimate.reason == "no interval: 2 rows, 3 needed"


def test_no_row_gives_no_value():
    assert statistics.estimate_mean([]).value is None
    assert percentiles.estimate_percentile([], 0.95).value is None
    assert statistics.estimate_ratio_of_means([], [1.0, 2.0]).value is None


def test_rows_that_are_all_equal_give_no_interval():
    assert statistics.estimate_mean([2.0] * 12).reason == "no interval: all rows are equal"


def test_the_same_rows_give_the_same_interval():
    sample = np.random.default_rng(1).lognormal(0, 0.3, 12)
    assert statistics.estimate_mean(sample) == statistics.estimate_mean(sample)


def test_a_ratio_knows_the_size_of_both_samples():
    ratio = statistics.estimate_ratio_of_means([2.0, 2.2, 2.1, 1.9], [1.0, 1.1, 0.9])
    assert (ratio.n, ratio.n_other) == (4, 3)


def test_a_share_pairs_its_rows_and_skips_those_that_lack_one_side():
    part = [0.5, 0.6, np.nan, 0.55, 0.52]
    whole = [1.0, 1.2, 9.0, 1.1, 1.0]
    share = statistics.estimate_share_of_whole(part, whole)
    assert share.n == 4
    assert share.value == pytest.approx(2.17 / 4.3)


@given(latencies)
@settings(max_examples=40, deadline=None)
def test_an_interval_holds_its_value(sample):
    for estimate in (
        statistics.estimate_mean(sample),
        percentiles.estimate_median(sample),
        percentiles.estimate_percentile(sample, 0.9),
        statistics.estimate_ratio_of_means(sample, sample[::-1]),
    ):
        if estimate.has_interval:
            assert estimate.low <= estimate.value * (1 + 1e-9)
            assert estimate.high >= estimate.value * (1 - 1e-9)


@given(latencies, st.floats(0.01, 1000))
@example([1.0] * 8 + [2.0, 3.0], 28.857825607052433)  # a resample of equal rows, rounded
@settings(max_examples=25, deadline=None)
def test_another_unit_changes_nothing_but_the_unit(sample, factor):
    direct = statistics.estimate_mean(np.array(sample) * factor)
    scaled = statistics.estimate_mean(sample).multiplied_by(factor)
    assert direct.value == pytest.approx(scaled.value)
    if direct.has_interval and scaled.has_interval:
        assert direct.low == pytest.approx(scaled.low, rel=1e-6)


def test_an_estimate_without_an_interval_excludes_nothing():
    assert not Estimate(5.0, None, None, 2, "").interval_excludes(1.0)


def pairs(rng, n: int):
    """Two configurations on the same photographs: the photograph decides most of the time."""
    photograph = rng.lognormal(0, 0.5, n)
    return photograph * rng.lognormal(0, 0.05, n), 1.1 * photograph * rng.lognormal(0, 0.05, n)


@pytest.mark.parametrize("n", [5, 10, 25])
def test_the_interval_of_a_paired_ratio_covers_it(n):
    rng = np.random.default_rng(5)
    drawn = (statistics.estimate_paired_ratio_of_means(*pairs(rng, n)) for _ in range(REPETITIONS))
    assert 0.88 <= np.mean([not ratio.interval_excludes(1 / 1.1) for ratio in drawn]) <= 0.995


def test_pairs_show_a_difference_that_independent_samples_hide():
    one, other = pairs(np.random.default_rng(3), 25)
    assert statistics.estimate_paired_ratio_of_means(one, other).interval_excludes(1.0)
    assert not statistics.estimate_ratio_of_means(one, other).interval_excludes(1.0)


def test_a_ratio_of_medians_of_pairs_is_that_of_the_medians():
    one, other = pairs(np.random.default_rng(3), 25)
    ratio = statistics.estimate_paired_ratio_of_medians(one, other)
    assert ratio.value == pytest.approx(np.median(one) / np.median(other))
    assert ratio.low < ratio.value < ratio.high
    assert not statistics.estimate_paired_ratio_of_medians([1.0, 2.0], [1.0, 2.0]).has_interval


def test_samples_of_different_length_are_no_pairs():
    with pytest.raises(AnalysisError, match="samples of equal size, not 3 and 2 rows"):
        statistics.estimate_paired_ratio_of_means([1.0, 2.0, 3.0], [1.0, 2.0])


def test_a_pair_that_lacks_one_side_is_left_out():
    assert (
        statistics.estimate_paired_ratio_of_means([1.0, np.nan, 3.0, 4.0], [1.0, 2.0, 2.0, 5.0]).n
        == 3
    )


def test_too_few_pairs_have_no_interval_and_no_pair_has_no_value():
    short = statistics.estimate_paired_ratio_of_means([1.0, 2.0], [1.0, 3.0])
    assert (short.low, short.reason) == (None, "no interval: 2 rows, 3 needed")
    assert statistics.estimate_paired_ratio_of_means([], []).value is None


def test_a_ratio_that_is_the_same_in_every_pair_has_no_interval():
    assert not statistics.estimate_paired_ratio_of_means(
        [2.0, 4.0, 6.0], [1.0, 2.0, 3.0]
    ).has_interval
