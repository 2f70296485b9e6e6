"""Simulate instances that do not run around the clock, and compute what they use in a month.

There are five ways to run such instances:

- Autoscaled: the number of instances follows the load. There are never more instances than the
  busiest hour needs.
- Scheduled: the endpoint exists only in the hours in which photographs arrive, and in short breaks
  between them. While the endpoint exists, it has the number of instances that the busiest hour of
  the week needs.
- Asynchronous: requests wait in a queue. When the queue has been empty for some minutes, the
  endpoint has no instances.
- Components: an inference component that has got no requests for some minutes has no instance. The
  next call starts an instance. Calls fail until this instance can answer.
- Batch: batch transform jobs run at equal intervals. Each job grades the photographs that have
  arrived since the previous job started.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from drdeploy.hosting.sagemaker.api_limits import (
    ASYNCHRONOUS_TIME_TO_LIVE_S,
    BATCH_TRANSFORMS_AT_ONCE,
    INVOCATION_TIMEOUT_S,
    read_transform_instance_types,
)
from drdeploy.study.recommendation.bill import MonthlyUsage
from drdeploy.study.recommendation.mitigation.policies import (
    average_requests_by_hour_of_week,
    repeat_weekly_plan,
)
from drdeploy.study.recommendation.mitigation.settings import (
    make_asynchronous_terraform_variables,
    make_autoscaled_terraform_variables,
    make_batch_variables,
    make_scheduled_terraform_variables,
)
from drdeploy.study.recommendation.simulation.instances import (
    InstanceCounts,
    InstanceScaling,
    choose_batch_plan,
    count_instances_by_hour,
    count_instances_by_load,
    simulate_batch_jobs,
    simulate_changing_instances,
)
from drdeploy.study.recommendation.traffic import SENDING_SHARE
from drdeploy.units import SECONDS_PER_HOUR, SECONDS_PER_MINUTE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from drdeploy.study.recommendation.bill import DataVolumes
    from drdeploy.study.recommendation.hosting_ways import WayName
    from drdeploy.study.recommendation.requirements import Assumptions
    from drdeploy.study.recommendation.simulation.outcome import SimulationSummary
    from drdeploy.study.recommendation.simulation.service import RowTimes
    from drdeploy.study.recommendation.traffic import Arrivals


@dataclass(frozen=True, eq=False)
class SimulatedInstances:
    """The simulated result of one way to run instances.

    Attributes:
        way: The way of hosting.
        instances: The largest number of instances.
        description: How many instances run, and when.
        simulated: The result of the simulation.
        usage: The hours of instances and the other resources that are used in a month.
        variables: The Terraform variables; empty if the way cannot be deployed.
    """

    way: WayName
    instances: int
    description: str
    simulated: SimulationSummary
    usage: MonthlyUsage
    variables: dict[str, Any]


@dataclass(frozen=True, eq=False)
class InstanceLoad:
    """Everything that is needed to simulate the instances of one configuration.

    Attributes:
        instances: The number of instances that the busiest hour needs.
    """

    arrivals: Arrivals
    times: RowTimes
    assumed: Assumptions
    volumes: DataVolumes
    instance_type: str
    instances: int
    may_wait_s: float | None
    seed: int

    @property
    def target_per_minute(self) -> float:
        """The number of requests that an instance should answer in a minute.

        An instance could answer more: the share ``headroom`` of its time stays free.
        """
        each_s = self.times.mean_busy_s / (
            self.assumed.requests_at_once * (1 - self.assumed.headroom)
        )
        return SECONDS_PER_MINUTE / each_s

    def count_instances_behind_queue(self) -> int:
        """Return how many instances an asynchronous endpoint needs.

        The photographs of an archive all enter the queue at once. A photograph is removed from the
        queue after a limited time. There must therefore be enough instances to grade all
        photographs before then.
        """
        if not self.arrivals.is_archive:
            return self.instances
        within_s = SENDING_SHARE * ASYNCHRONOUS_TIME_TO_LIVE_S
        per_minute = self.arrivals.n / within_s * SECONDS_PER_MINUTE
        return max(self.instances, ceil(per_minute / self.target_per_minute))

    def make_monthly_usage(
        self, billed_s: float, answered: int, *, has_data: bool = True
    ) -> MonthlyUsage:
        """Return what is used in a month, given the billed seconds and the number of answers."""
        months = self.arrivals.months
        requests = answered / months
        return MonthlyUsage(
            requests=requests,
            instance_hours=billed_s / SECONDS_PER_HOUR / months,
            data_gb=requests * self.volumes.transferred_gb_per_request * has_data,
            image_gb=self.volumes.image_gb,
            artifact_gb=self.volumes.artifact_gb,
        )

    def simulate_instances(
        self,
        way: WayName,
        counts: InstanceCounts,
        description: str,
        variables: dict[str, Any] | None = None,
        *,
        arrivals: Arrivals | None = None,
        has_queue: bool = True,
        answered_within_s: float = INVOCATION_TIMEOUT_S,
    ) -> SimulatedInstances:
        """Simulate the traffic on instances whose number changes."""
        simulated = simulate_changing_instances(
            arrivals or self.arrivals,
            self.times,
            counts,
            self.assumed.requests_at_once,
            seed=self.seed,
            has_queue=has_queue,
            answered_within_s=answered_within_s,
        ).make_summary()
        usage = self.make_monthly_usage(counts.billed_s, simulated.answered_requests)
        most = int(counts.ready.max(initial=0))
        return SimulatedInstances(way, most, description, simulated, usage, variables or {})


def simulate_ways_to_run_instances(load: InstanceLoad) -> Iterator[SimulatedInstances]:
    """Simulate each way to run instances that are not always on, and yield the results."""
    fewest = load.assumed.fewest_instances
    if load.instances > fewest:
        yield _simulate_autoscaled(load, fewest)
    scheduled = _simulate_scheduled(load)
    if scheduled is not None:
        yield scheduled
    yield _simulate_asynchronous(load)
    if load.assumed.has_zero_instances:
        yield _simulate_components(load)
    yield _simulate_batch(load)


def _simulate_autoscaled(load: InstanceLoad, fewest: int) -> SimulatedInstances:
    scaling = InstanceScaling(
        fewest, load.instances, load.target_per_minute, load.assumed.instance_start_s
    )
    target = round(load.target_per_minute, 1)
    return load.simulate_instances(
        "real-time, autoscaled",
        count_instances_by_load(load.arrivals, scaling),
        f"{fewest} to {load.instances} instances, about {target:g} requests a minute on each",
        make_autoscaled_terraform_variables(load.instance_type, fewest, load.instances, target),
    )


def _simulate_scheduled(load: InstanceLoad) -> SimulatedInstances | None:
    if load.arrivals.is_archive:  # graded only once, so there are no weekly hours
        return None
    weekly = average_requests_by_hour_of_week(load.arrivals)
    each = load.target_per_minute * SECONDS_PER_HOUR / SECONDS_PER_MINUTE
    start_s = load.assumed.instance_start_s
    is_open = keep_endpoint_open_during_short_breaks(weekly > 0, start_s)
    if is_open.all():
        return None
    # The schedule always creates the endpoint with the same number of instances.
    instances = int(np.ceil(weekly.max() / each))
    counts = count_instances_by_hour(
        repeat_weekly_plan(instances * is_open.astype(np.int64), load.arrivals), start_s
    )
    return load.simulate_instances(
        "real-time, scheduled",
        counts,
        f"{instances} instance{'s' * (instances > 1)} in {int(is_open.sum())} hours of the week, "
        "and no endpoint at other times",
        make_scheduled_terraform_variables(
            load.instance_type, instances, is_open.tolist(), start_s
        ),
        has_queue=False,
    )


def keep_endpoint_open_during_short_breaks(
    is_open: NDArray[np.bool_], start_s: float
) -> NDArray[np.bool_]:
    """Return the hours of a week in which an endpoint exists.

    The endpoint exists in each hour in which photographs arrive, and in breaks shorter than twice
    its start-up time. If it were deleted in such a short break, it might have to be created again
    before the deletion is complete.

    Args:
        is_open: For each hour of the week, starting on Monday at 0:00, whether photographs arrive
            in it.
        start_s: The time in seconds from the creation of the endpoint until it can answer.
    """
    opened = np.flatnonzero(is_open)
    kept = is_open.copy()
    for last, following in zip(opened, np.roll(opened, -1), strict=True):
        hours = (following - last - 1) % is_open.size
        if hours * SECONDS_PER_HOUR < 2 * start_s:
            kept[(last + 1 + np.arange(hours)) % is_open.size] = True
    return kept


def _simulate_asynchronous(load: InstanceLoad) -> SimulatedInstances:
    arrivals = load.arrivals.move_archive_to_beginning()
    most = load.count_instances_behind_queue()
    scaling = InstanceScaling(
        0,
        most,
        load.target_per_minute,
        load.assumed.instance_start_s,
        has_queue=True,
        headroom=load.assumed.headroom,
    )
    return load.simulate_instances(
        "asynchronous",
        count_instances_by_load(arrivals, scaling),
        f"{_write_instance_range(most)} behind a queue",
        make_asynchronous_terraform_variables(
            load.instance_type,
            most,
            load.assumed.requests_at_once,
            round(load.target_per_minute, 1),
        ),
        arrivals=arrivals,
        answered_within_s=ASYNCHRONOUS_TIME_TO_LIVE_S,
    )


def _simulate_components(load: InstanceLoad) -> SimulatedInstances:
    scaling = InstanceScaling(
        0, load.instances, load.target_per_minute, load.assumed.instance_start_s
    )
    return load.simulate_instances(
        "components",
        count_instances_by_load(load.arrivals, scaling),
        f"{_write_instance_range(load.instances)}; calls fail until a component that was scaled "
        "to zero has started",
        has_queue=False,
    )


def _write_instance_range(most: int) -> str:
    """Return a text such as ``0 to 3 instances``, for a number of instances that changes."""
    return "0 or 1 instance" if most == 1 else f"0 to {most} instances"


def _simulate_batch(load: InstanceLoad) -> SimulatedInstances:
    arrivals, assumed = load.arrivals.move_archive_to_beginning(), load.assumed
    start_s = assumed.instance_start_s
    at_once = min(assumed.requests_at_once, BATCH_TRANSFORMS_AT_ONCE)
    plan = choose_batch_plan(arrivals, load.times, load.may_wait_s, start_s, at_once)
    outcome, billed_s = simulate_batch_jobs(
        arrivals, load.times, plan, start_s, at_once, seed=load.seed
    )
    many = "s" * (plan.instances > 1)
    hours = plan.interval_s / SECONDS_PER_HOUR
    each = "hour" if hours == 1 else f"{ceil(hours)} hours"
    when = "one job" if arrivals.is_archive else f"a job every {each}"
    return SimulatedInstances(
        "batch",
        plan.instances,
        f"{when} on {plan.instances} instance{many}",
        outcome.make_summary(),
        # Batch transform has no price for processed data (pricing page, "Batch Transform").
        load.make_monthly_usage(billed_s, arrivals.n, has_data=False),
        make_batch_variables(load.instance_type, plan.instances, at_once)
        if load.instance_type in read_transform_instance_types()
        else {},
    )
