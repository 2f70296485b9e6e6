"""Write an option as variables for the Terraform environment ``single-endpoint``.

The variables of batch transform jobs are for ``drdeploy batch run`` instead.

Three variables hold schedules:

- ``provisioned_scaling`` holds provisioned concurrency that changes by the hour. One schedule sets
  a number of containers at an hour of the day. Days that change to the same number at the same hour
  share a schedule.
- ``keep_warm`` holds keep-warm requests. It has one schedule for all days on which the requests are
  sent in the same hours.
- ``opening_hours`` holds opening hours. Each of its entries has two schedules, one that creates the
  endpoint and one that deletes it. Days with the same opening hours share one entry.

The schedules name no time zone, so AWS reads the hours as UTC. If the hours of the traffic
are in local time, add ``timezone`` to the schedules.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

from drdeploy.hosting.sagemaker import api_limits
from drdeploy.study.recommendation.traffic import HOURS_PER_DAY
from drdeploy.units import SECONDS_PER_HOUR, SECONDS_PER_MINUTE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.study.recommendation.mitigation.policies import MitigationPolicy

MINUTES_PER_HOUR = SECONDS_PER_HOUR // SECONDS_PER_MINUTE
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def make_serverless_terraform_variables(
    memory_mb: int,
    policy: MitigationPolicy,
    *,
    peak_concurrency: int,
    headroom: float,
    concurrency_limit: int | None = None,
) -> dict[str, Any]:
    """Return the Terraform variables of a serverless endpoint.

    Args:
        memory_mb: The memory of the endpoint.
        policy: The policy against cold starts.
        peak_concurrency: The largest number of requests in progress at once in the simulation.
        headroom: The share of the variable ``max_concurrency`` that the simulated peak leaves free.
        concurrency_limit: How many requests the account allows an endpoint to handle at once. None
            if only SageMaker's own limit applies.
    """
    provisioned = max(policy.containers_by_hour, default=0) if policy.is_provisioned else 0
    # SageMaker refuses an endpoint with more provisioned concurrency than max_concurrency.
    needed = max(ceil(peak_concurrency / (1 - headroom)), provisioned, 1)
    most = api_limits.read_max_concurrency_range().maximum or needed
    endpoint: dict[str, Any] = {
        "kind": "serverless",
        "memory_mb": memory_mb,
        "max_concurrency": min(needed, most, concurrency_limit or most),
        "provisioned_concurrency": provisioned or None,
    }
    if provisioned and min(policy.containers_by_hour) < provisioned:
        endpoint["provisioned_scaling"] = {
            "min_capacity": min(policy.containers_by_hour),
            "max_capacity": provisioned,
            "schedules": _make_scaling_schedules(policy.containers_by_hour),
        }
    schedules = _make_keep_warm_schedules(policy) if policy.name == "keep-warm" else {}
    if schedules:
        endpoint["keep_warm"] = {"schedules": schedules}
    return {"endpoint": endpoint, "allow_always_on": provisioned > 0 or bool(schedules)}


def _make_keep_warm_schedules(policy: MitigationPolicy) -> dict[str, dict[str, Any]]:
    """Return the schedules of keep-warm requests; days with the same hours share a schedule."""
    days_by_hours: dict[tuple[int, ...], list[str]] = {}
    for at, day in enumerate(DAYS):
        begin = at * HOURS_PER_DAY
        of_day = policy.containers_by_hour[begin : begin + HOURS_PER_DAY]
        hours = tuple(hour for hour, containers in enumerate(of_day) if containers)
        if hours:
            days_by_hours.setdefault(hours, []).append(day[:3].upper())
    minutes = int(policy.interval_s // SECONDS_PER_MINUTE)
    # The minutes are counted from each full hour, as in the simulation.
    within = f"0/{minutes}" if minutes < MINUTES_PER_HOUR else "0"
    return {
        f"keep-warm-{number}": {
            "schedule": f"cron({within} {_write_hours_as_cron_field(hours)} ? * {','.join(days)} *)"
        }
        for number, (hours, days) in enumerate(days_by_hours.items(), start=1)
    }


def _write_hours_as_cron_field(hours: Sequence[int]) -> str:
    """Write hours in ascending order as the hour field of a cron line, such as ``8-11,13``."""
    ranges: list[list[int]] = []
    for hour in hours:
        if ranges and hour == ranges[-1][-1] + 1:
            ranges[-1] = [ranges[-1][0], hour]
        else:
            ranges.append([hour])
    return ",".join("-".join(map(str, one)) for one in ranges)


def _make_scaling_schedules(containers_by_hour: Sequence[int]) -> dict[str, dict[str, Any]]:
    """Return the schedules that change the number of provisioned containers at full hours.

    Days that change to the same number at the same hour share a schedule.
    """
    days: dict[tuple[int, int], list[str]] = {}
    for at, containers in enumerate(containers_by_hour):
        # Index -1 is Sunday's last hour, which comes before Monday's first.
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


def make_real_time_terraform_variables(instance_type: str, instances: int) -> dict[str, Any]:
    """Return the Terraform variables of a real-time endpoint, which is always on."""
    return {
        "endpoint": {
            "kind": "realtime",
            "instance_type": instance_type,
            "initial_instance_count": instances,
        },
        "allow_always_on": True,
    }


def make_autoscaled_terraform_variables(
    instance_type: str, fewest: int, most: int, target_per_minute: float
) -> dict[str, Any]:
    """Return the Terraform variables of a real-time endpoint with autoscaling."""
    return {
        "endpoint": {
            "kind": "realtime",
            "instance_type": instance_type,
            "initial_instance_count": fewest,
            "autoscaling": {
                "min_capacity": fewest,
                "max_capacity": most,
                "target_invocations_per_minute": target_per_minute,
            },
        },
        "allow_always_on": True,
    }


def make_scheduled_terraform_variables(
    instance_type: str, instances: int, is_open: Sequence[bool], start_s: float
) -> dict[str, Any]:
    """Return the Terraform variables of a real-time endpoint with opening hours.

    Args:
        instance_type: The type of the instances.
        instances: The number of instances while the endpoint is open.
        is_open: Whether the endpoint is open, for each of the 168 hours of a week from Monday.
        start_s: The time in seconds that a new endpoint needs until it answers. The endpoint is
            created this long before it opens.
    """
    return {
        "endpoint": {
            "kind": "realtime",
            "instance_type": instance_type,
            "initial_instance_count": instances,
            "opening_hours": {"schedules": _make_opening_schedules(is_open, start_s)},
        },
        "allow_always_on": True,
    }


def _make_opening_schedules(is_open: Sequence[bool], start_s: float) -> dict[str, dict[str, str]]:
    """Return the schedules that create and delete an endpoint.

    Days with the same opening and closing times share one pair of schedules. The two schedules of a
    pair may name different days: the endpoint for a Monday may have to be created on Sunday
    evening.
    """
    week = len(is_open)
    lead = ceil(start_s / SECONDS_PER_MINUTE)
    days: dict[tuple[int, int], tuple[list[str], list[str]]] = {}
    for begin in range(week):
        # Index -1 is Sunday's last hour, which comes before Monday's first.
        if not is_open[begin] or is_open[begin - 1]:
            continue
        end = next(at for at in range(begin + 1, begin + week) if not is_open[at % week])
        opens = (begin * MINUTES_PER_HOUR - lead) % (week * MINUTES_PER_HOUR)
        closes = end % week * MINUTES_PER_HOUR
        of_day = MINUTES_PER_HOUR * HOURS_PER_DAY
        opening, closing = days.setdefault((opens % of_day, closes % of_day), ([], []))
        opening.append(DAYS[opens // of_day][:3].upper())
        closing.append(DAYS[closes // of_day][:3].upper())
    return {
        f"hours-{number}": {
            "opens": _write_cron_line(opens, opening),
            "closes": _write_cron_line(closes, closing),
        }
        for number, ((opens, closes), (opening, closing)) in enumerate(days.items(), start=1)
    }


def _write_cron_line(minute_of_day: int, days: Sequence[str]) -> str:
    hour, minute = divmod(minute_of_day, MINUTES_PER_HOUR)
    return f"cron({minute} {hour} ? * {','.join(days)} *)"


def make_asynchronous_terraform_variables(
    instance_type: str, most: int, requests_at_once: int, target_backlog: float
) -> dict[str, Any]:
    """Return the Terraform variables of an asynchronous endpoint that scales to zero.

    Args:
        instance_type: The type of the instances.
        most: The largest number of instances.
        requests_at_once: The number of requests that an instance processes at a time.
        target_backlog: The number of waiting requests per instance that autoscaling tries to keep.
    """
    return {
        "endpoint": {
            "kind": "asynchronous",
            "instance_type": instance_type,
            "initial_instance_count": 1,
            "max_concurrent_invocations_per_instance": requests_at_once,
            "autoscaling": {
                "min_capacity": 0,
                "max_capacity": most,
                "target_backlog_per_instance": target_backlog,
            },
        },
        "allow_always_on": False,
    }


def make_batch_variables(
    instance_type: str, instances: int, requests_at_once: int
) -> dict[str, Any]:
    """Return the variables of batch transform jobs, which `drdeploy batch run --variables` takes.

    Terraform creates the bucket and the role of the jobs, but cannot start a job.
    """
    return {
        "batch": {
            "instance_type": instance_type,
            "instance_count": instances,
            "max_concurrent_transforms": requests_at_once,
        }
    }


def list_daily_container_periods(policy: MitigationPolicy) -> list[dict[str, Any]]:
    """Split each day into periods with a constant number of containers, and return the periods.

    Periods without containers are left out.
    """
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
