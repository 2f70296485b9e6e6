"""Templates of a package, rendered with what all pages share."""

from __future__ import annotations

from importlib.resources import files

import jinja2

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
