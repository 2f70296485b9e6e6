"""A clinic's records. A change and its entry in the audit log are always saved together."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from drdeploy.clinic.records.accounts import Accounts
from drdeploy.clinic.records.audit import verify_audit_chain
from drdeploy.clinic.records.database import ONLY_READS, open_database
from drdeploy.clinic.records.deliveries import DeliveryQueue
from drdeploy.clinic.records.erasure import (
    RecordsErasure,
    keep_others_from_removing_files,
    remove_unused_file,
)
from drdeploy.clinic.records.grading_lock import GradingLock
from drdeploy.clinic.records.photograph_folder import (
    refuse_folder_of_other_records,
    refuse_records_of_other_folder,
)
from drdeploy.clinic.records.photograph_store import PhotographStore
from drdeploy.clinic.records.schema import (
    DELIVERIES,
    PHOTOGRAPHS,
    RESULTS,
    STUDIES,
)
from drdeploy.clinic.records.shared_records import SharedRecords
from drdeploy.clinic.records.urgency import casefold_patient_number, compute_urgency_columns
from drdeploy.clinic.records.worklist import Worklist
from drdeploy.errors import UnsupportedImage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from sqlalchemy import Connection, Engine, Insert

    from drdeploy.photograph_names import PhotographNames

MAX_GRADING_ATTEMPTS = 5
"""A study is graded automatically at most this many times.

An attempt counts if it ended the program or failed with an unexpected error.

A limit of three was too low. With that limit, a test killed the program 672 times at random steps.
The program gave up 8 of 168 studies, although nothing was wrong with them.
"""


@dataclass(frozen=True)
class WaitingStudy:
    """A study that is to be graded.

    Attributes:
        number: The study's number in the records.
        name: A keyed hash of patient and study.
        last_received_s: When the last photograph of the study arrived.
        photographs: SHA-256 of its photographs, by the photographs' numbers in the records.
    """

    number: int
    name: str
    last_received_s: float
    photographs: dict[int, str]


@dataclass(frozen=True)
class RecordedStudy:
    """A study with its latest grades.

    Attributes:
        number: The study's number in the records.
        patient: The text that distinguishes the patient from others. It is not hashed, so it
            identifies the patient.
        study_uid: The Study Instance UID.
        outcome: The patient's outcome; empty if the study is not graded.
        eyes: The findings in each eye, by eye; empty if the study is not graded.
        photographs: SHA-256 of the study's photographs, in the order in which they arrived.
    """

    number: int
    patient: str = field(repr=False)
    study_uid: str = field(repr=False)
    outcome: str
    eyes: dict[str, dict[str, Any]]
    photographs: tuple[str, ...]


class ClinicRecords:
    """The studies of a clinic, in a database and a folder of photographs.

    ::

        records = ClinicRecords.open(Path("clinic-records"), names=PhotographNames.with_user_key())
    """

    def __init__(
        self, engine: Engine, store: PhotographStore, names: PhotographNames, who: str
    ) -> None:
        self.store = store
        self.names = names
        self._engine = engine
        self._shared = SharedRecords(engine, store, names, who)
        self.name_of_study = self._shared.make_log_name_of_study
        self.worklist = Worklist(engine, self.name_of_study)
        self.deliveries = DeliveryQueue(self._shared)
        self.erasure = RecordsErasure(self._shared)
        self.accounts = Accounts(engine)

    @classmethod
    def open(
        cls, folder: Path, *, names: PhotographNames, database: str | None = None, who: str = ""
    ) -> Self:
        """Open the records in a folder, which is made if it does not exist.

        Args:
            folder: The folder of the photographs. The SQLite database is also there, unless
                ``database`` is given.
            names: Makes the names that stand for patients and studies in logs and in the audit log.
            database: The URL of a database to use instead of SQLite.
            who: The name of the user, which is written to the audit log with every action through
                this object.

        Raises:
            ClinicError: The database cannot be used, or its photographs are in another folder.
            InvalidInput: ``database`` is not the URL of a database of SQLite or PostgreSQL.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        refuse_folder_of_other_records(folder, database)
        file = folder.absolute() / "records.sqlite"
        if database is None and not file.exists():
            file.touch(mode=0o600)
        url = database or f"sqlite:///{file}"
        store = PhotographStore(folder / "photographs")
        engine = open_database(url)
        refuse_records_of_other_folder(engine, folder, store)
        return cls(engine, store, names, who or "drdeploy")

    def make_grading_lock(self) -> GradingLock:
        """Return the grading lock of these records, without taking it."""
        return GradingLock(self._engine)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def with_actor(self, who: str) -> Self:
        """Return the same records for another person; the audit log then names this person."""
        return type(self)(self._engine, self.store, self.names, who)

    # ---- photographs that arrive

    def add_photograph(
        self, content: bytes, *, patient: str, study_uid: str, sop_instance_uid: str
    ) -> bool:
        """Store a photograph; its study is then graded, or graded again.

        When the method returns, the photograph survives a crash of the program or of the machine.

        Returns:
            Whether the photograph is new.

        Raises:
            UnsupportedImage: Another photograph has the same SOP Instance UID.
        """
        now = time.time()
        with self._engine.begin() as connection:
            keep_others_from_removing_files(connection)
            sha256 = self.store.add_file(content)
            known = select(PHOTOGRAPHS.c.sha256).where(
                PHOTOGRAPHS.c.sop_instance_uid == sop_instance_uid
            )
            existing = connection.execute(known).scalar_one_or_none()
            if existing is None:
                study = self._find_or_add_study(connection, patient, study_uid, now)
                connection.execute(
                    insert(PHOTOGRAPHS).values(
                        study_id=study, sop_instance_uid=sop_instance_uid, sha256=sha256,
                        received_s=now,
                    )
                )  # fmt: skip
                name = self.name_of_study(patient, study_uid)
                self._shared.append_audit_entry_of_actor(connection, "receive photograph", name)
                return True
        if existing != sha256:
            remove_unused_file(self._shared, sha256)
            raise UnsupportedImage("Another photograph has the same SOP Instance UID")
        return False

    def has_photograph(self, sop_instance_uid: str) -> bool:
        """Return whether the records have a photograph."""
        same = select(PHOTOGRAPHS.c.id).where(PHOTOGRAPHS.c.sop_instance_uid == sop_instance_uid)
        with self._engine.connect().execution_options(**{ONLY_READS: True}) as connection:
            return connection.execute(same).first() is not None

    def _find_or_add_study(
        self, connection: Connection, patient: str, study_uid: str, now: float
    ) -> int:
        key = (STUDIES.c.patient == patient) & (STUDIES.c.study_uid == study_uid)
        waiting = {
            "state": "waiting", "last_received_s": now, "attempts": 0, "reason": "",
            **compute_urgency_columns("waiting"),
        }  # fmt: skip
        number: int | None = connection.execute(select(STUDIES.c.id).where(key)).scalar()
        if number is not None:
            connection.execute(update(STUDIES).where(STUDIES.c.id == number).values(waiting))
            return number
        try:
            with connection.begin_nested():
                made = insert(STUDIES).values(
                    patient=patient,
                    folded_number=casefold_patient_number(patient),
                    study_uid=study_uid,
                    **waiting,
                )
                return _insert_row(connection, made)
        except IntegrityError:  # another program added it
            return self._find_or_add_study(connection, patient, study_uid, now)

    # ---- grading

    def list_due_studies(self, received_before_s: float) -> list[WaitingStudy]:
        """Return the studies whose last photograph arrived before a time.

        The studies that were tried least often come first, because a study that crashed the program
        may crash it again. Among studies that were tried equally often, the study whose last
        photograph arrived earliest comes first.
        """
        due = (
            select(STUDIES.c.id, STUDIES.c.patient, STUDIES.c.study_uid, STUDIES.c.last_received_s)
            .where(STUDIES.c.state == "waiting", STUDIES.c.last_received_s <= received_before_s)
            .order_by(STUDIES.c.attempts, STUDIES.c.last_received_s)
        )
        of_study = select(PHOTOGRAPHS.c.id, PHOTOGRAPHS.c.sha256).order_by(PHOTOGRAPHS.c.id)
        with self._engine.begin() as connection:
            return [
                WaitingStudy(
                    number,
                    self.name_of_study(patient, uid),
                    received_s,
                    dict(
                        connection.execute(of_study.where(PHOTOGRAPHS.c.study_id == number)).all()
                    ),
                )
                for number, patient, uid, received_s in connection.execute(due).all()
            ]

    def count_grading_attempt(self, study: WaitingStudy) -> bool:
        """Count an attempt to grade a study; call this before the attempt.

        Without the count, a photograph that crashes the program would crash it again after each
        restart. After too many attempts, the study is marked as failed, with a reason. The reason
        is the error that :meth:`record_fault_of_grading` noted after the last attempt. If it noted
        none, the reason says that the program ended during the grading.

        Returns:
            False after too many attempts, or if the study was erased.
        """
        with self._engine.begin() as connection:
            mine = STUDIES.c.id == study.number
            columns = select(STUDIES.c.attempts, STUDIES.c.reason).where(mine)
            found = connection.execute(columns).one_or_none()
            if found is None:
                return False
            attempts, fault = found
            if attempts >= MAX_GRADING_ATTEMPTS:
                ended = (
                    "The program ended while it graded this study, and all "
                    f"{attempts} attempts failed."
                )
                self._mark_study_as_failed(connection, study, fault or ended)
                return False
            # Remove the error of the last attempt, because the next attempt may fail for another
            # reason.
            connection.execute(update(STUDIES).where(mine).values(attempts=attempts + 1, reason=""))
        return True

    def take_back_grading_attempt(self, study: WaitingStudy) -> None:
        """Do not count an attempt that was interrupted because the program was asked to stop."""
        with self._engine.begin() as connection:
            connection.execute(
                update(STUDIES)
                .where(*_list_conditions_of_unchanged_study(study), STUDIES.c.attempts > 0)
                .values(attempts=STUDIES.c.attempts - 1)
            )

    def record_fault_of_grading(self, study: WaitingStudy, reason: str) -> None:
        """Note why an attempt failed, as a sentence; the study will be graded again."""
        with self._engine.begin() as connection:
            connection.execute(
                update(STUDIES)
                .where(*_list_conditions_of_unchanged_study(study))
                .values(reason=reason)
            )

    def record_failure(self, study: WaitingStudy, reason: str) -> None:
        """Record that a study cannot be graded, with the reason as a sentence."""
        with self._engine.begin() as connection:
            self._mark_study_as_failed(connection, study, reason)

    def _mark_study_as_failed(
        self, connection: Connection, study: WaitingStudy, reason: str
    ) -> None:
        failed = connection.execute(
            update(STUDIES)
            .where(*_list_conditions_of_unchanged_study(study))
            .values(
                state="failed",
                reason=reason,
                outcome=None,
                eyes=None,
                **compute_urgency_columns("failed"),
            )
        )
        if failed.rowcount:
            self._shared.append_audit_entry_of_actor(
                connection, "fail to grade study", study.name, reason
            )

    def record_grading(
        self,
        study: WaitingStudy,
        *,
        outcome: str,
        eyes: Any,
        results: Mapping[str, bytes],
        destinations: Iterable[tuple[str, Iterable[str]]],
        with_photographs: Iterable[str],
    ) -> bool:
        """Record a study's grades and results, and queue the results for each destination.

        Args:
            study: The study, as it was when grading began.
            outcome: The patient's outcome.
            eyes: The findings in each eye, which are stored as JSON.
            results: The files to send, by kind: ``report``, ``page`` or ``bundle``.
            destinations: Pairs of a destination and the kinds of results that are sent to it.
            with_photographs: The destinations to which the photographs are sent before the results.

        Returns:
            False if a photograph arrived meanwhile: nothing is recorded, and the study is due
            again.
        """
        now = time.time()
        with self._engine.begin() as connection:
            done = connection.execute(
                update(STUDIES)
                .where(*_list_conditions_of_unchanged_study(study))
                .values(
                    state="graded", outcome=outcome, eyes=eyes, graded_s=now, reason="",
                    **compute_urgency_columns("graded", outcome, eyes),
                )
            )  # fmt: skip
            if not done.rowcount:
                return False
            of_study = DELIVERIES.c.study_id == study.number
            connection.execute(
                delete(DELIVERIES).where(of_study, DELIVERIES.c.result_id.is_not(None))
            )
            connection.execute(delete(RESULTS).where(RESULTS.c.study_id == study.number))
            numbers = {
                kind: _insert_row(
                    connection,
                    insert(RESULTS).values(study_id=study.number, kind=kind, content=content),
                )
                for kind, content in results.items()
            }
            queued = {
                "study_id": study.number, "state": "queued", "attempts": 0, "next_attempt_s": now,
                "reason": "",
            }  # fmt: skip
            kept = set(
                map(
                    tuple,
                    connection.execute(
                        select(DELIVERIES.c.photograph_id, DELIVERIES.c.destination).where(of_study)
                    ),
                )
            )
            rows = [
                {**queued, "photograph_id": photograph, "result_id": None, "destination": place}
                for place in with_photographs
                for photograph in study.photographs
                if (photograph, place) not in kept
            ]
            rows += [
                {
                    **queued, "photograph_id": None, "result_id": numbers[kind],
                    "destination": place,
                }
                for place, kinds in destinations
                for kind in kinds
            ]  # fmt: skip
            if rows:
                connection.execute(insert(DELIVERIES), rows)
            self._shared.append_audit_entry_of_actor(connection, "grade study", study.name, outcome)
        return True

    # ---- for the commands that show and check the records

    def list_studies(self) -> list[dict[str, Any]]:
        """Return every study with its outcome, and the number of its deliveries in each state.

        The patient and the study are named by keyed hashes.
        """
        counts = select(DELIVERIES.c.study_id, DELIVERIES.c.state, func.count()).group_by(
            DELIVERIES.c.study_id, DELIVERIES.c.state
        )
        photographs = select(PHOTOGRAPHS.c.study_id, func.count()).group_by(PHOTOGRAPHS.c.study_id)
        with self._engine.begin() as connection:
            deliveries: dict[int, dict[str, int]] = {}
            for study, state, count in connection.execute(counts):
                deliveries.setdefault(study, {})[state] = count
            pictures: dict[int, int] = dict(map(tuple, connection.execute(photographs).all()))
            rows = connection.execute(select(STUDIES)).mappings().all()
        return [
            {
                "patient": self.names.name_of_table_entry("group", row["patient"]),
                "study": self.name_of_study(row["patient"], row["study_uid"]),
                "state": row["state"],
                "outcome": row["outcome"],
                "eyes": row["eyes"] or {},
                "photographs": pictures.get(row["id"], 0),
                "deliveries": deliveries.get(row["id"], {}),
                "reason": row["reason"],
            }
            for row in rows
        ]

    def load_studies_with_photographs(self) -> list[RecordedStudy]:
        """Return every study that has a photograph, with the patient, in the order of arrival."""
        of_study = select(PHOTOGRAPHS.c.study_id, PHOTOGRAPHS.c.sha256).order_by(PHOTOGRAPHS.c.id)
        with self._engine.begin() as connection:
            photographs: dict[int, list[str]] = {}
            for study, sha256 in connection.execute(of_study):
                photographs.setdefault(study, []).append(sha256)
            rows = connection.execute(select(STUDIES).order_by(STUDIES.c.id)).mappings().all()
        return [
            RecordedStudy(
                row["id"],
                row["patient"],
                row["study_uid"],
                # If a study waits to be graded again, its old outcome does not cover the new
                # photographs.
                (row["outcome"] or "") if row["state"] == "graded" else "",
                (row["eyes"] or {}) if row["state"] == "graded" else {},
                tuple(photographs[row["id"]]),
            )
            for row in rows
            if row["id"] in photographs
        ]

    def record_export_in_audit_log(self, details: str) -> None:
        """Write into the audit log how many photographs were exported from the records."""
        with self._engine.begin() as connection:
            self._shared.append_audit_entry_of_actor(
                connection, "export deidentified", "records", details
            )

    def verify_audit_log(self) -> tuple[int, str]:
        """Check the audit log; return the number of its entries and the last hash.

        Raises:
            AnalysisError: An entry is missing or was changed.
        """
        with self._engine.connect().execution_options(**{ONLY_READS: True}) as connection:
            return verify_audit_chain(connection)

    def queue_failed_studies_again(self) -> int:
        """Queue failed studies and undelivered results again; return how many there are in all."""
        with self._engine.begin() as connection:
            studies = connection.execute(
                update(STUDIES)
                .where(STUDIES.c.state == "failed")
                .values(
                    state="waiting", attempts=0, reason="", **compute_urgency_columns("waiting")
                )
            )
            deliveries = connection.execute(
                update(DELIVERIES)
                .where(DELIVERIES.c.state != "delivered")
                .values(state="queued", attempts=0, next_attempt_s=time.time(), reason="")
            )
            self._shared.append_audit_entry_of_actor(connection, "try again", "records", "")
        return studies.rowcount + deliveries.rowcount


def _list_conditions_of_unchanged_study(study: WaitingStudy) -> tuple[Any, ...]:
    """Return SQL conditions that select a study if it still waits and got no new photograph."""
    return (
        STUDIES.c.id == study.number,
        STUDIES.c.state == "waiting",
        STUDIES.c.last_received_s == study.last_received_s,
    )


def _insert_row(connection: Connection, statement: Insert) -> int:
    """Insert a row, and return its number."""
    (number,) = connection.execute(statement).inserted_primary_key or (0,)
    return int(number)
