"""Sort studies into the three parts of the worklist page, and put probabilities into words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.clinic.records.worklist_queries import count_pages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.clinic.records.worklist import ListedPage, ListedStudy

_WORDS = (
    (0.99, "virtually certain"),
    (0.90, "very likely"),
    (0.66, "likely"),
    (0.33, "about as likely as not"),
    (0.10, "unlikely"),
    (0.00, "very unlikely"),
)
"""Descriptions of probabilities, each with the smallest probability for which it is used. The scale
is that of the Intergovernmental Panel on Climate Change (guidance note on uncertainties, 2010). The
scale's word "exceptionally unlikely" is left out.
"""


@dataclass(frozen=True)
class WorklistView:
    """The studies on one page of the list: those graded, ungradable, and still waiting."""

    graded: list[ListedStudy]
    ungradable: list[ListedStudy]
    waiting: list[ListedStudy]
    matching: int
    page: int
    pages: int
    counts: Mapping[str, int]


def make_worklist_view(page: ListedPage) -> WorklistView:
    """Divide a page of the list into graded, ungradable and waiting studies."""
    return WorklistView(
        graded=[one for one in page.studies if one.state == "graded" and not one.is_ungradable],
        ungradable=[one for one in page.studies if one.is_ungradable],
        waiting=[one for one in page.studies if one.state == "waiting"],
        matching=page.matching,
        page=page.number,
        pages=count_pages(page.matching),
        counts=page.counts,
    )


def describe_probability_in_words(share: float) -> str:
    """Return a probability in plain words."""
    return next(word for least, word in _WORDS if share >= least)
