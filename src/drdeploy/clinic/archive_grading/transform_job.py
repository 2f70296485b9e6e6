"""Grade the shards of an archive with SageMaker Batch Transform, on AWS or the local service.

A job grades up to :data:`JOB_PHOTOGRAPHS` photographs, which are listed in a manifest. Photographs
of a local folder are uploaded first, and the uploads are deleted when their rows are saved.
Photographs in S3 stay where they are. The file ``transform.json`` beside the rows says which job
grades which shards. It is written before anything is uploaded, so that the next run can continue
the job if this run is killed::

    eyes.parquet.parts/
        transform.json          the job whose rows are not saved yet
        00000000.uploaded.json  the digests of the uploaded photographs of a shard

A photograph gets a row if the job has an answer for it, or if the log of the job says why there is
none. If neither is the case, for example because an instance failed or a permission was missing,
the run ends with an error.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from drdeploy.clinic.archive_grading.pending_transform import PendingTransform
from drdeploy.clinic.graded_rows import FOREIGN_ANSWER, GradedRow, make_row_of_answer
from drdeploy.errors import ClinicError, InvalidInput, RequestRefused, format_count
from drdeploy.files import parse_json, sha256_of_bytes, write_json_file
from drdeploy.grader.fundus.formats.foreign import FOREIGN_SUFFIXES, is_dicom
from drdeploy.grader.photograph_files import SUFFIXES, is_dicom_file, read_photograph_bytes
from drdeploy.hosting.sagemaker import BatchJob, make_job_name
from drdeploy.hosting.sagemaker.s3_uris import S3_SCHEME, split_s3_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from drdeploy.clinic.archive_grading.checkpoint import ArchiveCheckpoint, ArchiveJob, Shard
    from drdeploy.clinic.graded_rows import RowColumns
    from drdeploy.hosting.sagemaker import BatchTransform
    from drdeploy.photograph_names import PhotographNames

JOB_PHOTOGRAPHS = 100_000
"""The largest number of photographs in a job. If a job fails, at most this many photographs are
graded again. With keys of 60 characters, the job's manifest is 6 MB long."""
TRANSFERS = 10
"""How many uploads, downloads and deletions run at once: an S3 client keeps this many
connections."""
_CONTENT_TYPE = "application/x-image"
_EMPTY = "The file is empty."
"""The error of an empty file, in the same words as in ``drdeploy grade``. S3 accepts an empty
object, but SageMaker does not send it to the container."""


@dataclass(frozen=True)
class TransformJobSettings:
    """The settings of a new job.

    Attributes:
        image: The URI of the container image.
        model_data_url: The ``s3://`` URI of the ``model.tar.gz``.
        bucket: The bucket for uploads, the manifest and the answers.
        role_arn: The role with which SageMaker reads and writes.
        instance_type: The type of the instances.
        instance_count: The number of instances of a job.
        concurrency: How many photographs an instance receives at once; None lets the container
            choose.
    """

    image: str
    model_data_url: str
    bucket: str
    role_arn: str
    instance_type: str
    instance_count: int
    concurrency: int | None


class SentPhotograph(NamedTuple):
    """The digest of a photograph, and an error if the photograph is not sent."""

    sha256: str
    error: str


class TransformArchiveJob:
    """Grades the photographs of a job that have no rows yet, and saves their rows.

    Args:
        batch: The transform jobs of AWS or of the local service.
        checkpoint: The folder that holds the list and the rows.
        columns: The columns of the table.
        names: The rule by which photographs are named in the table.
        is_folder: Whether the photographs are in a folder of this machine.
        report_state: Called with a sentence about each upload and each job.
    """

    def __init__(
        self,
        batch: BatchTransform,
        checkpoint: ArchiveCheckpoint,
        columns: RowColumns,
        names: PhotographNames,
        *,
        is_folder: bool,
        report_state: Callable[[str], None],
    ) -> None:
        self._batch = batch
        self._checkpoint = checkpoint
        self._columns = columns
        self._names = names
        self._is_folder = is_folder
        self._report_state = report_state
        self._pool = ThreadPoolExecutor(TRANSFERS, thread_name_prefix="transfer")

    def grade_archive_in_transform_jobs(
        self, job: ArchiveJob, settings: TransformJobSettings, report: Callable[[int], None]
    ) -> None:
        """Grade the photographs that have no row yet, job after job.

        Args:
            job: The photographs.
            settings: The settings of new jobs; a job that an earlier run has created keeps its
                settings.
            report: Called with the number of photographs whose rows were just saved.

        Raises:
            InvalidInput: There is a DICOM file, or the photographs are in several buckets.
            ClinicError: A job did not grade all its photographs.
            EndpointError: The API refuses the job.
        """
        self._refuse_dicom_files()
        with self._pool:
            while pending := self._load_pending_job() or self._plan_next_job(job, settings.bucket):
                self._run_job_to_its_end(pending, job, settings, report)

    def abandon_pending_transform_job(self) -> None:
        """Stop the job of an earlier run, and delete the files that were uploaded for it."""
        pending = self._load_pending_job()
        if pending is not None:
            self._batch.create_local_bucket(pending.bucket)  # a restarted service has lost it
            self._batch.stop_job(pending.name)
            self._delete_files_of_job(pending)

    # -- one job ---------------------------------------------------------------------------------

    def _load_pending_job(self) -> PendingTransform | None:
        return PendingTransform.load_from_file(self._checkpoint.pending_transform_file)

    def _plan_next_job(self, job: ArchiveJob, bucket: str) -> PendingTransform | None:
        most = max(1, JOB_PHOTOGRAPHS // job.shard_photographs)
        name = make_job_name()
        first, last, prefix = None, 0, ""
        for shard in islice(self._checkpoint.iterate_ungraded_shards(job), most):
            first = shard.number if first is None else first
            last = shard.number
            places = [one.place for one in shard.photographs]
            prefix = os.path.commonprefix([prefix or places[0], *places])  # noqa: RUF071 - it is cut below
        if first is None:
            return None
        if self._is_folder:
            prefix = f"{S3_SCHEME}{bucket}/batch/{name}/input/"
        else:
            prefix = prefix[: prefix.rfind("/") + 1]
            if prefix == S3_SCHEME:
                raise InvalidInput(
                    "A transform job can read only one bucket, but the manifest names several",
                    where=prefix,
                    remedy="Write one manifest for each bucket, and grade each manifest separately",
                )
        pending = PendingTransform(name, bucket, first, last, prefix, self._is_folder)
        write_json_file(self._checkpoint.pending_transform_file, asdict(pending))
        return pending

    def _run_job_to_its_end(
        self,
        pending: PendingTransform,
        job: ArchiveJob,
        settings: TransformJobSettings,
        report: Callable[[int], None],
    ) -> None:
        if self._batch.job_exists(pending.name):
            self._report_state(f"the job {pending.name} of an earlier run continues")
        elif not self._upload_and_create_job(pending, job, settings):
            self._write_rows_of_answers(pending, job, {}, report)  # no photograph is readable
            self._delete_files_of_job(pending)
            return
        ended = self._batch.wait_for_job(
            pending.name, lambda state: self._report_state(f"the job {pending.name} is {state}")
        )
        if ended.started_at is None:  # nothing was graded, and there may be no log
            self._delete_files_of_job(pending)
            raise ClinicError(
                ended.description,
                where=pending.name,
                remedy="When this is repaired, run the same command again; it starts a new job",
            )
        failures = self._batch.read_failures(pending.name) if ended.status == "Failed" else {}
        unanswered = self._write_rows_of_answers(pending, job, failures, report)
        self._delete_files_of_job(pending)
        if unanswered:
            raise ClinicError(
                f"The job is {ended.status}, and {format_count(unanswered, 'photograph')} got no "
                f"answer: {ended.failure_reason or 'the log of the job names no reason'}",
                where=pending.name,
                remedy="When this is repaired, run the same command again; it starts a new job",
            )

    def _upload_and_create_job(
        self, pending: PendingTransform, job: ArchiveJob, settings: TransformJobSettings
    ) -> bool:
        """Upload the photographs and create the job; return False if there is nothing to grade."""
        self._batch.create_local_bucket(pending.bucket)
        if pending.is_uploaded:
            try:
                self._upload_photographs(pending, job)
            except InvalidInput:  # another run could not continue this job either
                self._delete_files_of_job(pending)
                raise
        keys = [
            key
            for shard in self._iterate_shards_of_job(pending, job)
            for key in self._list_sent_keys(pending, shard)
            if key
        ]
        if not keys:
            return False
        manifest = json.dumps([{"prefix": pending.prefix}, *keys]).encode()
        self._batch.upload_files(pending.manifest_uri, manifest, "application/json")
        self._report_state(f"the job {pending.name} grades {format_count(len(keys), 'photograph')}")
        self._batch.delete_model(pending.name)  # left by a killed run
        self._batch.start_job(
            BatchJob(
                name=pending.name,
                image=settings.image,
                model_data_url=settings.model_data_url,
                input_uri=pending.manifest_uri,
                is_manifest=True,
                output_uri=pending.output_uri,
                content_type=_CONTENT_TYPE,
                instance_type=settings.instance_type,
                instance_count=settings.instance_count,
                concurrency=settings.concurrency,
                role_arn=settings.role_arn,
            )
        )
        return True

    def _delete_files_of_job(self, pending: PendingTransform) -> None:
        self._batch.delete_model(pending.name)
        left = [pending.manifest_uri]
        if pending.is_uploaded:
            keys = self._batch.list_keys(pending.prefix)
            left += [f"{S3_SCHEME}{pending.bucket}/{key}" for key in keys]
        self._delete_s3_objects(left)
        for path in self._checkpoint.folder.glob("*.uploaded.json"):
            path.unlink()
        self._checkpoint.pending_transform_file.unlink()

    # -- its photographs -------------------------------------------------------------------------

    def _iterate_shards_of_job(self, pending: PendingTransform, job: ArchiveJob) -> Iterator[Shard]:
        for shard in self._checkpoint.iterate_ungraded_shards(job):
            if pending.first_shard <= shard.number <= pending.last_shard:
                yield shard

    def _upload_photographs(self, pending: PendingTransform, job: ArchiveJob) -> None:
        """Upload the photographs, except for the shards that an earlier run has uploaded."""
        there = {
            f"{S3_SCHEME}{pending.bucket}/{key}".removeprefix(pending.prefix)
            for key in self._batch.list_keys(pending.prefix)
        }
        self._report_state("uploading photographs")
        for shard in self._iterate_shards_of_job(pending, job):
            path = self._path_of_upload_record(shard.number)
            if path.exists() and set(filter(None, self._list_sent_keys(pending, shard))) <= there:
                continue
            places = [one.place for one in shard.photographs]
            uris = [
                f"{pending.prefix}{pending.make_key_of_photograph(shard.number, number)}"
                for number in range(len(places))
            ]
            write_json_file(path, list(self._pool.map(self._upload_photograph, places, uris)))

    def _upload_photograph(self, place: str, uri: str) -> SentPhotograph:
        try:
            data = read_photograph_bytes(Path(place))
        except RequestRefused as error:
            return SentPhotograph("", error.sentence)
        except OSError as error:
            return SentPhotograph("", f"{error.strerror or 'The file cannot be read'}.")
        if is_dicom(data):
            raise self._make_dicom_error(place)
        digest = sha256_of_bytes(data)
        if not data:
            return SentPhotograph(digest, _EMPTY)
        self._batch.upload_files(uri, data, _CONTENT_TYPE)
        return SentPhotograph(digest, "")

    def _refuse_dicom_files(self) -> None:
        """Refuse DICOM files before anything is uploaded.

        Raises:
            InvalidInput: There is a DICOM file.
        """
        for one in self._checkpoint.iterate_photographs():
            suffix = os.path.splitext(one.place)[1].lower()  # noqa: PTH122 - an address is no path
            if suffix in SUFFIXES:
                continue
            is_dicom_suffix = FOREIGN_SUFFIXES.get(suffix) == "DICOM"
            is_local = not one.place.startswith(S3_SCHEME)
            if is_dicom_suffix or (is_local and is_dicom_file(Path(one.place))):
                raise self._make_dicom_error(one.place)

    def _make_dicom_error(self, place: str) -> InvalidInput:
        return InvalidInput(
            "Batch Transform grades JPEG, PNG and TIFF, and the archive holds DICOM files",
            # The name of a file often names a patient.
            where=place if self._names.are_file_names else "",
            remedy="Grade with --on ray, which grades DICOM files too",
        )

    def _list_sent_keys(self, pending: PendingTransform, shard: Shard) -> list[str]:
        """Return the S3 key of each photograph of a shard, relative to the job's prefix.

        The key is empty for a photograph that is not sent, for example because its file is empty.
        """
        return [
            "" if sent.error
            else pending.make_key_of_photograph(shard.number, number) if pending.is_uploaded
            else one.place.removeprefix(pending.prefix)
            for number, (one, sent) in enumerate(
                zip(shard.photographs, self._read_sent(pending, shard), strict=True)
            )
        ]  # fmt: skip

    def _read_sent(self, pending: PendingTransform, shard: Shard) -> list[SentPhotograph]:
        if pending.is_uploaded:
            document = parse_json(self._path_of_upload_record(shard.number).read_text("utf-8"))
            return [SentPhotograph(*one) for one in document]
        return [
            SentPhotograph("", _EMPTY if one.size_bytes == 0 else "") for one in shard.photographs
        ]

    def _write_rows_of_answers(
        self,
        pending: PendingTransform,
        job: ArchiveJob,
        failures: Mapping[str, str],
        report: Callable[[int], None],
    ) -> int:
        """Write the rows of each shard in which every photograph has an answer or an error.

        Returns:
            How many photographs have neither an answer nor an error.
        """
        unanswered = 0
        for shard in self._iterate_shards_of_job(pending, job):
            keys = self._list_sent_keys(pending, shard)
            answers = list(
                self._pool.map(lambda key: self._read_answer_from_s3(pending, key), keys)
            )
            rows = [
                self._make_row(
                    one.place, sent, answer, failures.get(pending.make_key_of_upload_log(key))
                )
                for one, sent, key, answer in zip(
                    shard.photographs, self._read_sent(pending, shard), keys, answers, strict=True
                )
            ]
            found = [row for row in rows if row is not None]
            unanswered += len(rows) - len(found)
            if len(found) == len(rows):
                self._checkpoint.write_rows(shard.number, found, self._columns)
                report(len(rows))
        return unanswered

    def _read_answer_from_s3(self, pending: PendingTransform, key: str) -> bytes | None:
        return self._batch.read_answer(pending.output_uri, key) if key else None

    def _make_row(
        self, place: str, sent: SentPhotograph, answer: bytes | None, reason: str | None
    ) -> GradedRow | None:
        if self._is_folder:
            name = self._names.name_of_photograph(Path(place), place, sent.sha256)
        else:  # this machine has not read the photograph
            name = self._names.name_of_s3_object(place)
        if answer is not None:
            row = make_row_of_answer(name, answer)
            # The table has a column for each class of the model, and no other.
            is_of_model = len(row.probabilities) in {0, len(self._columns.classes)}
            return row if is_of_model else GradedRow(name, error=FOREIGN_ANSWER)
        error = sent.error or reason
        return GradedRow(name, error=error) if error else None

    def _delete_s3_objects(self, uris: Sequence[str]) -> None:
        def delete_one_object(uri: str) -> None:
            bucket, key = split_s3_uri(uri)
            self._batch.delete_objects(bucket, [key])

        with ThreadPoolExecutor(TRANSFERS) as pool:
            list(pool.map(delete_one_object, uris))

    def _path_of_upload_record(self, number: int) -> Path:
        return self._checkpoint.folder / f"{number:08d}.uploaded.json"
