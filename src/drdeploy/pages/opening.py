"""The picture that a page opens with, in a layout for each width of the screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from drdeploy.pages.page import environment_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.pages.picture import Picture


@dataclass(frozen=True)
class Opening:
    """What stands at the top of a page.

    Attributes:
        heading: What the picture says, in a few words.
        context: Under which conditions it holds; empty for none.
        caption: How to read the picture.
        pictures: The same picture by layout, see :data:`drdeploy.pages.scatter.LAYOUTS`.
    """

    heading: str
    context: str
    caption: str
    pictures: Mapping[str, Picture]

    def render(self) -> Markup:
        """One ``<section id="picture">``; ``page.css`` shows the layout that fits the screen."""
        template = environment_for("drdeploy.pages").get_template("opening.html.j2")
        return Markup(template.render(opening=self))  # noqa: S704 - Jinja has escaped it
