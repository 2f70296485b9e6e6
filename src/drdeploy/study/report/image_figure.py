"""Cold starts by image, and how many times as fast each is as the first one."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from drdeploy.pages.picture import Picture, picture_of
from drdeploy.pages.style import BLUE, INK, STYLE
from drdeploy.statistics import notation
from drdeploy.study.measurements.scenarios import image_position
from drdeploy.study.report.comparisons import mean_ratio

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from matplotlib.axes import Axes

    from drdeploy.study.report.summaries import ScenarioSummary

FEWEST = 2
_WIDTH_IN, _BAR_IN, _MARGIN_IN = 4.6, 0.36, 0.8


def drawings_of_images(summaries: Iterable[ScenarioSummary]) -> tuple[Picture, ...]:
    """Draw one figure per model and size of endpoint that has cold starts of several images."""
    return tuple(
        _drawing(model, size, group)
        for (model, size), group in _ladders(summaries)
        if len(group) >= FEWEST
    )


def _ladders(
    summaries: Iterable[ScenarioSummary],
) -> Iterator[tuple[tuple[str, str], list[ScenarioSummary]]]:
    def ladder(summary: ScenarioSummary) -> tuple[str, str, str]:
        configuration = summary.scenario.configuration
        return configuration.model, configuration.precision, configuration.size

    cold = [s for s in summaries if s.scenario.n and s.scenario.start == "cold"]
    for (model, precision, size), members in groupby(sorted(cold, key=ladder), ladder):
        by_image = {s.scenario.configuration.image: s for s in members}
        group = [by_image[image] for image in sorted(by_image, key=image_position)]
        yield (f"{model} {precision}", size), group


def _drawing(model: str, size: str, group: Sequence[ScenarioSummary]) -> Picture:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(_WIDTH_IN, _MARGIN_IN + _BAR_IN * len(group)))
        _draw(figure.add_subplot(), group)
    return picture_of(
        figure,
        f"images-{model}-{size}",
        f"{model}, {size}: cold starts along the ladder of images",
        "Bars: mean total latency of cold starts with its 95 % interval, and how many times as "
        "fast each image is as the first",
    )


def _draw(axes: Axes, group: Sequence[ScenarioSummary]) -> None:
    means = [summary.total.mean for summary in group]
    unit, factor = notation.unit_of_time(max(mean.value or 0.0 for mean in means))
    longest = max((mean.high or mean.value or 0.0) for mean in means) * factor
    positions = np.arange(len(group))[::-1]
    for position, summary, mean in zip(positions, group, means, strict=True):
        scaled = mean.scaled(factor)
        value = scaled.value or 0.0
        axes.barh(position, value, height=0.58, color=BLUE, edgecolor=INK, lw=0.6)
        end = value
        if scaled.low is not None and scaled.high is not None:
            errors = [[value - scaled.low], [scaled.high - value]]
            axes.errorbar(value, position, xerr=errors, color=INK, capsize=3, lw=1)
            end = scaled.high
        text = notation.value(scaled, unit)
        if summary is not group[0]:
            ratio = mean_ratio(group[0].scenario, summary.scenario, "total_latency_s")
            text += f", {notation.value(ratio)} times as fast"
            text += f" ({notation.interval(ratio)})" if ratio.has_interval else ""
        # A text beside a long bar would leave the picture.
        is_inside = value > longest / 2
        axes.annotate(
            *(text, (0 if is_inside else end, position)),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color="white" if is_inside else INK,
        )
    axes.set_yticks(positions, [summary.scenario.configuration.image for summary in group])
    axes.set_xlim(0, 1.1 * longest)
    axes.set_xlabel(f"mean total latency of a cold start ({unit})")
    axes.grid(visible=True, axis="x")
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
