"""IAM: roles and policies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_provider.resources.base import TAGS, Resource, change_tags, found, name_of, pairs

if TYPE_CHECKING:
    from aws_provider.aws import Aws
    from aws_provider.values import State


class Role(Resource):
    """The handler of ``aws_iam_role``."""

    in_place = TAGS | {
        "assume_role_policy",
        "description",
        "max_session_duration",
        "permissions_boundary",
    }
    operation = ("iam", "create_role")
    own_arguments = frozenset({"assume_role_policy", "name", "name_prefix", "tags"})

    def create(self, aws: Aws, new: State) -> State:
        name = name_of(new)
        request = {
            **new,
            "role_name": name,
            "assume_role_policy_document": new["assume_role_policy"],
            "path": new.get("path") or "/",
            "tags": new["tags_all"],
        }
        role = aws.call("iam", "create_role", request)["Role"]
        return {
            "id": name,
            "name": name,
            "arn": role["Arn"],
            "create_date": role["CreateDate"].isoformat(),
            "unique_id": role["RoleId"],
            "name_prefix": "",
            "managed_policy_arns": [],
        }

    def read(self, aws: Aws, old: State) -> State | None:
        return {} if found(lambda: aws.client("iam").get_role(RoleName=old["id"])) else None

    def update(self, aws: Aws, old: State, new: State) -> State:
        client, name = aws.client("iam"), old["id"]
        change_tags(
            old,
            new,
            lambda tags: client.tag_role(RoleName=name, Tags=pairs(tags)),
            lambda keys: client.untag_role(RoleName=name, TagKeys=keys),
        )
        # Each only where it changes, as HashiCorp's provider does: each takes a permission.
        if old["assume_role_policy"] != new["assume_role_policy"]:
            client.update_assume_role_policy(
                RoleName=name, PolicyDocument=new["assume_role_policy"]
            )
        if any(old.get(key) != new.get(key) for key in ("description", "max_session_duration")):
            client.update_role(
                RoleName=name,
                Description=new.get("description") or "",
                MaxSessionDuration=int(new.get("max_session_duration") or 3600),
            )
        self._bound(client, name, old.get("permissions_boundary"), new.get("permissions_boundary"))
        return {}

    def _bound(self, client: Any, name: str, before: str | None, after: str | None) -> None:
        if before == after:
            return
        if after is None:
            client.delete_role_permissions_boundary(RoleName=name)
        else:
            client.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=after)

    def delete(self, aws: Aws, old: State) -> None:
        found(lambda: aws.client("iam").delete_role(RoleName=old["id"]))


class RolePolicy(Resource):
    """The handler of ``aws_iam_role_policy``, a policy that is part of its role."""

    in_place = frozenset({"policy"})
    own_arguments = frozenset({"name", "name_prefix", "policy", "role"})

    def create(self, aws: Aws, new: State) -> State:
        name = name_of(new)
        self._put(aws, {**new, "name": name})
        return {"id": f"{new['role']}:{name}", "name": name, "name_prefix": ""}

    def read(self, aws: Aws, old: State) -> State | None:
        get = aws.client("iam").get_role_policy
        answer = found(lambda: get(RoleName=old["role"], PolicyName=old["name"]))
        return {} if answer else None

    def update(self, aws: Aws, old: State, new: State) -> State:
        del old
        self._put(aws, new)
        return {}

    def delete(self, aws: Aws, old: State) -> None:
        delete = aws.client("iam").delete_role_policy
        found(lambda: delete(RoleName=old["role"], PolicyName=old["name"]))

    def _put(self, aws: Aws, new: State) -> None:
        aws.client("iam").put_role_policy(
            RoleName=new["role"], PolicyName=new["name"], PolicyDocument=new["policy"]
        )


class Policy(Resource):
    """The handler of ``aws_iam_policy``, a policy that can be attached to anybody."""

    operation = ("iam", "create_policy")
    own_arguments = frozenset({"name", "name_prefix", "policy", "tags"})

    def create(self, aws: Aws, new: State) -> State:
        name = name_of(new)
        request = {
            **new,
            "policy_name": name,
            "policy_document": new["policy"],
            "path": new.get("path") or "/",
            "tags": new["tags_all"],
        }
        policy = aws.call("iam", "create_policy", request)["Policy"]
        return {
            "id": policy["Arn"],
            "name": name,
            "arn": policy["Arn"],
            "policy_id": policy["PolicyId"],
            "attachment_count": 0,
            "name_prefix": "",
        }

    def read(self, aws: Aws, old: State) -> State | None:
        return {} if found(lambda: aws.client("iam").get_policy(PolicyArn=old["arn"])) else None

    def update(self, aws: Aws, old: State, new: State) -> State:
        client, arn = aws.client("iam"), old["arn"]
        change_tags(
            old,
            new,
            lambda tags: client.tag_policy(PolicyArn=arn, Tags=pairs(tags)),
            lambda keys: client.untag_policy(PolicyArn=arn, TagKeys=keys),
        )
        return {}

    def delete(self, aws: Aws, old: State) -> None:
        found(lambda: aws.client("iam").delete_policy(PolicyArn=old["arn"]))


IAM: dict[str, Resource] = {
    "aws_iam_role": Role(),
    "aws_iam_role_policy": RolePolicy(),
    "aws_iam_policy": Policy(),
}
