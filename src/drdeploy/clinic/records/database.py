"""Open the database of a clinic's records: SQLite by default, PostgreSQL by its URL."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError

from drdeploy.errors import ClinicError, InvalidInput

if TYPE_CHECKING:
    from sqlalchemy import URL

MIGRATIONS = Path(__file__).with_name("migrations")
BUSY_S = 30.0
_WRITE_PAUSE_S = 0.002
ONLY_READS = "drdeploy_only_reads"
"""The execution option that marks a connection whose transaction only reads."""
_MIGRATION_LOCK = 7_238_911
"""Key of a PostgreSQL advisory lock that lets only one program at a time migrate the tables."""


def open_database(url: str) -> Engine:
    """Connect to a database, and bring its tables to the present version.

    Args:
        url: For example ``sqlite:////var/lib/clinic/records.sqlite`` or
            ``postgresql://user@host/name``.

    Raises:
        InvalidInput: The URL does not name a database of SQLite or PostgreSQL.
        ClinicError: The database cannot be reached, or belongs to a newer version of drdeploy.
    """
    address = _parse_database_url(url)
    where = address.render_as_string(hide_password=True)
    try:
        engine = create_engine(address, pool_pre_ping=True, hide_parameters=True)
        if address.get_backend_name() == "sqlite":
            _make_sqlite_durable(engine)
        with engine.begin() as connection:
            _migrate_tables(connection, where)
    except DBAPIError as error:
        raise ClinicError(
            f"The database of the clinic's records cannot be used: {_describe_cause(error)}",
            where=where,
            remedy="Check that you may write to the folder, and that the disk has free space"
            if address.get_backend_name() == "sqlite"
            else "Check that the address is right, that the database runs, and that its user may "
            "create tables",
        ) from error
    return engine


def _describe_cause(error: DBAPIError) -> str:
    """Return the database's own description of a failure, without the values of a row."""
    words: Any = (getattr(error.orig, "args", None) or ("",))[0]
    if isinstance(words, dict):  # the fields of a message of PostgreSQL; M is the main text
        words = words.get("M", "")
    return " ".join(str(words).split()) or type(error.orig).__name__


def hide_password(url: str) -> str:
    """Return a database's URL without its password.

    Raises:
        InvalidInput: The URL is not of SQLite or PostgreSQL.
    """
    return _parse_database_url(url).render_as_string(hide_password=True)


def _parse_database_url(url: str) -> URL:
    try:
        address = make_url(url)
        backend = address.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError):
        backend = ""
    if backend not in {"sqlite", "postgresql"}:
        raise InvalidInput(
            "The database is neither SQLite nor PostgreSQL",
            where="--database",
            remedy="Give a URL like postgresql://user@host/name, or omit the option to use SQLite",
        )
    if backend == "postgresql":
        address = address.set(drivername="postgresql+pg8000")
    return address


def _make_sqlite_durable(engine: Engine) -> None:
    """Configure SQLite so that a power failure loses nothing, and reads do not wait for writes.

    SQLite is also told to overwrite deleted data in the file.
    """

    @event.listens_for(engine, "connect")
    def configure_sqlite_connection(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy begins and ends the transactions
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "secure_delete=ON",
            f"busy_timeout={1000 * BUSY_S:.0f}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin_sqlite_transaction(connection: Connection) -> None:
        # A transaction that reads and then writes would fail if another one wrote in between, so it
        # waits for other writers first. A transaction that only reads need not wait.
        if connection.get_execution_options().get(ONLY_READS):
            connection.exec_driver_sql("BEGIN")
        else:
            _begin_write_transaction(connection)


def _begin_write_transaction(connection: Connection) -> None:
    """Begin a transaction as soon as no other program writes.

    SQLite can wait by itself, but it then sleeps up to 100 ms between two attempts. While studies
    are graded, every page that writes to the audit log could be delayed by this time.
    """
    deadline_s = time.monotonic() + BUSY_S
    connection.exec_driver_sql("PRAGMA busy_timeout=0")
    try:
        while True:
            try:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            except OperationalError as error:
                is_locked = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
                if not is_locked or time.monotonic() > deadline_s:
                    raise
                time.sleep(_WRITE_PAUSE_S)
            else:
                return
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout={1000 * BUSY_S:.0f}")


def _migrate_tables(connection: Connection, where: str) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    present = MigrationContext.configure(connection).get_current_revision()
    known = {one.revision for one in ScriptDirectory.from_config(config).walk_revisions()}
    if present is not None and present not in known:
        raise ClinicError(
            "The records were written by a newer version of drdeploy",
            where=where,
            remedy="Install that newer version on every machine that uses the records",
        )
    command.upgrade(config, "head")
