"""A log that can only grow: each entry's hash covers the entry before it.

If an entry is changed or removed, the hashes of the later entries no longer match. Somebody could
hide this by computing all later hashes again. To detect that too, keep a copy of the last hash
elsewhere.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import insert, select, text

from drdeploy.clinic.records.schema import AUDIT
from drdeploy.errors import AnalysisError
from drdeploy.files import encode_json_document, sha256_of_bytes

if TYPE_CHECKING:
    from sqlalchemy import Connection

GENESIS = "0" * 64
"""The hash that precedes the first entry."""


def append_audit_entry(
    connection: Connection, *, who: str, action: str, subject: str, details: str = ""
) -> None:
    """Append an entry, in the same transaction as the change that the entry describes.

    Args:
        connection: A connection with an open transaction.
        who: The user or the program.
        action: The action, for example ``receive photograph``.
        subject: The object of the action, for example the keyed hash of a study; never a patient's
            name.
        details: Further facts about the action, without a patient's data.
    """
    if connection.dialect.name == "postgresql":  # SQLite has one writer at a time
        connection.execute(text("LOCK TABLE audit IN EXCLUSIVE MODE"))
    newest = select(AUDIT.c.number, AUDIT.c.sha256).order_by(AUDIT.c.number.desc()).limit(1)
    number, previous = connection.execute(newest).one_or_none() or (0, GENESIS)
    entry = {
        "number": number + 1,
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "who": who,
        "action": action,
        "subject": subject,
        "details": details,
    }
    connection.execute(insert(AUDIT).values(**entry, sha256=_hash_entry(entry, previous)))


def verify_audit_chain(connection: Connection) -> tuple[int, str]:
    """Check the hash of every entry; return the number of entries and the last hash.

    Raises:
        AnalysisError: An entry is missing or was changed.
    """
    previous, expected = GENESIS, 0
    rows = connection.execution_options(yield_per=1000).execute(
        select(AUDIT).order_by(AUDIT.c.number)
    )
    for row in rows.mappings():
        expected += 1
        entry = dict(row)
        if entry["number"] != expected or entry.pop("sha256") != _hash_entry(entry, previous):
            raise AnalysisError(
                f"Entry {expected} of the audit log is missing or was changed",
                where="audit",
                remedy="Restore the records from a backup, and find out who had access to them",
            )
        previous = row["sha256"]
    return expected, previous


def _hash_entry(entry: dict[str, object], previous: str) -> str:
    content = {name: value for name, value in sorted(entry.items()) if name != "sha256"}
    return sha256_of_bytes(encode_json_document([previous, content]).encode())
