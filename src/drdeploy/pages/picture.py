"""Turn a Matplotlib figure into SVG for a page; the same figure always gives the same bytes."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib as mpl

from drdeploy.files import write_file_atomically
from drdeploy.pages.style import STYLE

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

NOTHING = dict.fromkeys(("Creator", "Date", "Format", "Type"))
"""Settings that leave the metadata out of an SVG. The metadata holds the time, which would make
every page different, and web addresses, which no page needs.
"""


@dataclass(frozen=True)
class Picture:
    """A picture for a page.

    Attributes:
        name: File name without its ending.
        title: What the picture shows, in a few words.
        description: What the picture shows, in sentences for readers who cannot see it.
        svg: The SVG text. Every id in the text begins with the picture's name, so that a page can
            hold several pictures.
    """

    name: str
    title: str
    description: str
    svg: str

    def write_svg_file(self, folder: Path) -> None:
        """Write the picture as ``NAME.svg``."""
        write_file_atomically(folder / f"{self.name}.svg", self.svg)


def picture_from_figure(figure: Figure, name: str, title: str, description: str) -> Picture:
    """Make a picture from a Matplotlib figure, with a name that is safe for a file."""
    safe = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    with mpl.rc_context(STYLE):
        svg = io.StringIO()
        figure.savefig(svg, format="svg", transparent=True, metadata=NOTHING)
    return Picture(safe, title, description, _prepare_svg_for_page(svg.getvalue(), safe))


def _prepare_svg_for_page(svg: str, prefix: str) -> str:
    """Remove an SVG's XML prologue and fixed size, and put the picture's name before each id."""
    picture = svg[svg.index("<svg") :]
    picture = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", picture, count=1)
    picture = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", picture, count=1)
    picture = re.sub(r' id="([^"]+)"', rf' id="{prefix}-\1"', picture)
    picture = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', picture)
    return re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", picture)
