"""Choose one of the options that meet every requirement; small differences do not count.

Options whose monthly costs differ by little count as equally expensive. Of all options that count
as equal to the cheapest, the simplest to run is chosen. If several are equally simple, the fastest
of them is chosen. If several are equally fast, the cheapest of them is chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.study.recommendation.requirements import Requirements

SAME_SPEED_SHARE = 0.05
"""Two p95 latencies that differ by at most this share count as equal, because a few rows cannot
show smaller differences."""
NONE = -1
"""The index that stands for no option."""


@dataclass(frozen=True)
class SameCost:
    """The difference up to which two monthly costs count as the same.

    Attributes:
        share: The difference as a share of the lower cost.
        usd: The difference in USD a month. The larger of the two differences applies.
    """

    share: float
    usd: float

    @classmethod
    def from_requirements(cls, required: Requirements) -> SameCost:
        """Return the difference up to which the requirements count two costs as the same."""
        return cls(required.same_cost_share, required.same_cost_usd)

    def compute_highest_same_usd(self, usd: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return, for each monthly cost, the highest other cost that counts as equal to it."""
        return np.maximum(usd * (1 + self.share), usd + self.usd)


def choose_option_in_each_case(
    usd: NDArray[np.float64],
    p95_s: NDArray[np.float64],
    parts: NDArray[np.int64],
    same: SameCost,
) -> NDArray[np.int64]:
    """Return the index of the chosen option in each case, or :data:`NONE` if no option is possible.

    A case is, for example, one bootstrap resample, or one assumed change of a price.

    Args:
        usd: The monthly cost of each option in each case; infinite if the option must not be
            chosen. Shape ``(options, cases)``.
        p95_s: The p95 latency of each option in each case; the same shape.
        parts: The number of components that someone must operate for each option; shape
            ``(options,)``.
        same: Costs that differ by at most this much count as equal.
    """
    if not usd.shape[0]:
        return np.full(usd.shape[1], NONE)
    cheapest = usd.min(axis=0)
    left = np.isfinite(usd) & (usd <= same.compute_highest_same_usd(cheapest))
    many = np.where(left, parts[:, None], np.iinfo(np.int64).max)
    left &= many == many.min(axis=0)
    fastest = np.where(left, p95_s, np.inf).min(axis=0)
    left &= p95_s <= fastest * (1 + SAME_SPEED_SHARE)
    chosen = np.where(left, usd, np.inf).argmin(axis=0)
    return np.where(np.isfinite(cheapest), chosen, NONE)
