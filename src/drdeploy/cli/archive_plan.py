"""The plan of ``drdeploy archive grade``: the number of photographs, the duration and the cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drdeploy.cli.console import Column, Table, err, print_json, print_line, print_note
from drdeploy.errors import ClinicError, format_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.clinic.archive_grading.checkpoint import ArchiveCheckpoint, ArchiveJob
    from drdeploy.clinic.archive_grading.costs import ArchiveCost, InstancePrices
    from drdeploy.clinic.archive_grading.grading import WorkerSettings
    from drdeploy.clinic.archive_grading.planning import ArchiveSample, ProjectedRate
    from drdeploy.hosting.sagemaker import Price

PROJECTED_NODES = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class ArchivePlan:
    """The estimates that are made before an archive is graded.

    Attributes:
        job: The list of the photographs to grade.
        finished: The number of photographs that are graded already.
        sample: The photographs that were graded on this machine to measure the time.
    """

    job: ArchiveJob
    finished: int
    sample: ArchiveSample

    @classmethod
    def measure(
        cls, checkpoint: ArchiveCheckpoint, job: ArchiveJob, settings: WorkerSettings
    ) -> ArchivePlan:
        """Grade a sample of the photographs on this machine, and measure the time.

        Raises:
            ClinicError: The archive cannot be read, or the model cannot be loaded.
        """
        from drdeploy.clinic.archive_grading.grading import ArchiveUnreadable
        from drdeploy.clinic.archive_grading.planning import (
            SAMPLED_PHOTOGRAPHS,
            measure_photographs,
        )

        drawn = checkpoint.sample_photographs(job, SAMPLED_PHOTOGRAPHS)
        sizes = [job.size_bytes // job.sized_photographs] if job.sized_photographs else []
        try:
            with err.status(f"Grading a sample of {format_count(len(drawn), 'photograph')}"):
                sample = measure_photographs([one.place for one in drawn], sizes, settings)
        except ArchiveUnreadable as error:
            raise ClinicError(str(error)) from error
        return cls(job, checkpoint.count_finished_photographs(job), sample)

    @property
    def remaining_photographs(self) -> int:
        """How many photographs have no rows yet."""
        return self.job.photographs - self.finished

    @property
    def remaining_bytes(self) -> float | None:
        """How many bytes the remaining photographs have; None if no sizes are known."""
        job = self.job
        if not job.sized_photographs:
            return None
        return job.size_bytes / job.sized_photographs * self.remaining_photographs

    def expected_seconds(self, workers: int) -> float | None:
        """Return how long the remaining photographs take; None if no photograph was measured."""
        if self.sample.measured is None:
            return None
        return self.sample.measured.expected_seconds(self.remaining_photographs, workers)

    def project_grading_rates(self, workers_per_node: int) -> list[ProjectedRate]:
        """Return a rate for each number of nodes; no rates if no photograph was measured."""
        measured = self.sample.measured
        if measured is None:
            return []
        return [measured.project_grading_rate(nodes, workers_per_node) for nodes in PROJECTED_NODES]

    def write_duration_sentence(self, expected_s: float | None, how: str = "") -> str:
        """Return the measured time for one photograph and the expected duration, as text.

        Args:
            expected_s: The duration, in seconds; None if it is not known.
            how: More words about the duration.
        """
        measured, failed = self.sample.measured, self.sample.failed
        if measured is None or expected_s is None:
            drawn = (
                "the photograph drawn at random cannot be graded"
                if failed == 1
                else f"none of {failed} photographs drawn at random can be graded"
            )
            return (
                f"{drawn} (for example: {self.sample.failure.rstrip('.')}), so the duration is not "
                "known"
            )
        others = (
            f"; {failed} more could not be graded, and {'does' if failed == 1 else 'do'} not count"
            if failed else ""
        )  # fmt: skip
        return (
            f"{measured.seconds * 1000:.1f} ms a photograph with one thread (measured here on "
            f"{measured.measured} drawn at random{others}), so about "
            f"{format_duration(expected_s)}{how}"
        )

    def print_size(self, where: str) -> None:
        """Print how many photographs there are, where they are graded, and how many are done."""
        from drdeploy.clinic.archive_grading.costs import format_size

        size = f", {format_size(self.job.size_bytes)}" if self.job.sized_photographs else ""
        print_line(
            f"plan: {format_count(self.job.photographs, 'photograph')}{size} on {where}; finished "
            f"already: {self.finished:,}",
            to=err,
        )

    def make_document(self) -> dict[str, Any]:
        """Return the JSON fields that plans for Ray and for Batch Transform have in common."""
        measured = self.sample.measured
        return {
            "photographs": self.job.photographs,
            "bytes": self.job.size_bytes if self.job.sized_photographs else None,
            "finished": self.finished,
            "seconds_per_photograph": None if measured is None else measured.seconds,
            "measured": 0 if measured is None else measured.measured,
            "sample_failed": self.sample.failed,
        }


@dataclass(frozen=True)
class RayWorkers:
    """The workers of Ray that grade an archive.

    Attributes:
        number: How many photographs are graded at once.
        cluster: The address of the cluster; None if all workers run on this machine.
        read_from_aws: Whether the workers read the photographs from S3 on AWS.
    """

    number: int
    cluster: str | None
    read_from_aws: bool

    def estimate_cost(self, plan: ArchivePlan, prices: InstancePrices) -> tuple[float | None, str]:
        """Return the cost of a run in USD (None if it is not known), and a sentence on it."""
        from drdeploy.clinic.archive_grading.costs import estimate_reading_cost

        parts = (
            [] if self.cluster is None else ["what the machines of the cluster cost is not known"]
        )
        if not self.read_from_aws:
            return (0.0, "no cost beyond this machine") if not parts else (None, parts[0])
        reading = estimate_reading_cost(plan.remaining_photographs, plan.remaining_bytes, prices)
        return None if parts else reading.usd, "; ".join([*parts, reading.sentence])


def print_ray_plan(
    plan: ArchivePlan,
    workers: RayWorkers,
    prices: InstancePrices,
    *,
    with_projection: bool,
    as_json: bool,
) -> None:
    """Print the duration and the cost; if requested, also for other numbers of instances."""
    left_s = plan.expected_seconds(workers.number)
    cost_usd, cost = workers.estimate_cost(plan, prices)
    plan.print_size(
        f"{format_count(workers.number, 'process', 'processes')} of "
        + (f"the cluster {workers.cluster}" if workers.cluster else "this machine")
    )
    how = " on processors as fast as those here" if workers.cluster else ""
    print_line(f"plan: {plan.write_duration_sentence(left_s, how)}; {cost}", to=err)
    for note in plan.job.notes:
        print_note(note)
    if not with_projection:
        return
    nodes = _ProjectedNodes.look_up(prices, read_from_aws=workers.read_from_aws)
    projected = plan.project_grading_rates(nodes.vcpu)
    if as_json:
        print_json({
            **plan.make_document(),
            "workers": workers.number,
            "expected_s": left_s,
            "cost_usd": cost_usd,
            "cost": cost,
            "instance_type": prices.instance_type,
            "projected": [
                {
                    "nodes": one.nodes,
                    "photographs_per_hour": one.photographs_per_hour,
                    "cost_usd_per_million": nodes.cost_usd_per_million(one),
                    "limit": one.limit,
                }
                for one in projected
            ],
            "notes": plan.job.notes,
        })  # fmt: skip
    elif projected:
        nodes.print_rates(projected)


@dataclass(frozen=True)
class _ProjectedNodes:
    """The instances for which a plan estimates rates and costs.

    Attributes:
        prices: The type of the instances, and its prices.
        vcpu: The vCPUs of an instance.
        hour: The price of an instance hour.
        reads_usd: The price of the S3 requests that a million photographs need, in USD. It is 0 if
            the photographs are not in S3, and None if it is not known.
    """

    prices: InstancePrices
    vcpu: int
    hour: Price
    reads_usd: float | None

    @classmethod
    def look_up(cls, prices: InstancePrices, *, read_from_aws: bool) -> _ProjectedNodes:
        """Look up the size and the prices of the instances.

        Raises:
            InvalidInput: The instance type is not known, or has no known price.
        """
        from drdeploy.clinic.archive_grading.costs import price_of_a_million_reads
        from drdeploy.hosting.sagemaker import find_instance_resources

        vcpu = find_instance_resources(prices.instance_type).vcpu
        hour = prices.sheet.instance_hour(prices.instance_type, prices.region)
        return cls(prices, vcpu, hour, price_of_a_million_reads(prices) if read_from_aws else 0.0)

    def cost_usd_per_million(self, rate: ProjectedRate) -> float:
        """Return the cost of a million photographs, with S3 requests if their price is known."""
        return rate.cost_usd_per_million(self.hour.usd) + (self.reads_usd or 0.0)

    def print_rates(self, projected: Sequence[ProjectedRate]) -> None:
        """Print a table of the rates and the costs."""
        table = Table([
            Column.of_numbers("nodes"),
            Column.of_numbers("photographs an hour"),
            Column.of_numbers("USD a million"),
            Column("limited by"),
        ])  # fmt: skip
        for one in projected:
            table.add_row(
                str(one.nodes),
                f"{one.photographs_per_hour:,.0f}",
                f"{self.cost_usd_per_million(one):.2f}",
                one.limit,
            )
        table.print()
        print_line(
            f"nodes are {self.prices.instance_type} ({self.vcpu} vCPUs; {self.hour.usd} USD an "
            f"hour in {self.hour.region}, {self.hour.date}), whose vCPUs are assumed to be as fast "
            "as the processors here"
        )
        if self.reads_usd is None:
            print_line("the S3 requests are not included, because their price is not known")
        elif self.reads_usd:
            print_line(
                f"{self.reads_usd:.2f} USD of each million are S3 requests; the nodes are assumed "
                "to be in the region of the bucket"
            )


def print_transform_plan(
    plan: ArchivePlan,
    instance_count: int,
    prices: InstancePrices,
    *,
    is_local: bool,
    is_uploaded: bool,
    as_json: bool,
) -> ArchiveCost:
    """Print the estimated duration and cost of Batch Transform, and return the cost."""
    from drdeploy.clinic.archive_grading.costs import ArchiveCost, estimate_transform_cost
    from drdeploy.hosting.sagemaker import find_instance_resources

    vcpu = find_instance_resources(prices.instance_type).vcpu
    work_s = plan.expected_seconds(instance_count * vcpu)
    cost = (
        ArchiveCost(0.0, "the local service costs nothing")
        if is_local
        else estimate_transform_cost(
            work_s, plan.remaining_photographs, instance_count, prices, is_uploaded=is_uploaded
        )
    )
    plan.print_size(f"{instance_count} x {prices.instance_type} with Batch Transform")
    # AWS bills the time from TransformStartTime on (API reference, ``DescribeTransformJob``).
    start = "" if is_local else ", after a start of some minutes, which costs nothing"
    how = f" of work on vCPUs as fast as the processors here{start}"
    print_line(f"plan: {plan.write_duration_sentence(work_s, how)}; {cost.sentence}", to=err)
    for note in plan.job.notes:
        print_note(note)
    if as_json:
        print_json({
            **plan.make_document(),
            "expected_s": work_s,
            "cost_usd": cost.usd,
            "cost": cost.sentence,
            "instance_type": prices.instance_type,
            "instance_count": instance_count,
            "notes": plan.job.notes,
        })  # fmt: skip
    return cost


def format_duration(seconds: float) -> str:
    """Return a duration as text, in seconds, minutes or hours."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
