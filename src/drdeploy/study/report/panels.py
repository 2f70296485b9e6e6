"""Group scenarios into panels; the scenarios of a panel differ in only one dimension."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from drdeploy.study.measurements.load import LINE
from drdeploy.study.measurements.scenarios import label_scenarios

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from drdeploy.study.report.summaries import ScenarioSummary

By = Literal["memory", "instance", "image"]
PanelKey = tuple[str, str, str]


@dataclass(frozen=True)
class ScenarioPanel:
    """A group of scenarios that are drawn side by side.

    Attributes:
        by: The dimension in which the scenarios differ.
        labels: A label for each scenario, broken into short lines.
        kind: The kind of endpoint.
        size: The memory size of a panel of container images, for example ``1024 MB``, if there is
            such a panel for each of several memory sizes; otherwise empty.
    """

    model: str
    start: str
    by: By
    summaries: tuple[ScenarioSummary, ...]
    labels: tuple[str, ...]
    kind: str = ""
    size: str = ""

    @property
    def name(self) -> str:
        """The name of the panel in file names, for example ``by-memory-vgg19-warm``."""
        kind = f"{self.kind}-" if self.kind == "asynchronous" else ""
        size = f"-{self.size}" if self.size else ""
        return f"by-{self.by}-{kind}{self.model}-{self.start or 'any'}{size}"

    @property
    def title(self) -> str:
        """The title of the panel, for example ``vgg19, warm, by memory``."""
        kind = self.kind if self.kind == "asynchronous" else ""
        parts = (self.model, kind, self.size, self.start, f"by {self.by}")
        return ", ".join(part for part in parts if part)


def group_scenarios_into_panels(summaries: Iterable[ScenarioSummary]) -> tuple[ScenarioPanel, ...]:
    """Group all scenarios that have rows into panels.

    The scenarios of a panel differ in one of three dimensions: the memory size, the instance type,
    or the container image. If they differ in the image, they have the same memory size.
    """
    measured = sorted(
        (s for s in summaries if s.scenario.counted_row_count), key=_scenario_sort_key
    )
    return tuple(
        panel
        for key, group in groupby(measured, _group_key_of_panel)
        for panel in _split_into_panels(key, list(group))
    )


def _group_key_of_panel(summary: ScenarioSummary) -> PanelKey:
    configuration = summary.scenario.configuration
    return configuration.model, summary.scenario.start, configuration.endpoint_kind


def _scenario_sort_key(summary: ScenarioSummary) -> tuple[object, ...]:
    model, start, kind = _group_key_of_panel(summary)
    configuration, name = summary.scenario.configuration, summary.scenario.name
    # The kind comes before the configuration, because each kind of endpoint has one group.
    return model, kind != "serverless", start != "warm", start, kind, configuration, name


def _split_into_panels(key: PanelKey, group: list[ScenarioSummary]) -> Iterator[ScenarioPanel]:
    if key[2] != "serverless":
        yield _make_panel(key, "instance", sorted(group, key=_get_line_number_of_first_row))
        return
    # If a memory size has several images, bars that differ in the image would be mixed with bars
    # that differ in the memory.
    several = _find_sizes_with_several_images(group)
    by_memory = [
        s for s in group if s not in several or _was_image_measured_at_other_size(s, group)
    ]
    if by_memory:
        yield _make_panel(key, "memory", by_memory)
    sizes = {s.scenario.configuration.memory_mb for s in several}
    for memory_mb, same_size in groupby(several, lambda s: s.scenario.configuration.memory_mb):
        in_order = sorted(same_size, key=lambda s: int(s.scenario.rows.index[0]))
        # Two panels with the same name would be written to the same files.
        panel = _make_panel(key, "image", in_order)
        yield replace(panel, size=f"{memory_mb} MB") if len(sizes) > 1 else panel


def _get_line_number_of_first_row(summary: ScenarioSummary) -> int:
    """Return the line number of a scenario's first row, by which instance types are sorted."""
    return int(summary.scenario.rows[LINE].iloc[0])


def _find_sizes_with_several_images(group: Sequence[ScenarioSummary]) -> list[ScenarioSummary]:
    """Return the scenarios whose memory size was measured with several container images."""
    counted = Counter(_list_facts_except_image(s) for s in group)
    several = [s for s in group if counted[_list_facts_except_image(s)] > 1]
    return sorted(several, key=lambda s: s.scenario.configuration.memory_mb)


def _list_facts_except_image(summary: ScenarioSummary) -> tuple[object, ...]:
    configuration = summary.scenario.configuration
    return configuration.memory_mb, configuration.precision, summary.scenario.name


def _was_image_measured_at_other_size(
    summary: ScenarioSummary, group: Sequence[ScenarioSummary]
) -> bool:
    """Whether the same container image was measured at another memory size."""
    mine = summary.scenario.configuration
    others = (s.scenario.configuration for s in group)
    return any(
        (one.image, one.profile) == (mine.image, mine.profile) and one.memory_mb != mine.memory_mb
        for one in others
    )


def _make_panel(key: PanelKey, by: By, group: Sequence[ScenarioSummary]) -> ScenarioPanel:
    scenarios = [summary.scenario for summary in group]
    labels = label_scenarios(scenarios, among=[s.configuration for s in scenarios])
    # Short lines fit below a bar: ``2048 MB`` over ``lean``, ``ml.c7g`` over ``xlarge``.
    in_lines = (re.sub(r"^(ml\.\w+)\.", r"\1\n", one).replace(", ", "\n") for one in labels)
    return ScenarioPanel(key[0], key[1], by, tuple(group), tuple(in_lines), key[2])
