"""Delete folders of S3 objects with all their versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drdeploy.errors import EndpointError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef


def delete_all_versions(s3: S3Client, bucket: str, prefix: str) -> None:
    """Delete all versions of all objects whose keys begin with a prefix.

    In a bucket that keeps versions, an ordinary deletion only hides an object: its versions stay in
    the bucket. A bucket that holds any version cannot be deleted.

    Args:
        s3: The boto3 client.
        bucket: The name of the bucket.
        prefix: The prefix of the keys.

    Raises:
        EndpointError: An object was not deleted.
    """
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
    for page in pages:
        found = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
        listed: list[ObjectIdentifierTypeDef] = [
            {"Key": one["Key"], "VersionId": one["VersionId"]} for one in found
        ]
        if listed:  # a page holds at most as many as one request may delete
            answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": listed, "Quiet": True})
            # S3 answers 200 even if it refuses to delete some of the objects, or all.
            for error in answer.get("Errors", ()):
                raise EndpointError(
                    f"An object was not deleted: {error.get('Code')}",
                    where=f"s3://{bucket}/{error.get('Key')}",
                )
