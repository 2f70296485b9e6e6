"""Render a package's templates with the style sheet that all pages share."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.pages.picture import Picture

SHARED = "drdeploy.pages"
"""The package whose templates every other package may include, for example ``page.css``."""


def create_template_environment(package: str) -> jinja2.Environment:
    """Return a Jinja environment with the templates of a package and those of ``drdeploy.pages``.

    A name that is not defined in a template raises an error. Text is escaped, unless it is marked
    as HTML.

    Args:
        package: Name of a package with a folder ``templates``.
    """

    def read_template_source(name: str) -> str | None:
        for owner in (package, SHARED):
            file = files(owner) / "templates" / name
            if file.is_file():
                return file.read_text("utf-8")
        return None

    return jinja2.Environment(
        loader=jinja2.FunctionLoader(read_template_source),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )


def format_table_cell(value: str, interval: str, reason: str, *below: str) -> Markup:
    """Format a cell of a table: a number, and below it the interval or why there is none.

    Args:
        value: The number with its unit.
        interval: The interval of the number; empty if there is none.
        reason: Why there is no interval.
        below: Further lines in small type.
    """
    qualified = "" if interval else Markup('<small class="why">{}</small>').format(reason)
    lines = Markup().join(Markup("<small>{}</small>").format(x) for x in (interval, *below) if x)
    return Markup("<b>{}</b>{}{}").format(value, qualified, lines)


@dataclass(frozen=True)
class Opening:
    """The picture and text at the top of a page.

    Attributes:
        heading: What the picture says, in a few words.
        context: Conditions under which the heading is true; empty for none.
        caption: How to read the picture.
        pictures: The picture in each layout of :data:`drdeploy.pages.scatter.LAYOUTS`.
    """

    heading: str
    context: str
    caption: str
    pictures: Mapping[str, Picture]

    def render_html_section(self) -> Markup:
        """Return a ``<section id="picture">`` that contains the picture in every layout."""
        template = create_template_environment("drdeploy.pages").get_template("opening.html.j2")
        return Markup(template.render(opening=self))  # noqa: S704 - Jinja has escaped it
