"""An option as variables for the Terraform environment ``single-endpoint``.

Provisioned concurrency by the hour becomes ``provisioned_scaling`` with one schedule for each hour
and number of containers.  Hours are those of the traffic, written without a time zone, which AWS
takes as UTC: add ``timezone`` where they are local.  Terraform creates nothing that sends keep-warm
requests; :func:`weekly_schedule` says in which hours they are needed.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

from drdeploy.hosting.sagemaker import quotas
from drdeploy.study.recommendation.traffic.shape import HOURS_PER_DAY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.study.recommendation.mitigation.policies import Policy

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def serverless_variables(
    memory_mb: int, policy: Policy, *, peak_concurrency: int, headroom: float
) -> dict[str, Any]:
    """Terraform variables of a serverless endpoint.

    Args:
        memory_mb: The endpoint's memory.
        policy: The policy against cold starts.
        peak_concurrency: Most requests at once in the simulation.
        headroom: Share of ``max_concurrency`` that stays free at that peak.
    """
    provisioned = max(policy.containers_by_hour, default=0) if policy.name == "provisioned" else 0
    # SageMaker refuses an endpoint with more provisioned concurrency than max_concurrency.
    needed = max(ceil(peak_concurrency / (1 - headroom)), provisioned, 1)
    endpoint: dict[str, Any] = {
        "kind": "serverless",
        "memory_mb": memory_mb,
        "max_concurrency": min(needed, quotas.serverless_max_concurrency().maximum or needed),
        "provisioned_concurrency": provisioned or None,
    }
    if provisioned and min(policy.containers_by_hour) < provisioned:
        endpoint["provisioned_scaling"] = {
            "min_capacity": min(policy.containers_by_hour),
            "max_capacity": provisioned,
            "schedules": _schedules(policy.containers_by_hour),
        }
    return {"endpoint": endpoint, "allow_always_on": provisioned > 0}


def _schedules(containers_by_hour: Sequence[int]) -> dict[str, dict[str, Any]]:
    """A schedule for each hour at which the number of containers changes, and its new number."""
    days: dict[tuple[int, int], list[str]] = {}
    for at, containers in enumerate(containers_by_hour):
        # Monday's first hour follows Sunday's last, at index -1.
        if containers != containers_by_hour[at - 1]:
            day, hour = divmod(at, HOURS_PER_DAY)
            days.setdefault((hour, containers), []).append(DAYS[day][:3].upper())
    return {
        f"at-{hour:02}-hold-{containers}": {
            "schedule": f"cron(0 {hour} ? * {','.join(names)} *)",
            "min_capacity": containers,
            "max_capacity": containers,
        }
        for (hour, containers), names in days.items()
    }


def real_time_variables(instance_type: str, instances: int) -> dict[str, Any]:
    """Terraform variables of a real-time endpoint, which runs (and costs) until it is deleted."""
    return {
        "endpoint": {
            "kind": "realtime",
            "instance_type": instance_type,
            "initial_instance_count": instances,
        },
        "allow_always_on": True,
    }


def weekly_schedule(policy: Policy) -> list[dict[str, Any]]:
    """Stretches of a day with one number of containers; hours without any are left out."""
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
