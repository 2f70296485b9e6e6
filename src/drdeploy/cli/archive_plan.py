"""The plan of ``drdeploy archive grade``: the number of photographs, the duration and the cost."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from drdeploy.cli.console import Column, Table, err, print_json, print_line, print_note
from drdeploy.errors import ClinicError, UnknownPrice

if TYPE_CHECKING:
    from drdeploy.clinic.archive_grading.checkpoint import ArchiveCheckpoint, ArchiveJob
    from drdeploy.clinic.archive_grading.grading import WorkerSettings
    from drdeploy.clinic.archive_grading.planning import MeasuredPhotographs
    from drdeploy.hosting.sagemaker import PriceSheet

PROJECTED_NODES = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class InstancePrices:
    """The prices of an instance type in a region."""

    sheet: PriceSheet
    instance_type: str
    region: str


@dataclass(frozen=True)
class ArchivePlan:
    """The estimates that are made before an archive is graded.

    Attributes:
        job: The list of the photographs to grade.
        finished: The number of photographs that are graded already.
        measured: The time for one photograph, measured on a sample on this machine.
    """

    job: ArchiveJob
    finished: int
    measured: MeasuredPhotographs

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

        sample = list(islice(checkpoint.iterate_photographs(), SAMPLED_PHOTOGRAPHS))
        sizes = [job.size_bytes // job.sized_photographs] if job.sized_photographs else []
        try:
            measured = measure_photographs([one.place for one in sample], sizes, settings)
        except ArchiveUnreadable as error:
            raise ClinicError(str(error)) from error
        return cls(job, checkpoint.count_finished_photographs(job), measured)

    @property
    def remaining_photographs(self) -> int:
        """How many photographs have no rows yet."""
        return self.job.photographs - self.finished

    @property
    def time_per_photograph_sentence(self) -> str:
        """The measured time for one photograph, as text."""
        return (
            f"{self.measured.seconds * 1000:.1f} ms a photograph with one thread (measured here on "
            f"{self.measured.measured})"
        )

    def print_size(self, where: str) -> None:
        """Print how many photographs there are, where they are graded, and how many are done."""
        size = f", {self.job.size_bytes / 1e9:.2f} GB" if self.job.sized_photographs else ""
        print_line(
            f"plan: {self.job.photographs:,} photographs{size} on {where}; {self.finished:,} are "
            "finished",
            to=err,
        )

    def make_document(self) -> dict[str, Any]:
        """Return the JSON fields that plans for Ray and for Batch Transform have in common."""
        return {
            "photographs": self.job.photographs,
            "bytes": self.job.size_bytes,
            "finished": self.finished,
            "seconds_per_photograph": self.measured.seconds,
            "measured": self.measured.measured,
        }


def print_ray_plan(
    plan: ArchivePlan,
    cluster: str | None,
    prices: InstancePrices,
    *,
    with_projection: bool,
    as_json: bool,
) -> None:
    """Print the duration on this machine and, if requested, the duration and cost on instances."""
    from drdeploy.grader.runtimes.cpu_limit import choose_thread_count
    from drdeploy.hosting.sagemaker import find_instance_resources

    workers = choose_thread_count()
    left_s = plan.measured.expected_seconds(plan.remaining_photographs, workers)
    plan.print_size(f"the cluster {cluster}" if cluster else f"{workers} processes of this machine")
    if cluster is None:
        print_line(
            f"plan: {plan.time_per_photograph_sentence}, so about {format_duration(left_s)}; no "
            "cost beyond this machine",
            to=err,
        )
    for note in plan.job.notes:
        print_note(note)
    if not with_projection:
        return
    vcpu = find_instance_resources(prices.instance_type).vcpu
    hour = prices.sheet.instance_hour(prices.instance_type, prices.region)
    projected = [plan.measured.project_grading_rate(nodes, vcpu) for nodes in PROJECTED_NODES]
    if as_json:
        print_json({
            **plan.make_document(),
            "workers": workers,
            "expected_s": left_s,
            "cost_usd": 0.0,
            "instance_type": prices.instance_type,
            "projected": [
                {
                    "nodes": one.nodes,
                    "photographs_per_hour": one.photographs_per_hour,
                    "cost_usd_per_million": one.cost_usd_per_million(hour.usd),
                    "limit": one.limit,
                }
                for one in projected
            ],
            "notes": plan.job.notes,
        })  # fmt: skip
        return
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
            f"{one.cost_usd_per_million(hour.usd):.2f}",
            one.limit,
        )
    table.print()
    print_line(
        f"nodes are {prices.instance_type} ({vcpu} vCPUs; {hour.usd} USD an hour in "
        f"{hour.region}, {hour.date}), whose vCPUs are assumed to be as fast as the processors here"
    )


def print_transform_plan(
    plan: ArchivePlan,
    instance_count: int,
    prices: InstancePrices,
    *,
    is_local: bool,
    as_json: bool,
) -> None:
    """Print the estimated duration and cost of Batch Transform."""
    from drdeploy.hosting.sagemaker import find_instance_resources

    vcpu = find_instance_resources(prices.instance_type).vcpu
    work_s = plan.measured.expected_seconds(plan.remaining_photographs, instance_count * vcpu)
    cost_usd: float | None = 0.0
    cost = "the local service costs nothing"
    if not is_local:
        try:
            hour = prices.sheet.batch_hour(prices.instance_type, prices.region)
        except UnknownPrice as error:
            cost_usd = None
            cost = f"the cost is unknown: {error.what}. {error.remedy}"
        else:
            cost_usd = instance_count * hour.usd * work_s / 3600
            cost = (
                f"about {cost_usd:.2f} USD ({hour.usd} USD an hour in {hour.region}, {hour.date})"
            )
    plan.print_size(f"{instance_count} x {prices.instance_type} with Batch Transform")
    # AWS bills the time from TransformStartTime on (API reference, ``DescribeTransformJob``).
    start = "" if is_local else ", after a start of some minutes, which costs nothing"
    print_line(
        f"plan: {plan.time_per_photograph_sentence}, so about {format_duration(work_s)} of work "
        f"on vCPUs as fast as the processors here{start}; {cost}",
        to=err,
    )
    for note in plan.job.notes:
        print_note(note)
    if as_json:
        print_json({
            **plan.make_document(),
            "expected_s": work_s,
            "cost_usd": cost_usd,
            "instance_type": prices.instance_type,
            "instance_count": instance_count,
            "notes": plan.job.notes,
        })  # fmt: skip


def format_duration(seconds: float) -> str:
    """Return a duration as text, in seconds, minutes or hours."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
