"""How many connections each worker holds, in memory that all of them see."""

from __future__ import annotations

import mmap

CLOSED = 2**31
"""Of a worker that takes no connections: it starts, or it has ended."""

_CELL_BYTES = 8


class ConnectionCounts:
    """One number per worker, made before they are forked.

    Each is written by its own worker alone, or by the supervisor while there is none.
    """

    def __init__(self, workers: int) -> None:
        self._cells = memoryview(mmap.mmap(-1, workers * _CELL_BYTES)).cast("q")
        for place in range(workers):
            self.note(place, CLOSED)

    def note(self, place: int, connections: int) -> None:
        """Worker ``place`` (from 0) has that many."""
        self._cells[place] = connections

    @property
    def is_alone(self) -> bool:
        """Whether there is one worker."""
        return len(self._cells) == 1

    def is_least(self, place: int) -> bool:
        """Whether no other worker has fewer."""
        return self._cells[place] <= min(self._cells)
