"""A number with its 95 % interval."""

from __future__ import annotations

from dataclasses import dataclass, replace

CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval.

    Attributes:
        value: The estimate from the sample; None if there is no row at all.
        low: Lower 95 % limit; None if there is no interval (``reason`` says why).
        high: Upper 95 % limit; None if there is no interval.
        n: How many rows it comes from; of two samples, those of the numerator.
        method: How the interval was made.
        n_other: Of two samples, the rows of the denominator.
        reason: Why there is no interval, or no value.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    method: str
    n_other: int | None = None
    reason: str = ""

    @property
    def has_interval(self) -> bool:
        """Whether both limits are known."""
        return self.low is not None and self.high is not None

    def scaled(self, factor: float) -> Estimate:
        """Return the estimate in another unit, or times a price (``factor`` > 0)."""

        def times(limit: float | None) -> float | None:
            return None if limit is None else limit * factor

        return replace(self, value=times(self.value), low=times(self.low), high=times(self.high))

    def with_limits(self, limits: tuple[float, float]) -> Estimate:
        """Return the estimate with these lower and upper 95 % limits."""
        return replace(self, low=limits[0], high=limits[1])

    def excludes(self, value: float) -> bool:
        """Whether the interval exists and the value lies outside it."""
        if self.low is None or self.high is None:
            return False
        return not self.low <= value <= self.high


def too_few(n: int, needed: int) -> str:
    """Say that there are too few rows for an interval; for :attr:`Estimate.reason`."""
    return f"no interval: {n} row{'s' * (n != 1)}, {needed} needed"
