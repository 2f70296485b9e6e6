"""Upload a ``model.tar.gz`` to S3, unless the bucket holds it already.

The key contains the archive's SHA-256, so another archive never takes the place of one that is
being served, and the same archive is recognised before a byte is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drdeploy.errors import UploadFailed
from drdeploy.files import sha256_of_file
from drdeploy.grader.artifacts import inspect
from drdeploy.hosting.deployment.account import answer_or_none
from drdeploy.hosting.sagemaker import translated_errors

if TYPE_CHECKING:
    from pathlib import Path

    from drdeploy.hosting.deployment.account import Account

DIGEST_METADATA = "sha256"
"""Metadata of the S3 object that holds the archive's digest.

The key shows only its first 16 digits.
"""


# HEAD requests have no body, so botocore knows the status alone: "404".
_ABSENT = ("404", "NoSuchBucket", "NoSuchKey")


@dataclass(frozen=True)
class UploadedArchive:
    """An archive in S3, as a SageMaker model refers to it.

    Attributes:
        uri: ``s3://BUCKET/artifacts/DIGEST/NAME``.
        version_id: S3's version of the object; empty where the bucket keeps no versions.
        sha256: Digest of the archive, 64 hexadecimal digits.
        was_there: Whether the bucket held it before.
    """

    uri: str
    version_id: str
    sha256: str
    was_there: bool


def bucket_exists(account: Account, bucket: str) -> bool:
    """Return whether a bucket exists and may be used.

    Raises:
        EndpointError: S3 does not say, for example because the bucket is somebody else's.
    """
    s3 = account.client("s3")
    with translated_errors("look for the bucket", f"s3://{bucket}"):
        return answer_or_none(lambda: s3.head_bucket(Bucket=bucket), *_ABSENT) is not None


def upload_archive(account: Account, archive: Path, bucket: str) -> UploadedArchive:
    """Check an archive, and upload it unless the bucket has it; the digest is its key.

    Raises:
        ArtifactError: The file is not a valid ``model.tar.gz``.
        UploadFailed: There is no such bucket.
        EndpointError: S3 refuses.
    """
    inspect(archive)
    sha256 = sha256_of_file(archive)
    key = f"artifacts/{sha256[:16]}/{archive.name}"
    uri = f"s3://{bucket}/{key}"
    if not bucket_exists(account, bucket):
        raise UploadFailed(
            "There is no such bucket",
            where=f"s3://{bucket}",
            remedy="Name one that exists, or let `drdeploy endpoint deploy` create it",
        )
    s3 = account.client("s3")

    def head() -> Any:
        with translated_errors("look for the archive", uri):
            return answer_or_none(lambda: s3.head_object(Bucket=bucket, Key=key), *_ABSENT)

    found = head()
    was_there = found is not None and found.get("Metadata", {}).get(DIGEST_METADATA) == sha256
    if not was_there:
        with translated_errors(f"upload {archive.name}", uri):
            s3.upload_file(
                str(archive), bucket, key, ExtraArgs={"Metadata": {DIGEST_METADATA: sha256}}
            )
        found = head()
    # "null" is S3's version of an object in a bucket without versioning.
    version_id = (found or {}).get("VersionId") or ""
    return UploadedArchive(uri, "" if version_id == "null" else version_id, sha256, was_there)
