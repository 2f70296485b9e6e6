"""The look of all pictures: colours, lines and letters.

The colours are those of Okabe and Ito, which colour-blind readers can distinguish.  Patterns,
shapes and positions must repeat the information of the colours, so that a black-and-white print
loses nothing.
"""

from __future__ import annotations

from typing import Any

BLUE, ORANGE, GREEN, SKY, PURPLE, GREY = (
    *("#0072B2", "#E69F00", "#009E73", "#56B4E9", "#CC79A7"),
    "#767676",
)
INK, PALE = "#111111", "#E3E3E3"

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "drdeploy",
    # A name with two dollar signs is not a formula.
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": PALE,
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.5,
    "figure.constrained_layout.use": True,
}
"""Settings for ``matplotlib.rc_context``.  Text stays text in the SVG and can be searched."""
