"""From simulated traffic to what an endpoint uses in a month."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.study.recommendation.cost.bill import MonthlyUsage
from drdeploy.units import DAYS_PER_MONTH, GIB

if TYPE_CHECKING:
    from drdeploy.study.recommendation.simulation.outcome import SimulationSummary

HOURS_PER_MONTH = DAYS_PER_MONTH * 24


@dataclass(frozen=True, kw_only=True)
class DataVolumes:
    """How much an endpoint stores, and how much one request carries.

    Attributes:
        image_gb: The image in the registry, compressed.
        artifact_gb: The model's artifact in the bucket.
        request_bytes: One photograph.
        response_bytes: One answer.
    """

    image_gb: float
    artifact_gb: float
    request_bytes: float
    response_bytes: float

    @property
    def transferred_gb(self) -> float:
        """What one request and its answer carry."""
        return (self.request_bytes + self.response_bytes) / GIB


def serverless_usage(
    simulated: SimulationSummary, months: float, volumes: DataVolumes
) -> MonthlyUsage:
    """What a serverless endpoint uses in a month.

    Args:
        simulated: The outcome of the simulation.
        months: How many months of requests were simulated.
        volumes: What is stored and carried.
    """
    answered = simulated.answered + simulated.keep_warm_requests
    return MonthlyUsage(
        requests=answered / months,
        on_demand_s=simulated.on_demand_s / months,
        provisioned_duration_s=simulated.provisioned_duration_s / months,
        provisioned_held_s=simulated.provisioned_held_s / months,
        data_gb=answered * volumes.transferred_gb / months,
        image_gb=volumes.image_gb,
        artifact_gb=volumes.artifact_gb,
    )


def real_time_usage(
    requests_per_month: float, instances: int, volumes: DataVolumes
) -> MonthlyUsage:
    """What a real-time endpoint uses in a month; its instances run day and night."""
    return MonthlyUsage(
        requests=requests_per_month,
        instance_hours=instances * HOURS_PER_MONTH,
        image_gb=volumes.image_gb,
        artifact_gb=volumes.artifact_gb,
    )
