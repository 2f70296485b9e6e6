"""Estimate the time of grading an archive, before it is graded.

One thread grades some photographs, which are drawn at random from the whole archive, and its rate
is measured. Files that cannot be graded do not count: most of them fail at once, so they would make
the mean too short. When many workers run at once, each of them is slower. The rate of a worker is
then assumed to be the measured rate times :data:`WORKER_EFFICIENCY`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from drdeploy.clinic.archive_grading.grading import (
    GradedFile,
    grade_photographs_at_places,
    read_graded_files,
)
from drdeploy.units import MILLION, SECONDS_PER_HOUR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.clinic.archive_grading.grading import WorkerSettings

WORKER_EFFICIENCY = 0.9
"""The rate that each worker is assumed to reach if many workers run, as a share of the rate of a
worker that runs alone. ``benchmarks/archive.py`` measures the share on your machine. On two cores,
it was 0.927 (0.885 to 0.941) on 30 November 2026."""
NODE_BYTES_PER_S = 78e6
"""Bytes per second that a node can read from S3 or a file server for hours. The value is 0.625
Gbit/s, a little less than the 0.75 Gbit/s that AWS states as the network baseline of c5.large.
Larger instances have more."""
TABLE_ROWS_PER_S = 5_000
"""How many rows one process can write into the table in a second; 5,270 were measured."""
SAMPLED_PHOTOGRAPHS = 12

Limit = Literal["processors", "reading", "writing the table"]


@dataclass(frozen=True)
class ProjectedRate:
    """How many photographs some nodes grade in an hour together, and what limits this rate."""

    nodes: int
    photographs_per_hour: float
    limit: Limit

    def cost_usd_per_million(self, node_hour_usd: float) -> float:
        """Return the cost of a million photographs, given the price of a node for an hour."""
        return self.nodes * node_hour_usd * MILLION / self.photographs_per_hour


@dataclass(frozen=True)
class MeasuredPhotographs:
    """The time that one thread took to grade some photographs of the archive.

    Attributes:
        seconds: The mean time for one photograph, which includes reading it.
        size_bytes: The mean size of a photograph.
        measured: How many photographs were measured, without those that could not be graded.
    """

    seconds: float
    size_bytes: float
    measured: int

    def project_grading_rate(self, nodes: int, workers_per_node: int) -> ProjectedRate:
        """Return how many photographs ``nodes`` nodes grade in an hour.

        A node is limited by its processors or by its network connection. All nodes together are
        limited by the one process that writes the table.
        """
        computed = workers_per_node * WORKER_EFFICIENCY / self.seconds
        read = NODE_BYTES_PER_S / self.size_bytes if self.size_bytes else float("inf")
        rates: dict[Limit, float] = {
            "processors": nodes * computed,
            "reading": nodes * read,
            "writing the table": float(TABLE_ROWS_PER_S),
        }
        limit = min(rates, key=rates.__getitem__)
        return ProjectedRate(nodes, rates[limit] * SECONDS_PER_HOUR, limit)

    def expected_seconds(self, photographs: int, workers: int) -> float:
        """Return how long one machine takes to grade the photographs, once Ray has started."""
        return photographs * self.seconds / (workers * WORKER_EFFICIENCY)


@dataclass(frozen=True)
class ArchiveSample:
    """The photographs that were graded for a plan.

    Attributes:
        measured: The time of the photographs that could be graded; None if none could be graded.
        failed: How many of the photographs could not be graded.
        failure: Why one of them could not be graded, as a sentence.
    """

    measured: MeasuredPhotographs | None
    failed: int = 0
    failure: str = ""


def measure_photographs(
    places: Sequence[str], sizes_bytes: Sequence[int], settings: WorkerSettings
) -> ArchiveSample:
    """Grade some photographs with one thread, and return the mean time of those that are graded.

    Raises:
        ArchiveUnreadable: The archive cannot be read, or the model cannot be loaded.
    """

    def grade_photograph(place: str) -> GradedFile:
        (graded,) = read_graded_files(grade_photographs_at_places([place], settings))
        return graded

    for place in places:  # loads the model, and grades until the model has predicted once
        if not grade_photograph(place).failure:
            break
    seconds: list[float] = []
    failures: list[str] = []
    for place in places:
        started = time.perf_counter()
        failure = grade_photograph(place).failure
        taken_s = time.perf_counter() - started
        if failure:
            failures.append(failure)
        else:
            seconds.append(taken_s)
    if not seconds:
        return ArchiveSample(None, len(failures), failures[0])
    mean_bytes = sum(sizes_bytes) / len(sizes_bytes) if sizes_bytes else 0.0
    measured = MeasuredPhotographs(sum(seconds) / len(seconds), mean_bytes, len(seconds))
    return ArchiveSample(measured, len(failures), failures[0] if failures else "")
