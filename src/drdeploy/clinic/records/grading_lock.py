"""Let one program at a time grade the studies in a database."""

from __future__ import annotations

import fcntl
import logging
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from drdeploy.errors import ClinicError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_ATTEMPTS, _PAUSE_S = 3, 0.05
_RELEASE_S = 1.0
_KEY = 7_238_912
"""Key of the advisory lock of PostgreSQL; the migrations use the next lower key."""

_log = logging.getLogger("drdeploy.clinic")


class GradingLock:
    """Lets only one program at a time grade the studies in a database.

    Without the lock, two programs could grade the same study. Some results would also not be sent
    if one of the programs was started without the options that say where results are sent. Each
    database has one lock, even if several machines use it. For an SQLite database, the lock is a
    locked file beside it. For PostgreSQL, it is an advisory lock.
    """

    def __init__(self, engine: Engine) -> None:
        self._lock: _FileLock | _AdvisoryLock = (
            _AdvisoryLock(engine)
            if engine.dialect.name == "postgresql"
            else _FileLock(Path(engine.url.database or "").resolve())
        )

    def acquire(self) -> bool:
        """Take the lock until the end of the program; return False if another program has it."""
        return self._lock.acquire()

    def keep_or_take_again(self) -> bool:
        """Return whether this program has the lock; if the lock was lost, try to take it again.

        PostgreSQL releases the lock when the connection breaks, and another program may take it.
        """
        return self._lock.keep_or_take_again()

    @property
    def is_ours(self) -> bool:
        """Whether this program had the lock when :meth:`keep_or_take_again` last checked."""
        return self._lock.is_ours

    def is_taken(self) -> bool:
        """Return whether a program holds the lock."""
        return self._lock.is_taken()

    def release(self) -> None:
        """Let another program take the lock."""
        self._lock.release()


class _FileLock:
    """A lock on a file beside an SQLite database.

    The path of the database must not be a symbolic link. Otherwise, two programs that use different
    paths would lock different files.
    """

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}-grading")
        self._file: IO[str] | None = None

    def acquire(self) -> bool:
        for _ in range(_ATTEMPTS):  # another program may be testing the lock
            file = self._path.open("a")
            if _lock_file(file, fcntl.LOCK_EX):
                self._file = file
                return True
            file.close()
            time.sleep(_PAUSE_S)
        return False

    @property
    def is_ours(self) -> bool:
        return self._file is not None

    def keep_or_take_again(self) -> bool:
        return self.is_ours

    def is_taken(self) -> bool:
        with self._path.open("a") as file:
            return not _lock_file(file, fcntl.LOCK_SH)

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _lock_file(file: IO[str], how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise ClinicError(
            f"The folder of the records does not support file locks: {error.strerror}",
            where=file.name,
            remedy="Move the records to a local disk of this machine",
        ) from error
    return True


class _AdvisoryLock:
    """An advisory lock of PostgreSQL. The lock is held as long as its connection is open."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self._is_wanted = False
        self._one_at_a_time = threading.Lock()

    def acquire(self) -> bool:
        with self._one_at_a_time:
            return self._try_to_take_lock()

    def _try_to_take_lock(self) -> bool:
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        # If this machine loses power, it does not close the connection. The server then closes it
        # after two minutes.
        for name, value in (("idle", 60), ("interval", 10), ("count", 6)):
            connection.execute(text(f"SET tcp_keepalives_{name} = {value}"))
        taken = text(f"SELECT pg_try_advisory_lock({_KEY})")
        for _ in range(_ATTEMPTS):  # the server may still be ending a connection that broke
            if connection.execute(taken).scalar_one():
                self._connection, self._is_wanted = connection, True
                return True
            time.sleep(_PAUSE_S)
        connection.close()
        return False

    @property
    def is_ours(self) -> bool:
        return self._connection is not None

    def keep_or_take_again(self) -> bool:
        with self._one_at_a_time:
            if self._connection is not None:
                try:
                    self._connection.execute(text("SELECT 1"))
                except (DBAPIError, OSError):  # pg8000 wraps only some errors of the socket
                    self._close_connection()
                    _log.warning("the connection that held the grading lock was lost")
                else:
                    return True
            if not (self._is_wanted and self._try_to_take_lock()):
                return False
            _log.warning("this program grades again")
            return True

    def is_taken(self) -> bool:
        held = text(
            "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database "
            "WHERE locktype = 'advisory' AND classid = 0 AND objid = :key AND granted "
            "AND datname = current_database()"
        )
        with self._engine.connect() as connection:
            return bool(connection.execute(held, {"key": _KEY}).scalar_one())

    def release(self) -> None:
        # If the server does not answer, `keep_or_take_again` may hold this lock for long. The end
        # of the program does not wait for it, because the end closes the connection anyway.
        if not self._one_at_a_time.acquire(timeout=_RELEASE_S):
            return
        try:
            self._is_wanted = False
            self._close_connection()
        finally:
            self._one_at_a_time.release()

    def _close_connection(self) -> None:
        if self._connection is not None:
            # Close the connection for good. If it went back to the pool, it would keep the lock.
            self._connection.invalidate()
            self._connection.close()
            self._connection = None
