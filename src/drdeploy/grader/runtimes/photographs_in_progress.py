"""Count the photographs that are being graded now, in all worker processes of a server."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableSequence


class PhotographsInProgress:
    """Counts the photographs being graded now; a ``with`` block counts as one photograph.

    Several threads may use the object at once. All workers of a server can read one number per
    worker, but each worker changes only its own number. The sum may be out of date for a moment.
    The sum may therefore decide how a photograph is graded, for example on how many threads, but it
    must not affect the grade.

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
