"""EventBridge Scheduler: schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_provider.resources.base import Resource, found, name_of

if TYPE_CHECKING:
    from aws_provider.aws import Aws
    from aws_provider.values import State

SERVICE = "scheduler"
DEFAULT_GROUP = "default"


def _group_of(state: State) -> str:
    return state.get("group_name") or DEFAULT_GROUP


class Schedule(Resource):
    """The handler of ``aws_scheduler_schedule``; schedules have no tags."""

    in_place = frozenset({
        *("action_after_completion", "description", "end_date", "flexible_time_window"),
        *("kms_key_arn", "schedule_expression", "schedule_expression_timezone", "start_date"),
        *("state", "target"),
    })  # fmt: skip
    operation = (SERVICE, "create_schedule")
    own_arguments = frozenset({"name", "name_prefix"})

    def create(self, aws: Aws, new: State) -> State:
        name, group = name_of(new), _group_of(new)
        request = {**new, "name": name, "group_name": group}
        arn = aws.call(SERVICE, "create_schedule", request)["ScheduleArn"]
        return {
            "id": f"{group}/{name}",
            "name": name,
            "name_prefix": "",
            "group_name": group,
            "arn": arn,
            "action_after_completion": new.get("action_after_completion") or "NONE",
        }

    def read(self, aws: Aws, old: State) -> State | None:
        get = aws.client(SERVICE).get_schedule
        answer = found(lambda: get(Name=old["name"], GroupName=_group_of(old)))
        return {"schedule_expression": answer["ScheduleExpression"]} if answer else None

    def update(self, aws: Aws, old: State, new: State) -> State:
        del old
        aws.call(SERVICE, "update_schedule", {**new, "group_name": _group_of(new)})
        return {}

    def delete(self, aws: Aws, old: State) -> None:
        delete = aws.client(SERVICE).delete_schedule
        found(lambda: delete(Name=old["name"], GroupName=_group_of(old)))


SCHEDULER: dict[str, Resource] = {"aws_scheduler_schedule": Schedule()}
