"""Erase the data of patients and studies. Also delete files that belong to no study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, select, text

from drdeploy.clinic.records.database import ONLY_READS
from drdeploy.clinic.records.schema import (
    AUDIT,
    DECISIONS,
    DELIVERIES,
    PHOTOGRAPHS,
    RESULTS,
    STUDIES,
)
from drdeploy.errors import ClinicError, InvalidInput

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from drdeploy.clinic.records.shared_records import SharedRecords

_ERASE_STUDY = "erase study"
"""The name of an erasure in the audit log."""


class RecordsErasure:
    """Deletes studies and their photographs. The audit log keeps the keyed hash of each study.

    With SQLite, the rows of deleted studies stay in the database's log file as long as another
    program reads the database. A method that erases studies then raises :class:`ClinicError`,
    although the studies are deleted.
    """

    def __init__(self, shared: SharedRecords) -> None:
        self._shared = shared

    def erase_patient(self, patient: str) -> int:
        """Delete all studies of a patient; return how many were deleted.

        The audit log keeps its entries about the studies.

        Args:
            patient: The patient, written as the issuer of the number, a line break, and the number.
        """
        return self._erase_studies(STUDIES.c.patient == patient)

    def erase_study(self, study_uid: str) -> int:
        """Delete a study, if it exists; return 1 if it was deleted, and otherwise 0.

        The audit log keeps its entries about the study.

        Args:
            study_uid: The Study Instance UID.

        Raises:
            InvalidInput: Several patients have a study with this identifier.
        """
        same = select(func.count()).where(STUDIES.c.study_uid == study_uid)
        with self._shared.engine.begin() as connection:
            count = connection.execute(same).scalar_one()
        if count > 1:
            raise InvalidInput(
                f"{count} patients have a study with this identifier",
                where="--study",
                remedy="Name the patient with --patient and --issuer",
            )
        return self._erase_studies(STUDIES.c.study_uid == study_uid)

    def count_studies_of_other_issuers(self, patient: str) -> int:
        """Count the studies whose patient has the same number, but from a different issuer.

        Such a study may belong to the same person.

        Args:
            patient: The patient, written as the issuer of the number, a line break, and the number.
        """
        number = patient.rpartition("\n")[2]
        similar = select(STUDIES.c.patient).where(
            STUDIES.c.patient.endswith(f"\n{number}", autoescape=True)
        )
        with self._shared.engine.begin() as connection:  # SQLite's LIKE ignores case
            found = connection.execute(similar).scalars().all()
        return sum(one != patient and one.rpartition("\n")[2] == number for one in found)

    def erase_older_than(self, received_before_s: float) -> int:
        """Delete the studies whose last photograph arrived before a time; return their number."""
        return self._erase_studies(STUDIES.c.last_received_s < received_before_s)

    def _erase_studies(self, condition: Any) -> int:
        with self._shared.engine.begin() as connection:
            keep_others_from_removing_files(connection)
            # With the lock, nobody can record a decision about a study that is being erased.
            chosen = select(STUDIES.c.id, STUDIES.c.patient, STUDIES.c.study_uid).where(condition)
            rows = connection.execute(chosen.order_by(STUDIES.c.id).with_for_update()).all()
            files: list[str] = []
            for number, _, _ in rows:
                of_study = PHOTOGRAPHS.c.study_id == number
                files += connection.execute(select(PHOTOGRAPHS.c.sha256).where(of_study)).scalars()
                for table in (DECISIONS, DELIVERIES, RESULTS, PHOTOGRAPHS):
                    connection.execute(delete(table).where(table.c.study_id == number))
                connection.execute(delete(STUDIES).where(STUDIES.c.id == number))
            # Every transaction takes the lock of the audit log last. Its holder therefore never
            # waits for another lock.
            for _, patient, uid in rows:
                name = self._shared.make_log_name_of_study(patient, uid)
                self._shared.append_audit_entry_of_actor(connection, _ERASE_STUDY, name)
        for sha256 in files:
            remove_unused_file(self._shared, sha256)
        if self._shared.engine.dialect.name == "sqlite":
            self._empty_sqlite_log()
        return len(rows)

    def _empty_sqlite_log(self) -> None:
        """Empty the log file of SQLite, which still contains the deleted rows.

        Raises:
            ClinicError: The file cannot be emptied, because another program is reading the
                database.
        """
        with self._shared.engine.connect() as connection:
            cursor = connection.connection.cursor()
            is_busy = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if is_busy:
            raise ClinicError(
                "The data are deleted, but the database's log file still contains some of them",
                where="records.sqlite-wal",
                remedy="End the other programs that use the records, and erase again",
            )

    def is_erased(self, patient: str, study_uid: str) -> bool:
        """Return whether a study was erased, and has not been added again.

        The answer comes from the audit log, which keeps the keyed hash of each erased study.

        Args:
            patient: The patient, written as the issuer of the number, a line break, and the number.
            study_uid: The Study Instance UID.
        """
        present = select(STUDIES.c.id).where(
            STUDIES.c.patient == patient, STUDIES.c.study_uid == study_uid
        )
        name = self._shared.make_log_name_of_study(patient, study_uid)
        erased = select(AUDIT.c.number).where(
            AUDIT.c.action == _ERASE_STUDY, AUDIT.c.subject == name
        )
        engine = self._shared.engine
        with engine.connect().execution_options(**{ONLY_READS: True}) as connection:
            if connection.execute(present).first() is not None:
                return False
            return connection.execute(erased.limit(1)).first() is not None

    def remove_unused_files(self) -> int:
        """Delete the files that belong to no study, and return how many there were.

        A program that is killed may leave such files behind.
        """
        store = self._shared.store
        store.remove_drafts()
        return sum(remove_unused_file(self._shared, sha256) for sha256 in store.list_hashes())


def remove_unused_file(shared: SharedRecords, sha256: str) -> bool:
    """Delete a file if it belongs to no photograph; return whether it was deleted."""
    used = select(PHOTOGRAPHS.c.id).where(PHOTOGRAPHS.c.sha256 == sha256).limit(1)
    with shared.engine.begin() as connection:
        keep_others_from_removing_files(connection)
        if connection.execute(used).first() is not None:
            return False
        shared.store.remove_file(sha256)
    return True


def keep_others_from_removing_files(connection: Connection) -> None:
    """Lock the table of photographs against changes by other programs until the transaction ends.

    For SQLite, this does nothing, because SQLite allows only one writer at a time anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE photographs IN SHARE ROW EXCLUSIVE MODE"))
