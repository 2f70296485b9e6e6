"""Count the photographs that are being graded now, in all worker processes of a server."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableSequence


class PhotographsInProgress:
    """Counts the photographs being graded now; a ``with`` block counts as one photograph.

    Several threads may use the object at once. In shared memory, there is one number for each
    worker of a server. Every worker reads all numbers, but changes only its own. The sum of the
    numbers may be out of date for a moment. It may therefore affect how many threads grade a
    photograph, but not which grade the photograph gets.

    Args:
        cells: One number per worker process, in memory that the workers share. None means that only
            the photographs of this process are counted.
        slot: The index of this process's number in ``cells``.
    """

    def __init__(
        self, cells: MutableSequence[int] | memoryview | None = None, slot: int = 0
    ) -> None:
        self._cells = [0] if cells is None else cells
        self._slot = slot
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self._cells[self._slot] += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._cells[self._slot] -= 1

    @property
    def are_several(self) -> bool:
        """Whether more than one photograph is being graded now."""
        return sum(self._cells) > 1
