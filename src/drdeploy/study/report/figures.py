"""Draw box plots, the parts of the latency, and costs as SVG files.

The same rows always give identical files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from drdeploy.pages.picture import Picture, picture_from_figure
from drdeploy.pages.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, SKY, STYLE
from drdeploy.statistics import notation
from drdeploy.study.report.panels import group_scenarios_into_panels

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes

    from drdeploy.arrays import Floats
    from drdeploy.study.report.panels import ScenarioPanel
    from drdeploy.study.report.summaries import Breakdown, ScenarioSummary

COLOUR_OF_START = {"warm": ORANGE, "cold": BLUE}
SIZE_IN = (4.6, 2.8)
FEW_BARS = 3
"""If a picture has fewer bars than this, each bar is drawn narrower."""
EDGE = "#333333"


@dataclass(frozen=True, eq=False)
class Box:
    """One configuration in a box plot.

    Attributes:
        seconds: The measured times; empty if only a printed mean is known.
        printed_mean_s: A mean that a study printed without publishing the rows. It is drawn as a
            hollow diamond.
    """

    label: str
    seconds: Floats
    printed_mean_s: float | None = None


def draw_box_plot(boxes: Sequence[Box], quantity: str, colour: str) -> Figure:
    """Draw boxes side by side, on an axis that starts at zero.

    Each box holds the middle half of the rows, and the line in the box is the median. The whiskers
    are at most one and a half times as long as the box. Every row is a dot. The black diamond is
    the mean, and the line through it is one standard deviation (computed with n - 1) long in each
    direction.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=SIZE_IN)
        axes = figure.add_subplot()
        middles = [
            float(np.median(box.seconds)) if box.seconds.size else box.printed_mean_s or 0.0
            for box in boxes
        ]
        unit, factor = notation.choose_time_unit(max(middles))
        for position, box in enumerate(boxes, start=1):
            if box.seconds.size:
                _draw_one_box_with_rows(
                    axes,
                    position,
                    box.seconds * factor,
                    colour,
                    compute_bar_width_factor(len(boxes)),
                )
            if box.printed_mean_s is not None:
                mean = box.printed_mean_s * factor
                axes.plot(position, mean, "D", ms=6, mfc="white", mec=PURPLE, mew=1.4)
                below: dict[str, Any] = {"xytext": (0, -13), "textcoords": "offset points"}
                axes.annotate("printed", (position, mean), ha="center", fontsize=8, **below)
        axes.set_xticks(range(1, len(boxes) + 1), [box.label for box in boxes])
        axes.set_xlim(0.4, len(boxes) + 0.85)
        axes.margins(y=0.12)
        axes.set_ylim(bottom=0)
        axes.set_ylabel(f"{quantity} ({unit})")
    return figure


def compute_bar_width_factor(count: int) -> float:
    """Return a factor for the width of bars; it is below 1 if a picture has few bars."""
    return min(1.0, count / FEW_BARS)


def _draw_one_box_with_rows(
    axes: Axes, position: int, sample: Floats, colour: str, narrowing: float
) -> None:
    axes.boxplot(
        [sample],
        positions=[position],
        widths=0.42 * narrowing,
        showfliers=False,  # every row, outlier or not, is drawn as a dot below
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": colour, "alpha": 0.35, "edgecolor": EDGE},
        medianprops={"color": INK, "linewidth": 1.4},
    )
    many = len(sample) > 1
    spread = np.linspace(-0.13, 0.13, len(sample)) if many else np.zeros(1)
    axes.plot(position + spread, sample, "o", ms=2.2, color=colour, mec=EDGE, mew=0.3, alpha=0.9)
    sd = sample.std(ddof=1) if many else 0.0
    axes.errorbar(
        position + 0.34, sample.mean(), yerr=sd, fmt="D", ms=4, color=INK, capsize=3, lw=1
    )


QUANTITIES = {
    "total_latency_s": "total latency",
    "prediction_s": "prediction time",
    "model_setup_s": "ModelSetupTime",
}
"""The columns that are drawn as box plots, and the name of each on the axis."""
PARTS = (
    ("set-up of the model", "setup_s", BLUE, "///"),
    ("decode and transform", "decode_transform_s", SKY, ""),
    ("prediction", "prediction_s", ORANGE, "\\\\\\"),
    ("rest of the container", "container_rest_s", GREEN, "xx"),
    ("outside the container", "outside_s", "#D9D9D9", ""),
)


def draw_all_panels(summaries: Sequence[ScenarioSummary]) -> tuple[Picture, ...]:
    """Draw the pictures of each panel: times, the parts of the latency, and known costs."""
    return tuple(
        picture
        for panel in group_scenarios_into_panels(summaries)
        for picture in _draw_pictures_of_panel(panel)
    )


def make_boxes_of_panel(panel: ScenarioPanel, quantity: str) -> tuple[Box, ...]:
    """Return a box for each configuration of a panel that has values in the column."""
    pairs = zip(panel.labels, panel.summaries, strict=True)
    boxes = (
        Box(label, summary.scenario.known_values_of_column(quantity)) for label, summary in pairs
    )
    return tuple(box for box in boxes if box.seconds.size)


def choose_colour_of_start(start: str) -> str:
    """Return the colour for warm or cold starts; grey for an unknown kind of start."""
    return COLOUR_OF_START.get(start, GREY)


def _draw_pictures_of_panel(panel: ScenarioPanel) -> Iterator[Picture]:
    for column, quantity in QUANTITIES.items():
        boxes = make_boxes_of_panel(panel, column)
        if boxes:
            yield picture_from_figure(
                draw_box_plot(boxes, quantity, choose_colour_of_start(panel.start)),
                f"{quantity}-{panel.name}",
                f"{panel.title}: {quantity}",
                "One box plot per configuration: mean, standard deviation, and each row as a dot",
            )
    known = list(zip(panel.labels, panel.summaries, strict=True))
    parts = [(label, s, s.breakdown) for label, s in known if s.breakdown]
    if parts:
        yield picture_from_figure(
            _draw_parts_of_latency(parts),
            f"breakdown-{panel.name}",
            f"{panel.title}: where the time goes",
            "Stacked bars: mean seconds in each part of the total latency",
        )
    priced = [(label, s) for label, s in known if s.cost]
    if priced:
        yield picture_from_figure(
            _draw_costs_with_intervals(priced, choose_colour_of_start(panel.start)),
            f"cost-{panel.name}",
            f"{panel.title}: cost per million inferences",
            "Bars: mean cost in USD of a million inferences, with its 95 % interval",
        )


def _draw_parts_of_latency(known: Sequence[tuple[str, ScenarioSummary, Breakdown]]) -> Figure:
    means = [
        float(s.scenario.known_values_of_column("total_latency_s").mean()) for _, s, _ in known
    ]
    unit, factor = notation.choose_time_unit(max(means))
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
                height=0.55 * compute_bar_width_factor(len(known)),
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


def _draw_costs_with_intervals(
    priced: Sequence[tuple[str, ScenarioSummary]], colour: str
) -> Figure:
    positions = np.arange(1, len(priced) + 1)
    millions = [summary.cost.per_million_usd for _, summary in priced if summary.cost]
    heights = np.array([million.value or 0.0 for million in millions])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=SIZE_IN)
        axes = figure.add_subplot()
        axes.bar(
            positions,
            heights,
            width=0.5 * compute_bar_width_factor(len(priced)),
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
                notation.format_estimate_value(million),
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
