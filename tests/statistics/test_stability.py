"""Drift and dependence are reported, outliers are listed, and equal rows are found equal."""

import numpy as np
import pytest

from drdeploy.statistics.stability import (
    Stability,
    check_steadiness_of_rows,
    estimate_ratio_of_odd_to_even_rows,
)

REPETITIONS = 300


def test_independent_rows_are_steady_nearly_always():
    rng = np.random.default_rng(4)
    verdicts = [
        check_steadiness_of_rows(rng.lognormal(0, 0.3, 25)).verdict for _ in range(REPETITIONS)
    ]
    assert verdicts.count(Stability.STEADY) >= 0.95 * REPETITIONS


def test_rows_that_become_slower_drift_and_the_drift_is_reported():
    rng = np.random.default_rng(4)
    found = check_steadiness_of_rows(np.linspace(1.0, 1.5, 25) * rng.lognormal(0, 0.05, 25))
    assert found.verdict is Stability.DRIFTS
    assert found.drift == pytest.approx(0.4, abs=0.1)


def test_rows_in_two_turns_depend_on_each_other():
    rng = np.random.default_rng(4)
    turns = np.tile(np.repeat([1.0, 1.6], 6), 3)
    found = check_steadiness_of_rows(turns * rng.lognormal(0, 0.02, 36))
    assert found.verdict is Stability.DEPENDENT
    assert found.autocorrelation > 0.4


@pytest.mark.parametrize("sample", [[], [1.0], [1.0, 2.0, 3.0], [2.0] * 20])
def test_few_or_equal_rows_allow_no_verdict(sample):
    assert check_steadiness_of_rows(sample).verdict is Stability.TOO_FEW


def test_rows_that_are_equal_but_for_the_last_have_no_dependence():
    found = check_steadiness_of_rows([2.0] * 10 + [3.0])
    assert (found.autocorrelation, found.autocorrelation_p) == (None, None)


def test_outliers_are_listed_with_their_place_and_nothing_is_taken_out():
    sample = [1.0, 1.06, 0.94, 1.0, 5.0, 1.05, 0.95, 0.98, 1.02]
    found = check_steadiness_of_rows(sample)
    assert [(row.position, row.value) for row in found.outliers] == [(4, 5.0)]
    assert found.halves.value == pytest.approx(np.mean(sample[::2]) / np.mean(sample[1::2]))


def test_a_configuration_is_seldom_found_to_differ_from_itself():
    rng = np.random.default_rng(8)
    alarms = [
        estimate_ratio_of_odd_to_even_rows(rng.lognormal(0, 0.4, 24)).interval_excludes(1.0)
        for _ in range(REPETITIONS)
    ]
    assert np.mean(alarms) <= 0.09
