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
class Switch:
    """Another option becomes the cheapest once a price is multiplied by ``factor``."""

    factor: float
    option: str


@dataclass(frozen=True)
class PriceSensitivity:
    """What hangs on one price.

    Attributes:
        usd: Of the winner's month.
        share: Of the winner's bill; a price that rises by 10 % raises the bill by a tenth of it.
        dearer: The first option to win as this price rises, None if none ever does.
        cheaper: The first option to win as this price falls.
    """

    price: Price
    usd: float
    share: float
    dearer: Switch | None
    cheaper: Switch | None


def sensitivities(winner: str, bills: Mapping[str, Bill]) -> tuple[PriceSensitivity, ...]:
    """One entry per price on any bill, the one that the winner depends on most first.

    Args:
        winner: A key of ``bills``.
        bills: Of every option that meets the requirements, by name.
    """
    prices = {line.price: None for bill in bills.values() for line in bill.lines}
    found = [_sensitivity(price, winner, bills) for price in prices]
    return tuple(sorted(found, key=lambda one: -one.usd))


def _sensitivity(price: Price, winner: str, bills: Mapping[str, Bill]) -> PriceSensitivity:
    own = bills[winner]
    switches = [
        Switch(factor, name)
        for name, other in bills.items()
        if name != winner and (factor := _equal_at(own, other, price)) is not None
    ]
    above = [switch for switch in switches if switch.factor >= 1]
    below = [switch for switch in switches if switch.factor < 1]
    return PriceSensitivity(
        price=price,
        usd=own.usd_of(price),
        share=own.usd_of(price) / own.usd if own.usd else 0.0,
        dearer=min(above, key=lambda switch: switch.factor, default=None),
        cheaper=max(below, key=lambda switch: switch.factor, default=None),
    )


def _equal_at(own: Bill, other: Bill, price: Price) -> float | None:
    """The factor on the price at which both cost the same; None where there is none above 0."""
    slope = own.usd_of(price) - other.usd_of(price)
    if slope == 0:
        return None
    factor = 1 + (other.usd - own.usd) / slope
    return factor if factor >= 0 else None
