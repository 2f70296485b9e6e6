"""The number of connections of each worker, in memory that all workers share."""

from __future__ import annotations

from drdeploy.hosting.serving.lean.worker_cells import make_worker_cells

CLOSED = 2**31
"""The count of a worker that accepts no connections, because it starts, stops, has ended, or has no
file descriptors left.
"""


class ConnectionCounts:
    """The number of connections of each worker, made before the workers are forked."""

    def __init__(self, workers: int) -> None:
        self._cells = make_worker_cells(workers)
        for slot in range(workers):
            self.set_count_of_worker(slot, CLOSED)

    def set_count_of_worker(self, slot: int, connections: int) -> None:
        """Set the number of connections of one worker; ``slot`` is its index, counted from 0."""
        self._cells[slot] = connections

    @property
    def is_single_worker(self) -> bool:
        """Whether there is only one worker."""
        return len(self._cells) == 1

    def has_fewest_connections(self, slot: int) -> bool:
        """Whether no worker has fewer connections than the worker with the index ``slot``."""
        return self._cells[slot] <= min(self._cells)
