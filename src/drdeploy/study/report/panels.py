"""Which scenarios share a picture: those of one model and start that differ in one thing."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from drdeploy.study.measurements.labels import labels_of
from drdeploy.study.measurements.load import LINE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from drdeploy.study.report.summaries import ScenarioSummary

By = Literal["memory", "instance", "image"]
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Panel:
    """Scenarios that are drawn side by side.

    Attributes:
        by: What they differ in.
        labels: A label for each, in short lines.
    """

    model: str
    start: str
    by: By
    summaries: tuple[ScenarioSummary, ...]
    labels: tuple[str, ...]

    @property
    def name(self) -> str:
        """Part of a file's name: ``by-memory-vgg19-warm``."""
        return f"by-{self.by}-{self.model}-{self.start or 'any'}"

    @property
    def title(self) -> str:
        """``vgg19, warm, by memory``."""
        return ", ".join(part for part in (self.model, self.start, f"by {self.by}") if part)


def panels_of(summaries: Iterable[ScenarioSummary]) -> tuple[Panel, ...]:
    """Group all scenarios that have rows into panels.

    Memory sizes form a panel, and so do instance types, and several images at one memory size.
    """
    measured = sorted((s for s in summaries if s.scenario.n), key=_order)
    return tuple(
        panel for key, group in groupby(measured, _key) for panel in _split(key, list(group))
    )


def _key(summary: ScenarioSummary) -> Key:
    configuration = summary.scenario.configuration
    return configuration.model, summary.scenario.start, configuration.endpoint_kind


def _order(summary: ScenarioSummary) -> tuple[object, ...]:
    model, start, kind = _key(summary)
    configuration, name = summary.scenario.configuration, summary.scenario.name
    return model, kind != "serverless", start != "warm", start, configuration, name


def _split(key: Key, group: list[ScenarioSummary]) -> Iterator[Panel]:
    if key[2] == "realtime":
        yield _panel(key, "instance", sorted(group, key=_first_line))
        return
    # Several images at one size would put bars that differ in the image among those by memory.
    several = _images_at_one_size(group)
    by_memory = [s for s in group if s not in several or _has_other_sizes(s, group)]
    if by_memory:
        yield _panel(key, "memory", by_memory)
    for _, same_size in groupby(several, lambda s: s.scenario.configuration.memory_mb):
        in_order = sorted(same_size, key=lambda s: int(s.scenario.rows.index[0]))
        yield _panel(key, "image", in_order)


def _first_line(summary: ScenarioSummary) -> int:
    """Sort instances in the order in which they were measured, which the study's author chose."""
    return int(summary.scenario.rows[LINE].iloc[0])


def _images_at_one_size(group: Sequence[ScenarioSummary]) -> list[ScenarioSummary]:
    """Scenarios that share everything but the image with another one, by memory size."""
    counted = Counter(_but_for_the_image(s) for s in group)
    several = [s for s in group if counted[_but_for_the_image(s)] > 1]
    return sorted(several, key=lambda s: s.scenario.configuration.memory_mb)


def _but_for_the_image(summary: ScenarioSummary) -> tuple[object, ...]:
    configuration = summary.scenario.configuration
    return configuration.memory_mb, configuration.precision, summary.scenario.name


def _has_other_sizes(summary: ScenarioSummary, group: Sequence[ScenarioSummary]) -> bool:
    mine = summary.scenario.configuration
    alike = [
        s.scenario.configuration
        for s in group
        if (s.scenario.configuration.image, s.scenario.configuration.profile)
        == (mine.image, mine.profile)
    ]
    return len({configuration.memory_mb for configuration in alike}) > 1


def _panel(key: Key, by: By, group: Sequence[ScenarioSummary]) -> Panel:
    scenarios = [summary.scenario for summary in group]
    labels = labels_of(scenarios, among=[s.configuration for s in scenarios])
    # Short lines fit below a bar: ``2048 MB`` over ``lean``, ``ml.c7g`` over ``xlarge``.
    in_lines = (re.sub(r"^(ml\.\w+)\.", r"\1\n", one).replace(", ", "\n") for one in labels)
    return Panel(key[0], key[1], by, tuple(group), tuple(in_lines))
