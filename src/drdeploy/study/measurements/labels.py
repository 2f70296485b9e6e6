"""Short names that tell configurations and scenarios apart in a table or a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from drdeploy.study.measurements.scenarios import Configuration, Scenario


def label_of(configuration: Configuration, *, among: Iterable[Configuration]) -> str:
    """The size, and whatever else tells it from the others: ``2048 MB, lean``."""
    others = list(among)
    telling = [
        name
        for name in ("image", "precision")
        if len({getattr(other, name) for other in others}) > 1
    ]
    return ", ".join([configuration.size, *(getattr(configuration, name) for name in telling)])


def labels_of(scenarios: Sequence[Scenario], *, among: Iterable[Configuration]) -> list[str]:
    """A label for each; with the scenario's name where a configuration has several."""
    others = list(among)
    hosted = [scenario.configuration for scenario in scenarios]
    return [
        label_of(scenario.configuration, among=others)
        + (f", {scenario.name}" if hosted.count(scenario.configuration) > 1 else "")
        for scenario in scenarios
    ]
