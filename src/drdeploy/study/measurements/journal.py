"""Write rows to ``measurements.csv``, where they survive a crash of the process or the machine.

Each row is appended to the file with a single ``write``, and an ``fsync`` follows at once. If the
process is killed, at most the rows of unanswered requests and the row that it was just writing are
lost. The file may then end with an incomplete line. :func:`read_complete_rows` ignores this line,
and the next run removes it. A report also reads files that do not end with a line break. It
therefore ignores the last line only if cells are missing from it.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Self

from drdeploy.errors import StudyError
from drdeploy.files import add_path_to_disk_errors, write_file_atomically
from drdeploy.study.measurements.measurement import decode_rows, encode_header, encode_row

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from drdeploy.study.measurements.measurement import Measurement


class Journal:
    """The rows of one results folder, open for appending.

    Use the journal as a context manager, within :meth:`ResultsFolder.hold_folder_lock`::

        with Journal(results.measurements) as journal:
            journal.append_row(measurement)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()  # an open loop appends from several threads
        self._file = -1

    def __enter__(self) -> Self:
        """Open the file, after removing an incomplete last line.

        Raises:
            StudyError: The file does not hold measurements.
        """
        remove_incomplete_last_line(self.path)
        if self.path.exists() and self.path.stat().st_size:
            rows = read_complete_rows(self.path)
            if not self.path.read_bytes().startswith(encode_header()):
                # An older version, which did not have all columns, wrote the file.
                write_file_atomically(self.path, encode_header() + b"".join(map(encode_row, rows)))
        else:
            write_file_atomically(self.path, encode_header())
        self._file = self._open_file_for_appending()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def append_row(self, measurement: Measurement) -> None:
        """Write one row; after this call returns, a crash cannot lose the row.

        Raises:
            OSError: The disk is full or broken. The file then either holds the whole row, or is
                unchanged.
        """
        with self._lock:
            content = encode_row(measurement)
            size_bytes = os.fstat(self._file).st_size
            # The kernel writes a row in one call. It writes less only if the disk is almost full,
            # and then the next call raises an error.
            try:
                with add_path_to_disk_errors(self.path):
                    while content:
                        content = content[os.write(self._file, content) :]
                    os.fsync(self._file)
            except OSError:
                # If only fsync failed, the whole row stays in the file, because another process may
                # have read it already.
                if content:
                    # Otherwise the row of another thread would continue the incomplete line, and
                    # both rows would be lost.
                    os.ftruncate(self._file, size_bytes)
                raise

    def read_rows(self) -> list[Measurement]:
        """Return all rows that the file holds now."""
        return read_complete_rows(self.path)

    def replace_all_rows(self, measurements: Iterable[Measurement]) -> None:
        """Replace all rows of the file by the given rows.

        This is needed because some values, for example CloudWatch's metrics, become known only
        after a row was written.
        """
        with self._lock:
            content = encode_header() + b"".join(encode_row(row) for row in measurements)
            write_file_atomically(self.path, content)
            replaced, self._file = self._file, self._open_file_for_appending()
            os.close(replaced)

    def _open_file_for_appending(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_APPEND)


def remove_incomplete_last_line(path: Path) -> None:
    """Remove the last line if its line break is missing, because its row is incomplete."""
    if not path.exists():
        return
    content = path.read_bytes()
    complete = content.rfind(b"\n") + 1
    if complete < len(content):
        os.truncate(path, complete)


def read_complete_rows(path: Path) -> list[Measurement]:
    """Return all complete rows of a file; an incomplete last line is ignored.

    Raises:
        StudyError: The file is not UTF-8, or has other columns, or a value does not fit its column.
    """
    if not path.exists():
        return []
    content = path.read_bytes()
    complete = content[: content.rfind(b"\n") + 1]
    if not complete:
        return []
    try:
        text = complete.decode("utf-8-sig")  # Excel writes a byte order mark
    except UnicodeDecodeError as err:
        raise StudyError(
            "The measurements cannot be read: the text is not UTF-8",
            where=str(path),
            remedy="Save the file as UTF-8, or choose another results folder with --out",
        ) from err
    return decode_rows(text.split("\n")[:-1], where=str(path))
