"""The measured times of one configuration, from which the simulation draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import AnalysisError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Times:
    """Two times of each measured row, drawn together, because a slow request is slow in both.

    Attributes:
        total_s: Total latency as the client saw it; shape ``(n,)``, n >= 1.
        busy_s: Time that the container was occupied, which is what AWS bills; shape ``(n,)``.
    """

    total_s: Floats
    busy_s: Floats

    def __post_init__(self) -> None:
        if not self.total_s.size or self.total_s.shape != self.busy_s.shape:
            raise AnalysisError("A distribution of times needs at least one row")

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.total_s.size

    @property
    def mean_busy_s(self) -> float:
        """Mean time that a request occupies its container."""
        return float(self.busy_s.mean())

    def resampled(self, rng: np.random.Generator) -> Times:
        """Draw as many rows with replacement: one bootstrap resample."""
        rows = rng.integers(0, self.n, self.n)
        return Times(self.total_s[rows], self.busy_s[rows])


@dataclass(frozen=True, eq=False)
class ServiceTimes:
    """The times of one configuration.

    Attributes:
        warm: Requests answered by a running container.
        cold: Requests for which a container had to start; None for a real-time endpoint.
    """

    warm: Times
    cold: Times | None = None

    def resampled(self, rng: np.random.Generator) -> ServiceTimes:
        """Draw warm and cold rows again, independently: one bootstrap resample."""
        cold = None if self.cold is None else self.cold.resampled(rng)
        return ServiceTimes(self.warm.resampled(rng), cold)


def times_of(rows: pd.DataFrame) -> Times:
    """Take the two times from measured rows.

    A container is occupied for its own time and, where it had to start, for the set-up.  Where
    rows do not say (on AWS only CloudWatch knows the set-up), the total latency is taken, which is
    too much by at most the time in the network.

    Raises:
        AnalysisError: There is no row.
    """
    total = rows["total_latency_s"].to_numpy(dtype=np.float64)
    container = rows["container_latency_s"].to_numpy(dtype=np.float64)
    setup = rows["model_setup_s"].to_numpy(dtype=np.float64)
    is_cold = (rows["start"] == "cold").to_numpy()
    known = container + np.where(is_cold, setup, 0.0)
    busy = np.where(np.isnan(known), total, np.minimum(known, total))
    return Times(total, busy)
