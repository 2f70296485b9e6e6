"""Name configurations and scenarios as shortly as tells them apart, for tables and pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from drdeploy.study.measurements.scenarios import Configuration, Scenario


def label_of(configuration: Configuration, *, among: Iterable[Configuration]) -> str:
    """Return the size, and whatever else differs from the others: ``2048 MB, lean``."""
    others = list(among)
    differing = [
        name
        for name in ("image", "precision")
        if len({getattr(other, name) for other in others}) > 1
    ]
    return ", ".join([configuration.size, *(getattr(configuration, name) for name in differing)])


def labels_of(scenarios: Sequence[Scenario], *, among: Iterable[Configuration]) -> list[str]:
    """Return a label for each, with the scenario's name where a configuration has several."""
    others = list(among)
    measured = [scenario.configuration for scenario in scenarios]
    return [
        label_of(scenario.configuration, among=others)
        + (f", {scenario.name}" if measured.count(scenario.configuration) > 1 else "")
        for scenario in scenarios
    ]
