"""The studies as the worklist page shows them, and what people decide about them.

This module returns data that identify patients. Its callers therefore write into the audit log who
saw them, with :meth:`Worklist.record_view`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import insert, select, update

from drdeploy.clinic.records.audit import append_audit_entry
from drdeploy.clinic.records.database import ONLY_READS
from drdeploy.clinic.records.deliveries import list_results_to_decide, queue_decided_results
from drdeploy.clinic.records.schema import AUDIT, DECISIONS, PHOTOGRAPHS, RESULTS, STUDIES
from drdeploy.clinic.records.urgency import compute_urgency_columns
from drdeploy.clinic.records.worklist_queries import (
    count_matching_studies,
    count_pages,
    count_studies_by_state,
    find_neighbours_of_study,
    list_study_numbers_of_page,
)
from drdeploy.errors import StudyChanged

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Engine, Select

    from drdeploy.clinic.records.worklist_queries import WorklistFilter

DecisionKind = Literal["accept", "overrule", "refer"]


@dataclass(frozen=True)
class ReferralDecision:
    """A person's decision about a study.

    Attributes:
        kind: ``accept`` for the suggested outcome, ``overrule`` for another outcome or grade, or
            ``refer`` to refer the patient.
        outcome: The outcome of the patient, for example ``refer``.
        grades: The grade from 0 to 4 that the person gave to an eye, or None for ungradable. If an
            eye is missing here, the person kept the grader's grade.
        reason: Why the person decided so; may be empty.
        who: The person, as named in the audit log.
        decided_s: The time of the decision, in seconds since 1970.
    """

    kind: DecisionKind
    outcome: str
    grades: Mapping[str, int | None]
    reason: str = field(repr=False)
    who: str
    decided_s: float


@dataclass(frozen=True)
class ListedStudy:
    """A study in the worklist.

    Attributes:
        number: The study's number in the records.
        identity: The text that identifies the patient in the records.
        patient: The patient's number; empty if the photographs have none.
        issuer: The issuer of the number; empty if the photographs name none.
        state: ``waiting``, ``graded`` or ``failed``.
        outcome: The outcome that the grader suggests; empty before grading.
        eyes: The grades of each eye.
        reason: The reason why the study could not be graded.
        received_s: When the last photograph arrived.
        graded_s: When the study was graded; 0 before.
        decision: A person's decision about the study, or None. If the study is graded again, the
            decision no longer counts.
    """

    number: int
    identity: str = field(repr=False)
    patient: str = field(repr=False)
    issuer: str = field(repr=False)
    state: str
    outcome: str
    eyes: Mapping[str, Mapping[str, Any]]
    reason: str
    received_s: float
    graded_s: float
    decision: ReferralDecision | None

    @property
    def final_outcome(self) -> str:
        """The outcome that a person decided on, or the suggested outcome if nobody has decided."""
        return self.outcome if self.decision is None else self.decision.outcome

    @property
    def is_ungradable(self) -> bool:
        """Whether no photograph of either eye has a grade."""
        return self.state == "failed" or (
            self.state == "graded" and not any(eye["gradable"] for eye in self.eyes.values())
        )


@dataclass(frozen=True)
class ListedPage:
    """A page of the worklist.

    Attributes:
        studies: The studies on the page, the most urgent first.
        number: The number of the page, counted from 1. If the filter asks for a page after the
            last, this is the last page.
        matching: How many studies the filter accepts, on all pages.
        counts: How many studies wait, are graded, have failed and are decided.
    """

    studies: list[ListedStudy]
    number: int
    matching: int
    counts: Mapping[str, int]


@dataclass(frozen=True)
class ExportedStudy:
    """A study as it was when somebody exported it.

    Attributes:
        study: The study.
        result: The DICOM file or FHIR bundle that was exported; empty if there is none.
    """

    study: ListedStudy
    result: bytes = field(repr=False)


ResultDecision = Callable[[str, bytes, ListedStudy, float], bytes]
"""A function that adds a decision to a result. Its arguments are the kind and the content of the
result, the study, and the time when the decision was made or undone.
"""


class Worklist:
    """Reads studies for the worklist page, and records what people do on the page."""

    def __init__(self, engine: Engine, name_of_study: Callable[[str, str], str]) -> None:
        self._engine = engine
        self._name_of_study = name_of_study

    def _open_read_only_connection(self) -> Connection:
        return self._engine.connect().execution_options(**{ONLY_READS: True})

    def list_studies(self, chosen: WorklistFilter | None = None) -> list[ListedStudy]:
        """Return the studies that a filter accepts, on all pages, in the order of their arrival.

        Args:
            chosen: The filter; None for every study.
        """
        conditions = [] if chosen is None else chosen.make_conditions()
        with self._open_read_only_connection() as connection:
            return _load_studies(connection, conditions)

    def load_page(self, chosen: WorklistFilter) -> ListedPage:
        """Return a page of the worklist, the most urgent studies first."""
        with self._open_read_only_connection() as connection:
            matching = count_matching_studies(connection, chosen)
            # A decision on the only study of the last page may remove that page. Then show the page
            # before.
            chosen = replace(chosen, page=min(chosen.page, count_pages(matching)))
            numbers = list_study_numbers_of_page(connection, chosen)
            found = {
                one.number: one for one in _load_studies(connection, [STUDIES.c.id.in_(numbers)])
            }
            return ListedPage(
                [found[number] for number in numbers if number in found],
                chosen.page,
                matching,
                count_studies_by_state(connection),
            )

    def find_study(self, number: int) -> ListedStudy | None:
        """Return a study, or None if it no longer exists."""
        with self._open_read_only_connection() as connection:
            return next(iter(_load_studies(connection, [STUDIES.c.id == number])), None)

    def find_neighbours_of_study(self, number: int) -> tuple[int | None, int | None]:
        """Return the numbers of the nearest undecided studies before and after a study in the list.

        Studies that wait to be graded are skipped.
        """
        with self._open_read_only_connection() as connection:
            return find_neighbours_of_study(connection, number)

    def list_photographs(self, number: int) -> dict[int, str]:
        """Return the SHA-256 of each photograph of a study, by the photograph's number."""
        rows = select(PHOTOGRAPHS.c.id, PHOTOGRAPHS.c.sha256).order_by(PHOTOGRAPHS.c.id)
        with self._open_read_only_connection() as connection:
            found = connection.execute(rows.where(PHOTOGRAPHS.c.study_id == number)).all()
        return dict(map(tuple, found))

    def export_study(
        self, number: int, who: str, action: str, kind: str = ""
    ) -> ExportedStudy | None:
        """Return a graded study for an export, and write into the audit log who exports it.

        Everything is read in one transaction. Even if the study is graded again at the same time,
        the returned grading and decision therefore belong together.

        Args:
            number: The study's number.
            who: The person who exports the study.
            action: The name of the export in the audit log.
            kind: The result that is exported: ``report``, ``page`` or ``bundle``; empty for none.

        Returns:
            None if the study no longer exists, or has not been graded.
        """
        result = select(RESULTS.c.content).where(
            RESULTS.c.study_id == number, RESULTS.c.kind == kind
        )
        mine = STUDIES.c.id == number
        with self._engine.begin() as connection:
            # The lock on the row keeps others from grading or erasing the study. SQLite needs no
            # such lock, because it has only one writer.
            locked = select(STUDIES.c.id).where(mine, STUDIES.c.state == "graded").with_for_update()
            if connection.execute(locked).first() is None:
                return None
            (study,) = _load_studies(connection, [mine])
            content: bytes = connection.execute(result).scalar_one_or_none() or b""
            self._append_entry(connection, who, action, number)
        return ExportedStudy(study, content)

    def record_view(self, who: str, action: str, number: int | None = None) -> None:
        """Record that a person saw a study, or the whole list."""
        with self._engine.begin() as connection:
            self._append_entry(connection, who, action, number)

    def record_sign_in(self, who: str, action: str, details: str = "") -> None:
        """Record that somebody signed in or out, or failed to sign in."""
        with self._engine.begin() as connection:
            append_audit_entry(
                connection, who=who, action=action, subject="worklist page", details=details
            )

    def record_decision(
        self,
        study: ListedStudy,
        *,
        who: str,
        kind: DecisionKind,
        outcome: str,
        grades: Mapping[str, int | None],
        reason: str,
        decide_result: ResultDecision | None = None,
    ) -> None:
        """Record a decision about a study, and queue the results that state the decision.

        The reason may name the patient. It is therefore not in the audit log, and is erased with
        the study.

        Args:
            study: The study.
            who: The person who decides.
            kind: Whether the person accepts the suggested outcome, overrules it, or refers the
                patient.
            outcome: The outcome of the patient, for example ``refer``.
            grades: The person's own grades by eye.
            reason: The person's reason.
            decide_result: Makes new results for the destinations that got earlier ones; None means
                that nothing is sent.

        Raises:
            StudyChanged: Since the person opened the study, it was graded again or erased, or
                another person decided.
        """
        decision = ReferralDecision(kind, outcome, grades, reason, who, time.time())
        results = self._decide_results(
            replace(study, decision=decision), decision.decided_s, decide_result
        )
        with self._engine.begin() as connection:
            _lock_study_if_unchanged(connection, study)
            if connection.execute(_find_newest_decision(study.number)).first() is not None:
                raise StudyChanged
            connection.execute(
                insert(DECISIONS).values(
                    study_id=study.number, graded_s=study.graded_s, kind=kind, outcome=outcome,
                    grades=dict(grades), reason=reason, who=who, decided_s=decision.decided_s,
                )
            )  # fmt: skip
            named = [f"{eye} eye {'ungradable' if n is None else n}" for eye, n in grades.items()]
            details = ", ".join([f"{study.outcome} becomes {outcome}", *named])
            self._update_urgency_of_study(connection, study.number, outcome)
            queue_decided_results(connection, study.number, results)
            self._append_entry(connection, who, kind, study.number, details)

    def _decide_results(
        self, study: ListedStudy, changed_s: float, decide_result: ResultDecision | None
    ) -> dict[str, bytes]:
        """Make new results, which state a decision.

        The results are made before the transaction of the decision begins, because other programs
        could not write to the database during that transaction.
        """
        if decide_result is None:
            return {}
        with self._open_read_only_connection() as connection:
            earlier = list_results_to_decide(connection, study.number)
        return {
            kind: decide_result(kind, content, study, changed_s)
            for kind, content in earlier.items()
        }

    def undo_decision(
        self,
        number: int,
        who: str,
        decided_s: float,
        decide_result: ResultDecision | None = None,
    ) -> None:
        """Undo a decision about a study, and queue new results that say that it was undone.

        Args:
            number: The study's number.
            who: The person who undoes the decision.
            decided_s: When the decision was made, as shown on the page that the person saw.
            decide_result: Makes new results for the destinations that got earlier ones; None means
                that nothing is sent.

        Raises:
            StudyChanged: There is a different decision now, or the study waits to be graded again.
        """
        study, now = self.find_study(number), time.time()
        # A study that waits to be graded has no decision. Its results would be empty.
        if study is None or study.decision is None or study.decision.decided_s != decided_s:
            raise StudyChanged
        results = self._decide_results(replace(study, decision=None), now, decide_result)
        with self._engine.begin() as connection:
            _lock_study_if_unchanged(connection, study)
            found = connection.execute(_find_newest_decision(number)).one_or_none()
            if found is None or found.decided_s != decided_s:
                raise StudyChanged
            connection.execute(
                update(DECISIONS).where(DECISIONS.c.id == found.id).values(undone_s=now)
            )
            self._update_urgency_of_study(connection, number, None)
            queue_decided_results(connection, number, results)
            self._append_entry(connection, who, "undo", number, f"{found.kind} by {found.who}")

    @staticmethod
    def _update_urgency_of_study(
        connection: Connection, number: int, decided_outcome: str | None
    ) -> None:
        mine = STUDIES.c.id == number
        columns = select(STUDIES.c.state, STUDIES.c.outcome, STUDIES.c.eyes).where(mine)
        place = compute_urgency_columns(*connection.execute(columns).one(), decided_outcome)
        connection.execute(update(STUDIES).where(mine).values(place))

    def list_audit_entries(self, limit: int) -> list[dict[str, Any]]:
        """Return the newest entries of the audit log."""
        rows = select(AUDIT).order_by(AUDIT.c.number.desc()).limit(limit)
        with self._open_read_only_connection() as connection:
            return [dict(row) for row in connection.execute(rows).mappings()]

    def _append_entry(
        self,
        connection: Connection,
        who: str,
        action: str,
        number: int | None,
        details: str = "",
    ) -> None:
        subject = "worklist"
        if number is not None:
            rows = select(STUDIES.c.patient, STUDIES.c.study_uid).where(STUDIES.c.id == number)
            row = connection.execute(rows).one_or_none()
            subject = "erased study" if row is None else self._name_of_study(row[0], row[1])
        append_audit_entry(connection, who=who, action=action, subject=subject, details=details)


def _load_studies(
    connection: Connection, conditions: Sequence[ColumnElement[bool]]
) -> list[ListedStudy]:
    rows = select(STUDIES).where(*conditions).order_by(STUDIES.c.id)
    decisions = (
        select(DECISIONS)
        .join(STUDIES, STUDIES.c.id == DECISIONS.c.study_id)
        .where(DECISIONS.c.undone_s.is_(None), *conditions)
        .order_by(DECISIONS.c.id)
    )
    newest = {
        (row["study_id"], row["graded_s"]): ReferralDecision(
            kind=row["kind"], outcome=row["outcome"], grades=row["grades"],
            reason=row["reason"], who=row["who"], decided_s=row["decided_s"],
        )
        for row in connection.execute(decisions).mappings()
    }  # fmt: skip
    return [
        _make_listed_study(row, newest.get((row["id"], row["graded_s"])))
        for row in connection.execute(rows).mappings()
    ]


def _lock_study_if_unchanged(connection: Connection, study: ListedStudy) -> None:
    """Keep others from changing a study until the transaction ends.

    Until then, nobody else can decide about the study, grade it or erase it. SQLite needs no lock,
    because it allows only one writer at a time.

    Raises:
        StudyChanged: Since the study was read, it was graded again or erased, or got a new
            photograph.
    """
    as_seen = select(STUDIES.c.id).where(
        STUDIES.c.id == study.number,
        STUDIES.c.state == "graded",
        STUDIES.c.graded_s == study.graded_s,
    )
    if connection.execute(as_seen.with_for_update()).first() is None:
        raise StudyChanged


def _find_newest_decision(number: int) -> Select[Any]:
    """Return the SQL query for the current decision about a study.

    A decision is not current if it was undone, or if the study was graded again after it.
    """
    return (
        select(DECISIONS)
        .join(
            STUDIES,
            (STUDIES.c.id == DECISIONS.c.study_id) & (STUDIES.c.graded_s == DECISIONS.c.graded_s),
        )
        .where(DECISIONS.c.study_id == number, DECISIONS.c.undone_s.is_(None))
        .order_by(DECISIONS.c.id.desc())
        .limit(1)
    )


def _make_listed_study(row: Any, decision: ReferralDecision | None) -> ListedStudy:
    issuer, line_break, patient = row["patient"].partition("\n")
    is_graded = row["state"] == "graded"
    return ListedStudy(
        number=row["id"],
        identity=row["patient"],
        patient=patient,
        issuer=issuer if line_break else "",
        state=row["state"],
        outcome=(row["outcome"] or "") if is_graded else "",
        eyes=(row["eyes"] or {}) if is_graded else {},
        reason=row["reason"],
        received_s=row["last_received_s"],
        graded_s=row["graded_s"] or 0.0,
        decision=decision if is_graded else None,
    )
