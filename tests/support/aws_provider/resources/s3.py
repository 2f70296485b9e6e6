"""S3: buckets, and their settings, each of which is a resource of its own in Terraform."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aws_provider.resources.base import TAGS, Resource, found, name_of, pairs

if TYPE_CHECKING:
    from aws_provider.aws import Aws
    from aws_provider.values import State

HOME_REGION = "us-east-1"
"""S3 refuses this region as a LocationConstraint: it is the default."""


class Bucket(Resource):
    """The handler of ``aws_s3_bucket``."""

    in_place = TAGS | {"force_destroy"}
    own_arguments = frozenset({"bucket", "bucket_prefix", "force_destroy", "tags"})

    def create(self, aws: Aws, new: State) -> State:
        name = name_of(new, "bucket", "bucket_prefix")
        client = aws.client("s3")
        if aws.region == HOME_REGION:
            client.create_bucket(Bucket=name)
        else:
            client.create_bucket(
                Bucket=name, CreateBucketConfiguration={"LocationConstraint": aws.region}
            )
        self._tag(aws, {**new, "bucket": name})
        return {
            "id": name,
            "bucket": name,
            "arn": f"arn:aws:s3:::{name}",
            "bucket_domain_name": f"{name}.s3.amazonaws.com",
            "bucket_regional_domain_name": f"{name}.s3.{aws.region}.amazonaws.com",
            "bucket_region": aws.region,
            "bucket_prefix": "",
            "object_lock_enabled": False,
            "request_payer": "BucketOwner",
        }

    def read(self, aws: Aws, old: State) -> State | None:
        head = aws.client("s3").head_bucket
        return {} if found(lambda: head(Bucket=old["id"])) else None

    def update(self, aws: Aws, old: State, new: State) -> State:
        del old
        self._tag(aws, new)
        return {}

    def delete(self, aws: Aws, old: State) -> None:
        client, name = aws.client("s3"), old["id"]
        if old.get("force_destroy"):
            self._empty(client, name)
        found(lambda: client.delete_bucket(Bucket=name))

    def _empty(self, client: Any, name: str) -> None:
        for page in client.get_paginator("list_object_versions").paginate(Bucket=name):
            kept = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            objects = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in kept]
            if objects:
                client.delete_objects(Bucket=name, Delete={"Objects": objects})

    def _tag(self, aws: Aws, new: State) -> None:
        client, tags = aws.client("s3"), pairs(new.get("tags_all"))
        if tags:
            client.put_bucket_tagging(Bucket=new["bucket"], Tagging={"TagSet": tags})
        else:
            client.delete_bucket_tagging(Bucket=new["bucket"])


@dataclass(frozen=True)
class Setting(Resource):
    """The handler of one setting of a bucket: ``put_NOUN`` writes it, ``get_NOUN`` reads it.

    Attributes:
        noun: What the operations are about, for example ``bucket_versioning``.
        member: The parameter of ``put_NOUN`` that takes the setting, in Terraform's spelling.
        within: Arguments of the Terraform resource that make up that parameter.
        removable: Whether the API has a ``delete_NOUN``.
        listed_as: Where the parameter is a list of rules, the API's name of that list.
    """

    noun: str
    member: str
    within: tuple[str, ...]
    removable: bool = True
    listed_as: str = ""

    own_arguments = frozenset({"bucket"})

    @property
    def in_place(self) -> frozenset[str]:  # type: ignore[override]  # the same for every bucket
        """Every argument but the bucket."""
        return frozenset(self.within)

    @property
    def operation(self) -> tuple[str, str]:  # type: ignore[override]  # one of each setting's own
        """The operation that writes the setting."""
        return ("s3", f"put_{self.noun}")

    @property
    def within_parameter(self) -> str:  # type: ignore[override]  # one of each setting's own
        """The parameter that the arguments make up; empty where one argument is the parameter."""
        return "" if list(self.within) == [self.member] else self.member

    def create(self, aws: Aws, new: State) -> State:
        self._put(aws, new)
        return {"id": new["bucket"]}

    def read(self, aws: Aws, old: State) -> State | None:
        get = getattr(aws.client("s3"), f"get_{self.noun}")
        return {} if found(lambda: get(Bucket=old["bucket"])) else None

    def update(self, aws: Aws, old: State, new: State) -> State:
        del old
        self._put(aws, new)
        return {}

    def delete(self, aws: Aws, old: State) -> None:
        if not self.removable:
            return
        noun = self.noun.removesuffix("_configuration") if "lifecycle" in self.noun else self.noun
        delete = getattr(aws.client("s3"), f"delete_{noun}")
        found(lambda: delete(Bucket=old["bucket"]))

    def _put(self, aws: Aws, new: State) -> None:
        value: Any = {name: new[name] for name in self.within}
        if self.listed_as:
            value = {self.listed_as: new[self.within[0]]}
        elif list(self.within) == [self.member]:
            value = new[self.member]
        aws.call("s3", f"put_{self.noun}", {"bucket": new["bucket"], self.member: value})


S3: dict[str, Resource] = {
    "aws_s3_bucket": Bucket(),
    "aws_s3_bucket_versioning": Setting(
        "bucket_versioning",
        "versioning_configuration",
        ("versioning_configuration",),
        removable=False,
    ),
    "aws_s3_bucket_server_side_encryption_configuration": Setting(
        "bucket_encryption",
        "server_side_encryption_configuration",
        ("rule",),
        listed_as="rules",
    ),
    "aws_s3_bucket_public_access_block": Setting(
        "public_access_block",
        "public_access_block_configuration",
        (
            "block_public_acls",
            "block_public_policy",
            "ignore_public_acls",
            "restrict_public_buckets",
        ),
    ),
    "aws_s3_bucket_ownership_controls": Setting(
        "bucket_ownership_controls", "ownership_controls", ("rule",), listed_as="rules"
    ),
    "aws_s3_bucket_lifecycle_configuration": Setting(
        "bucket_lifecycle_configuration",
        "lifecycle_configuration",
        ("rule", "transition_default_minimum_object_size"),
        listed_as="rules",
    ),
    "aws_s3_bucket_policy": Setting("bucket_policy", "policy", ("policy",)),
}
