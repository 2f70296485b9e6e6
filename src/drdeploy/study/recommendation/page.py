"""Render the decision as a page, or as the first section of the report."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from markupsafe import Markup

from drdeploy.pages.page import create_template_environment
from drdeploy.statistics.notation import format_number
from drdeploy.study.recommendation import wording
from drdeploy.study.recommendation.picture import make_decision_opening
from drdeploy.version import VERSION

if TYPE_CHECKING:
    from datetime import datetime

    import jinja2

    from drdeploy.study.recommendation.decision import Decision
    from drdeploy.study.recommendation.decision_grid import DecisionGrid

MOST_RUNNERS_UP, MOST_EXCLUDED = 5, 6
"""At first, the page shows at most five runners-up and at most six excluded options. A click shows
the others."""


def render_decision_section(decision: Decision) -> Markup:
    """Render the decision as the HTML element ``<section id="decision">``."""
    template = _make_template_environment().get_template("decision-section.html.j2")
    text = template.render(
        decision=decision, most_runners_up=MOST_RUNNERS_UP, most_excluded=MOST_EXCLUDED
    )
    return Markup(text)  # noqa: S704 - Jinja has escaped it


def render_decision_page(
    decision: Decision, *, written_at: datetime, grid: DecisionGrid | None = None
) -> str:
    """Render the decision as a complete HTML page that needs no other file.

    Args:
        decision: The decision.
        written_at: The time on the page.
        grid: All options at several volumes. With the grid, a reader of the page can change the
            volume and some requirements, and see the new decision.
    """
    opening = make_decision_opening(decision)
    return (
        _make_template_environment()
        .get_template("decision.html.j2")
        .render(
            opening=opening.render_html_section() if opening else "",
            section=render_decision_section(decision),
            grid=_embed_json(grid.convert_to_json()) if grid else "",
            decision=decision,
            version=VERSION,
            written_at=written_at.strftime("%Y-%m-%d %H:%M UTC"),
        )
    )


def _embed_json(document: object) -> Markup:
    """Return JSON that is safe inside a ``<script>`` element, even if a name contains HTML."""
    text = json.dumps(document, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - no character of it ends the element


def _make_template_environment() -> jinja2.Environment:
    environment = create_template_environment("drdeploy.study.recommendation")
    environment.filters |= {
        "usd": wording.format_usd,
        "seconds": wording.format_seconds,
        "number": format_number,
        "required": wording.write_requirements_in_one_line,
        "best_policy": wording.write_best_policy_sentence,
    }
    return environment
