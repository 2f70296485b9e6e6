"""Draw costs against times on logarithmic axes, as marks with intervals in both directions.

Each picture is drawn in two layouts: a wide one for computers and paper, and a narrow one for
phones, where the letters of a wide picture would be too small. ``page.css`` shows the layout that
fits the screen.

Colour is never the only difference between marks. Each kind of mark has its own shape. A mark that
fails a requirement is hollow, and the chosen mark has a ring and a bold name. The picture can be
read without seeing colours.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, replace
from html import escape
from math import hypot, log10
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from drdeploy.pages.picture import Picture, picture_from_figure
from drdeploy.pages.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, SKY, STYLE
from drdeploy.units import MILLISECONDS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from matplotlib.axes import Axes

    from drdeploy.arrays import Floats

    Coordinates = tuple[float, float]

FORBIDDEN, BAR, QUIET = "#F1F1F1", "#7F7F7F", "#3F3F3F"
MARK_PT, RING_PT, CROSS_PT = 7.0, 16.0, 11.0
CROSS = "+"
"""The shape of a mark that can be seen even under another mark, because its arms stick out."""
MARK_ID = "mark-"
OFFSETS_PT: tuple[Coordinates, ...] = (
    *((10, 0), (-10, 0), (0, 11), (0, -11), (9, 9), (9, -9), (-9, 9), (-9, -9)),
    *((28, 28), (28, -28), (-28, 28), (-28, -28), (0, 40), (0, -40), (40, 0), (-40, 0)),
    *((20, 56), (-20, 56), (60, 36), (-60, 36), (20, -56), (-20, -56), (60, -36), (-60, -36)),
    *((0, 80), (40, 80), (-40, 80), (80, 80), (-80, 80), (0, -80), (40, -80), (-40, -80)),
)
"""Possible positions of a label relative to its mark. If several are equally good, the first is
chosen."""
FAR = 8.0
"""When the best place for a label is chosen, one point of distance from its mark counts as much as
this many covered square pixels.
"""
HEAVY = 8.0
"""The weight of a square pixel of a mark or of a text that a label covers. A covered square pixel
of an interval's bar has the weight 1.
"""
TOO_MUCH = 500.0
"""A label that would cover a larger weighted area than this is left out.

Such a label would hide a mark, or seem to belong to another one.
"""
NEAR_PT = 20
"""A label that is more points than this away from its mark is joined to the mark by a line."""
NO_BREAK = "\u00a0"


@dataclass(frozen=True)
class ScatterLayout:
    """The size and the layout of a picture.

    Attributes:
        size_in: Width and height in inches.  A letter of 9 points is 14 pixels high on a screen
            where the page is 1,168 pixels wide. On a phone where the page is 358 pixels wide, a
            letter of 9 points is 10 pixels high.
        legend_columns: Number of columns of the legend.
        line_length: Longest line of a label, in letters.
    """

    size_in: tuple[float, float]
    legend_columns: int
    line_length: int


LAYOUTS = {
    "wide": ScatterLayout((10.4, 4.6), legend_columns=4, line_length=48),
    "narrow": ScatterLayout((4.4, 4.8), legend_columns=2, line_length=26),
}


@dataclass(frozen=True)
class PlottedValue:
    """A positive value with its interval.

    Attributes:
        limits: Lower and upper limit; None if there is no interval.
    """

    value: float
    limits: tuple[float, float] | None = None

    @property
    def limits_including_value(self) -> tuple[float, float]:
        """The limits of the interval, extended to include the value."""
        low, high = self.limits or (self.value, self.value)
        return min(low, self.value), max(high, self.value)


@dataclass(frozen=True)
class Mark:
    """One mark in the picture.

    Attributes:
        name: A description of the mark with its numbers; shown when a reader points at the mark.
        shape: Name of a Matplotlib marker.
        label: Lines of text beside the mark; empty for none. If there is no room for a label, it is
            left out. The label of the chosen mark is always written.
        is_hollow: Whether the mark fails a requirement.
        is_chosen: Whether the mark gets a ring and a bold label.
        path: Name of a line. Marks with the same ``path`` are joined by a line, in their order;
            empty for no line.
    """

    name: str
    x: PlottedValue
    y: PlottedValue
    shape: str
    colour: str
    label: tuple[str, ...] = ()
    is_hollow: bool = False
    is_chosen: bool = False
    path: str = ""


@dataclass(frozen=True)
class Axis:
    """A horizontal or vertical axis.

    Attributes:
        title: The measured quantity, with its unit.
        write: Function that formats a value at a tick.
        limit: The largest value that meets the requirement; None if there is no requirement.
        requirement: Text beside the line at the limit.
    """

    title: str
    write: Callable[[float], str]
    limit: float | None = None
    requirement: str = ""


@dataclass(frozen=True)
class Key:
    """One entry of the legend."""

    label: str
    shape: str
    colour: str
    is_hollow: bool = False


def assign_colour_to_each_name(names: Iterable[str]) -> dict[str, str]:
    """Return a colour for each name; the first two colours also differ in black-and-white print."""
    distinct = sorted(set(names))
    palette = (BLUE, ORANGE, GREEN, PURPLE, SKY)
    return {name: palette[at] if at < len(palette) else GREY for at, name in enumerate(distinct)}


def format_time_at_tick(time_s: float) -> str:
    """Format a time for an axis, for example ``200 ms`` or ``3 s``."""
    return f"{time_s:g} s" if time_s >= 1 else f"{time_s * MILLISECONDS_PER_S:g} ms"


def format_money_at_tick(usd: float) -> str:
    """Format an amount of money for an axis, for example ``0.1`` or ``1,000``."""
    return f"{usd:,.10g}"


def draw_scatter_pictures(
    marks: Sequence[Mark],
    axes: tuple[Axis, Axis],
    keys: Sequence[Key],
    *,
    name: str,
    title: str,
    description: str,
) -> dict[str, Picture]:
    """Draw the marks in every layout; the pictures are called ``NAME-LAYOUT``."""
    pictures = {}
    for size, layout in LAYOUTS.items():
        figure = _draw_figure_in_layout(marks, axes, keys, layout)
        picture = picture_from_figure(figure, f"{name}-{size}", title, description)
        pictures[size] = replace(picture, svg=_add_tooltips_to_marks(picture.svg, marks))
    return pictures


def _add_tooltips_to_marks(svg: str, marks: Sequence[Mark]) -> str:
    """Give each mark its name as an SVG title, which browsers show as a tooltip."""

    def add_title_to_mark(found: re.Match[str]) -> str:
        return f"{found[0]}<title>{escape(marks[int(found['at'])].name)}</title>"

    return re.sub(rf'<g id="[^"]*{MARK_ID}(?P<at>\d+)">', add_title_to_mark, svg)


def _draw_figure_in_layout(
    marks: Sequence[Mark], directions: tuple[Axis, Axis], keys: Iterable[Key], layout: ScatterLayout
) -> Figure:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=layout.size_in)
        axes = figure.add_subplot()
        _set_up_axes(axes, marks, directions)
        _shade_missed_requirements(axes, *directions)
        for path in dict.fromkeys(mark.path for mark in marks if mark.path):
            along = [mark for mark in marks if mark.path == path]
            xs, ys = [mark.x.value for mark in along], [mark.y.value for mark in along]
            axes.plot(xs, ys, color=along[0].colour, lw=0.9, alpha=0.6, zorder=2)
        # The chosen mark is drawn last, so that no other mark hides it. Crosses are drawn first,
        # because their arms stick out from under other marks.
        for at in sorted(range(len(marks)), key=lambda at: _find_place_from_below(marks[at])):
            _draw_mark(axes, marks[at], f"{MARK_ID}{at}")
        _draw_legend(figure, keys, layout.legend_columns)
        _write_all_labels(figure, axes, marks, directions, layout.line_length)
    return figure


def _set_up_axes(axes: Axes, marks: Sequence[Mark], directions: tuple[Axis, Axis]) -> None:
    across, up = directions
    axes.grid(visible=True, axis="both")
    axes.set_xlabel(across.title)
    axes.set_title(up.title, loc="left", fontsize=9, pad=8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(*_compute_axis_range([mark.x for mark in marks], across.limit))
    axes.set_ylim(*_compute_axis_range([mark.y for mark in marks], up.limit))
    for axis, direction in ((axes.xaxis, across), (axes.yaxis, up)):
        low, high = axis.get_view_interval()
        decades = log10(high / low)
        # An axis of less than two decades has ticks at 1, 2 and 5. On an axis of more than three
        # decades, so many ticks would crowd.
        steps = (1,) if decades > 3 else (1, 3) if decades > 2 else (1, 2, 5)
        axis.set_major_locator(LogLocator(subs=steps, numticks=20))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _, to=direction: to.write(value)))


def _compute_axis_range(spans: Iterable[PlottedValue], limit: float | None) -> tuple[float, float]:
    """Return the range of an axis, with room for marks and labels."""
    ends = [end for span in spans for end in span.limits_including_value] + (
        [limit] if limit else []
    )
    low, high = min(ends), max(ends)
    room = max((high / low) ** 0.1, 1.2)
    return low / room, high * room


def _shade_missed_requirements(axes: Axes, across: Axis, up: Axis) -> None:
    """Shade the area in which a requirement is missed, and draw a dashed line at the limit."""
    line: dict[str, Any] = {"color": INK, "lw": 1.1, "ls": (0, (5, 3)), "zorder": 1.5}
    if across.limit is not None:
        axes.axvspan(across.limit, axes.get_xlim()[1], color=FORBIDDEN, lw=0, zorder=0)
        axes.axvline(across.limit, **line)
    if up.limit is not None:
        axes.axhspan(up.limit, axes.get_ylim()[1], color=FORBIDDEN, lw=0, zorder=0)
        axes.axhline(up.limit, **line)


def _find_place_from_below(mark: Mark) -> tuple[bool, bool, bool]:
    return mark.is_chosen, mark.shape != CROSS, not mark.is_hollow


def _draw_mark(axes: Axes, mark: Mark, name: str) -> None:
    x, y = mark.x, mark.y
    for xs, ys in (
        (x.limits_including_value, (y.value,) * 2),
        ((x.value,) * 2, y.limits_including_value),
    ):
        axes.plot(xs, ys, color=BAR, lw=1, zorder=2.5, solid_capstyle="butt")
    # A filled mark has a white edge, which separates it from marks that it overlaps.
    is_line = mark.is_hollow or mark.shape == CROSS
    axes.plot(
        *(x.value, y.value, mark.shape),
        ms=CROSS_PT if mark.shape == CROSS else MARK_PT,
        mfc="white" if mark.is_hollow else mark.colour,
        mec=mark.colour if is_line else "white",
        mew=1.2 if is_line else 0.6,
        zorder=4 if mark.is_chosen else 3,
        gid=name,
    )
    if mark.is_chosen:
        axes.plot(x.value, y.value, "o", ms=RING_PT, mfc="none", mec=INK, mew=1.6, zorder=4)


def _draw_legend(figure: Figure, keys: Iterable[Key], columns: int) -> None:
    handles = [
        Line2D(
            *([], []),
            ls="",
            marker=key.shape,
            ms=MARK_PT,
            mfc="white" if key.is_hollow else key.colour,
            mec=key.colour,
            label=key.label,
        )
        for key in keys
    ]
    figure.legend(
        handles=handles,
        loc="outside lower left",
        ncols=columns,
        frameon=False,
        fontsize=8.5,
        handletextpad=0.2,
        columnspacing=1.2,
    )


def _write_all_labels(
    figure: Figure, axes: Axes, marks: Sequence[Mark], directions: tuple[Axis, Axis], length: int
) -> None:
    """Write the labels of the marks and of the requirements, the label of the chosen mark first."""
    placer = _LabelPlacer(figure, axes)
    for mark in marks:
        x, y = mark.x.value, mark.y.value
        reach_pt = (RING_PT if mark.is_chosen else MARK_PT) / 2 + 1
        placer.reserve_rectangle((x, y), (x, y), reach_pt, weight=HEAVY)
        placer.reserve_rectangle(
            (mark.x.limits_including_value[0], y), (mark.x.limits_including_value[1], y), 1
        )
        placer.reserve_rectangle(
            (x, mark.y.limits_including_value[0]), (x, mark.y.limits_including_value[1]), 1
        )
    across, up = directions
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    if across.limit is not None:
        placer.reserve_rectangle((across.limit, bottom), (across.limit, top), 4, weight=HEAVY / 2)
    if up.limit is not None:
        placer.reserve_rectangle((left, up.limit), (right, up.limit), 4, weight=HEAVY / 2)
    for mark in sorted(marks, key=lambda one: not one.is_chosen):
        if mark.label:
            _write_label_of_mark(axes, placer, mark, length)
    if across.limit is not None:
        heights = bottom * (top / bottom) ** np.linspace(0.8, 0.2, 7)
        places = [
            ((across.limit, y), (side, 0.0)) for side in (-5.0, 5.0) for y in heights.tolist()
        ]
        placer.write_text_at_best_place(across.requirement, places, fontsize=8.5, rotation=90)
    if up.limit is not None:
        widths = left * (right / left) ** np.linspace(0.15, 0.85, 8)
        places = [((x, up.limit), (0.0, side)) for side in (4.0, -4.0) for x in widths.tolist()]
        placer.write_text_at_best_place(up.requirement, places, fontsize=8.5)


def _write_label_of_mark(axes: Axes, placer: _LabelPlacer, mark: Mark, length: int) -> None:
    here = (mark.x.value, mark.y.value)
    style = (
        {"fontsize": 9, "fontweight": "bold", "color": INK}
        if mark.is_chosen
        else {"fontsize": 8.5, "color": QUIET}
    )
    text = "\n".join(_wrap_label(line, length) for line in mark.label)
    places = [(here, offset) for offset in OFFSETS_PT]
    offset = placer.write_text_at_best_place(text, places, at_any_cost=mark.is_chosen, **style)
    if offset and hypot(*offset) > NEAR_PT:
        line = {"arrowstyle": "-", "lw": 0.6, "color": QUIET, "shrinkA": 0, "shrinkB": 6}
        axes.annotate("", here, offset, textcoords="offset points", arrowprops=line)


def _wrap_label(text: str, length: int) -> str:
    """Break a label after commas into lines of at most ``length`` letters."""
    whole = text.replace(" ", NO_BREAK).replace(f",{NO_BREAK}", ", ")
    lines = textwrap.wrap(whole, length, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace(NO_BREAK, " ")


class _LabelPlacer:
    """Chooses places for labels, so that they cover as little as possible.

    A label should not cover reserved areas or earlier labels, and should not reach beyond the axes.
    Boxes are given by their lower left and upper right corners, in pixels.
    """

    def __init__(self, figure: Figure, axes: Axes) -> None:
        figure.draw_without_rendering()  # this computes where the axes are
        self._axes = axes
        self._pixels = figure.dpi / 72
        self._within: Floats = axes.get_window_extent().get_points()
        self._taken: list[tuple[Floats, float]] = []

    def reserve_rectangle(
        self, low: Coordinates, high: Coordinates, margin_pt: float, weight: float = 1
    ) -> None:
        """Mark a rectangle and its margin as taken, so that labels avoid it.

        The corners are points in the coordinates of the axes.
        """
        corners = self._axes.transData.transform([low, high])
        margin = margin_pt * self._pixels
        self._taken.append((corners + np.array([[-margin], [margin]]), weight))

    def write_text_at_best_place(
        self,
        text: str,
        places: Iterable[tuple[Coordinates, Coordinates]],
        *,
        at_any_cost: bool = True,
        **style: Any,
    ) -> Coordinates | None:
        """Write a label at the best of several places; each place is a point with an offset.

        Returns:
            The offset of the chosen place. None if the label was left out, because it would cover
            too much at every place.
        """
        written = self._axes.text(
            *(0, 0, text), transform=self._axes.transAxes, ha="left", va="bottom", zorder=6, **style
        )
        # Otherwise the layout would make room for the text, and move what is placed already.
        written.set_in_layout(False)
        size = np.array(written.get_window_extent().size)
        boxes = [(self._box_of_text(point, offset, size), offset) for point, offset in places]
        covered = [self._weigh_covered_area(box) for box, _ in boxes]
        costs = [
            area + FAR * hypot(*offset) for area, (_, offset) in zip(covered, boxes, strict=True)
        ]
        at = costs.index(min(costs))
        if not at_any_cost and covered[at] > TOO_MUCH:
            written.remove()
            return None
        box, offset = boxes[at]
        self._taken.append((box, HEAVY))
        across, up = self._axes.transAxes.inverted().transform(box[0])
        sides: dict[int, Literal["left", "center", "right"]] = {1: "left", 0: "center", -1: "right"}
        written.set_position((across, up))
        written.set_multialignment(sides[int(np.sign(offset[0]))])
        return offset

    def _box_of_text(self, point: Coordinates, offset: Coordinates, size: Floats) -> Floats:
        here = self._axes.transData.transform(point) + np.array(offset) * self._pixels
        low = here - size * (1 - np.sign(offset)) / 2
        return np.array([low, low + size])

    def _weigh_covered_area(self, box: Floats) -> float:
        """Return the weighted area that a label would cover; area outside the axes also counts."""
        boxes = np.array([self._within, *(other for other, _ in self._taken)])
        weights = np.array([weight for _, weight in self._taken])
        low, high = np.maximum(boxes[:, 0], box[0]), np.minimum(boxes[:, 1], box[1])
        inside, *shared = np.clip(high - low, 0, None).prod(axis=1)
        outside = (box[1] - box[0]).prod() - inside
        return round(float(weights @ shared + HEAVY * outside), 3)
