"""ECR: image repositories and their lifecycle policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_provider.resources.base import TAGS, Resource, change_tags, found, pairs, unless_default

if TYPE_CHECKING:
    from aws_provider.aws import Aws
    from aws_provider.values import State


class Repository(Resource):
    """The handler of ``aws_ecr_repository``."""

    in_place = TAGS | {"force_delete", "image_scanning_configuration", "image_tag_mutability"}
    operation = ("ecr", "create_repository")
    own_arguments = frozenset({"force_delete", "name", "tags"})

    def create(self, aws: Aws, new: State) -> State:
        request = {**new, "repository_name": new["name"], "tags": new["tags_all"]}
        created = aws.call("ecr", "create_repository", request)["repository"]
        return {
            "id": new["name"],
            "arn": created["repositoryArn"],
            "registry_id": created["registryId"],
            "repository_url": created["repositoryUri"],
        }

    def read(self, aws: Aws, old: State) -> State | None:
        describe = aws.client("ecr").describe_repositories
        answer = found(lambda: describe(repositoryNames=[old["id"]]))
        if answer is None:
            return None
        mutability = answer["repositories"][0]["imageTagMutability"]
        return unless_default(old, "image_tag_mutability", mutability, "MUTABLE")

    def update(self, aws: Aws, old: State, new: State) -> State:
        client, arn = aws.client("ecr"), old["arn"]
        change_tags(
            old,
            new,
            lambda tags: client.tag_resource(resourceArn=arn, tags=pairs(tags)),
            lambda keys: client.untag_resource(resourceArn=arn, tagKeys=keys),
        )
        named = {**new, "repository_name": new["name"]}
        mutability = new.get("image_tag_mutability") or "MUTABLE"
        aws.call("ecr", "put_image_tag_mutability", {**named, "image_tag_mutability": mutability})
        scanning = new.get("image_scanning_configuration") or [{"scan_on_push": False}]
        named |= {"image_scanning_configuration": scanning}
        aws.call("ecr", "put_image_scanning_configuration", named)
        return {}

    def delete(self, aws: Aws, old: State) -> None:
        delete = aws.client("ecr").delete_repository
        force = bool(old.get("force_delete"))
        found(lambda: delete(repositoryName=old["id"], force=force))


class LifecyclePolicy(Resource):
    """The handler of ``aws_ecr_lifecycle_policy``."""

    in_place = frozenset({"policy"})
    own_arguments = frozenset({"policy", "repository"})

    def create(self, aws: Aws, new: State) -> State:
        put = aws.client("ecr").put_lifecycle_policy
        answer = put(repositoryName=new["repository"], lifecyclePolicyText=new["policy"])
        return {"id": new["repository"], "registry_id": answer["registryId"]}

    def read(self, aws: Aws, old: State) -> State | None:
        get = aws.client("ecr").get_lifecycle_policy
        return {} if found(lambda: get(repositoryName=old["repository"])) else None

    def update(self, aws: Aws, old: State, new: State) -> State:
        del old
        self.create(aws, new)
        return {}

    def delete(self, aws: Aws, old: State) -> None:
        delete = aws.client("ecr").delete_lifecycle_policy
        found(lambda: delete(repositoryName=old["repository"]))


ECR: dict[str, Resource] = {
    "aws_ecr_repository": Repository(),
    "aws_ecr_lifecycle_policy": LifecyclePolicy(),
}
