"""Application Auto Scaling: of instances and of provisioned concurrency."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_provider.resources.base import TAGS, Resource, change_tags, found

if TYPE_CHECKING:
    from aws_provider.aws import Aws
    from aws_provider.values import State

SERVICE = "application-autoscaling"


def _target_of(state: State) -> dict[str, str]:
    """Return what identifies a scalable target, by the API's names."""
    return {
        "ServiceNamespace": state["service_namespace"],
        "ResourceId": state["resource_id"],
        "ScalableDimension": state["scalable_dimension"],
    }


class Target(Resource):
    """The handler of ``aws_appautoscaling_target``."""

    in_place = TAGS | {"min_capacity", "max_capacity", "role_arn"}
    operation = (SERVICE, "register_scalable_target")

    def create(self, aws: Aws, new: State) -> State:
        request = {**new, "tags": new["tags_all"]}
        answer = aws.call(SERVICE, "register_scalable_target", request)
        arn = answer.get("ScalableTargetARN", "")
        return {"id": new["resource_id"], "arn": arn, "role_arn": ""}

    def read(self, aws: Aws, old: State) -> State | None:
        targets = aws.client(SERVICE).describe_scalable_targets(
            ServiceNamespace=old["service_namespace"], ResourceIds=[old["resource_id"]]
        )["ScalableTargets"]
        if not targets:
            return None
        return {
            "min_capacity": targets[0]["MinCapacity"],
            "max_capacity": targets[0]["MaxCapacity"],
        }

    def update(self, aws: Aws, old: State, new: State) -> State:
        client, arn = aws.client(SERVICE), old["arn"]
        change_tags(
            old,
            new,
            lambda tags: client.tag_resource(ResourceARN=arn, Tags=tags),
            lambda keys: client.untag_resource(ResourceARN=arn, TagKeys=keys),
        )
        # A role that nobody gave is an empty text in the state.
        request = {**new, "tags": None, "role_arn": new.get("role_arn") or None}
        aws.call(SERVICE, "register_scalable_target", request)
        return {}

    def delete(self, aws: Aws, old: State) -> None:
        found(lambda: aws.client(SERVICE).deregister_scalable_target(**_target_of(old)))


class Policy(Resource):
    """The handler of ``aws_appautoscaling_policy``."""

    in_place = frozenset({"target_tracking_scaling_policy_configuration"})
    operation = (SERVICE, "put_scaling_policy")
    own_arguments = frozenset({"name"})

    def create(self, aws: Aws, new: State) -> State:
        answer = self._put(aws, new)
        return {"id": new["name"], "arn": answer["PolicyARN"], "alarm_arns": []}

    def read(self, aws: Aws, old: State) -> State | None:
        answer = aws.client(SERVICE).describe_scaling_policies(
            ServiceNamespace=old["service_namespace"], PolicyNames=[old["name"]]
        )
        return {} if answer["ScalingPolicies"] else None

    def update(self, aws: Aws, old: State, new: State) -> State:
        del old
        self._put(aws, new)
        return {}

    def delete(self, aws: Aws, old: State) -> None:
        client = aws.client(SERVICE)
        found(lambda: client.delete_scaling_policy(PolicyName=old["name"], **_target_of(old)))

    def _put(self, aws: Aws, new: State) -> Any:
        return aws.call(SERVICE, "put_scaling_policy", {**new, "policy_name": new["name"]})


class ScheduledAction(Resource):
    """The handler of ``aws_appautoscaling_scheduled_action``."""

    in_place = frozenset({"schedule", "timezone", "scalable_target_action"})
    operation = (SERVICE, "put_scheduled_action")
    own_arguments = frozenset({"name"})

    def create(self, aws: Aws, new: State) -> State:
        self._put(aws, new)
        (action,) = self._describe(aws, new)
        return {"id": f"{new['name']}-{new['resource_id']}", "arn": action["ScheduledActionARN"]}

    def read(self, aws: Aws, old: State) -> State | None:
        return {} if self._describe(aws, old) else None

    def update(self, aws: Aws, old: State, new: State) -> State:
        del old
        self._put(aws, new)
        return {}

    def delete(self, aws: Aws, old: State) -> None:
        client = aws.client(SERVICE)
        delete = client.delete_scheduled_action
        found(lambda: delete(ScheduledActionName=old["name"], **_target_of(old)))

    def _describe(self, aws: Aws, state: State) -> list[Any]:
        answer = aws.client(SERVICE).describe_scheduled_actions(
            ServiceNamespace=state["service_namespace"], ResourceId=state["resource_id"]
        )
        actions = answer["ScheduledActions"]
        return [one for one in actions if one["ScheduledActionName"] == state["name"]]

    def _put(self, aws: Aws, new: State) -> None:
        aws.call(SERVICE, "put_scheduled_action", {**new, "scheduled_action_name": new["name"]})


AUTOSCALING: dict[str, Resource] = {
    "aws_appautoscaling_target": Target(),
    "aws_appautoscaling_policy": Policy(),
    "aws_appautoscaling_scheduled_action": ScheduledAction(),
}
