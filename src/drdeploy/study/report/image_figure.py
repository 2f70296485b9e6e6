"""Draw the cold starts with each container image, and their speed-up over the first image."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from drdeploy.pages.picture import Picture, picture_from_figure
from drdeploy.pages.style import BLUE, INK, STYLE
from drdeploy.statistics import notation
from drdeploy.study.measurements.scenarios import image_sort_key
from drdeploy.study.report.comparisons import compute_ratio_of_mean_times

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes

    from drdeploy.study.report.summaries import ScenarioSummary

FEWEST = 2
_WIDTH_IN, _BAR_IN, _MARGIN_IN = 4.6, 0.36, 0.8


def draw_cold_starts_by_image(summaries: Iterable[ScenarioSummary]) -> tuple[Picture, ...]:
    """Draw the cold starts by container image: one picture for each model and endpoint size."""

    def get_model_precision_and_size(summary: ScenarioSummary) -> tuple[str, str, str]:
        configuration = summary.scenario.configuration
        return configuration.model, configuration.precision, configuration.memory_or_instance_type

    pictures = []
    # Cold rows of an open loop include time in which a request waited for other requests.
    cold = [
        s
        for s in summaries
        if s.scenario.counted_row_count and s.scenario.start == "cold" and not s.scenario.has_queue
    ]
    for (model, precision, size), members in groupby(
        sorted(cold, key=get_model_precision_and_size), get_model_precision_and_size
    ):
        by_image = {s.scenario.configuration.image: s for s in members}
        if len(by_image) >= FEWEST:
            group = [by_image[image] for image in sorted(by_image, key=image_sort_key)]
            pictures.append(_draw_cold_starts_of_one_model(f"{model} {precision}", size, group))
    return tuple(pictures)


def _draw_cold_starts_of_one_model(
    model: str, size: str, group: Sequence[ScenarioSummary]
) -> Picture:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(_WIDTH_IN, _MARGIN_IN + _BAR_IN * len(group)))
        _draw_bar_per_image(figure.add_subplot(), group)
    return picture_from_figure(
        figure,
        f"images-{model}-{size}",
        f"{model}, {size}: cold starts by image",
        "Bars: mean total latency of cold starts with its 95 % interval. The numbers compare the "
        "speed of cold starts with that of the first container image",
    )


def _draw_bar_per_image(axes: Axes, group: Sequence[ScenarioSummary]) -> None:
    means = [summary.total.mean for summary in group]
    unit, factor = notation.choose_time_unit(max(mean.value or 0.0 for mean in means))
    longest = max((mean.high or mean.value or 0.0) for mean in means) * factor
    positions = np.arange(len(group))[::-1]
    for position, summary, mean in zip(positions, group, means, strict=True):
        scaled = mean.multiplied_by(factor)
        value = scaled.value or 0.0
        axes.barh(position, value, height=0.58, color=BLUE, edgecolor=INK, lw=0.6)
        end = value
        if scaled.low is not None and scaled.high is not None:
            errors = [[value - scaled.low], [scaled.high - value]]
            axes.errorbar(value, position, xerr=errors, color=INK, capsize=3, lw=1)
            end = scaled.high
        text = notation.format_estimate_value(scaled, unit)
        if summary is not group[0]:
            ratio = compute_ratio_of_mean_times(
                group[0].scenario, summary.scenario, "total_latency_s"
            )
            text += f", {notation.format_estimate_value(ratio)} times as fast"
            text += f" ({notation.format_interval(ratio)})" if ratio.has_interval else ""
        # A label beside a long bar would extend beyond the picture.
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
