"""How pictures look: colours, lines, letters.

Colours are Okabe and Ito's, which colour-blind readers tell apart; whoever draws gives the same
meaning to patterns and positions, so that a black-and-white print carries it too.
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
"""For ``matplotlib.rc_context``.  Text stays text."""
