"""Ratios between scenarios that differ in one thing only."""

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
"""Rows are paired by photograph only from so many on: with fewer, pairing says hardly anything."""


@dataclass(frozen=True)
class ScenarioRatio:
    """How many times as long one scenario takes as another.

    Attributes:
        dimension: What the two differ in.
        quantity: The time that is compared.
        before: The scenario in the numerator.
        after: The scenario in the denominator; it is the faster one where the ratio is above 1.
        means: Ratio of the mean times.
        medians: Ratio of the median times.
        is_paired: Whether rows of the same photograph were compared pair by pair.
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
    """Compare the times of two scenarios, by means and by medians."""
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

    Where both scenarios sent each photograph equally often, their rows are paired by photograph:
    how long a photograph itself takes then does not widen the interval.
    """
    pairs = photograph_pairs(before, after, quantity)
    if pairs:
        return paired_ratio(*pairs)
    return statistics.ratio_of_means(before.seconds(quantity), after.seconds(quantity))


def photograph_pairs(
    before: Scenario, after: Scenario, quantity: Quantity
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Pair the rows of both by photograph; None where they do not pair up."""
    sides = []
    for scenario in (before, after):
        rows = scenario.rows[["photograph", quantity]].dropna()
        # The first row of a photograph is paired with the first of the other side, and so on.
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
    """Compare neighbours along the dimension, and its first value with its last.

    Only scenarios are compared that are equal in everything else and have rows.  Memory goes from
    less to more, as in the 2023 study; each image is compared with the one before it on the ladder
    and with the first; a cold start is compared with a warm one.
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
        # The first image is what every smaller one is measured against; of memory sizes, the ends
        # of the range are what the 2023 study compared.
        beyond = steps[2:] if dimension == "image" else steps[2:][-1:]
        pairs += [(steps[0], step) for step in beyond]
        yield from (pair for pair in pairs if _differ(*pair, dimension))


def _differ(before: Scenario, after: Scenario, dimension: Dimension) -> bool:
    """Whether the pair differs in the dimension: two trials may have used the same image."""
    return dimension != "image" or before.configuration.image != after.configuration.image


def _everything_but(dimension: Dimension, scenario: Scenario) -> tuple[str, ...]:
    configuration = scenario.configuration
    facts = {
        "model": configuration.model,
        "start": scenario.start,
        "image": configuration.image,
        "profile": configuration.profile,
        "precision": configuration.precision,
        "endpoint_kind": configuration.endpoint_kind,
        "memory_mb": str(configuration.memory_mb),
        "instance_type": configuration.instance_type,
        "scenario": scenario.name,
    }
    if dimension == "start":  # a warm and a cold scenario have different names, but mean the same
        facts["scenario"] = "closed loop" if scenario.name in _START_ORDER else scenario.name
    if dimension == "image":  # the profile is part of the image
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
