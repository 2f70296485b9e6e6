"""``drdeploy batch``: grade photographs with a Batch Transform job, on AWS or locally."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from drdeploy.cli.batch_jobs import (
    DEFAULT_IMAGE,
    BucketOption,
    ChosenJobPlace,
    ConcurrencyOption,
    RoleOption,
    check_gpu_host_of_job,
    choose_bucket_role_and_image,
    find_model_archive,
    look_up_price_of_job,
    require_approval_of_job,
)
from drdeploy.cli.console import (
    err,
    print_json,
    print_line,
    print_note,
    print_note_on_photograph_names,
)
from drdeploy.cli.deployment import UnknownPricesOption, YesOption
from drdeploy.cli.grade import print_rows_as_table, select_photographs
from drdeploy.cli.options import (
    CsvOption,
    EndpointUrlOption,
    JsonOption,
    NamesOption,
    PricesOption,
    RegionOption,
    refuse_options_replaced_by_variables_file,
    refuse_options_without_effect,
    refuse_to_overwrite_inputs,
    require_folder_of_output,
)
from drdeploy.clinic.graded_rows import GradedRow, make_row_of_answer, write_rows_as_csv
from drdeploy.errors import EndpointFailed, InvalidInput, RequestRefused, format_count
from drdeploy.files import sha256_of_bytes
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE
from drdeploy.grader.photograph_files import is_dicom_file, read_photograph_bytes
from drdeploy.hosting.sagemaker.s3_uris import S3_SCHEME, split_s3_uri
from drdeploy.photograph_names import PhotographNames

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from drdeploy.hosting.sagemaker import (
        BatchConfig,
        BatchJob,
        BatchTransform,
        EndedTransformJob,
        Price,
    )

app = typer.Typer(no_args_is_help=True)
INSTANCES = ("instance_type", "instance_count", "concurrency")
"""The parameters that --variables replaces."""
IMAGE_TYPE = "application/x-image"


@app.callback()
def _describe_batch_commands() -> None:
    """Grade photographs with Batch Transform."""


@app.command()
def run(
    context: typer.Context,
    photographs: Annotated[
        list[str],
        typer.Argument(
            help="Photographs and folders that are uploaded, or one s3://BUCKET/FOLDER/ that holds "
            "the photographs."
        ),
    ],
    *,
    artifact: Annotated[
        Path | None,
        typer.Option("--artifact", "-a", help="A model.tar.gz; the packaged grader by default."),
    ] = None,
    image: Annotated[
        str,
        typer.Option(
            help="Container image: for the local service, a drdeploy image such as lean; on AWS, "
            "the URI of an image in ECR."
        ),
    ] = DEFAULT_IMAGE,
    instance_type: Annotated[
        str, typer.Option(help="Type of the instances, for example ml.m5.large.")
    ] = "ml.m5.large",
    instance_count: Annotated[int, typer.Option(min=1, max=100, help="Number of instances.")] = 1,
    variables: Annotated[
        Path | None,
        typer.Option(
            help="Run the job described in this file, which `drdeploy recommend --tfvars` wrote. "
            "The file replaces --instance-type, --instance-count and --concurrency.",
            dir_okay=False,
            exists=True,
        ),
    ] = None,
    transform_ami_version: Annotated[
        str | None,
        typer.Option(
            help="For instances with a GPU: the AMI version, which decides the GPU driver, for "
            "example "
            "al2-ami-sagemaker-batch-gpu-535."
        ),
    ] = None,
    concurrency: ConcurrencyOption = None,
    bucket: BucketOption = None,
    role: RoleOption = None,
    endpoint_url: EndpointUrlOption = None,
    region: RegionOption = None,
    prices: PricesOption = None,
    yes: YesOption = False,
    accept_unknown_prices: UnknownPricesOption = False,
    csv_file: CsvOption = None,
    names: NamesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Grade photographs with a Batch Transform job.

    The command prints one row per photograph. Photographs on this machine are uploaded for the job.
    When the job has ended, the uploads are deleted. If a photograph fails, its row gives the
    reason. Before a job starts on AWS, the command shows the price of its instances and asks for
    your approval. The answers of the model stay in the bucket; the command prints their folder. The
    exit status is 1 if a photograph fails.

    For research use. Not a medical device.
    """
    from drdeploy.hosting.deployment.batch_variables_file import read_batch_config_from_file
    from drdeploy.hosting.sagemaker import (
        BatchConfig,
        BatchTransform,
        Hosting,
        PriceSheet,
        make_job_name,
    )

    if variables is not None:
        refuse_options_replaced_by_variables_file(context, INSTANCES, "job")
    if csv_file is not None:  # now, not after an hour of grading
        require_folder_of_output("--csv", csv_file, described="CSV file")
    instances = (
        BatchConfig.model_construct(  # not validated: SageMaker does that
            instance_type=instance_type,
            instance_count=instance_count,
            max_concurrent_transforms=concurrency,
        )
        if variables is None
        else read_batch_config_from_file(variables)
    )
    check_gpu_host_of_job(
        image, instances.instance_type, transform_ami_version, ami_member="--transform-ami-version"
    )
    archive = find_model_archive(artifact)
    prefix = _find_s3_prefix(photographs)
    batch = BatchTransform.connect(endpoint_url, region=region)
    if batch.is_local:
        refuse_options_without_effect(
            context,
            ["prices", "accept_unknown_prices"],
            why="on a local service, which costs nothing",
            remedy="omit --endpoint-url",
        )
    where = choose_bucket_role_and_image(batch, bucket, role, image)
    job_name = make_job_name()
    naming = PhotographNames.choose_file_names_or_hashes(own=names)
    inputs = (
        _S3Photographs(batch, prefix, naming)
        if prefix
        else _PhotographFiles(photographs, batch, where.bucket, job_name, naming)
    )
    if csv_file is not None:
        refuse_to_overwrite_inputs("--csv", csv_file, (*inputs.files, archive, variables, prices))
    if not batch.is_local:
        price = look_up_price_of_job(
            PriceSheet.load(prices), instances.instance_type, batch.region,
            accept_unknown=accept_unknown_prices,
        )  # fmt: skip
        _print_plan(inputs.description, instances, price)
        require_approval_of_job(yes=yes)
    model_data_url = Hosting.connect(endpoint_url, region=region).upload_artifact(
        archive, bucket=where.bucket
    )
    try:
        inputs.upload_or_list_photographs()
        job = _make_job(
            job_name, where, inputs.uri, model_data_url, instances,
            ami_version=transform_ami_version,
        )  # fmt: skip
        ended = batch.run_job(
            job, lambda state: print_line(f"the job {job.name} is {state}", to=err)
        )
        rows = _make_rows(batch, job, inputs, ended)
    finally:
        inputs.delete_uploads()
    _print_results(rows, job, ended, csv_file, as_json=as_json)
    for note in inputs.notes:
        print_note(note)
    print_note_on_photograph_names(
        own=names, source="s3://BUCKET/FOLDER/ --by-address" if prefix else "FOLDER"
    )
    if any(row.error for row in rows):
        raise typer.Exit(1)


@dataclass(frozen=True)
class _UploadedPhotograph:
    """A photograph of the job: its name in the results, and its key below the job's S3 prefix."""

    name: str
    relative_key: str
    error: str = ""


class _PhotographFiles:
    """Photographs on this machine, which are uploaded for the job."""

    def __init__(
        self,
        paths: Sequence[str],
        batch: BatchTransform,
        bucket: str,
        job_name: str,
        naming: PhotographNames,
    ) -> None:
        self._selection = select_photographs([Path(path) for path in paths])
        dicom = [path for path in self._selection.paths if is_dicom_file(path)]
        if dicom:
            raise InvalidInput(
                "Batch Transform grades only JPEG, PNG and TIFF, but there are DICOM files among "
                f"the photographs: {len(dicom)}",
                remedy="Grade DICOM files with `drdeploy grade`, or leave them out",
            )
        self._batch = batch
        self._bucket = bucket
        self._naming = naming
        self.uri = f"{S3_SCHEME}{bucket}/batch/{job_name}/input/"
        self.photographs: list[_UploadedPhotograph] = []
        self.notes = self._selection.write_notes_on_left_out_files(show_paths=naming.are_file_names)

    @property
    def files(self) -> tuple[Path, ...]:
        return self._selection.paths

    @property
    def description(self) -> str:
        return format_count(len(self._selection.paths), "photograph")

    def upload_or_list_photographs(self) -> None:
        self._batch.create_local_bucket(self._bucket)
        with Progress(console=err, transient=True) as progress:
            for path in progress.track(self._selection.paths, description="uploading"):
                self.photographs.append(self._upload_photograph(path))
        if all(one.error for one in self.photographs):
            raise InvalidInput(
                f"No photograph can be read, for example: {self.photographs[0].error}",
                where=self.photographs[0].name,
                remedy="Give JPEG, PNG or TIFF files that you may read",
            )

    def _upload_photograph(self, path: Path) -> _UploadedPhotograph:
        try:
            data = read_photograph_bytes(path)
        except (OSError, RequestRefused) as error:
            reason = error.sentence if isinstance(error, RequestRefused) else f"{error.strerror}."
            return _UploadedPhotograph(self._naming.name_of_photograph(path, str(path)), "", reason)
        name = self._naming.name_of_photograph(path, str(path), sha256_of_bytes(data))
        # The number keeps two photographs of the same content apart.
        key = f"{len(self.photographs):06d}"
        self._batch.upload_files(f"{self.uri}{key}", data, IMAGE_TYPE)
        return _UploadedPhotograph(name, key)

    def delete_uploads(self) -> None:
        # The bucket may keep old versions of deleted objects, and these show patients' eyes too.
        if not all(one.error for one in self.photographs):
            self._batch.delete_folder(self.uri)


class _S3Photographs:
    """Photographs that are in S3 already."""

    def __init__(self, batch: BatchTransform, uri: str, naming: PhotographNames) -> None:
        self.uri = uri
        self.photographs: list[_UploadedPhotograph] = []
        self.notes: list[str] = []
        self._batch = batch
        self._naming = naming

    files: tuple[Path, ...] = ()
    """No file of this machine is read."""

    @property
    def description(self) -> str:
        return f"the photographs in {self.uri}"

    def upload_or_list_photographs(self) -> None:
        """List the photographs; they need no upload, because they are in S3 already."""
        bucket, prefix = split_s3_uri(self.uri)
        self.photographs = [
            _UploadedPhotograph(
                key if self._naming.are_file_names
                else self._naming.name_of_s3_object(f"{S3_SCHEME}{bucket}/{key}"),
                key[len(prefix) :],
            )
            for key in self._batch.list_keys(self.uri)
        ]  # fmt: skip
        if not self.photographs:
            raise InvalidInput(
                "The folder holds no object",
                where=self.uri,
                remedy="Give the s3:// address of a folder that holds photographs",
            )

    def delete_uploads(self) -> None:
        """Delete nothing, because the command has uploaded nothing."""


def _print_plan(photographs: str, instances: BatchConfig, price: Price | None) -> None:
    cost = (
        "the price is not known"
        if price is None
        else f"{price.usd * instances.instance_count:.4g} USD an hour, billed from the end of the "
        f"start to the end of the job ({price.region}, {price.date})"
    )
    print_line(
        f"plan: {photographs} on {instances.instance_count} x {instances.instance_type} with Batch "
        f"Transform; {cost}. To estimate the duration too, use `drdeploy archive grade --plan`",
        to=err,
    )


def _find_s3_prefix(photographs: Sequence[str]) -> str | None:
    """Return the S3 folder if one is named, with a slash at its end; None if files are named."""
    if not any(one.startswith(S3_SCHEME) for one in photographs):
        return None
    if len(photographs) > 1:
        raise InvalidInput(
            "A job takes either one s3://BUCKET/FOLDER/, or files and folders of this machine",
            where=" ".join(photographs),
            remedy="Run the command once for each folder in S3, and once for the local files",
        )
    return f"{photographs[0].rstrip('/')}/"


def _make_job(
    job_name: str,
    where: ChosenJobPlace,
    input_uri: str,
    model_data_url: str,
    instances: BatchConfig,
    *,
    ami_version: str | None,
) -> BatchJob:
    from drdeploy.hosting.sagemaker import BatchJob

    return BatchJob(
        name=job_name,
        image=where.image,
        model_data_url=model_data_url,
        input_uri=input_uri,
        output_uri=f"{S3_SCHEME}{where.bucket}/batch/{job_name}/output",
        content_type=IMAGE_TYPE,
        instance_type=instances.instance_type,
        instance_count=instances.instance_count,
        concurrency=instances.max_concurrent_transforms,
        ami_version=ami_version,
        role_arn=where.role,
    )


def _make_rows(
    batch: BatchTransform,
    job: BatchJob,
    inputs: _PhotographFiles | _S3Photographs,
    ended: EndedTransformJob,
) -> list[GradedRow]:
    if ended.started_at is None:  # nothing was graded, and there may be no log
        raise EndpointFailed(ended.description, where=job.name)
    failures = batch.read_failures(job.name) if ended.status == "Failed" else {}
    place = job.input_uri.removeprefix(S3_SCHEME)

    def iterate_rows() -> Iterator[GradedRow]:
        for one in inputs.photographs:
            answer = None if one.error else batch.read_answer(job.output_uri, one.relative_key)
            if answer is None:
                reason = one.error or failures.get(f"{place}{one.relative_key}")
                yield GradedRow(
                    one.name, error=reason or f"There is no answer. {ended.description}."
                )
            else:
                yield make_row_of_answer(one.name, answer)

    return list(iterate_rows())


def _print_results(
    rows: list[GradedRow],
    job: BatchJob,
    ended: EndedTransformJob,
    csv_file: Path | None,
    *,
    as_json: bool,
) -> None:
    classes = tuple(str(number) for number in range(max(len(one.probabilities) for one in rows)))
    if as_json:
        print_json({
            "notice": RESEARCH_USE_NOTICE,
            "job": job.name,
            "status": ended.status,
            "failure_reason": ended.failure_reason,
            "startup_s": ended.instance_startup_s,
            "work_s": ended.work_after_startup_s,
            "answers": job.output_uri,
            "results": [asdict(row) for row in rows],
        })  # fmt: skip
    else:
        print_rows_as_table(rows, is_icdr=any(row.grade is not None for row in rows))
    if csv_file is not None:
        write_rows_as_csv(csv_file, rows, classes)
    failed = sum(bool(row.error) for row in rows)
    refused = sum(row.gradable is False for row in rows)
    work_s = ended.work_after_startup_s or 0
    print_line(
        f"{len(rows) - failed - refused} graded, {refused} for a human to look at, "
        f"{failed} failed. The job is {ended.status}: {ended.instance_startup_s or 0:.1f} s to "
        f"start, {work_s:.1f} s of work, {work_s / len(rows):.3f} s per photograph. "
        f"The answers of the job are in {job.output_uri}. {RESEARCH_USE_NOTICE}",
        to=err,
    )
