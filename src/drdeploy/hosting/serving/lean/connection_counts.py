"""How many connections each worker holds, in memory that all workers share."""

from __future__ import annotations

import mmap

CLOSED = 2**31
"""The count of a worker that accepts no connections: it starts, stops, or has ended."""

_CELL_BYTES = 8


class ConnectionCounts:
    """One number per worker; make it before the workers are forked.

    It needs no lock.  Each number is written by its worker alone, or by the supervisor while that
    worker does not run; an aligned write of eight bytes is atomic.
    """

    def __init__(self, workers: int) -> None:
        self._cells = memoryview(mmap.mmap(-1, workers * _CELL_BYTES)).cast("q")
        for slot in range(workers):
            self.set(slot, CLOSED)

    def set(self, slot: int, connections: int) -> None:
        """Write the number of the worker in a slot (from 0)."""
        self._cells[slot] = connections

    @property
    def is_single_worker(self) -> bool:
        """Whether there is only one worker."""
        return len(self._cells) == 1

    def is_lowest(self, slot: int) -> bool:
        """Whether no worker has fewer connections than this one."""
        return self._cells[slot] <= min(self._cells)
