"""Read one page of the worklist; the database sorts, filters and counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, func, select, tuple_

from drdeploy.clinic.records.schema import STUDIES
from drdeploy.clinic.records.urgency import WAITING_FROM
from drdeploy.clinic.referral_rules import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

STUDIES_PER_PAGE = 50
SHOWN = ("open", "decided", "all")
"""The studies that the list can show: those without a decision, those with a decision, or all."""
_ORDER = (STUDIES.c.urgency, STUDIES.c.last_received_s, STUDIES.c.id)


@dataclass(frozen=True)
class WorklistFilter:
    """Which studies a person chose to see, and which page of the list.

    Attributes:
        shown: ``open`` for studies without a decision, ``decided``, or ``all``.
        outcome: The outcome of the studies to show; empty for any outcome.
        search: Text that the patient numbers must contain, in upper or lower case; empty for all
            patients.
        page: The page of the list, counted from 1.
    """

    shown: str = "open"
    outcome: str = ""
    search: str = ""
    page: int = 1

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> WorklistFilter:
        """Read the filter from the parameters of a URL; unknown values are ignored."""
        shown, outcome = query.get("show", ""), query.get("outcome", "")
        page = query.get("page", "1")
        return cls(
            shown if shown in SHOWN else "open",
            outcome if outcome in OUTCOMES else "",
            # PostgreSQL refuses text that contains NUL.
            query.get("search", "").replace("\0", "").strip()[:64],
            min(max(int(page), 1), 100_000) if page.isdecimal() and len(page) < 7 else 1,
        )

    def make_conditions(self) -> list[ColumnElement[bool]]:
        """Return the SQL conditions that select the studies to show."""
        conditions: list[ColumnElement[bool]] = []
        if self.shown != "all":
            conditions.append(STUDIES.c.is_decided.is_(self.shown == "decided"))
        if self.outcome:
            conditions.append(STUDIES.c.final_outcome == self.outcome)
        if self.search:
            folded = self.search.casefold()
            conditions.append(STUDIES.c.folded_number.contains(folded, autoescape=True))
        return conditions


def list_study_numbers_of_page(connection: Connection, chosen: WorklistFilter) -> list[int]:
    """Return the study numbers on a page of the list, the most urgent study first."""
    rows = select(STUDIES.c.id).where(*chosen.make_conditions()).order_by(*_ORDER)
    page = rows.limit(STUDIES_PER_PAGE).offset((chosen.page - 1) * STUDIES_PER_PAGE)
    return list(connection.execute(page).scalars())


def count_matching_studies(connection: Connection, chosen: WorklistFilter) -> int:
    """Return how many studies the filter accepts, on all pages."""
    rows = select(func.count()).select_from(STUDIES).where(*chosen.make_conditions())
    return int(connection.execute(rows).scalar_one())


def count_pages(matching: int) -> int:
    """Return how many pages the list has; an empty list has one."""
    return max(1, -(-matching // STUDIES_PER_PAGE))


def count_studies_by_state(connection: Connection) -> dict[str, int]:
    """Return four counts: the waiting, the graded, the failed and the decided studies."""
    counts = dict.fromkeys(("waiting", "graded", "failed", "decided"), 0)
    grouped = select(STUDIES.c.state, STUDIES.c.is_decided, func.count()).group_by(
        STUDIES.c.state, STUDIES.c.is_decided
    )
    for state, is_decided, count in connection.execute(grouped):
        counts[state] += count
        counts["decided"] += count if is_decided else 0
    return counts


def find_neighbours_of_study(connection: Connection, number: int) -> tuple[int | None, int | None]:
    """Return the numbers of the nearest undecided studies before and after a study in the list.

    Studies that wait to be graded are skipped.
    """
    place = connection.execute(select(*_ORDER).where(STUDIES.c.id == number)).one_or_none()
    if place is None:
        return None, None
    key, here = tuple_(*_ORDER), tuple_(*place)
    undecided = select(STUDIES.c.id).where(
        STUDIES.c.is_decided.is_(False), STUDIES.c.urgency < WAITING_FROM
    )
    before = undecided.where(key < here).order_by(*(one.desc() for one in _ORDER)).limit(1)
    after = undecided.where(key > here).order_by(*_ORDER).limit(1)

    def read_study_number(rows: Any) -> int | None:
        found: int | None = connection.execute(rows).scalar_one_or_none()
        return found

    return read_study_number(before), read_study_number(after)
