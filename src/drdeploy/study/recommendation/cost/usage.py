"""From simulated traffic to what a month takes of an endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.study.recommendation.cost.bill import Usage
from drdeploy.units import DAYS_PER_MONTH, GIB

if TYPE_CHECKING:
    from drdeploy.study.recommendation.simulation.outcome import Figures

HOURS_PER_MONTH = DAYS_PER_MONTH * 24


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What an endpoint keeps, and what one request carries.

    Attributes:
        image_gb: In the registry, compressed.
        artifact_gb: In the bucket.
        request_bytes: A photograph.
        response_bytes: An answer.
    """

    image_gb: float
    artifact_gb: float
    request_bytes: float
    response_bytes: float

    @property
    def carried_gb(self) -> float:
        """By one request and its answer."""
        return (self.request_bytes + self.response_bytes) / GIB


def serverless_usage(figures: Figures, months: float, stored: Stored) -> Usage:
    """A month of a serverless endpoint; the simulated stretch holds ``months`` of requests."""
    answered = figures.answered + figures.keep_warm_requests
    return Usage(
        requests=answered / months,
        on_demand_s=figures.on_demand_s / months,
        provisioned_duration_s=figures.provisioned_duration_s / months,
        provisioned_held_s=figures.provisioned_held_s / months,
        data_gb=answered * stored.carried_gb / months,
        image_gb=stored.image_gb,
        artifact_gb=stored.artifact_gb,
    )


def real_time_usage(requests_per_month: float, instances: int, stored: Stored) -> Usage:
    """A month of instances that are never switched off."""
    return Usage(
        requests=requests_per_month,
        instance_hours=instances * HOURS_PER_MONTH,
        image_gb=stored.image_gb,
        artifact_gb=stored.artifact_gb,
    )
