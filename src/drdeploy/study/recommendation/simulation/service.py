"""The measured times of one configuration, from which a simulation draws at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import AnalysisError

if TYPE_CHECKING:
    import pandas as pd

    from drdeploy.arrays import Floats


@dataclass(frozen=True, eq=False)
class RowTimes:
    """The latency of each measured row, and the time for which it occupied its container.

    Attributes:
        total_s: The total latency at the client; shape ``(n,)`` with n >= 1.
        busy_s: The time for which the container was occupied, which AWS bills; shape ``(n,)``.
    """

    total_s: Floats
    busy_s: Floats

    def __post_init__(self) -> None:
        if not self.total_s.size or self.total_s.shape != self.busy_s.shape:
            raise AnalysisError("A simulation needs at least one measured row")

    @property
    def row_count(self) -> int:
        """The number of rows."""
        return self.total_s.size

    @property
    def mean_busy_s(self) -> float:
        """The mean time that a request occupies a container, in seconds."""
        return float(self.busy_s.mean())

    def draw_bootstrap_resample(self, rng: np.random.Generator) -> RowTimes:
        """Return a bootstrap resample: the same number of rows, drawn with replacement."""
        rows = rng.integers(0, self.row_count, self.row_count)
        return RowTimes(self.total_s[rows], self.busy_s[rows])


@dataclass(frozen=True, eq=False)
class ServiceTimes:
    """The measured times of one configuration.

    Attributes:
        warm: The times of requests that a running container answered.
        cold: The times of requests for which a container had to start, or None for a real-time
            endpoint.
    """

    warm: RowTimes
    cold: RowTimes | None = None

    @property
    def locally_measured_times(self) -> ServiceTimes:
        """The times as they were measured."""
        return self

    def draw_bootstrap_resample(self, rng: np.random.Generator, number: int = 0) -> ServiceTimes:  # noqa: ARG002 - see ExpectedServiceTimes
        """Return a bootstrap resample. Warm and cold rows are drawn independently.

        Args:
            rng: The random number generator.
            number: The number of the resample. Only the subclass ``ExpectedServiceTimes`` uses it,
                to take the same coefficients for all configurations of a resample.
        """
        cold = None if self.cold is None else self.cold.draw_bootstrap_resample(rng)
        return ServiceTimes(self.warm.draw_bootstrap_resample(rng), cold)


def read_times_from_rows(rows: pd.DataFrame) -> RowTimes:
    """Return the latency and the occupied time of each measured row.

    The occupied time is how long a request kept its container busy. It is the latency in the
    container, plus the set-up time of the container if the start was cold. On AWS, only CloudWatch
    measures the set-up time. If a row lacks one of these times, the total latency at the client is
    used instead. It includes the time in the network, so it is too long.

    Raises:
        AnalysisError: There is no row.
    """
    total = rows["total_latency_s"].to_numpy(dtype=np.float64)
    container = rows["container_latency_s"].to_numpy(dtype=np.float64)
    setup = rows["model_setup_s"].to_numpy(dtype=np.float64)
    is_cold = (rows["start"] == "cold").to_numpy()
    known = container + np.where(is_cold, setup, 0.0)
    busy = np.where(np.isnan(known), total, np.minimum(known, total))
    return RowTimes(total, busy)
