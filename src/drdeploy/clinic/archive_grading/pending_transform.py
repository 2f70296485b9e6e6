"""The file that describes an unfinished Batch Transform job of an archive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.files import parse_json
from drdeploy.hosting.sagemaker.s3_uris import S3_SCHEME

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class PendingTransform:
    """A Batch Transform job that is planned or running, or whose answers are not all saved.

    Attributes:
        name: The name of the job, which may not have been created yet.
        bucket: The bucket for uploads, the manifest and the answers.
        first_shard: The first shard that the job grades, counted from 0.
        last_shard: The last shard that the job grades. Shards between the first and the last one
            are left out if they already have rows.
        prefix: The ``s3://`` folder that holds all photographs of the job.
        is_uploaded: True if the photographs are uploaded from this machine for the job; False if
            they were in S3 before.
    """

    name: str
    bucket: str
    first_shard: int
    last_shard: int
    prefix: str
    is_uploaded: bool

    @property
    def s3_folder_of_job(self) -> str:
        """The ``s3://`` folder of the job's files."""
        return f"{S3_SCHEME}{self.bucket}/batch/{self.name}/"

    @property
    def output_uri(self) -> str:
        """The ``s3://`` folder of the answers."""
        return f"{self.s3_folder_of_job}output"

    @property
    def manifest_uri(self) -> str:
        """The ``s3://`` URI of the manifest, which lists the photographs of the job."""
        return f"{self.s3_folder_of_job}input.manifest"

    def make_key_of_photograph(self, shard: int, number: int) -> str:
        """Return the S3 key of an uploaded photograph of a shard, relative to the prefix."""
        return f"{shard:08d}-{number:02d}"

    def make_key_of_upload_log(self, key: str) -> str:
        """Return the name by which the log of the job refers to the photograph with this key."""
        return f"{self.prefix}{key}".removeprefix(S3_SCHEME)

    @classmethod
    def load_from_file(cls, file: Path) -> PendingTransform | None:
        """Return the job that a file describes; None if there is no such file."""
        try:
            document = parse_json(file.read_text("utf-8"))
        except FileNotFoundError:
            return None
        return cls(**document)
