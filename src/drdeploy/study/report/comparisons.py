"""Compute ratios between scenarios that differ in only one dimension."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from drdeploy.statistics import means as statistics
from drdeploy.study.measurements.scenarios import image_sort_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from drdeploy.statistics.estimate import Estimate
    from drdeploy.study.measurements.scenarios import Scenario

Dimension = Literal["memory_mb", "instance_type", "image", "precision", "start"]
Quantity = Literal["total_latency_s", "prediction_s", "model_setup_s"]

_START_ORDER = ("cold", "warm")
FEWEST_PHOTOGRAPHS = 3
"""Rows are paired by photograph only if there are at least this many photographs."""


@dataclass(frozen=True)
class ScenarioRatio:
    """The ratio of the times of two scenarios.

    Attributes:
        before: The scenario in the numerator.
        after: The scenario in the denominator. If the ratio is above 1, this scenario is faster.
        is_paired: Whether rows of the same photograph were paired.
    """

    dimension: Dimension
    quantity: Quantity
    before: Scenario
    after: Scenario
    means: Estimate
    medians: Estimate
    is_paired: bool = False


def compare_two_scenarios(
    before: Scenario, after: Scenario, dimension: Dimension, quantity: Quantity
) -> ScenarioRatio:
    """Return the ratio of two scenarios' mean times, and the ratio of their median times."""
    pairs = pair_rows_by_photograph(before, after, quantity)
    top, bottom = pairs or (
        before.known_values_of_column(quantity),
        after.known_values_of_column(quantity),
    )
    of_medians = (
        statistics.estimate_paired_ratio_of_medians
        if pairs
        else statistics.estimate_ratio_of_medians
    )
    return ScenarioRatio(
        dimension=dimension,
        quantity=quantity,
        before=before,
        after=after,
        means=compute_ratio_of_mean_times(before, after, quantity),
        medians=of_medians(top, bottom),
        is_paired=pairs is not None,
    )


def compute_ratio_of_mean_times(before: Scenario, after: Scenario, quantity: Quantity) -> Estimate:
    """Return the ratio of the mean times of two scenarios.

    If both scenarios sent each photograph the same number of times, rows of the same photograph are
    paired. Then the differences between photographs do not make the interval wider.
    """
    pairs = pair_rows_by_photograph(before, after, quantity)
    if pairs:
        return statistics.estimate_paired_ratio_of_means(*pairs)
    return statistics.estimate_ratio_of_means(
        before.known_values_of_column(quantity), after.known_values_of_column(quantity)
    )


def pair_rows_by_photograph(
    before: Scenario, after: Scenario, quantity: Quantity
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return the times of two scenarios, paired by photograph.

    The result is None if a row of one scenario has no matching row in the other, or if there are
    too few photographs.
    """
    sides = []
    for scenario in (before, after):
        rows = scenario.rows[["photograph", quantity]].dropna()
        # The first row of a photograph is paired with its first row in the other scenario, and so
        # on.
        rows = rows.assign(time=rows.groupby("photograph").cumcount())
        sides.append(rows.set_index(["photograph", "time"])[quantity])
    one, other = sides
    names = one.index.get_level_values("photograph")
    if "" in names or names.nunique() < FEWEST_PHOTOGRAPHS:
        return None
    if not one.index.sort_values().equals(other.index.sort_values()):
        return None
    return one.to_numpy(dtype=np.float64), other.loc[one.index].to_numpy(dtype=np.float64)


def compare_scenarios_along_dimension(
    scenarios: Iterable[Scenario],
    dimension: Dimension,
    quantities: Sequence[Quantity] = ("total_latency_s",),
) -> tuple[ScenarioRatio, ...]:
    """Compare scenarios that differ only in one dimension, for example the memory size.

    The scenarios are sorted by the dimension: memory sizes from small to large, as in the study of
    2023, and cold starts before warm requests. Each scenario is compared with the next one, and the
    first with the last one. If the dimension is the container image, each image is also compared
    with the first one. Scenarios without rows are left out.
    """
    return tuple(
        compare_two_scenarios(before, after, dimension, quantity)
        for before, after in _list_pairs_to_compare(scenarios, dimension)
        for quantity in quantities
        if len(before.known_values_of_column(quantity))
        and len(after.known_values_of_column(quantity))
    )


def _list_pairs_to_compare(
    scenarios: Iterable[Scenario], dimension: Dimension
) -> Iterator[tuple[Scenario, Scenario]]:
    alike: dict[tuple[str, ...], list[Scenario]] = {}
    for scenario in scenarios:
        if scenario.counted_row_count:
            alike.setdefault(_list_facts_except_dimension(dimension, scenario), []).append(scenario)
    for group in alike.values():
        steps = sorted(group, key=lambda scenario: _dimension_sort_key(scenario, dimension))
        pairs = list(pairwise(steps))
        # Every smaller image is compared with the first one. For memory sizes, only the smallest
        # and the largest are added, as in the 2023 study.
        beyond = steps[2:] if dimension == "image" else steps[2:][-1:]
        pairs += [(steps[0], step) for step in beyond]
        for before, after in pairs:
            # Two trials may have measured the same configuration.
            if _dimension_value(before, dimension) != _dimension_value(after, dimension):
                yield before, after


def _dimension_value(scenario: Scenario, dimension: Dimension) -> object:
    return scenario.start if dimension == "start" else getattr(scenario.configuration, dimension)


def _list_facts_except_dimension(dimension: Dimension, scenario: Scenario) -> tuple[str, ...]:
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
    if dimension == "start":  # warm and cold are both closed loops
        facts["scenario"] = "closed loop" if scenario.name in _START_ORDER else scenario.name
    if dimension == "image":  # the profile is part of the image
        del facts["profile"]
    return tuple(value for name, value in facts.items() if name != dimension)


def _dimension_sort_key(scenario: Scenario, dimension: Dimension) -> tuple[int, str]:
    match dimension:
        case "image":
            return image_sort_key(scenario.configuration.image)
        case "memory_mb":
            return scenario.configuration.memory_mb, scenario.trial
        case "start":
            return int(scenario.start == "warm"), scenario.trial
        case _:
            return 0, str(getattr(scenario.configuration, dimension))
