"""KMS: keys and their aliases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_provider.resources.base import TAGS, Resource, change_tags, found, known_values, name_of

if TYPE_CHECKING:
    from aws_provider.aws import Aws
    from aws_provider.values import State


class Key(Resource):
    """The handler of ``aws_kms_key``; nothing that the modules do changes one in place."""

    in_place = TAGS
    own_arguments = frozenset(
        {"deletion_window_in_days", "description", "enable_key_rotation", "policy", "tags"}
    )

    def create(self, aws: Aws, new: State) -> State:
        client = aws.client("kms")
        tags = [{"TagKey": key, "TagValue": one} for key, one in (new["tags_all"] or {}).items()]
        policy = {"Policy": new["policy"]} if new.get("policy") else {}
        description = new.get("description") or ""
        created = client.create_key(**policy, Description=description, Tags=tags)["KeyMetadata"]
        kept = client.get_key_policy(KeyId=created["KeyId"], PolicyName="default")["Policy"]
        if new.get("enable_key_rotation"):
            client.enable_key_rotation(KeyId=created["KeyId"])
        return {
            "id": created["KeyId"],
            "key_id": created["KeyId"],
            "arn": created["Arn"],
            "description": description,
            "policy": kept,
            "multi_region": False,
            "rotation_period_in_days": 365,
        }

    def read(self, aws: Aws, old: State) -> State | None:
        answer = found(lambda: aws.client("kms").describe_key(KeyId=old["id"]))
        gone = answer is None or answer["KeyMetadata"]["KeyState"] == "PendingDeletion"
        return None if gone else {}

    def update(self, aws: Aws, old: State, new: State) -> State:
        client, key = aws.client("kms"), old["id"]
        change_tags(
            old,
            new,
            lambda tags: client.tag_resource(
                KeyId=key, Tags=[{"TagKey": one, "TagValue": tags[one]} for one in tags]
            ),
            lambda keys: client.untag_resource(KeyId=key, TagKeys=keys),
        )
        return {}

    def delete(self, aws: Aws, old: State) -> None:
        client, days = aws.client("kms"), int(old.get("deletion_window_in_days") or 30)
        found(lambda: client.schedule_key_deletion(KeyId=old["id"], PendingWindowInDays=days))


class Alias(Resource):
    """The handler of ``aws_kms_alias``."""

    in_place = frozenset({"target_key_id"})
    own_arguments = frozenset({"name", "name_prefix", "target_key_id"})

    def create(self, aws: Aws, new: State) -> State:
        client = aws.client("kms")
        name = name_of({"name_prefix": "alias/terraform-"} | known_values(new))
        client.create_alias(AliasName=name, TargetKeyId=new["target_key_id"])
        (made,) = [one for one in self._aliases(aws) if one["AliasName"] == name]
        key = client.describe_key(KeyId=new["target_key_id"])["KeyMetadata"]["Arn"]
        return {
            "id": name,
            "name": name,
            "arn": made["AliasArn"],
            "name_prefix": "",
            "target_key_arn": key,
        }

    def read(self, aws: Aws, old: State) -> State | None:
        known = {one["AliasName"] for one in self._aliases(aws)}
        return {} if old["name"] in known else None

    def update(self, aws: Aws, old: State, new: State) -> State:
        aws.client("kms").update_alias(AliasName=old["name"], TargetKeyId=new["target_key_id"])
        return {}

    def delete(self, aws: Aws, old: State) -> None:
        found(lambda: aws.client("kms").delete_alias(AliasName=old["name"]))

    def _aliases(self, aws: Aws) -> list[State]:
        pages = aws.client("kms").get_paginator("list_aliases").paginate()
        return [one for page in pages for one in page["Aliases"]]


KMS: dict[str, Resource] = {"aws_kms_key": Key(), "aws_kms_alias": Alias()}
