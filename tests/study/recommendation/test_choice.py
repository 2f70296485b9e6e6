"""Options of about the same cost are a tie, which the simplest and then the fastest wins."""

import numpy as np
import pytest

from drdeploy.hosting.sagemaker import Price
from drdeploy.study.recommendation.bill import Bill, BillEntry
from drdeploy.study.recommendation.choice import NONE, SameCost, choose_option_in_each_case
from drdeploy.study.recommendation.price_sensitivity import compute_price_sensitivities

SAME = SameCost(share=0.05, usd=1.0)
NEVER = SameCost(share=0.0, usd=0.0)


def choose(options, same=SAME):
    """The index of the chosen one of options (USD a month, p95 in s, parts to run)."""
    usd, p95_s, parts = (np.array(column, dtype=float) for column in zip(*options, strict=True))
    (at,) = choose_option_in_each_case(usd[:, None], p95_s[:, None], parts.astype(int), same)
    return at


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ([(0.50, 0.4, 1), (1.40, 0.9, 0)], 1),  # within a dollar, the simplest
        ([(0.50, 0.4, 1), (1.60, 0.9, 0)], 0),  # beyond a dollar, the cheapest
        ([(100, 0.4, 1), (104, 0.9, 0)], 1),  # within 5 %, the simplest
        ([(100, 0.4, 1), (106, 0.9, 0)], 0),
        ([(0.50, 0.9, 0), (0.60, 0.4, 0)], 1),  # as simple, the fastest
        ([(0.50, 0.41, 0), (0.60, 0.40, 0)], 0),  # as fast, the cheapest
        ([(float("inf"), 0.1, 0), (9.0, 1.0, 2)], 1),
        ([(float("inf"), 0.1, 0)], NONE),
    ],
)
def test_a_tie_goes_to_the_simplest_then_the_fastest_then_the_cheapest(options, chosen):
    assert choose(options) == chosen


def test_without_a_difference_that_is_the_same_the_cheapest_is_chosen():
    assert choose([(0.50, 0.9, 2), (0.501, 0.1, 0)], NEVER) == 0


def test_of_no_options_none_is_chosen_in_each_case():
    none = np.empty((0, 3))
    assert choose_option_in_each_case(none, none, np.empty(0, int), SAME).tolist() == [NONE] * 3


SECOND = Price("a second", 1.0, "second", "us-east-1", "2025-01", "test")
HOUR = Price("an hour", 10.0, "hour", "us-east-1", "2025-01", "test")
BILLS = {
    "on demand": Bill((BillEntry(40.0, SECOND),)),
    "always on": Bill((BillEntry(10.0, HOUR),)),
}


def sensitivities(same):
    parts, p95_s = np.array([0, 1]), np.ones((2, 1))
    return {
        one.price.item: one
        for one in compute_price_sensitivities(
            "on demand",
            BILLS,
            lambda usd: choose_option_in_each_case(
                usd, np.broadcast_to(p95_s, usd.shape), parts, same
            ),
        )
    }


def test_a_price_moves_until_another_option_is_cheaper():
    by_item = sensitivities(NEVER)
    assert by_item["a second"].share == 1.0
    assert by_item["a second"].dearer.factor == pytest.approx(100 / 40)
    assert by_item["a second"].dearer.option == "always on"
    assert by_item["an hour"].cheaper.factor == pytest.approx(40 / 100)
    assert by_item["an hour"].dearer is None


def test_a_price_moves_through_a_tie_before_a_simpler_option_loses():
    assert sensitivities(SAME)["a second"].dearer.factor == pytest.approx(1.05 * 100 / 40)
