"""Turn a Matplotlib figure into SVG for a page; the same figure gives the same bytes."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib as mpl

from drdeploy.pages.style import STYLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOTHING = dict.fromkeys(("Creator", "Date", "Format", "Type"))
"""No metadata: it would name web addresses and the hour, so that no two pages were the same."""


@dataclass(frozen=True)
class Picture:
    """A picture for a page.

    Attributes:
        name: File name without its ending.
        title: What it shows.
        description: The same in words, for readers who cannot see it.
        svg: The picture.  Its ids begin with the name, so that several fit into one page.
    """

    name: str
    title: str
    description: str
    svg: str


def picture_of(figure: Figure, name: str, title: str, description: str) -> Picture:
    """Draw a figure.

    Args:
        figure: From Matplotlib.
        name: Any text; the picture's name is made safe for a file.
        title: What it shows.
        description: The same in words.
    """
    safe = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    with mpl.rc_context(STYLE):
        svg = io.StringIO()
        figure.savefig(svg, format="svg", transparent=True, metadata=NOTHING)
    return Picture(safe, title, description, _for_a_page(svg.getvalue(), safe))


def _for_a_page(svg: str, prefix: str) -> str:
    """Drop the XML prologue and the fixed size, and make the ids unique to this picture."""
    picture = svg[svg.index("<svg") :]
    picture = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", picture, count=1)
    picture = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", picture, count=1)
    picture = re.sub(r' id="([^"]+)"', rf' id="{prefix}-\1"', picture)
    picture = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', picture)
    return re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", picture)
