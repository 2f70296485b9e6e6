"""How far each price may move before another option is cheaper.

A bill is linear in each of its prices, so the factor at which two options cost the same has a
closed form; nothing is simulated again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.hosting.sagemaker import Price
    from drdeploy.study.recommendation.cost.bill import Bill


@dataclass(frozen=True)
class WinnerChange:
    """The option that becomes the cheapest once a price is multiplied by ``factor``."""

    factor: float
    option: str


@dataclass(frozen=True)
class PriceSensitivity:
    """How much the decision depends on one price.

    Attributes:
        usd: The part of the winner's monthly bill that this price makes up.
        share: The same as a share: a price that rises by 10 % raises the bill by a tenth of it.
        dearer: The first option to win as this price rises; None if none ever does.
        cheaper: The first option to win as this price falls; None if none ever does.
    """

    price: Price
    usd: float
    share: float
    dearer: WinnerChange | None
    cheaper: WinnerChange | None


def sensitivities(winner: str, bills: Mapping[str, Bill]) -> tuple[PriceSensitivity, ...]:
    """Return one entry per price on any bill, the one that the winner depends on most first.

    Args:
        winner: Name of the winner, a key of ``bills``.
        bills: The bill of every option that meets the requirements, by the option's name.
    """
    prices = {entry.price: None for bill in bills.values() for entry in bill.entries}
    found = [_sensitivity(price, winner, bills) for price in prices]
    return tuple(sorted(found, key=lambda one: -one.usd))


def _sensitivity(price: Price, winner: str, bills: Mapping[str, Bill]) -> PriceSensitivity:
    own = bills[winner]
    changes = [
        WinnerChange(factor, name)
        for name, other in bills.items()
        if name != winner and (factor := _equal_at(own, other, price)) is not None
    ]
    above = [change for change in changes if change.factor >= 1]
    below = [change for change in changes if change.factor < 1]
    return PriceSensitivity(
        price=price,
        usd=own.usd_of(price),
        share=own.usd_of(price) / own.usd if own.usd else 0.0,
        dearer=min(above, key=lambda change: change.factor, default=None),
        cheaper=max(below, key=lambda change: change.factor, default=None),
    )


def _equal_at(own: Bill, other: Bill, price: Price) -> float | None:
    """The factor on the price at which both cost the same; None if no positive one exists."""
    # With the price times f, a bill is its total plus (f - 1) times what the price makes up.
    slope = own.usd_of(price) - other.usd_of(price)
    if slope == 0:
        return None
    factor = 1 + (other.usd - own.usd) / slope
    return factor if factor >= 0 else None
