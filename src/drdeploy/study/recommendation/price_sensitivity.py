"""Compute how far each price can rise or fall before another option is chosen.

A bill is a linear function of each price. The bills after a change of a price can therefore be
computed without another simulation. The best option is then chosen again from the new bills.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from drdeploy.arrays import Floats
    from drdeploy.hosting.sagemaker import Price
    from drdeploy.study.recommendation.bill import Bill

    Choose = Callable[[Floats], NDArray[np.int64]]

HIGHEST_FACTOR = 100.0
"""The largest factor by which a price is multiplied.

No price of AWS has ever risen that much.
"""
DEARER = np.logspace(0, np.log10(HIGHEST_FACTOR), 400)
CHEAPER = np.linspace(1, 0, 400)
HALVINGS = 40


@dataclass(frozen=True)
class WinnerChange:
    """The option that is chosen if a price is multiplied by ``factor``."""

    factor: float
    option: str


@dataclass(frozen=True)
class PriceSensitivity:
    """How the winner's bill, and the choice of the winner, depend on one price.

    Attributes:
        usd: How much of the winner's monthly bill comes from the price, in USD.
        share: ``usd`` divided by the winner's monthly bill.
        dearer: The option that replaces the winner first if the price rises. None if the winner
            stays the same up to :data:`HIGHEST_FACTOR` times the price.
        cheaper: The option that replaces the winner first if the price falls. None if the winner
            stays the same even at a price of zero.
    """

    price: Price
    usd: float
    share: float
    dearer: WinnerChange | None
    cheaper: WinnerChange | None


def compute_price_sensitivities(
    winner: str, bills: Mapping[str, Bill], choose: Choose
) -> tuple[PriceSensitivity, ...]:
    """Return the sensitivity to each price; the largest part of the winner's bill comes first.

    Args:
        winner: Name of the winner, a key of ``bills``.
        bills: The bill of every option that meets the requirements, by the option's name.
        choose: A function that chooses an option. It takes an array of monthly costs with one row
            for each option and one column for each value of the price. For each column, it returns
            the index of the chosen option.
    """
    prices = {entry.price: None for bill in bills.values() for entry in bill.entries}
    found = [_compute_sensitivity_to_price(price, winner, bills, choose) for price in prices]
    return tuple(sorted(found, key=lambda one: -one.usd))


def _compute_sensitivity_to_price(
    price: Price, winner: str, bills: Mapping[str, Bill], choose: Choose
) -> PriceSensitivity:
    names, own = list(bills), bills[winner]
    totals = np.array([[bill.usd] for bill in bills.values()])
    due = np.array([[bill.usd_due_to_price(price)] for bill in bills.values()])

    def choose_winners_at_price_factors(factors: Floats) -> NDArray[np.int64]:
        # If a price is multiplied by f, a bill grows by (f - 1) times the part that is billed at
        # the price.
        return choose(totals + (factors - 1) * due)

    def find_first_change_of_winner(factors: Floats) -> WinnerChange | None:
        changed = np.flatnonzero(choose_winners_at_price_factors(factors) != names.index(winner))
        if not changed.size:
            return None
        stays, changes = factors[max(changed[0] - 1, 0)], factors[changed[0]]
        for _ in range(HALVINGS):
            middle = (stays + changes) / 2
            if choose_winners_at_price_factors(np.array([middle]))[0] == names.index(winner):
                stays = middle
            else:
                changes = middle
        return WinnerChange(
            float(changes), names[int(choose_winners_at_price_factors(np.array([changes]))[0])]
        )

    return PriceSensitivity(
        price=price,
        usd=own.usd_due_to_price(price),
        share=own.usd_due_to_price(price) / own.usd if own.usd else 0.0,
        dearer=find_first_change_of_winner(DEARER),
        cheaper=find_first_change_of_winner(CHEAPER),
    )
