"""Two graders are compared photograph by photograph."""

import numpy as np
import pytest

from drdeploy.grader.evaluation.comparison import (
    compare_grades,
    estimate_paired_rate,
    mcnemar_p_value,
)
from drdeploy.grader.grading import Grade


def test_the_same_grades_differ_in_nothing():
    labels = np.arange(5).repeat(20)
    found = compare_grades(labels, labels, labels)
    assert found.changes == ()
    assert found.kappa.value == 0
    assert found.sensitivity[Grade.SEVERE].difference.value == 0


def test_grades_that_never_differ_are_no_proof_that_kappa_cannot():
    labels = np.arange(5).repeat(2)
    found = compare_grades(labels, labels, labels).kappa
    assert found.low is None
    assert "all bootstrap resamples" in found.reason


def test_the_difference_of_kappa_is_scikit_learn_s():
    from sklearn.metrics import cohen_kappa_score

    random = np.random.default_rng(0)
    labels = random.integers(0, 5, 200)
    first, second = (np.clip(labels + random.integers(-1, 2, 200), 0, 4) for _ in range(2))
    one, two = (cohen_kappa_score(labels, x, weights="quadratic") for x in (first, second))
    found = compare_grades(labels, first, second).kappa
    assert found.value == pytest.approx(two - one)
    assert found.low < found.value < found.high


def test_without_a_discordant_pair_the_bound_still_knows_how_few_there_were():
    z2 = 1.6448536**2
    for n in (10, 100, 1000):
        found = estimate_paired_rate(0, 0, n)
        assert found.difference.value == 0
        assert found.lower_bound == pytest.approx(-z2 / (n + z2), abs=1e-6)


@pytest.mark.parametrize(("gained", "lost", "n"), [(8, 1, 21), (2, 9, 60), (0, 3, 40)])
def test_at_its_limits_the_score_statistic_is_the_normal_quantile(gained, lost, n):
    """With the nuisance rate found by brute force instead of Tango's closed form."""
    found = estimate_paired_rate(gained, lost, n).difference
    for limit in (found.low, found.high):
        rates = np.linspace(max(0, -limit), (1 - limit) / 2, 400_001)[1:-1]
        gain = rates + limit
        likelihood = (
            gained * np.log(gain)
            + lost * np.log(rates)
            + (n - gained - lost) * np.log(1 - gain - rates)
        )
        rate = rates[likelihood.argmax()]
        error = np.sqrt(n * (2 * rate + limit * (1 - limit)))
        assert abs(gained - lost - n * limit) / error == pytest.approx(1.96, abs=0.01)


def test_the_lower_bound_holds_its_level():
    random = np.random.default_rng(0)
    n, gain, loss = 120, 0.03, 0.05
    bounds = []
    for _ in range(1500):
        gained, lost, _ = random.multinomial(n, [gain, loss, 1 - gain - loss])
        bounds.append(estimate_paired_rate(int(gained), int(lost), n).lower_bound)
    assert 0.93 <= np.mean(np.array(bounds) <= gain - loss) <= 0.975


def test_mcnemar_s_exact_test_is_the_binomial_one():
    from scipy.stats import binomtest

    for gained, lost in [(0, 0), (1, 0), (3, 9), (7, 7)]:
        expected = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
        assert mcnemar_p_value(gained, lost) == pytest.approx(expected)


def test_every_changed_grade_is_listed_and_new_misses_are_marked():
    labels, first, second = [0, 3, 4, 2], [0, 3, 4, 2], [1, 2, 3, 2]
    found = compare_grades(labels, first, second)
    assert [change.position for change in found.changes] == [0, 1, 2]
    assert [change.position for change in found.new_misses] == [1]
    assert found.sensitivity[Grade.SEVERE].lost == 1
    assert found.sensitivity[Grade.MODERATE].lost == 0


def test_no_diseased_photograph_means_no_difference_of_sensitivity():
    found = compare_grades([0, 0], [0, 0], [0, 1])
    assert found.sensitivity[Grade.MODERATE].difference.reason
    assert found.specificity[Grade.MODERATE].lost == 0
