"""One number per worker, in memory that all workers share."""

from __future__ import annotations

import mmap

_CELL_BYTES = 8


def make_worker_cells(workers: int) -> memoryview:
    """Return one number per worker, all 0, in memory that all workers share.

    Each number is in a cell of its own. The cells must be made before the workers are forked. They
    need no lock, because no two processes write a cell at the same time: a worker writes its own
    cell, and the supervisor writes the cell only while that worker does not run. An aligned write
    of eight bytes is atomic, so no reader sees half a number.
    """
    return memoryview(mmap.mmap(-1, workers * _CELL_BYTES)).cast("q")
