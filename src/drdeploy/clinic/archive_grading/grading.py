"""The work of one worker: read and grade the photographs of a shard.

Workers receive and return JSON as bytes. If the table names photographs by keyed hashes, the
workers do not get the key. A worker returns the SHA-256 of each photograph, and the process that
writes the table computes the name from it.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from drdeploy.clinic.archive_grading.sources import read_photograph_from_s3
from drdeploy.clinic.graded_rows import GradedRow, grade_file_content
from drdeploy.errors import DrdeployError, RequestRefused
from drdeploy.files import parse_json, sha256_of_bytes
from drdeploy.grader.photograph_files import read_photograph_bytes
from drdeploy.hosting.sagemaker.s3_uris import S3_SCHEME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.grader.inference import InferenceService
    from drdeploy.grader.runtimes.runtime import RuntimeName
    from drdeploy.photograph_names import PhotographNames


class ArchiveUnreadable(Exception):
    """No photograph of the archive can be read, for example because a disk is missing."""


@dataclass(frozen=True)
class WorkerSettings:
    """The settings of a worker.

    Attributes:
        artifact: The path of the model.
        runtime: The library that runs the model; None for the default of its format.
        folder: The folder that holds all photographs; empty if they are in S3.
        endpoint_url: The address of a local service; None for AWS.
        region: The region of S3.
    """

    artifact: str
    runtime: RuntimeName | None
    folder: str
    endpoint_url: str | None
    region: str | None


@dataclass(frozen=True)
class GradedFile:
    """The rows of one file. The name of the file is not in the rows yet.

    :meth:`make_rows_with_file_name` adds the name. A DICOM file has a row for each frame.
    """

    place: str
    sha256: str
    rows: tuple[GradedRow, ...]

    @property
    def failure(self) -> str:
        """Why the file cannot be graded, as a sentence; empty if one of its rows has no error."""
        errors = [row.error for row in self.rows]
        return errors[0] if errors and all(errors) else ""

    def make_rows_with_file_name(self, names: PhotographNames) -> list[GradedRow]:
        """Return the rows with the name of the file."""
        name = (
            names.name_of_s3_object(self.place, self.sha256)
            if self.place.startswith(S3_SCHEME)
            else names.name_of_photograph(Path(self.place), self.place, self.sha256)
        )
        return [GradedRow(**vars(row) | {"image": name + row.image}) for row in self.rows]


def grade_photographs_at_places(places: Sequence[str], settings: WorkerSettings) -> bytes:
    """Grade the photographs at some paths or ``s3://`` URIs, and return the rows as JSON.

    If the network or a disk fails, the JSON has no rows. It then has the member ``stopped``, which
    gives the reason.
    """
    try:
        _require_readable_archive_folder(settings.folder)
        service = _load_service_with_one_thread(settings.artifact, settings.runtime)
        graded = [_read_and_grade_photograph(place, service, settings) for place in places]
    except ArchiveUnreadable as error:
        return json.dumps({"stopped": str(error)}).encode()
    except (DrdeployError, OSError) as error:
        return json.dumps({"stopped": f"A worker failed: {error}"}).encode()
    return json.dumps({"files": [asdict(one) for one in graded]}).encode()


def read_graded_files(result: bytes) -> list[GradedFile]:
    """Decode the JSON that :func:`grade_photographs_at_places` returned.

    Raises:
        ArchiveUnreadable: The network or a disk failed, so no rows were returned.
    """
    document: dict[str, Any] = parse_json(result)
    if "stopped" in document:
        raise ArchiveUnreadable(document["stopped"])
    return [
        GradedFile(
            one["place"],
            one["sha256"],
            tuple(
                GradedRow(**row | {"probabilities": tuple(row["probabilities"])})
                for row in one["rows"]
            ),
        )
        for one in document["files"]
    ]


@cache
def _load_service_with_one_thread(artifact: str, runtime: RuntimeName | None) -> InferenceService:
    from drdeploy.end_of_process import temporary_folder
    from drdeploy.grader.artifacts.extraction import extract_archive
    from drdeploy.grader.inference import InferenceService

    with temporary_folder("drdeploy-") as folder:
        model = Path(artifact)
        if model.is_file():
            # Extracted here, so that the files are deleted now and not when this process ends: Ray
            # kills its workers. A loaded model does not need them.
            model = extract_archive(model, folder / "model").folder
        # There are as many workers as processors, so one thread each is enough. A photograph is
        # decoded by one thread anyway.
        return InferenceService.load(model, runtime=runtime, threads=1)


def _read_and_grade_photograph(
    place: str, service: InferenceService, settings: WorkerSettings
) -> GradedFile:
    try:
        data = (
            _read_s3_object(place, settings)
            if place.startswith(S3_SCHEME)
            else _read_file(place, settings)
        )
    except RequestRefused as error:
        return GradedFile(place, "", (GradedRow("", error=error.sentence),))
    except OSError as error:
        reason = f"{error.strerror or 'The file cannot be read'}."
        return GradedFile(place, "", (GradedRow("", error=reason),))
    suffix = PurePosixPath(place).suffix
    try:
        rows = tuple(grade_file_content(service, "", data, suffix=suffix))
    except Exception as error:  # noqa: BLE001 - one photograph must not stop a million others
        rows = (GradedRow("", error=f"Grading failed: {type(error).__name__}."),)
    return GradedFile(place, sha256_of_bytes(data), rows)


def _read_file(place: str, settings: WorkerSettings) -> bytes:
    try:
        return read_photograph_bytes(Path(place))
    except FileNotFoundError:
        _require_readable_archive_folder(settings.folder)
        raise


def _require_readable_archive_folder(folder: str) -> None:
    if folder and not os.path.isdir(folder):  # noqa: PTH112 - never raises
        raise ArchiveUnreadable(f"The folder {folder} does not exist on this machine.")


def _read_s3_object(place: str, settings: WorkerSettings) -> bytes:
    s3 = _make_s3_client(settings.endpoint_url, settings.region)
    try:
        return read_photograph_from_s3(s3, place)
    except RequestRefused:  # too large, or archived
        raise
    except DrdeployError as error:
        raise ArchiveUnreadable(str(error)) from error


@cache
def _make_s3_client(endpoint_url: str | None, region: str | None) -> Any:
    from drdeploy.hosting.sagemaker import make_boto3_client

    return make_boto3_client("s3", endpoint_url, region=region)
