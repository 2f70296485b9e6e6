"""Render a package's templates with the style sheet that all pages share."""

from __future__ import annotations

from importlib.resources import files

import jinja2
from markupsafe import Markup

SHARED = "drdeploy.pages"
"""The package whose templates every other package may include: ``page.css`` for example."""


def environment_for(package: str) -> jinja2.Environment:
    """Return a Jinja environment with the templates of a package and the shared ones.

    Undefined names are errors, and whatever is not markup is escaped.

    Args:
        package: Has a folder ``templates``.
    """

    def source(name: str) -> str | None:
        for owner in (package, SHARED):
            file = files(owner) / "templates" / name
            if file.is_file():
                return file.read_text("utf-8")
        return None

    return jinja2.Environment(
        loader=jinja2.FunctionLoader(source), autoescape=True, undefined=jinja2.StrictUndefined
    )


def cell(value: str, interval: str, reason: str, *below: str) -> Markup:
    """Format a figure for a table: the value, below it the interval or why there is none.

    Args:
        value: With its unit.
        interval: Empty if there is none.
        reason: Why there is no interval.
        below: Further lines in small type.
    """
    qualified = "" if interval else Markup('<small class="why">{}</small>').format(reason)
    lines = Markup().join(Markup("<small>{}</small>").format(x) for x in (interval, *below) if x)
    return Markup("<b>{}</b>{}{}").format(value, qualified, lines)
