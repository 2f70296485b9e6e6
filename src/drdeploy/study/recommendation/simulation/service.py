"""The measured times of one configuration, and how they are drawn."""

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
    """Rows of one kind of start: two times of each, drawn together.

    Attributes:
        total_s: As the client saw it; shape ``(n,)``, n >= 1.
        busy_s: That the container was taken for it, which is what AWS bills; shape ``(n,)``.
    """

    total_s: Floats
    busy_s: Floats

    def __post_init__(self) -> None:
        if not self.total_s.size or self.total_s.shape != self.busy_s.shape:
            raise AnalysisError("A distribution of times needs at least one row")

    @property
    def n(self) -> int:
        """How many rows."""
        return self.total_s.size

    @property
    def mean_busy_s(self) -> float:
        """On average."""
        return float(self.busy_s.mean())

    def resampled(self, rng: np.random.Generator) -> Times:
        """As many rows, drawn with replacement: one bootstrap resample."""
        rows = rng.integers(0, self.n, self.n)
        return Times(self.total_s[rows], self.busy_s[rows])


@dataclass(frozen=True, eq=False)
class ServiceTimes:
    """Of one configuration.

    Attributes:
        warm: By a container that had answered before.
        cold: By one that had to be started; None for an endpoint that is always on.
    """

    warm: Times
    cold: Times | None = None

    def resampled(self, rng: np.random.Generator) -> ServiceTimes:
        """Both resampled, independently."""
        cold = None if self.cold is None else self.cold.resampled(rng)
        return ServiceTimes(self.warm.resampled(rng), cold)


def times_of(rows: pd.DataFrame) -> Times:
    """From measured rows that count.

    A container is taken for its own time and, where it had to start, for the set-up.  Where rows
    do not say (the set-up is known from CloudWatch alone), the whole total latency stands in: at
    most the network's share too much.

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
