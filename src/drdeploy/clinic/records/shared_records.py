"""The objects that all parts of the records share: database, photographs, names and actor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.clinic.records.audit import append_audit_entry

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from drdeploy.clinic.records.photograph_store import PhotographStore
    from drdeploy.photograph_names import PhotographNames


@dataclass(frozen=True)
class SharedRecords:
    """The database and the photographs of a clinic, and the person or program that acts.

    Attributes:
        engine: The database.
        store: The photographs.
        names: Makes the keyed hashes that name patients and studies in logs and in the audit log.
        who: The person or the program that acts.
    """

    engine: Engine
    store: PhotographStore
    names: PhotographNames
    who: str

    def make_log_name_of_study(self, patient: str, study_uid: str) -> str:
        """Return the keyed hash that names a study in logs."""
        hashed = self.names.name_of_table_entry("group", f"study {patient} {study_uid}")
        return hashed.replace("group-", "study-")

    def append_audit_entry_of_actor(
        self, connection: Connection, action: str, subject: str, details: str = ""
    ) -> None:
        """Append an entry to the audit log, within the transaction of the change."""
        append_audit_entry(
            connection, who=self.who, action=action, subject=subject, details=details
        )
