"""Box plots, parts of the latency and costs as SVG; the same rows give the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from drdeploy.pages.picture import Picture, picture_of
from drdeploy.pages.style import BLUE, GREEN, GREY, INK, ORANGE, SKY, STYLE
from drdeploy.statistics import notation
from drdeploy.study.report.boxes import (
    COLOUR_OF_START,
    EDGE,
    SIZE_IN,
    Box,
    draw_boxes,
    width_factor,
)
from drdeploy.study.report.panels import panels_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from drdeploy.study.report.panels import Panel
    from drdeploy.study.report.summaries import Breakdown, ScenarioSummary

QUANTITIES = {
    "total_latency_s": "total latency",
    "prediction_s": "prediction time",
    "model_setup_s": "ModelSetupTime",
}
"""Columns that are drawn as box plots, and their names on the axis."""
PARTS = (
    ("set-up of the model", "setup_s", BLUE, "///"),
    ("decode and transform", "decode_transform_s", SKY, ""),
    ("prediction", "prediction_s", ORANGE, "\\\\\\"),
    ("rest of the container", "container_rest_s", GREEN, "xx"),
    ("outside the container", "outside_s", "#D9D9D9", ""),
)


def drawings_of(summaries: Sequence[ScenarioSummary]) -> tuple[Picture, ...]:
    """Draw every figure that the rows allow, panel by panel: times, their parts, cost."""
    return tuple(picture for panel in panels_of(summaries) for picture in _pictures(panel))


def boxes_of(panel: Panel, quantity: str) -> tuple[Box, ...]:
    """Boxes of the panel's configurations that have values in that column."""
    pairs = zip(panel.labels, panel.summaries, strict=True)
    boxes = (Box(label, summary.scenario.seconds(quantity)) for label, summary in pairs)
    return tuple(box for box in boxes if box.seconds.size)


def colour_of(start: str) -> str:
    """Colour of a kind of start; grey where it is not known."""
    return COLOUR_OF_START.get(start, GREY)


def _pictures(panel: Panel) -> Iterator[Picture]:
    for column, quantity in QUANTITIES.items():
        boxes = boxes_of(panel, column)
        if boxes:
            yield picture_of(
                draw_boxes(boxes, quantity, colour_of(panel.start)),
                f"{quantity}-{panel.name}",
                f"{panel.title}: {quantity}",
                "Box plot per configuration with every row as a dot, mean and standard deviation",
            )
    known = list(zip(panel.labels, panel.summaries, strict=True))
    parts = [(label, s, s.breakdown) for label, s in known if s.breakdown]
    if parts:
        yield picture_of(
            _draw_parts(parts),
            f"breakdown-{panel.name}",
            f"{panel.title}: where the time goes",
            "Stacked bars: mean seconds in each part of the total latency",
        )
    priced = [(label, s) for label, s in known if s.cost]
    if priced:
        yield picture_of(
            _draw_costs(priced, colour_of(panel.start)),
            f"cost-{panel.name}",
            f"{panel.title}: cost per million inferences",
            "Bars: mean cost in USD with its 95 % interval; a millionth is the cost of one",
        )


def _draw_parts(known: Sequence[tuple[str, ScenarioSummary, Breakdown]]) -> Figure:
    means = [float(s.scenario.seconds("total_latency_s").mean()) for _, s, _ in known]
    unit, factor = notation.unit_of_time(max(means))
    rows = np.arange(len(known))[::-1]
    left = np.zeros(len(known))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=SIZE_IN)
        axes = figure.add_subplot()
        for name, part, colour, hatch in PARTS:
            # A part that is negative, because parts overlap, cannot be drawn as a bar.
            widths = np.array([max(getattr(parts, part), 0.0) for *_, parts in known]) * factor
            if not widths.any():
                continue
            axes.barh(
                rows,
                widths,
                left=left,
                height=0.55 * width_factor(len(known)),
                color=colour,
                hatch=hatch,
                edgecolor="white",
                linewidth=0.5,
                label=name,
            )
            left += widths
        axes.set_yticks(rows, [label for label, *_ in known])
        axes.set_xlabel(f"mean total latency ({unit})")
        axes.grid(visible=True, axis="x")
        axes.grid(visible=False, axis="y")
        figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=8)
    return figure


def _draw_costs(priced: Sequence[tuple[str, ScenarioSummary]], colour: str) -> Figure:
    positions = np.arange(1, len(priced) + 1)
    millions = [summary.cost.million for _, summary in priced if summary.cost]
    heights = np.array([million.value or 0.0 for million in millions])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=SIZE_IN)
        axes = figure.add_subplot()
        axes.bar(
            positions,
            heights,
            width=0.5 * width_factor(len(priced)),
            color=colour,
            alpha=0.75,
            edgecolor=EDGE,
            lw=0.6,
        )
        for position, million in zip(positions, millions, strict=True):
            if million.value is None:
                continue
            if million.low is not None and million.high is not None:
                reach = [[million.value - million.low], [million.high - million.value]]
                axes.errorbar(position, million.value, yerr=reach, color=INK, capsize=4, lw=1)
            axes.annotate(
                notation.value(million),
                (position, million.high or million.value),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
        axes.set_xticks(positions, [label for label, _ in priced])
        axes.set_xlim(0.4, len(priced) + 0.6)
        axes.margins(y=0.12)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("USD per million inferences")
    return figure
