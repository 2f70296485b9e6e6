"""An option as variables that the Terraform environment ``single-endpoint`` takes.

Terraform creates the endpoint.  Who sends keep-warm requests, and a schedule of provisioned
concurrency (Application Auto Scaling, scheduled actions on ``DesiredProvisionedConcurrency``), are
told beside the variables, as hours of a week.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

from drdeploy.analysis.traffic.shape import HOURS_PER_DAY
from drdeploy.sagemaker import quotas

if TYPE_CHECKING:
    from drdeploy.analysis.softening.policies import Policy

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def serverless_variables(
    memory_mb: int, policy: Policy, *, peak_concurrency: int, headroom: float
) -> dict[str, Any]:
    """``tfvars.json`` of a serverless endpoint.

    Args:
        memory_mb: Of the configuration.
        policy: What is done against cold starts.
        peak_concurrency: Most requests at once that the simulation saw.
        headroom: Share of ``max_concurrency`` that stays free at that peak.
    """
    provisioned = max(policy.containers_by_hour, default=0) if policy.name == "provisioned" else 0
    wanted = max(ceil(peak_concurrency / (1 - headroom)), provisioned, 1)
    return {
        "endpoint": {
            "kind": "serverless",
            "memory_mb": memory_mb,
            "max_concurrency": min(wanted, quotas.serverless_max_concurrency().maximum or wanted),
            "provisioned_concurrency": provisioned or None,
        },
        "allow_always_on": provisioned > 0,
    }


def real_time_variables(instance_type: str, instances: int) -> dict[str, Any]:
    """``tfvars.json`` of an endpoint that is always on."""
    return {
        "endpoint": {
            "kind": "realtime",
            "instance_type": instance_type,
            "initial_instance_count": instances,
        },
        "allow_always_on": True,
    }


def schedule_of(policy: Policy) -> list[dict[str, Any]]:
    """Stretches of the week with one number of containers; hours without any are left out."""
    stretches: list[dict[str, Any]] = []
    for hour, containers in enumerate(policy.containers_by_hour):
        day, begin = divmod(hour, HOURS_PER_DAY)
        if not containers:
            continue
        last = stretches[-1] if stretches else {}
        follows = (last.get("day"), last.get("until_hour")) == (DAYS[day], begin)
        if follows and last["containers"] == containers:
            last["until_hour"] = begin + 1
            continue
        stretches.append({
            "day": DAYS[day],
            "from_hour": begin,
            "until_hour": begin + 1,
            "containers": containers,
        })  # fmt: skip
    return stretches
