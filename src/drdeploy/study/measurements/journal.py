"""Write rows to ``measurements.csv`` so that none is lost when the process or the machine dies.

A row is one ``write`` to a file that is open for appending, and an ``fsync`` before the next
request is sent.  A process that is killed loses at most the row that it was about to write.  It
leaves at most one line without a line break at its end: the next run cuts that line off, and a
reader ignores it.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Self

from drdeploy.files import write_atomically
from drdeploy.study.measurements.measurement import decode_rows, encode_header, encode_row

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

    from drdeploy.study.measurements.measurement import Measurement


class Journal:
    """The rows of one results folder, open for appending.

    Use it as a context manager, within :meth:`Results.locked`::

        with Journal(results.measurements) as journal:
            journal.append(measurement)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()  # an open loop appends from several threads
        self._file = -1

    def __enter__(self) -> Self:
        """Open the file, after cutting off a line that was not finished.

        Raises:
            StudyError: The file holds something else than measurements.
        """
        repair(self.path)
        if self.path.exists() and self.path.stat().st_size:
            rows = read_measurements(self.path)
            if not self.path.read_bytes().startswith(encode_header()):
                # It was written by an older version, which did not have all columns.
                write_atomically(self.path, encode_header() + b"".join(map(encode_row, rows)))
        else:
            write_atomically(self.path, encode_header())
        self._file = self._open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._file)

    def append(self, measurement: Measurement) -> None:
        """Write one row; once this returns, the row survives a crash."""
        with self._lock:
            content = encode_row(measurement)
            # The kernel takes a row in one write.  It takes less only where the disk is about to
            # be full, and then the next write raises: no row is cut off silently.
            while content:
                content = content[os.write(self._file, content) :]
            os.fsync(self._file)

    def read(self) -> list[Measurement]:
        """Return every row so far."""
        return read_measurements(self.path)

    def rewrite(self, measurements: Iterable[Measurement]) -> None:
        """Replace the whole file: for values that are known only after a row was written."""
        with self._lock:
            content = encode_header() + b"".join(encode_row(row) for row in measurements)
            write_atomically(self.path, content)
            os.close(self._file)
            self._file = self._open()

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_APPEND)


def repair(path: Path) -> None:
    """Cut off a last line without a line break: its row was not written completely."""
    if not path.exists():
        return
    content = path.read_bytes()
    complete = content.rfind(b"\n") + 1
    if complete < len(content):
        os.truncate(path, complete)


def read_measurements(path: Path) -> list[Measurement]:
    """Return every complete row; a last line without a line break is ignored.

    Raises:
        StudyError: The columns are others, or a value does not fit its column.
    """
    if not path.exists():
        return []
    content = path.read_bytes()
    complete = content[: content.rfind(b"\n") + 1]
    if not complete:
        return []
    return decode_rows(complete.decode().split("\n")[:-1], where=str(path))
