"""Box plots with every row, the mean and one standard deviation, as the 2023 study drew them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from drdeploy.pages.style import BLUE, INK, ORANGE, PURPLE, STYLE
from drdeploy.statistics import notation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

COLOUR_OF_START = {"warm": ORANGE, "cold": BLUE}
SIZE_IN = (4.6, 2.8)
FEW_BARS = 3
"""With fewer bars in a panel each is drawn narrower, or they would look like walls."""
EDGE = "#333333"


@dataclass(frozen=True, eq=False)
class Box:
    """One configuration in a box plot.

    Attributes:
        seconds: The measured times; empty where only a printed mean is known.
        printed_mean_s: A mean known only from print, drawn as a hollow diamond.
    """

    label: str
    seconds: Floats
    printed_mean_s: float | None = None


def draw_boxes(boxes: Sequence[Box], quantity: str, colour: str) -> Figure:
    """Draw boxes side by side, on an axis that starts at zero.

    The box holds the middle half of the rows and its line is their median; whiskers reach one
    and a half box lengths; every row is a dot; the black diamond beside is the mean with one
    standard deviation (n - 1).
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=SIZE_IN)
        axes = figure.add_subplot()
        unit, factor = notation.unit_of_time(max(_middle(box) for box in boxes))
        for position, box in enumerate(boxes, start=1):
            if box.seconds.size:
                _draw_box(axes, position, box.seconds * factor, colour, width_factor(len(boxes)))
            if box.printed_mean_s is not None:
                _draw_printed(axes, position, box.printed_mean_s * factor)
        axes.set_xticks(range(1, len(boxes) + 1), [box.label for box in boxes])
        axes.set_xlim(0.4, len(boxes) + 0.85)
        axes.margins(y=0.12)
        axes.set_ylim(bottom=0)
        axes.set_ylabel(f"{quantity} ({unit})")
    return figure


def width_factor(count: int) -> float:
    """Share of the usual width that each of so many bars has."""
    return min(1.0, count / FEW_BARS)


def _middle(box: Box) -> float:
    return float(np.median(box.seconds)) if box.seconds.size else (box.printed_mean_s or 0.0)


def _draw_box(axes: Axes, position: int, sample: Floats, colour: str, narrowing: float) -> None:
    axes.boxplot(
        [sample],
        positions=[position],
        widths=0.42 * narrowing,
        showfliers=False,  # every row is drawn as a dot below, outliers among them
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


def _draw_printed(axes: Axes, position: int, mean: float) -> None:
    axes.plot(position, mean, "D", ms=6, mfc="white", mec=PURPLE, mew=1.4)
    axes.annotate(
        "printed",
        (position, mean),
        xytext=(0, -13),
        textcoords="offset points",
        ha="center",
        fontsize=8,
    )
