"""``measurements.csv`` on disk: a row is there whole or not at all, and stays there.

A row is one ``write`` to a file opened for appending, then ``fsync``: a process that is killed
loses at most the row that it had not measured yet, and leaves at most one line without its
end, which the next one cuts off.
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
    """The rows of one results folder.

    Use it as a context manager, within :meth:`Results.locked`::

        with Journal(results.measurements) as journal:
            journal.append(measurement)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._file = -1

    def __enter__(self) -> Self:
        """Open for appending, after cutting off a line that was not finished.

        Raises:
            StudyError: The file holds something else.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        repair(self.path)
        if self.path.exists() and self.path.stat().st_size:
            rows = read_measurements(self.path)
            if not self.path.read_bytes().startswith(encode_header()):  # an older version's
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
        """Write one row; it survives whatever happens next."""
        with self._lock:
            _write_whole(self._file, encode_row(measurement))
            os.fsync(self._file)

    def read(self) -> list[Measurement]:
        """Every row so far."""
        return read_measurements(self.path)

    def rewrite(self, measurements: Iterable[Measurement]) -> None:
        """Replace all rows at once, or none: for what is known only later of rows."""
        with self._lock:
            content = encode_header() + b"".join(encode_row(row) for row in measurements)
            write_atomically(self.path, content)
            os.close(self._file)
            self._file = self._open()

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_APPEND)


def _write_whole(file: int, content: bytes) -> None:
    """One write; more only where the disk is filling up, so that it says so."""
    while content:
        content = content[os.write(file, content) :]


def repair(path: Path) -> None:
    """Cut off a last line that has no end: it was never measured completely."""
    if not path.exists():
        return
    content = path.read_bytes()
    complete = content.rfind(b"\n") + 1
    if complete < len(content):
        os.truncate(path, complete)


def read_measurements(path: Path) -> list[Measurement]:
    """Every complete row; a last line without its end is passed over.

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
