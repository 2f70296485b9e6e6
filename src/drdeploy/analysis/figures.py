"""The study's figures as SVG: the same rows give the same bytes."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from drdeploy.analysis import notation
from drdeploy.pages.picture import Picture, picture_of
from drdeploy.pages.style import BLUE, GREEN, GREY, ORANGE, SKY, STYLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from matplotlib.axes import Axes

    from drdeploy.analysis.scenarios import Scenario
    from drdeploy.analysis.summaries import Breakdown, Summary

COLOUR_OF_START = {"warm": ORANGE, "cold": BLUE}
PARTS = (
    ("set-up of the model", "setup_s", BLUE, "///"),
    ("decode and transform", "decode_transform_s", SKY, ""),
    ("prediction", "prediction_s", ORANGE, "\\\\\\"),
    ("rest of the container", "container_rest_s", GREEN, "xx"),
    ("outside the container", "outside_s", "#D9D9D9", ""),
)

_WIDTH_IN, _HEIGHT_IN = 4.6, 2.8


def drawings_of(summaries: Sequence[Summary]) -> tuple[Picture, ...]:
    """Every figure that the rows allow: latency, its parts, cost; one panel per model."""
    measured = [summary for summary in summaries if summary.scenario.n]
    return tuple(
        drawing
        for drawing in (*_latencies(measured), *_breakdowns(measured), *_costs(measured))
        if drawing
    )


def _latencies(summaries: Iterable[Summary]) -> Iterator[Picture]:
    for (model, start), group in _by_model_and_start(summaries):
        scenarios = [summary.scenario for summary in group]
        title = f"{model}: total latency, {start}" if start else f"{model}: total latency"
        with mpl.rc_context(STYLE):
            figure, axes = _panel()
            _draw_boxes(axes, scenarios)
        yield picture_of(
            figure,
            f"latency-{model}-{start or 'any'}",
            title,
            "Box plot per configuration with every row as a dot, mean and standard deviation",
        )


def _draw_boxes(axes: Axes, scenarios: Sequence[Scenario]) -> None:
    samples = [scenario.seconds("total_latency_s") for scenario in scenarios]
    unit, factor = notation.unit_of_time(max(float(np.median(s)) for s in samples))
    colour = COLOUR_OF_START.get(scenarios[0].start, GREY)
    positions = np.arange(1, len(samples) + 1)
    axes.boxplot(
        [sample * factor for sample in samples],
        positions=positions,
        widths=0.42 * _slimness(samples),
        showfliers=False,  # every row is drawn as a dot below, outliers among them
        patch_artist=True,
        boxprops={"facecolor": colour, "alpha": 0.35, "edgecolor": "#333333"},
        medianprops={"color": "#111111", "linewidth": 1.4},
    )
    for position, sample in zip(positions, samples, strict=True):
        _draw_rows(axes, float(position), sample * factor, colour)
    axes.set_xticks(positions, _labels(scenarios))
    axes.set_xlim(0.4, len(samples) + 0.85)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(f"total latency ({unit})")


def _draw_rows(axes: Axes, position: float, sample: np.ndarray, colour: str) -> None:
    """Each row as a dot, spread sideways by its order; beside the box the mean with one sd."""
    spread = np.linspace(-0.13, 0.13, len(sample)) if len(sample) > 1 else np.zeros(1)
    axes.plot(
        position + spread, sample, "o", ms=2.2, color=colour, mec="#333333", mew=0.3, alpha=0.9
    )
    sd = sample.std(ddof=1) if len(sample) > 1 else 0.0
    axes.errorbar(
        position + 0.34, sample.mean(), yerr=sd, fmt="D", ms=4, color="#111111", capsize=3, lw=1
    )


def _breakdowns(summaries: Iterable[Summary]) -> Iterator[Picture]:
    for (model, start), group in _by_model_and_start(summaries):
        known = [(summary.scenario, summary.breakdown) for summary in group if summary.breakdown]
        if not known:
            continue
        with mpl.rc_context(STYLE):
            figure, axes = _panel()
            _draw_parts(axes, known)
        yield picture_of(
            figure,
            f"breakdown-{model}-{start or 'any'}",
            f"{model}: where the time goes, {start or 'any start'}",
            "Stacked bars: mean seconds in each part of the total latency",
        )


def _draw_parts(axes: Axes, known: Sequence[tuple[Scenario, Breakdown]]) -> None:
    means = [float(scenario.seconds("total_latency_s").mean()) for scenario, _ in known]
    unit, factor = notation.unit_of_time(max(means))
    rows = np.arange(len(known))[::-1]
    left = np.zeros(len(known))
    for name, part, colour, hatch in PARTS:
        widths = np.array([max(getattr(parts, part), 0.0) for _, parts in known]) * factor
        if not widths.any():
            continue
        axes.barh(
            rows,
            widths,
            left=left,
            height=0.55 * _slimness(known),
            color=colour,
            hatch=hatch,
            edgecolor="white",
            linewidth=0.5,
            label=name,
        )
        left += widths
    axes.set_yticks(rows, _labels([scenario for scenario, _ in known]))
    axes.set_xlabel(f"mean total latency ({unit})")
    axes.grid(visible=True, axis="x")
    axes.grid(visible=False, axis="y")
    figure = axes.get_figure()
    if isinstance(figure, Figure):
        figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=8)


def _costs(summaries: Iterable[Summary]) -> Iterator[Picture]:
    for (model, start), group in _by_model_and_start(summaries):
        priced = [summary for summary in group if summary.cost]
        if not priced:
            continue
        with mpl.rc_context(STYLE):
            figure, axes = _panel()
            _draw_costs(axes, priced, COLOUR_OF_START.get(start, GREY))
        yield picture_of(
            figure,
            f"cost-{model}-{start or 'any'}",
            f"{model}: cost per million inferences, {start or 'any start'}",
            "Bars: mean cost in USD with its 95 % interval",
        )


def _draw_costs(axes: Axes, priced: Sequence[Summary], colour: str) -> None:
    positions = np.arange(1, len(priced) + 1)
    millions = [summary.cost.million for summary in priced if summary.cost]
    heights = np.array([million.value or 0.0 for million in millions])
    axes.bar(
        positions,
        heights,
        width=0.5 * _slimness(priced),
        color=colour,
        alpha=0.75,
        edgecolor="#333333",
        lw=0.6,
    )
    for position, million in zip(positions, millions, strict=True):
        if million.value is None:
            continue
        if million.low is not None and million.high is not None:
            below, above = million.value - million.low, million.high - million.value
            axes.errorbar(
                position, million.value, yerr=[[below], [above]], color="#111111", capsize=4, lw=1
            )
        top = million.high or million.value
        axes.annotate(
            notation.value(million),
            (position, top),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    axes.set_xticks(positions, _labels([summary.scenario for summary in priced]))
    axes.set_xlim(0.4, len(priced) + 0.6)
    axes.margins(y=0.12)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("USD per million inferences")


def _by_model_and_start(
    summaries: Iterable[Summary],
) -> Iterator[tuple[tuple[str, str], list[Summary]]]:
    def panel(summary: Summary) -> tuple[str, str]:
        return summary.scenario.configuration.model, summary.scenario.start

    ordered = sorted(summaries, key=lambda s: (panel(s)[0], panel(s)[1] != "warm", panel(s)[1]))
    for key, group in groupby(ordered, panel):
        yield key, list(group)


def _labels(scenarios: Sequence[Scenario]) -> list[str]:
    """Short lines: ``2048 MB`` over ``lean``, ``ml.c7g`` over ``xlarge``."""
    among = [scenario.configuration for scenario in scenarios]
    told = notation.labels(scenarios, among=among)
    return [re.sub(r"^(ml\.\w+)\.", r"\1\n", label).replace(", ", "\n") for label in told]


def _slimness(bars: Sequence[object]) -> float:
    """One or two bars alone in a panel would look like walls."""
    return min(1.0, len(bars) / 3)


def _panel() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH_IN, _HEIGHT_IN))
    return figure, figure.add_subplot()
