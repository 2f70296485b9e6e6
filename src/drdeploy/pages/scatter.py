"""Marks with intervals in both directions on logarithmic axes: cost against time.

Each picture is drawn twice, wide for a desk and for paper, narrow for a phone: letters that fit one
are unreadable on the other.  ``page.css`` shows the one that fits.

Nothing is said by colour alone.  Kinds have shapes, what fails is hollow, and the chosen mark has a
ring and its name in bold, so that a grey print and a colour-blind reader lose nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from html import escape
from math import hypot, log10
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from drdeploy.pages.picture import Picture, picture_of
from drdeploy.pages.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, SKY, STYLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Point = tuple[float, float]

FORBIDDEN, BAR, QUIET = "#F1F1F1", "#7F7F7F", "#3F3F3F"
MARK_PT, RING_PT = 7.0, 16.0
MARK_ID = "mark-"
OFFSETS_PT: tuple[Point, ...] = (
    *((10, 0), (-10, 0), (0, 11), (0, -11), (9, 9), (9, -9), (-9, 9), (-9, -9)),
    *((28, 28), (28, -28), (-28, 28), (-28, -28), (0, 40), (0, -40), (40, 0), (-40, 0)),
    *((20, 56), (-20, 56), (60, 36), (-60, 36), (20, -56), (-20, -56), (60, -36), (-60, -36)),
    *((0, 80), (40, 80), (-40, 80), (80, 80), (-80, 80), (0, -80), (40, -80), (-40, -80)),
)
"""Where a label may stand from its mark, the nearest places first."""
FAR = 8.0
"""Square pixels that a label rather covers than stand one point farther away."""
HEAVY = 8.0
"""A square pixel of a mark or of another text weighs as much as so many of a bar or a line."""
TOO_MUCH = 500.0
"""A label that covers more is left out: it would hide a mark, or seem to belong to another one."""
NEAR_PT = 20
"""A label that is farther away is joined to its mark by a line."""


@dataclass(frozen=True)
class ScatterLayout:
    """A size of the picture.

    Attributes:
        size_in: Width and height.  A letter of 9 points becomes 14 pixels on a desk where the page
            is 1,168 pixels wide, and 10 on a phone with 358.
        legend_columns: Entries of the legend side by side.
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
class Span:
    """A positive value with its interval.

    Attributes:
        limits: Lower and upper limit; None where there is no interval.
    """

    value: float
    limits: tuple[float, float] | None = None

    @property
    def ends(self) -> tuple[float, float]:
        """The interval, stretched to hold the value."""
        low, high = self.limits or (self.value, self.value)
        return min(low, self.value), max(high, self.value)


@dataclass(frozen=True)
class Mark:
    """One mark in the picture.

    Attributes:
        name: What it is, with its figures; shown to a reader who points at it.
        shape: Name of a Matplotlib marker.
        label: Lines of text beside it; empty for none.  Where there is no room for it, only the
            chosen mark keeps its label.
        is_hollow: Whether it fails a requirement.
        is_chosen: Whether it gets a ring and a bold label.
        path: Marks with the same path are joined by a line, in their order; empty for none.
    """

    name: str
    x: Span
    y: Span
    shape: str
    colour: str
    label: tuple[str, ...] = ()
    is_hollow: bool = False
    is_chosen: bool = False
    path: str = ""


@dataclass(frozen=True)
class Axis:
    """One of the two directions.

    Attributes:
        title: What is measured, with its unit.
        write: How a value is written at a tick.
        limit: The largest value that meets the requirement; None where nothing is required.
        requirement: What stands beside the line at the limit.
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


def colours_of(names: Iterable[str]) -> dict[str, str]:
    """A colour for each name, in alphabetical order; the first two differ in a grey print too."""
    distinct = sorted(set(names))
    palette = (BLUE, ORANGE, GREEN, PURPLE, SKY)
    return {name: palette[at] if at < len(palette) else GREY for at, name in enumerate(distinct)}


def time_tick(time_s: float) -> str:
    """``200 ms`` or ``3 s``."""
    return f"{time_s:g} s" if time_s >= 1 else f"{time_s * 1000:g} ms"


def money_tick(usd: float) -> str:
    """``0.1`` or ``1,000``."""
    return f"{usd:,.10g}"


def scatter(
    marks: Sequence[Mark],
    axes: tuple[Axis, Axis],
    keys: Sequence[Key],
    *,
    name: str,
    title: str,
    description: str,
) -> dict[str, Picture]:
    """Draw the marks in every layout, by its name; the pictures are called ``NAME-LAYOUT``."""
    pictures = {}
    for size, layout in LAYOUTS.items():
        figure = _drawn(marks, axes, keys, layout)
        picture = picture_of(figure, f"{name}-{size}", title, description)
        pictures[size] = replace(picture, svg=_with_names(picture.svg, marks))
    return pictures


def _with_names(svg: str, marks: Sequence[Mark]) -> str:
    """Give each mark its name as an SVG title, which browsers show on pointing at it."""

    def named(found: re.Match[str]) -> str:
        return f"{found[0]}<title>{escape(marks[int(found['at'])].name)}</title>"

    return re.sub(rf'<g id="[^"]*{MARK_ID}(?P<at>\d+)">', named, svg)


def _drawn(
    marks: Sequence[Mark], directions: tuple[Axis, Axis], keys: Iterable[Key], layout: ScatterLayout
) -> Figure:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=layout.size_in)
        axes = figure.add_subplot()
        _scale(axes, marks, directions)
        _draw_requirements(axes, *directions)
        for path in dict.fromkeys(mark.path for mark in marks if mark.path):
            along = [mark for mark in marks if mark.path == path]
            xs, ys = [mark.x.value for mark in along], [mark.y.value for mark in along]
            axes.plot(xs, ys, color=along[0].colour, lw=0.9, alpha=0.6, zorder=2)
        # The chosen mark is drawn last, so that no other hides it.
        for at in sorted(range(len(marks)), key=lambda at: marks[at].is_chosen):
            _draw_mark(axes, marks[at], f"{MARK_ID}{at}")
        _draw_legend(figure, keys, layout.legend_columns)
        _write_labels(figure, axes, marks, directions, layout.line_length)
    return figure


def _scale(axes: Axes, marks: Sequence[Mark], directions: tuple[Axis, Axis]) -> None:
    across, up = directions
    axes.grid(visible=True, axis="both")
    axes.set_xlabel(across.title)
    axes.set_title(up.title, loc="left", fontsize=9, pad=8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(*_reach([mark.x for mark in marks], across.limit))
    axes.set_ylim(*_reach([mark.y for mark in marks], up.limit))
    for axis, direction in ((axes.xaxis, across), (axes.yaxis, up)):
        low, high = axis.get_view_interval()
        decades = log10(high / low)
        # Over less than two decades 1, 2 and 5 are ticks; over more than three they would crowd.
        steps = (1,) if decades > 3 else (1, 3) if decades > 2 else (1, 2, 5)
        axis.set_major_locator(LogLocator(subs=steps, numticks=20))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _, to=direction: to.write(value)))


def _reach(spans: Iterable[Span], limit: float | None) -> tuple[float, float]:
    """From the lowest to the highest end, the limit among them, with room for marks and labels."""
    ends = [end for span in spans for end in span.ends] + ([limit] if limit else [])
    low, high = min(ends), max(ends)
    room = max((high / low) ** 0.1, 1.2)
    return low / room, high * room


def _draw_requirements(axes: Axes, across: Axis, up: Axis) -> None:
    """Shade where a requirement is missed, with a dashed line at its limit."""
    line: dict[str, Any] = {"color": INK, "lw": 1.1, "ls": (0, (5, 3)), "zorder": 1.5}
    if across.limit is not None:
        axes.axvspan(across.limit, axes.get_xlim()[1], color=FORBIDDEN, lw=0, zorder=0)
        axes.axvline(across.limit, **line)
    if up.limit is not None:
        axes.axhspan(up.limit, axes.get_ylim()[1], color=FORBIDDEN, lw=0, zorder=0)
        axes.axhline(up.limit, **line)


def _draw_mark(axes: Axes, mark: Mark, name: str) -> None:
    x, y = mark.x, mark.y
    for xs, ys in ((x.ends, (y.value,) * 2), ((x.value,) * 2, y.ends)):
        axes.plot(xs, ys, color=BAR, lw=1, zorder=2.5, solid_capstyle="butt")
    # A filled mark has a white edge, which parts it from marks that it overlaps.
    axes.plot(
        *(x.value, y.value, mark.shape),
        ms=MARK_PT,
        mfc="white" if mark.is_hollow else mark.colour,
        mec=mark.colour if mark.is_hollow else "white",
        mew=1.2 if mark.is_hollow else 0.6,
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


def _write_labels(
    figure: Figure, axes: Axes, marks: Sequence[Mark], directions: tuple[Axis, Axis], length: int
) -> None:
    """Write what the marks are and what is required, the chosen mark's label first."""
    placer = _Placer(figure, axes)
    for mark in marks:
        x, y = mark.x.value, mark.y.value
        reach_pt = (RING_PT if mark.is_chosen else MARK_PT) / 2 + 1
        placer.keep_free((x, y), (x, y), reach_pt, weight=HEAVY)
        placer.keep_free((mark.x.ends[0], y), (mark.x.ends[1], y), 1)
        placer.keep_free((x, mark.y.ends[0]), (x, mark.y.ends[1]), 1)
    across, up = directions
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    if across.limit is not None:
        placer.keep_free((across.limit, bottom), (across.limit, top), 4, weight=HEAVY / 2)
    if up.limit is not None:
        placer.keep_free((left, up.limit), (right, up.limit), 4, weight=HEAVY / 2)
    for mark in sorted(marks, key=lambda one: not one.is_chosen):
        if mark.label:
            _write_label(axes, placer, mark, length)
    if across.limit is not None:
        heights = bottom * (top / bottom) ** np.linspace(0.8, 0.2, 7)
        places = [
            ((across.limit, y), (side, 0.0)) for side in (-5.0, 5.0) for y in heights.tolist()
        ]
        placer.place(across.requirement, places, fontsize=8.5, rotation=90)
    if up.limit is not None:
        widths = left * (right / left) ** np.linspace(0.15, 0.85, 8)
        places = [((x, up.limit), (0.0, side)) for side in (4.0, -4.0) for x in widths.tolist()]
        placer.place(up.requirement, places, fontsize=8.5)


def _write_label(axes: Axes, placer: _Placer, mark: Mark, length: int) -> None:
    here = (mark.x.value, mark.y.value)
    style = (
        {"fontsize": 9, "fontweight": "bold", "color": INK}
        if mark.is_chosen
        else {"fontsize": 8.5, "color": QUIET}
    )
    text = "\n".join(_wrapped(line, length) for line in mark.label)
    places = [(here, offset) for offset in OFFSETS_PT]
    offset = placer.place(text, places, at_any_cost=mark.is_chosen, **style)
    if offset and hypot(*offset) > NEAR_PT:
        line = {"arrowstyle": "-", "lw": 0.6, "color": QUIET, "shrinkA": 0, "shrinkB": 6}
        axes.annotate("", here, offset, textcoords="offset points", arrowprops=line)


def _wrapped(text: str, length: int) -> str:
    """The text in lines of at most that many letters, broken after commas."""
    first, *parts = text.split(", ")
    lines = [first]
    for part in parts:
        if len(lines[-1]) + len(part) + 2 > length:
            lines[-1] += ","
            lines.append(part)
        else:
            lines[-1] += f", {part}"
    return "\n".join(lines)


class _Placer:
    """Puts texts where they cover nothing, or else the least.

    What a text should not cover: whatever is kept free, earlier texts, and what lies outside the
    axes.  Boxes are their lower left and upper right corners, in pixels.
    """

    def __init__(self, figure: Figure, axes: Axes) -> None:
        figure.draw_without_rendering()  # the layout decides only now where the axes are
        self._axes = axes
        self._pixels = figure.dpi / 72
        self._within: Floats = axes.get_window_extent().get_points()
        self._taken: list[tuple[Floats, float]] = []

    def keep_free(self, low: Point, high: Point, margin_pt: float, weight: float = 1) -> None:
        """Keep texts off a rectangle, given in the axes' values, and off a margin around it."""
        corners = self._axes.transData.transform([low, high])
        margin = margin_pt * self._pixels
        self._taken.append((corners + np.array([[-margin], [margin]]), weight))

    def place(
        self,
        text: str,
        places: Iterable[tuple[Point, Point]],
        *,
        at_any_cost: bool = True,
        **style: Any,
    ) -> Point | None:
        """Write a text at the best place; each is a point and the text's offset from it in points.

        Returns:
            The offset of the place that was taken; None where the text would cover too much.
        """
        written = self._axes.text(
            *(0, 0, text), transform=self._axes.transAxes, ha="left", va="bottom", zorder=6, **style
        )
        # Else the layout would make room for the text and move what was placed beside it.
        written.set_in_layout(False)
        size = np.array(written.get_window_extent().size)
        boxes = [(self._box(point, offset, size), offset) for point, offset in places]
        covered = [self._covered(box) for box, _ in boxes]
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

    def _box(self, point: Point, offset: Point, size: Floats) -> Floats:
        here = self._axes.transData.transform(point) + np.array(offset) * self._pixels
        low = here - size * (1 - np.sign(offset)) / 2
        return np.array([low, low + size])

    def _covered(self, box: Floats) -> float:
        """How many square pixels are covered, by weight; those outside the axes are heavy."""
        boxes = np.array([self._within, *(other for other, _ in self._taken)])
        weights = np.array([weight for _, weight in self._taken])
        low, high = np.maximum(boxes[:, 0], box[0]), np.minimum(boxes[:, 1], box[1])
        inside, *shared = np.clip(high - low, 0, None).prod(axis=1)
        outside = (box[1] - box[0]).prod() - inside
        return round(float(weights @ shared + HEAVY * outside), 3)
