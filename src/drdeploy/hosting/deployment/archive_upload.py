"""Upload a ``model.tar.gz`` to S3, unless the bucket already holds it.

The key of the S3 object contains the archive's SHA-256. A new archive therefore never replaces an
archive that an endpoint serves, and an archive that the bucket already holds is not sent again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drdeploy.errors import UploadFailed
from drdeploy.files import sha256_of_file
from drdeploy.grader.artifacts import verify_archive
from drdeploy.hosting.deployment.account import call_aws_or_return_none_if_absent
from drdeploy.hosting.sagemaker import translate_aws_errors

if TYPE_CHECKING:
    from pathlib import Path

    from drdeploy.hosting.deployment.account import AwsAccount

ARCHIVES_FOLDER = "artifacts/"
"""The folder of the model archives in a bucket; the execution role may read no other folder."""
DIGEST_METADATA = "sha256"
"""The entry in the S3 object's metadata that holds the archive's whole digest.

The key of the S3 object contains only the first 16 digits of the digest.
"""


# The answer to a HEAD request has no body, so botocore knows only the status, "404".
_ABSENT = ("404", "NoSuchBucket", "NoSuchKey")


@dataclass(frozen=True)
class UploadedArchive:
    """An archive in S3, with the values by which a SageMaker model refers to it.

    Attributes:
        uri: The URI of the archive, ``s3://BUCKET/artifacts/DIGEST/NAME``.
        version_id: The id of the object's version in S3; empty if the bucket keeps no versions.
        sha256: The digest of the archive, 64 hexadecimal digits.
        was_there: Whether the bucket already held the archive, so that nothing was uploaded.
    """

    uri: str
    version_id: str
    sha256: str
    was_there: bool


def bucket_exists(account: AwsAccount, bucket: str) -> bool:
    """Return whether a bucket exists; if so, this account may use it.

    Raises:
        EndpointError: S3 refuses to answer, for example because another account owns the bucket.
    """
    s3 = account.boto3_client("s3")
    with translate_aws_errors("look for the bucket", f"s3://{bucket}"):
        return (
            call_aws_or_return_none_if_absent(lambda: s3.head_bucket(Bucket=bucket), *_ABSENT)
            is not None
        )


def upload_model_archive(account: AwsAccount, archive: Path, bucket: str) -> UploadedArchive:
    """Check an archive, and upload it under its digest if the bucket does not hold it yet.

    Raises:
        ArtifactError: The file is not a valid ``model.tar.gz``.
        UploadFailed: The bucket does not exist.
        EndpointError: S3 refuses the upload.
    """
    verify_archive(archive)  # an endpoint would refuse it minutes later
    sha256 = sha256_of_file(archive)
    key = f"{ARCHIVES_FOLDER}{sha256[:16]}/{archive.name}"
    uri = f"s3://{bucket}/{key}"
    if not bucket_exists(account, bucket):
        raise UploadFailed(
            "The bucket does not exist",
            where=f"s3://{bucket}",
            remedy="Choose another bucket, or let `drdeploy endpoint deploy` create the bucket",
        )
    s3 = account.boto3_client("s3")

    def read_object_metadata() -> Any:
        with translate_aws_errors("look for the archive", uri):
            return call_aws_or_return_none_if_absent(
                lambda: s3.head_object(Bucket=bucket, Key=key), *_ABSENT
            )

    found = read_object_metadata()
    was_there = found is not None and found.get("Metadata", {}).get(DIGEST_METADATA) == sha256
    if not was_there:
        with translate_aws_errors(f"upload {archive.name}", uri):
            s3.upload_file(
                str(archive), bucket, key, ExtraArgs={"Metadata": {DIGEST_METADATA: sha256}}
            )
        found = read_object_metadata()
    # "null" is S3's version of an object in a bucket without versioning.
    version_id = (found or {}).get("VersionId") or ""
    return UploadedArchive(uri, "" if version_id == "null" else version_id, sha256, was_there)
