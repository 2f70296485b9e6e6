"""Ratios between scenarios that differ in one thing alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from drdeploy.statistics import means as statistics
from drdeploy.statistics.differences import paired_ratio, paired_ratio_of_medians
from drdeploy.study.measurements.scenarios import image_position

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from drdeploy.statistics.means import Estimate
    from drdeploy.study.measurements.scenarios import Scenario

Dimension = Literal["memory_mb", "instance_type", "image", "precision", "start"]
Quantity = Literal["total_latency_s", "prediction_s", "model_setup_s"]

_START_ORDER = ("cold", "warm")
FEWEST_PHOTOGRAPHS = 3
"""With one or two there is nothing to pair by."""


@dataclass(frozen=True)
class ScenarioRatio:
    """How many times as long the one takes as the other.

    Attributes:
        dimension: What the two differ in.
        before: The one in the numerator.
        after: The one in the denominator: above 1, it is the faster one.
        means: Ratio of the mean times.
        medians: Ratio of the median times.
        is_paired: Whether rows of the same photograph were set against each other.
    """

    dimension: Dimension
    quantity: Quantity
    before: Scenario
    after: Scenario
    means: Estimate
    medians: Estimate
    is_paired: bool = False

    @property
    def is_shown(self) -> bool:
        """Whether the interval excludes that both take the same time."""
        return self.means.excludes(1.0)


def compare(
    before: Scenario, after: Scenario, dimension: Dimension, quantity: Quantity
) -> ScenarioRatio:
    """Ratio of the times of two scenarios, by means and by medians."""
    pairs = photograph_pairs(before, after, quantity)
    top, bottom = pairs or (before.seconds(quantity), after.seconds(quantity))
    of_medians = paired_ratio_of_medians if pairs else statistics.ratio_of_medians
    return ScenarioRatio(
        dimension=dimension,
        quantity=quantity,
        before=before,
        after=after,
        means=mean_ratio(before, after, quantity),
        medians=of_medians(top, bottom),
        is_paired=pairs is not None,
    )


def mean_ratio(before: Scenario, after: Scenario, quantity: Quantity) -> Estimate:
    """Ratio of the mean times.

    Where both sent each photograph equally often, rows are paired by it: what the photograph
    itself costs then falls out of the interval.
    """
    pairs = photograph_pairs(before, after, quantity)
    if pairs:
        return paired_ratio(*pairs)
    return statistics.ratio_of_means(before.seconds(quantity), after.seconds(quantity))


def photograph_pairs(
    before: Scenario, after: Scenario, quantity: Quantity
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """All rows of both, each beside one of the same photograph; None where they do not pair up."""
    sides = []
    for scenario in (before, after):
        rows = scenario.rows[["photograph", quantity]].dropna()
        rows = rows.assign(time=rows.groupby("photograph").cumcount())
        sides.append(rows.set_index(["photograph", "time"])[quantity])
    one, other = sides
    names = one.index.get_level_values("photograph")
    if "" in names or names.nunique() < FEWEST_PHOTOGRAPHS:
        return None
    if not one.index.sort_values().equals(other.index.sort_values()):
        return None
    return one.to_numpy(dtype=np.float64), other.loc[one.index].to_numpy(dtype=np.float64)


def comparisons(
    scenarios: Iterable[Scenario],
    dimension: Dimension,
    quantities: Sequence[Quantity] = ("total_latency_s",),
) -> tuple[ScenarioRatio, ...]:
    """Each step along the dimension, and from its first value to its last.

    Scenarios are compared where all else is equal and both have rows; as in the study, memory
    goes from less to more, images from the first rung of the ladder to each that follows, and
    a cold start is set against a warm one.
    """
    return tuple(
        compare(before, after, dimension, quantity)
        for before, after in _pairs(scenarios, dimension)
        for quantity in quantities
        if len(before.seconds(quantity)) and len(after.seconds(quantity))
    )


def _pairs(
    scenarios: Iterable[Scenario], dimension: Dimension
) -> Iterator[tuple[Scenario, Scenario]]:
    alike: dict[tuple[str, ...], list[Scenario]] = {}
    for scenario in scenarios:
        if scenario.n:
            alike.setdefault(_everything_but(dimension, scenario), []).append(scenario)
    for group in alike.values():
        steps = sorted(group, key=lambda scenario: _position(scenario, dimension))
        pairs = list(pairwise(steps))
        beyond = steps[2:] if dimension == "image" else steps[2:][-1:]
        pairs += [(steps[0], step) for step in beyond]
        yield from (pair for pair in pairs if _differ(*pair, dimension))


def _differ(before: Scenario, after: Scenario, dimension: Dimension) -> bool:
    """Two trials of one image tell nothing of images."""
    return dimension != "image" or before.configuration.image != after.configuration.image


def _everything_but(dimension: Dimension, scenario: Scenario) -> tuple[str, ...]:
    hosted = scenario.configuration
    facts = {
        "model": hosted.model,
        "start": scenario.start,
        "image": hosted.image,
        "profile": hosted.profile,
        "precision": hosted.precision,
        "endpoint_kind": hosted.endpoint_kind,
        "memory_mb": str(hosted.memory_mb),
        "instance_type": hosted.instance_type,
        "scenario": scenario.name,
    }
    if dimension == "start":  # the warm and the cold scenario differ in nothing but their start
        facts["scenario"] = "closed loop" if scenario.name in _START_ORDER else scenario.name
    if dimension == "image":  # how it serves is part of it
        del facts["profile"]
    return tuple(value for name, value in facts.items() if name != dimension)


def _position(scenario: Scenario, dimension: Dimension) -> tuple[int, str]:
    match dimension:
        case "image":
            return image_position(scenario.configuration.image)
        case "memory_mb":
            return scenario.configuration.memory_mb, scenario.trial
        case "start":
            return int(scenario.start == "warm"), scenario.trial
        case _:
            return 0, str(getattr(scenario.configuration, dimension))
