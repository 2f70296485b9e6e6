"""The decision as a page of its own, or as the first section of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from drdeploy.pages.page import environment_for
from drdeploy.statistics.notation import number
from drdeploy.study.recommendation import wording
from drdeploy.study.recommendation.picture import opening_of
from drdeploy.version import VERSION

if TYPE_CHECKING:
    from datetime import datetime

    import jinja2

    from drdeploy.study.recommendation.decision import Decision

MOST_RUNNERS_UP, MOST_EXCLUDED = 5, 6
"""Options that are shown at once; the others are behind a disclosure triangle."""


def section(decision: Decision) -> Markup:
    """The decision as one ``<section id="decision">``, which ``page.css`` lays out."""
    template = _environment().get_template("decision-section.html.j2")
    text = template.render(
        decision=decision, most_runners_up=MOST_RUNNERS_UP, most_excluded=MOST_EXCLUDED
    )
    return Markup(text)  # noqa: S704 - Jinja has escaped it


def page(decision: Decision, *, written_at: datetime) -> str:
    """The decision as a page that refers to nothing outside itself."""
    opening = opening_of(decision)
    return (
        _environment()
        .get_template("decision.html.j2")
        .render(
            opening=opening.render() if opening else "",
            section=section(decision),
            decision=decision,
            version=VERSION,
            written_at=written_at.strftime("%Y-%m-%d %H:%M UTC"),
        )
    )


def _environment() -> jinja2.Environment:
    environment = environment_for("drdeploy.study.recommendation")
    environment.filters |= {
        "usd": wording.usd,
        "seconds": wording.seconds,
        "number": number,
        "required": wording.requirements_sentence,
        "best_policy": wording.best_policy_sentence,
    }
    return environment
