"""The queue of photographs and results that are to be sent to archives and servers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, update

from drdeploy.clinic.records.database import ONLY_READS
from drdeploy.clinic.records.schema import DELIVERIES, PHOTOGRAPHS, RESULTS, STUDIES
from drdeploy.errors import ClinicError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from drdeploy.clinic.records.shared_records import SharedRecords

_LONGEST_PAUSE_S = 600.0
_DECIDED_KINDS = {"page": "decided page", "bundle": "decided bundle"}
"""For each kind of result that is made after grading, the kind that replaces it after a
decision."""


@dataclass(frozen=True)
class Delivery:
    """A DICOM file or a bundle that is to be sent.

    Attributes:
        number: The delivery's number, which identifies it in the records.
        study: The number of the study in the records.
        name: A keyed hash of patient and study.
        destination: The kind and the address of the destination, for example ``stow
            https://archive.example.org/dicom-web``.
        attempts: How often sending was tried.
        content: The file or bundle that is sent.
    """

    number: int
    study: int
    name: str
    destination: str
    attempts: int
    content: bytes


@dataclass(frozen=True)
class SentResults:
    """How many files of a study are in one state, such as queued, for one kind of destination.

    Attributes:
        destination: ``archive`` or ``FHIR server``.
        state: ``queued``, ``delivered`` or ``refused``.
        count: The number of deliveries with this destination and this state.
        reason: Why the destination did not accept the last of these deliveries, as a sentence.
    """

    destination: str
    state: str
    count: int
    reason: str


class DeliveryQueue:
    """The queue of results to send, with the state of each delivery."""

    def __init__(self, shared: SharedRecords) -> None:
        self._shared = shared

    def list_due_deliveries(self, limit: int = 100) -> list[int]:
        """Return the numbers of the deliveries that are to be sent now, the oldest first."""
        due = (
            select(DELIVERIES.c.id)
            .where(DELIVERIES.c.state == "queued", DELIVERIES.c.next_attempt_s <= time.time())
            .order_by(DELIVERIES.c.id)
            .limit(limit)
        )
        with self._shared.engine.begin() as connection:
            return list(connection.execute(due).scalars())

    def list_deliveries_of_study(self, study: int) -> list[SentResults]:
        """Return the deliveries of a study, by destination and state."""
        rows = (
            select(DELIVERIES.c.destination, DELIVERIES.c.state, DELIVERIES.c.reason)
            .where(DELIVERIES.c.study_id == study)
            .order_by(DELIVERIES.c.id)
        )
        found: dict[tuple[str, str], SentResults] = {}
        with self._shared.engine.connect().execution_options(**{ONLY_READS: True}) as connection:
            for destination, state, reason in connection.execute(rows):
                name = "FHIR server" if destination.startswith("post ") else "archive"
                earlier = found.get((name, state))
                count = 1 if earlier is None else earlier.count + 1
                found[name, state] = SentResults(name, state, count, reason)
        return list(found.values())

    def load_queued_delivery(self, number: int) -> Delivery | None:
        """Return a queued delivery with its content, or None if it has left the queue.

        Raises:
            ClinicError: The photograph cannot be read from the disk.
        """
        columns = select(
            DELIVERIES.c.study_id, STUDIES.c.patient, STUDIES.c.study_uid,
            DELIVERIES.c.destination, DELIVERIES.c.attempts, PHOTOGRAPHS.c.sha256,
            RESULTS.c.content,
        )  # fmt: skip
        joined = columns.select_from(
            DELIVERIES.join(STUDIES, DELIVERIES.c.study_id == STUDIES.c.id)
            .outerjoin(PHOTOGRAPHS, DELIVERIES.c.photograph_id == PHOTOGRAPHS.c.id)
            .outerjoin(RESULTS, DELIVERIES.c.result_id == RESULTS.c.id)
        ).where(DELIVERIES.c.id == number, DELIVERIES.c.state == "queued")
        with self._shared.engine.begin() as connection:
            row = connection.execute(joined).one_or_none()
        if row is None:
            return None
        study, patient, uid, destination, attempts, sha256, content = row
        name = self._shared.make_log_name_of_study(patient, uid)
        if content is None:
            try:
                content = self._shared.store.read_file(sha256)
            except OSError as error:
                raise ClinicError("A photograph cannot be read") from error
        return Delivery(number, study, name, destination, attempts, content)

    def record_delivery(self, number: int, *, name: str, destination: str) -> None:
        """Record that a destination has accepted a delivery."""
        self._end_delivery(number, "delivered", "", f"deliver to {destination}", name)

    def record_refused_delivery(
        self, number: int, *, name: str, destination: str, reason: str
    ) -> None:
        """Record that a destination has refused a delivery, with the reason as a sentence."""
        self._end_delivery(number, "refused", reason, f"refused by {destination}", name)

    def record_unreadable_photograph(self, number: int, *, reason: str) -> str:
        """Record that a photograph cannot be sent, because it cannot be read from the disk.

        Args:
            number: The delivery's number.
            reason: Why the photograph cannot be read, as a sentence.

        Returns:
            The keyed hash of patient and study, for the log.
        """
        rows = (
            select(STUDIES.c.patient, STUDIES.c.study_uid, DELIVERIES.c.destination)
            .join(DELIVERIES, DELIVERIES.c.study_id == STUDIES.c.id)
            .where(DELIVERIES.c.id == number)
        )
        with self._shared.engine.begin() as connection:
            row = connection.execute(rows).one_or_none()
        if row is None:
            return "an erased study"
        name = self._shared.make_log_name_of_study(row.patient, row.study_uid)
        self._end_delivery(number, "refused", reason, f"not sent to {row.destination}", name)
        return name

    def _end_delivery(self, number: int, state: str, reason: str, details: str, name: str) -> None:
        with self._shared.engine.begin() as connection:
            mine = DELIVERIES.c.id == number
            connection.execute(update(DELIVERIES).where(mine).values(state=state, reason=reason))
            self._shared.append_audit_entry_of_actor(
                connection, "deliver", name, f"{details} {reason}".strip()
            )

    def postpone_delivery(self, destination: str, *, attempts: int, reason: str) -> float:
        """Postpone all deliveries to a destination; return for how many seconds.

        The time doubles with each attempt, up to ten minutes.
        """
        pause_s = min(2.0 ** min(attempts, 16), _LONGEST_PAUSE_S)
        with self._shared.engine.begin() as connection:
            connection.execute(
                update(DELIVERIES)
                .where(DELIVERIES.c.destination == destination, DELIVERIES.c.state == "queued")
                .values(attempts=attempts + 1, next_attempt_s=time.time() + pause_s, reason=reason)
            )
        return pause_s


def list_results_to_decide(connection: Connection, study: int) -> dict[str, bytes]:
    """Return the results of a study that must be replaced after a decision about it.

    These are the PDF and the FHIR bundle that were made after grading. A result that is sent to no
    destination is left out.
    """
    rows = (
        select(RESULTS.c.kind, RESULTS.c.content)
        .join(DELIVERIES, DELIVERIES.c.result_id == RESULTS.c.id)
        .where(RESULTS.c.study_id == study, RESULTS.c.kind.in_(_DECIDED_KINDS))
        .distinct()
    )
    return dict(map(tuple, connection.execute(rows).all()))


def queue_decided_results(connection: Connection, study: int, results: Mapping[str, bytes]) -> None:
    """Queue new results that state a decision; they go to the servers that got the old ones.

    Results of an earlier decision are deleted, and are not sent if they are still in the queue.

    Args:
        connection: A connection with the transaction of the decision.
        study: The number of the study in the records.
        results: The new PDF (key ``page``) and FHIR bundle (key ``bundle``).
    """
    now = time.time()
    old = select(RESULTS.c.id).where(
        RESULTS.c.study_id == study, RESULTS.c.kind.in_(_DECIDED_KINDS.values())
    )
    connection.execute(delete(DELIVERIES).where(DELIVERIES.c.result_id.in_(old)))
    connection.execute(delete(RESULTS).where(RESULTS.c.id.in_(old)))
    for kind, content in results.items():
        places = (
            select(DELIVERIES.c.destination)
            .join(RESULTS, RESULTS.c.id == DELIVERIES.c.result_id)
            .where(RESULTS.c.study_id == study, RESULTS.c.kind == kind)
        )
        made = insert(RESULTS).values(study_id=study, kind=_DECIDED_KINDS[kind], content=content)
        number = (connection.execute(made).inserted_primary_key or (0,))[0]
        for place in connection.execute(places).scalars().all():
            connection.execute(
                insert(DELIVERIES).values(
                    study_id=study, photograph_id=None, result_id=number, destination=place,
                    state="queued", attempts=0, next_attempt_s=now, reason="",
                )
            )  # fmt: skip
