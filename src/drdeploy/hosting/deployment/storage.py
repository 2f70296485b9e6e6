"""List and empty the buckets and image repositories of a deployment.

Terraform does not delete a bucket or repository that is not empty: ``force_destroy`` is false,
because Terraform cannot tell which contents can be restored. An archive can be uploaded again, but
a captured photograph cannot be restored. This module can tell archives from other objects, because
drdeploy uploads archives only below ``artifacts/``. All images in a repository were pushed by
drdeploy, and can be pushed again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drdeploy.errors import DeploymentError
from drdeploy.hosting.deployment.account import call_aws_or_return_none_if_absent
from drdeploy.hosting.deployment.archive_upload import ARCHIVES_FOLDER
from drdeploy.hosting.sagemaker import translate_aws_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from drdeploy.hosting.deployment.account import AwsAccount
    from drdeploy.hosting.deployment.workspace import Resource

IMAGES_AT_ONCE = 100
"""The largest number of images that one call of ``BatchDeleteImage`` deletes (API reference of
ECR).
"""


@dataclass(frozen=True)
class DeploymentStorage:
    """The contents of a deployment's buckets and repositories.

    Attributes:
        archives: For each bucket, how many archives it holds; each version of an object counts.
        others: For each bucket and folder, how many other objects it holds, counted in the same
            way.
        images: For each repository, how many images it holds.
    """

    archives: Mapping[str, int]
    others: Mapping[tuple[str, str], int]
    images: Mapping[str, int]

    @classmethod
    def count_stored_objects_and_images(
        cls, account: AwsAccount, resources: Iterable[Resource]
    ) -> DeploymentStorage:
        """Count what the buckets and repositories in a list of resources contain.

        Raises:
            EndpointError: S3 or ECR refuses to answer.
        """
        archives: Counter[str] = Counter()
        others: Counter[tuple[str, str]] = Counter()
        images: Counter[str] = Counter()
        for one in resources:
            if one.type == "aws_s3_bucket":
                for version in _list_object_versions(account, one.name):
                    if version["Key"].startswith(ARCHIVES_FOLDER):
                        archives[one.name] += 1
                    else:
                        others[one.name, _find_top_folder_of_key(version["Key"])] += 1
            elif one.type == "aws_ecr_repository":
                images[one.name] += len(_list_image_digests(account, one.name))
        return cls(archives, others, +images)

    @property
    def other_objects_description(self) -> str:
        """How many other objects each folder holds, for example ``12 in s3://bucket/captured/``."""
        return ", ".join(
            f"{count} in s3://{bucket}/{folder}"
            for (bucket, folder), count in sorted(self.others.items())
        )

    @property
    def contents_description(self) -> str:
        """The counts of all contents, for example ``2 archives, 3 images``; empty if all are 0."""
        counts = {
            "archive": sum(self.archives.values()),
            "other object": sum(self.others.values()),
            "image": sum(self.images.values()),
        }
        return ", ".join(
            f"{count} {name}{'' if count == 1 else 's'}" for name, count in counts.items() if count
        )


def empty_buckets_and_repositories(
    account: AwsAccount, stored: DeploymentStorage, *, others: bool = False
) -> None:
    """Delete the archives and images of a deployment, and optionally all other objects too.

    Args:
        account: The account that holds the buckets and repositories.
        stored: The contents of the deployment's buckets and repositories.
        others: Whether to delete the objects that are not archives too.

    Raises:
        DeploymentError: An object or an image was not deleted.
        EndpointError: S3 or ECR refuses the deletion.
    """
    buckets = {*stored.archives, *(bucket for bucket, _ in stored.others)}
    for bucket in sorted(buckets):
        _empty_bucket(account, bucket, "" if others else ARCHIVES_FOLDER)
    for repository in sorted(stored.images):
        _empty_repository(account, repository)


def _empty_bucket(account: AwsAccount, bucket: str, prefix: str) -> None:
    s3 = account.boto3_client("s3")
    with translate_aws_errors("empty the bucket", f"s3://{bucket}"):
        for page in _list_version_pages(account, bucket, prefix):
            answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": page, "Quiet": True})
            for error in answer.get("Errors", ()):
                raise DeploymentError(
                    f"An object was not deleted: {error.get('Code')}",
                    where=f"s3://{bucket}/{error.get('Key')}",
                    remedy="Allow s3:DeleteObjectVersion on the bucket, and repeat the command",
                )


def _empty_repository(account: AwsAccount, repository: str) -> None:
    ecr = account.boto3_client("ecr")
    with translate_aws_errors("empty the image repository", repository):
        while digests := _list_image_digests(account, repository):
            ids = [{"imageDigest": one} for one in sorted(digests)[:IMAGES_AT_ONCE]]
            answer = ecr.batch_delete_image(repositoryName=repository, imageIds=ids)
            # If a manifest list names an image, the image can be deleted only after the list.
            if not answer.get("imageIds"):
                reasons = {one.get("failureCode") for one in answer.get("failures", ())}
                raise DeploymentError(
                    f"Images were not deleted: {', '.join(sorted(map(str, reasons)))}",
                    where=repository,
                    remedy="Allow ecr:BatchDeleteImage on the repository, or delete the images by "
                    "hand; then repeat the command",
                )


def _list_object_versions(account: AwsAccount, bucket: str) -> Iterator[Mapping[str, Any]]:
    """Yield all object versions and delete markers in a bucket; nothing if there is no bucket."""
    with translate_aws_errors("list the objects in the bucket", f"s3://{bucket}"):
        for page in _list_version_pages(account, bucket, ""):
            yield from page


def _list_version_pages(
    account: AwsAccount, bucket: str, prefix: str
) -> Iterator[list[dict[str, str]]]:
    listing = account.boto3_client("s3").get_paginator("list_object_versions")
    pages = iter(listing.paginate(Bucket=bucket, Prefix=prefix))
    while (
        page := call_aws_or_return_none_if_absent(lambda: next(pages, None), "NoSuchBucket")
    ) is not None:
        kept = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
        if kept:
            yield [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in kept]


def _list_image_digests(account: AwsAccount, repository: str) -> set[str]:
    """Return the digests of a repository's images; an empty set if there is no such repository."""
    listing = account.boto3_client("ecr").get_paginator("list_images")
    with translate_aws_errors("list the images in the repository", repository):
        pages = call_aws_or_return_none_if_absent(
            lambda: list(listing.paginate(repositoryName=repository)), "RepositoryNotFoundException"
        )
    return {one["imageDigest"] for page in pages or () for one in page.get("imageIds", ())}


def _find_top_folder_of_key(key: str) -> str:
    folder, slash, _ = key.partition("/")
    return f"{folder}/" if slash else ""
