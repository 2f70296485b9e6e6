"""A number with its 95 % interval."""

from __future__ import annotations

from dataclasses import dataclass, replace

CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval.

    Attributes:
        value: The estimate from the sample; None if it cannot be computed, for example because the
            sample is empty.
        low: Lower 95 % limit; None if there is no interval (``reason`` says why).
        high: Upper 95 % limit; None if there is no interval.
        n: Number of rows; for a ratio of two samples, the number of rows of the numerator.
        method: How the interval was computed.
        n_other: Number of rows of the denominator, for a ratio of two samples.
        reason: Why there is no interval, or no value; empty if there is an interval.
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
        """Whether both limits of the interval are known."""
        return self.low is not None and self.high is not None

    def multiplied_by(self, factor: float) -> Estimate:
        """Multiply the estimate and its interval by a factor above 0, for example a price."""

        def multiply_limit(limit: float | None) -> float | None:
            return None if limit is None else limit * factor

        return replace(
            self,
            value=multiply_limit(self.value),
            low=multiply_limit(self.low),
            high=multiply_limit(self.high),
        )

    def with_limits(self, limits: tuple[float, float]) -> Estimate:
        """Return a copy of the estimate with the given lower and upper 95 % limits."""
        return replace(self, low=limits[0], high=limits[1])

    def interval_excludes(self, value: float) -> bool:
        """Whether the interval exists and does not contain the given value."""
        if self.low is None or self.high is None:
            return False
        return not self.low <= value <= self.high


def reason_for_too_few_rows(n: int, needed: int) -> str:
    """Return a text for :attr:`Estimate.reason` that says how many rows an interval needs."""
    return f"no interval: {n} row{'s' * (n != 1)}, {needed} needed"
