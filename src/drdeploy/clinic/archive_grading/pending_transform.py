"""The record of a Batch Transform job whose answers are not yet all saved as rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.files import parse_json

if TYPE_CHECKING:
    from pathlib import Path

S3 = "s3://"


@dataclass(frozen=True)
class PendingTransform:
    """A job whose answers are not yet all saved as rows.

    Attributes:
        name: The name of the job, which may not have been created yet.
        bucket: The bucket for uploads, the manifest and the answers.
        first_shard: The number of its first shard.
        last_shard: The number of its last shard; the job leaves out shards in between that have
            rows.
        prefix: The ``s3://`` folder of all its photographs.
        is_uploaded: Whether its photographs are uploaded for it.
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
        return f"{S3}{self.bucket}/batch/{self.name}/"

    @property
    def output_uri(self) -> str:
        """The ``s3://`` folder of the answers."""
        return f"{self.s3_folder_of_job}output"

    @property
    def manifest_uri(self) -> str:
        """The ``s3://`` URI of the manifest, which lists the photographs of the job."""
        return f"{self.s3_folder_of_job}input.manifest"

    def make_key_of_photograph(self, shard: int, number: int) -> str:
        """Return the key, below the prefix, of a photograph that was uploaded for a shard."""
        return f"{shard:08d}-{number:02d}"

    def make_key_of_upload_log(self, key: str) -> str:
        """Return the name that the job's log gives to the photograph with a key."""
        return f"{self.prefix}{key}".removeprefix(S3)

    @classmethod
    def load_from_file(cls, file: Path) -> PendingTransform | None:
        """Return the job that a file describes; None if there is no such file."""
        try:
            document = parse_json(file.read_text("utf-8"))
        except FileNotFoundError:
            return None
        return cls(**document)
