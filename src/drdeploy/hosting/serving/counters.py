"""Count invocations, statuses and durations in counters that all processes of a container share.

The counters are in a small file that every process maps into memory. A worker may be killed at any
time, and its replacement must continue from the same counts. A process locks the file for each
change, which takes a few microseconds. If the process dies, the kernel releases the file lock. A
lock in shared memory would stay locked. The multiprocess mode of ``prometheus_client`` is not used,
because importing ``prometheus_client`` slows down a cold start. The multiprocess mode would also
make a new file for each worker that starts.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
from bisect import bisect_left
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

STATUSES = (200, 400, 406, 408, 413, 415, 422, 431, 500, 503, 504)
"""The statuses with which POST /invocations may be answered; any other status counts as 500."""
STAGES = ("request", "decode", "transform", "predict")
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)

_CELL_BYTES = 8
_INVOCATIONS = 0
_IMAGES = 1
_WORKER_STARTS = 2
_FIRST_STATUS = 3
_FIRST_STAGE = _FIRST_STATUS + len(STATUSES)
_CELLS_PER_STAGE = len(BUCKETS_S) + 2
_CELLS = _FIRST_STAGE + len(STAGES) * _CELLS_PER_STAGE


class Durations(NamedTuple):
    """A histogram of durations.

    Attributes:
        counts: The number of observations in each bucket of ``BUCKETS_S``. The last number counts
            the observations above the last bucket.
        sum_s: The sum of all observations, seconds.
    """

    counts: tuple[int, ...]
    sum_s: float


class Snapshot(NamedTuple):
    """All counters at one instant."""

    invocations: int
    images: int
    worker_starts: int
    responses: dict[int, int]
    durations: dict[str, Durations]


class RequestCounters:
    """The shared counters of one container, mapped from a file.

    The file is an array of doubles, which hold whole numbers exactly up to 2**53.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.ftruncate(self._file, _CELLS * _CELL_BYTES)
        mapped = mmap.mmap(self._file, _CELLS * _CELL_BYTES)
        self._cells = memoryview(mapped).cast("d")
        self._threads = threading.Lock()

    def count_invocation(self) -> int:
        """Count an invocation, and return its number in the container, counted from 1."""
        with self._hold_file_lock():
            self._cells[_INVOCATIONS] += 1
            return int(self._cells[_INVOCATIONS])

    def count_worker_start(self) -> None:
        """Count a worker that became ready."""
        with self._hold_file_lock():
            self._cells[_WORKER_STARTS] += 1

    def count_response(self, status: int, duration_s: float) -> None:
        """Count an answered invocation by its status and duration."""
        known = status if status in STATUSES else 500
        with self._hold_file_lock():
            self._cells[_FIRST_STATUS + STATUSES.index(known)] += 1
            self._count_duration("request", duration_s)

    def count_images(self, stages: Sequence[tuple[float, float, float]]) -> None:
        """Count graded images, each with its seconds of decoding, transforming and predicting."""
        with self._hold_file_lock():
            self._cells[_IMAGES] += len(stages)
            for durations in stages:
                for stage, duration_s in zip(STAGES[1:], durations, strict=True):
                    self._count_duration(stage, duration_s)

    def read_snapshot(self) -> Snapshot:
        """Read all counters at one instant."""
        with self._hold_file_lock():
            cells = [float(cell) for cell in self._cells]
        return Snapshot(
            invocations=int(cells[_INVOCATIONS]),
            images=int(cells[_IMAGES]),
            worker_starts=int(cells[_WORKER_STARTS]),
            responses={
                status: int(cells[_FIRST_STATUS + place]) for place, status in enumerate(STATUSES)
            },
            durations={
                stage: _extract_durations(cells, place) for place, stage in enumerate(STAGES)
            },
        )

    def _count_duration(self, stage: str, duration_s: float) -> None:
        first = _FIRST_STAGE + STAGES.index(stage) * _CELLS_PER_STAGE
        self._cells[first + bisect_left(BUCKETS_S, duration_s)] += 1
        self._cells[first + len(BUCKETS_S) + 1] += duration_s

    @contextmanager
    def _hold_file_lock(self) -> Iterator[None]:
        # A POSIX lock belongs to the process (fcntl(2)), so the threads of a process need another
        # lock.
        with self._threads:
            fcntl.lockf(self._file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN)


def _extract_durations(cells: list[float], place: int) -> Durations:
    first = _FIRST_STAGE + place * _CELLS_PER_STAGE
    counts = cells[first : first + len(BUCKETS_S) + 1]
    return Durations(tuple(int(count) for count in counts), cells[first + len(BUCKETS_S) + 1])
