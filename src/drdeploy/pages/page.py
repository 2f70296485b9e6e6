"""Templates of a package, rendered with what all pages share."""

from __future__ import annotations

from importlib.resources import files

import jinja2
from markupsafe import Markup

SHARED = "drdeploy.pages"
"""Where ``page.css`` is."""


def environment_for(package: str) -> jinja2.Environment:
    """Where the templates of a package are found, and ``page.css`` beside them.

    Nothing undefined is rendered, and what is not markup is escaped.

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
    """A figure in a table: the value, below it the interval or else the reason for none."""
    qualified = "" if interval else Markup('<small class="why">{}</small>').format(reason)
    lines = Markup().join(Markup("<small>{}</small>").format(x) for x in (interval, *below) if x)
    return Markup("<b>{}</b>{}{}").format(value, qualified, lines)
