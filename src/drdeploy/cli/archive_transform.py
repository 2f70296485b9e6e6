"""Grade an archive with Batch Transform: ``drdeploy archive grade --on batch-transform``."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from drdeploy.cli.archive_plan import print_transform_plan
from drdeploy.cli.archive_progress import grading_progress
from drdeploy.cli.batch_jobs import (
    DEFAULT_IMAGE,
    check_gpu_host_of_job,
    choose_bucket_role_and_image,
    find_model_archive,
    look_up_price_of_job,
    require_approval_of_job,
)
from drdeploy.cli.console import err, print_line
from drdeploy.errors import InvalidInput

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from drdeploy.cli.archive_plan import ArchivePlan
    from drdeploy.cli.batch_jobs import ChosenJobPlace
    from drdeploy.clinic.archive_grading.checkpoint import ArchiveCheckpoint, ArchiveJob
    from drdeploy.clinic.archive_grading.costs import InstancePrices
    from drdeploy.clinic.archive_grading.transform_job import TransformArchiveJob
    from drdeploy.clinic.graded_rows import RowColumns
    from drdeploy.hosting.sagemaker import BatchTransform
    from drdeploy.photograph_names import PhotographNames


@dataclass(frozen=True)
class TransformOptions:
    """The options that have an effect only with ``--on batch-transform``.

    An option is None, or False, if the user did not give it.
    """

    image: str | None
    instance_count: int | None
    concurrency: int | None
    bucket: str | None
    role: str | None
    yes: bool
    accept_unknown_prices: bool

    def refuse_options_without_batch_transform(self) -> None:
        """Refuse options that have an effect only with Batch Transform.

        Raises:
            InvalidInput: An option that needs Batch Transform is given.
        """
        given = [f"--{name.replace('_', '-')}" for name, value in vars(self).items() if value]
        if given:
            raise InvalidInput(
                f"Without --on batch-transform, {', '.join(given)} would have no effect",
                where=given[0],
                remedy=f"Add --on batch-transform, or leave {', '.join(given)} out",
            )


@dataclass(frozen=True)
class TransformRun:
    """The options of a run with Batch Transform, and the steps of the run.

    Attributes:
        batch: A client that runs transform jobs on AWS or on the local service.
        place: The bucket, the role and the container image of the jobs.
        archive: The path of the ``model.tar.gz``.
        endpoint_url: The address of the local service; None for AWS.
        prices: The prices of the instance type.
        options: The options that the user gave.
        naming: The rule by which photographs are named in the table.
        is_folder: Whether the photographs are in a folder on this machine.
    """

    batch: BatchTransform
    place: ChosenJobPlace
    archive: Path
    endpoint_url: str | None
    prices: InstancePrices
    options: TransformOptions
    naming: PhotographNames
    is_folder: bool

    advice = (
        "a job that has started continues, and on AWS it is billed. To wait for the job and fetch "
        "its answers, run the same command again. To stop it and start over, add --fresh"
    )

    @classmethod
    def connect(
        cls,
        options: TransformOptions,
        artifact: Path | None,
        endpoint_url: str | None,
        prices: InstancePrices,
        naming: PhotographNames,
        *,
        is_folder: bool,
        only_plan: bool,
    ) -> TransformRun:
        """Check the options, and connect to AWS or to the local service.

        Raises:
            InvalidInput: AWS needs an option that is missing, the model does not exist, or the
                image cannot run on the instance type.
            UnknownPrice: A job would start on AWS, and its price is not known.
        """
        from drdeploy.hosting.sagemaker import BatchTransform

        image = options.image or DEFAULT_IMAGE
        check_gpu_host_of_job(image, prices.instance_type)
        archive = find_model_archive(artifact)
        batch = BatchTransform.connect(endpoint_url)
        place = choose_bucket_role_and_image(batch, options.bucket, options.role, image)
        prices = replace(prices, region=prices.region or batch.region)
        if not (batch.is_local or only_plan):  # before photographs are listed and graded
            look_up_price_of_job(
                prices.sheet, prices.instance_type, prices.region,
                accept_unknown=options.accept_unknown_prices,
            )  # fmt: skip
        return cls(batch, place, archive, endpoint_url, prices, options, naming, is_folder)

    @property
    def instance_count(self) -> int:
        """The number of instances of a job."""
        return self.options.instance_count or 1

    @property
    def description_of_photograph_names(self) -> str:
        """How photographs are named in the table.

        The name of a photograph in S3 is a hash of its address, not of its content: to hash the
        contents, the command would have to read every object.
        """
        by_address = not (self.is_folder or self.naming.are_file_names)
        return self.naming.description_of_photograph_names + (
            ", of addresses" if by_address else ""
        )

    def joined(self) -> AbstractContextManager[None]:
        """Do nothing: a run with Batch Transform joins no cluster."""
        return nullcontext()

    def check_earlier_run(self, checkpoint: ArchiveCheckpoint) -> None:
        """Do nothing: a run with Batch Transform can continue the job of an earlier run."""

    def print_plan(self, plan: ArchivePlan, *, is_all: bool, as_json: bool) -> None:
        """Print the estimated duration and cost of the jobs."""
        del is_all
        print_transform_plan(
            plan, self.instance_count, self.prices, is_local=self.batch.is_local,
            is_uploaded=self.is_folder, as_json=as_json,
        )  # fmt: skip

    def require_approval(self, checkpoint: ArchiveCheckpoint) -> None:
        """Ask the user to approve the printed plan before jobs start on AWS.

        Raises:
            PlanDeclined: The user does not approve, or cannot be asked.
        """
        if not self.batch.is_local:
            require_approval_of_job(
                yes=self.options.yes,
                if_declined="; if the job of the earlier run is not over, it continues, and "
                "--fresh stops it"
                if checkpoint.pending_transform_file.exists()
                else "",
            )

    def abandon_earlier_run(self, checkpoint: ArchiveCheckpoint, columns: RowColumns) -> None:
        """Stop the job of an earlier run, and delete its uploaded files."""
        self._make_job(checkpoint, columns).abandon_pending_transform_job()

    def grade_archive(
        self, checkpoint: ArchiveCheckpoint, job: ArchiveJob, columns: RowColumns
    ) -> None:
        """Grade the photographs that are not graded yet, in Batch Transform jobs."""
        from drdeploy.clinic.archive_grading.transform_job import TransformJobSettings
        from drdeploy.hosting.sagemaker import Hosting

        model_data_url = Hosting.connect(self.endpoint_url).upload_artifact(
            self.archive, bucket=self.place.bucket
        )
        settings = TransformJobSettings(
            image=self.place.image,
            model_data_url=model_data_url,
            bucket=self.place.bucket,
            role_arn=self.place.role,
            instance_type=self.prices.instance_type,
            instance_count=self.instance_count,
            concurrency=self.options.concurrency,
        )
        finished = checkpoint.count_finished_photographs(job)
        with grading_progress(job.photographs, finished) as advance:
            self._make_job(checkpoint, columns).grade_archive_in_transform_jobs(
                job, settings, advance
            )

    def _make_job(self, checkpoint: ArchiveCheckpoint, columns: RowColumns) -> TransformArchiveJob:
        from drdeploy.clinic.archive_grading.transform_job import TransformArchiveJob

        return TransformArchiveJob(
            self.batch,
            checkpoint,
            columns,
            self.naming,
            is_folder=self.is_folder,
            report_state=lambda text: print_line(text, to=err),
        )
