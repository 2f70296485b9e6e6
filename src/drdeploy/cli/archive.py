"""``drdeploy archive``: grade millions of photographs."""

from __future__ import annotations

import os
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from drdeploy.cli.archive_plan import ArchivePlan, RayWorkers, print_ray_plan
from drdeploy.cli.archive_progress import grading_progress
from drdeploy.cli.archive_transform import TransformOptions, TransformRun
from drdeploy.cli.batch_jobs import BucketOption, ConcurrencyOption, RoleOption
from drdeploy.cli.console import (
    err,
    print_facts,
    print_json,
    print_line,
    print_note,
    print_note_on_photograph_names,
    print_note_on_quantization,
)
from drdeploy.cli.deployment import UnknownPricesOption, YesOption
from drdeploy.cli.interruption import exit_cleanly_on_interruption
from drdeploy.cli.options import (
    GIVE_ARTIFACT,
    ArtifactOption,
    EndpointUrlOption,
    JsonOption,
    NamesOption,
    PricesOption,
    RuntimeOption,
    refuse_options_without_effect,
    refuse_to_overwrite_inputs,
    require_folder_of_output,
)
from drdeploy.errors import InvalidInput
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE
from drdeploy.photograph_names import PhotographNames

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from drdeploy.clinic.archive_grading.checkpoint import ArchiveCheckpoint, ArchiveJob
    from drdeploy.clinic.archive_grading.costs import InstancePrices
    from drdeploy.clinic.archive_grading.grading import WorkerSettings
    from drdeploy.clinic.graded_rows import RowColumns
    from drdeploy.grader.artifacts import ModelArtifact

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _describe_archive_commands() -> None:
    """Grade millions of photographs."""


@app.command()
def grade(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            help=(
                "A folder with JPEG, PNG, TIFF or DICOM files, an s3:// prefix, or a SageMaker "
                "manifest. The name of a manifest ends in .manifest or .json; the file may be on "
                "this machine or in S3."
            )
        ),
    ],
    *,
    out_file: Annotated[
        Path, typer.Option("--out", help="The Parquet table to write.", dir_okay=False)
    ],
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Grade only a sample, and estimate a whole run."),
    ] = False,
    artifact: ArtifactOption = None,
    runtime: RuntimeOption = None,
    on: Annotated[
        Literal["ray", "batch-transform"],
        typer.Option(
            help="Where to grade: `ray` means this machine or a Ray cluster, and "
            "`batch-transform` means SageMaker Batch Transform."
        ),
    ] = "ray",
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Head node of the Ray cluster to use. By default, Ray runs only on this machine.",
        ),
    ] = None,
    instance_type: Annotated[
        str,
        typer.Option(help="Instance type of the job; --plan also uses it to estimate the cost."),
    ] = "ml.m5.large",
    instance_count: Annotated[
        int | None,
        typer.Option(min=1, max=100, help="Number of instances of the job; 1 by default."),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(
            help=(
                "The drdeploy container image that runs the job. For the local service, give its "
                "name (default: lean); on AWS, give the URI of an image in ECR."
            )
        ),
    ] = None,
    concurrency: ConcurrencyOption = None,
    bucket: BucketOption = None,
    role: RoleOption = None,
    prices: PricesOption = None,
    price_region: Annotated[
        str | None,
        typer.Option(
            "--region",
            help="AWS region whose prices are used; by default, the region of your AWS session for "
            "--on batch-transform, and us-east-1 for --on ray. Jobs run in the region of your AWS "
            "session.",
        ),
    ] = None,
    yes: YesOption = False,
    accept_unknown_prices: UnknownPricesOption = False,
    endpoint_url: EndpointUrlOption = None,
    names: NamesOption = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Delete the results of earlier runs, and start over.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Grade all photographs of an archive, and write a table of them.

    By default, the command uses all processors of this machine; with --cluster, those of the
    cluster. The table has one row per photograph, with the same columns and values as the file that
    `drdeploy grade --csv` writes. If a photograph cannot be graded, its row
    gives the reason. You may kill the command at any time. If you run it again, it grades only the
    photographs that have no row yet. Before a job starts on AWS, the command shows its cost and
    asks for your approval. The exit status is 1 if a file is damaged or is not a photograph, if the
    folder holds pictures in other formats, or if it holds files that cannot be opened.

    For research use. Not a medical device.
    """
    from drdeploy.clinic.archive_grading.checkpoint import ArchiveCheckpoint
    from drdeploy.clinic.archive_grading.costs import InstancePrices
    from drdeploy.clinic.archive_grading.sources import FolderSource, open_photograph_source
    from drdeploy.hosting.sagemaker import (
        DEFAULT_REGION,
        PriceSheet,
        find_endpoint_url,
        is_loopback_url,
        make_boto3_client,
    )

    _refuse_options_for_plan_or_run(context, on, plan=plan, fresh=fresh)
    require_folder_of_output("--out", out_file, described="table")
    refuse_to_overwrite_inputs("--out", out_file, (Path(source), artifact, prices))
    options = TransformOptions(
        image, instance_count, concurrency, bucket, role, yes, accept_unknown_prices
    )
    _refuse_options_without_effect(on, options, cluster, runtime)
    s3_url = find_endpoint_url("s3", endpoint_url)
    archive = open_photograph_source(source, lambda: make_boto3_client("s3", s3_url))
    is_folder = isinstance(archive, FolderSource)
    if is_folder and on == "ray":
        refuse_options_without_effect(
            context,
            ["endpoint_url"],
            why="on a folder of this machine that is graded with Ray",
            remedy="add --on batch-transform",
        )
    naming = PhotographNames.choose_file_names_or_hashes(own=names)
    region = price_region or (DEFAULT_REGION if on == "ray" else "")
    paid = InstancePrices(PriceSheet.load(prices), instance_type, region)
    grader = _ArchiveGrader.load_model(artifact, runtime)
    settings = grader.make_grading_worker_settings(archive.location, s3_url)
    reads_aws = not (is_folder or is_loopback_url(s3_url))
    run = (
        _RayRun(naming, settings, cluster, paid, read_from_aws=reads_aws)
        if on == "ray"
        else TransformRun.connect(
            options, artifact, endpoint_url, paid, naming, is_folder=is_folder, only_plan=plan
        )
    )
    with (
        exit_cleanly_on_interruption(run.advice),
        ArchiveCheckpoint.open(out_file) as checkpoint,
        run.joined(),
    ):
        run.check_earlier_run(checkpoint)
        if fresh:
            run.abandon_earlier_run(checkpoint, grader.columns)
            checkpoint.discard_earlier_run()
        with err.status("Listing the photographs"):
            job = checkpoint.prepare_job(
                archive,
                grader.make_archive_settings(archive.location, run.description_of_photograph_names),
                show_paths=names,
            )
        is_open = checkpoint.count_finished_photographs(job) < job.photographs
        if plan or is_open:
            planned = ArchivePlan.measure(checkpoint, job, settings)
            run.print_plan(planned, is_all=plan, as_json=as_json and plan)
        else:
            for note in job.notes:  # the plan says them, too
                print_note(note)
        if plan:
            return
        if is_open:
            run.require_approval(checkpoint)
        if is_open or checkpoint.pending_transform_file.exists():
            run.grade_archive(checkpoint, job, grader.columns)
        with err.status("Writing the table"):
            counts = checkpoint.join_rows(job, grader.columns)
        checkpoint.delete_checkpoint_folder()
    _print_result_of_archive(out_file, job, counts, as_json=as_json)
    by_address = not is_folder and on == "batch-transform"
    print_note_on_photograph_names(
        own=names,
        source="FOLDER" if is_folder else f"SOURCE{' --by-address' if by_address else ''}",
    )
    if counts["failed"] or job.may_miss_photographs:
        raise typer.Exit(1)


def _refuse_options_for_plan_or_run(
    context: typer.Context, on: str, *, plan: bool, fresh: bool
) -> None:
    if on == "ray" and not plan:
        refuse_options_without_effect(
            context,
            ["instance_type", "prices", "price_region"],
            why="without --plan, which shows what other machines would cost",
            remedy="add --plan",
        )
    if plan:
        refuse_options_without_effect(
            context,
            ["yes", "accept_unknown_prices"],
            why="with --plan, which starts nothing",
            remedy="omit --plan",
        )
    if plan and fresh:
        raise InvalidInput(
            "--plan deletes nothing, but --fresh deletes the table of an earlier run",
            where="--plan --fresh",
            remedy="Leave out --plan or --fresh",
        )


def _refuse_options_without_effect(
    on: str, options: TransformOptions, cluster: str | None, runtime: object
) -> None:
    if on == "ray":
        options.refuse_options_without_batch_transform()
        return
    for option, value in (("--cluster", cluster), ("--runtime", runtime)):
        if value:
            raise InvalidInput(
                f"{option} would have no effect with --on batch-transform: SageMaker runs the "
                "container image on instances of its own",
                where=option,
                remedy=f"Leave {option} out, or grade with --on ray",
            )


@dataclass(frozen=True)
class _ArchiveGrader:
    """The model that grades the archive, and the columns of the table with its results."""

    artifact: ModelArtifact
    path: Path
    runtime: Any
    columns: RowColumns

    @classmethod
    def load_model(cls, artifact: Path | None, runtime: Any) -> _ArchiveGrader:
        from drdeploy.clinic.graded_rows import list_columns_of_model
        from drdeploy.grader.box import box_artifact
        from drdeploy.grader.inference import InferenceService

        path = artifact or box_artifact()
        if not path.exists():
            raise InvalidInput("The artifact does not exist", where=str(path), remedy=GIVE_ARTIFACT)
        service = InferenceService.load(path, runtime=runtime, threads=1)
        print_note_on_quantization(service.manifest)
        return cls(
            service.classifier.artifact, path.absolute(), runtime, list_columns_of_model(service)
        )

    def make_archive_settings(self, place: str, description_of_names: str) -> Any:
        from drdeploy.clinic.archive_grading.checkpoint import ArchiveSettings

        return ArchiveSettings(
            source=place,
            model_digest=self.artifact.digest,
            runtime=self.runtime or "",
            names=description_of_names,
        )

    def make_grading_worker_settings(self, place: str, endpoint_url: str | None) -> WorkerSettings:
        from drdeploy.clinic.archive_grading.grading import WorkerSettings

        folder = place if os.path.isdir(place) else ""  # noqa: PTH112 - never raises
        return WorkerSettings(str(self.path), self.runtime, folder, endpoint_url, None)


@dataclass
class _RayRun:
    """A run that grades with Ray, on this machine or on a cluster."""

    naming: PhotographNames
    settings: WorkerSettings
    cluster: str | None
    prices: InstancePrices
    read_from_aws: bool
    _ray_of_cluster: Any = None

    advice = "run the same command again to continue"

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Join the cluster, if one is named, before listing the archive and grading a sample."""
        from drdeploy.clinic.archive_grading.ray_session import start_or_join_ray

        if self.cluster is None:
            yield
            return
        print_line(f"joining the Ray cluster at {self.cluster}", to=err)
        with start_or_join_ray(self.cluster, 0) as self._ray_of_cluster:
            yield

    @property
    def description_of_photograph_names(self) -> str:
        return self.naming.description_of_photograph_names

    def check_earlier_run(self, checkpoint: ArchiveCheckpoint) -> None:
        """Refuse to start if a Batch Transform job of an earlier run may still cost money."""
        if checkpoint.pending_transform_file.exists():
            raise InvalidInput(
                "An earlier run is unfinished, and its Batch Transform job may still be running",
                where=str(checkpoint.folder),
                remedy="Add --on batch-transform to wait for the job, or --on batch-transform "
                "--fresh to stop it",
            )

    def require_approval(self, checkpoint: ArchiveCheckpoint) -> None:
        """Do nothing: Ray runs on machines that the user has already."""

    def abandon_earlier_run(self, checkpoint: ArchiveCheckpoint, columns: RowColumns) -> None:
        """Do nothing: a run with Ray leaves no processes that must be stopped."""

    def print_plan(self, plan: ArchivePlan, *, is_all: bool, as_json: bool) -> None:
        from drdeploy.clinic.archive_grading.ray_session import count_workers
        from drdeploy.grader.runtimes.cpu_limit import choose_thread_count

        number = (
            choose_thread_count() if self.cluster is None else count_workers(self._ray_of_cluster)
        )
        workers = RayWorkers(number, self.cluster, self.read_from_aws)
        print_ray_plan(plan, workers, self.prices, with_projection=is_all, as_json=as_json)

    def grade_archive(
        self, checkpoint: ArchiveCheckpoint, job: ArchiveJob, columns: RowColumns
    ) -> None:
        from drdeploy.clinic.archive_grading.ray_job import RayArchiveJob

        finished = checkpoint.count_finished_photographs(job)
        with (
            self._start_or_keep_ray() as ray,
            grading_progress(job.photographs, finished) as advance,
        ):
            RayArchiveJob(
                ray, checkpoint, columns, self.naming, self.settings,
                report_state=lambda text: print_line(text, to=err),
            ).grade_archive_on_ray(job, advance)  # fmt: skip

    def _start_or_keep_ray(self) -> AbstractContextManager[Any]:
        from drdeploy.clinic.archive_grading.ray_session import start_or_join_ray
        from drdeploy.grader.runtimes.cpu_limit import choose_thread_count

        if self.cluster is not None:
            return nullcontext(self._ray_of_cluster)
        print_line("starting Ray on this machine", to=err)
        return start_or_join_ray(None, choose_thread_count())


def _print_result_of_archive(
    out_file: Path, job: ArchiveJob, counts: dict[str, int], *, as_json: bool
) -> None:
    document = {"table": str(out_file), "photographs": job.photographs, **counts}
    if as_json:
        print_json({"notice": RESEARCH_USE_NOTICE, **document, "notes": job.notes})
    else:
        print_facts((name.replace("_", " "), str(value)) for name, value in document.items())
    print_line(RESEARCH_USE_NOTICE, to=err)
