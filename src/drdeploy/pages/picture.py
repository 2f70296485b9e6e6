"""A figure as SVG inside a page: the same figure gives the same bytes."""

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
"""Metadata would name vocabularies elsewhere, and the hour."""


@dataclass(frozen=True)
class Picture:
    """One figure.

    Attributes:
        name: File name without its ending.
        title: What it shows.
        description: The same for who cannot see it.
        svg: The picture, ids prefixed with the name so that several fit into one page.
    """

    name: str
    title: str
    description: str
    svg: str


def picture_of(figure: Figure, name: str, title: str, description: str) -> Picture:
    """Draw a figure; ``name`` may hold anything, the picture's is safe for a file."""
    safe = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    with mpl.rc_context(STYLE):
        svg = io.StringIO()
        figure.savefig(svg, format="svg", transparent=True, metadata=NOTHING)
    return Picture(safe, title, description, _for_a_page(svg.getvalue(), safe))


def _for_a_page(svg: str, prefix: str) -> str:
    """Drop the XML prologue and the fixed size, make ids unique to this figure."""
    picture = svg[svg.index("<svg") :]
    picture = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", picture, count=1)
    picture = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", picture, count=1)
    picture = re.sub(r' id="([^"]+)"', rf' id="{prefix}-\1"', picture)
    picture = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', picture)
    return re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", picture)
