"""The scaling activities of one region, as ``DescribeScalingActivities`` shows them."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable  # noqa: TC003 - a dataclass field's annotation
from dataclasses import dataclass, field
from typing import Any, Literal

ACTIVITIES_MAX = 1000

ActivityStatus = Literal["InProgress", "Successful", "Overridden", "Failed"]


@dataclass(eq=False)
class ScalingActivity:
    """One change that Application Auto Scaling made, tried to make, or did not need to make.

    Attributes:
        resource_id: The id of the scaled resource.
        dimension: The scalable dimension.
        description: A sentence that describes the change.
        cause: Why the activity began.
        start_s: When the activity began, in seconds since 1970.
        status: Whether the activity is in progress, or how it ended.
        message: The message about the activity's result so far.
        is_done: A function that returns whether as many instances are running as the activity has
            asked for.
        end_s: When the activity ended; None while it is in progress.
        not_scaled: Why the activity changed nothing; empty if it changed something.
        id: The unique id of the activity.
    """

    resource_id: str
    dimension: str
    description: str
    cause: str
    start_s: float
    status: ActivityStatus
    message: str = ""
    is_done: Callable[[], bool] = lambda: True
    end_s: float | None = None
    not_scaled: tuple[dict[str, Any], ...] = ()
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def finish(self, status: ActivityStatus, message: str, now_s: float) -> None:
        """Record how and when the activity ended."""
        self.status, self.message, self.end_s = status, message, now_s

    def describe(self) -> dict[str, Any]:
        """Return the activity as ``DescribeScalingActivities`` shows it."""
        shown = {
            "ActivityId": self.id,
            "ServiceNamespace": "sagemaker",
            "ResourceId": self.resource_id,
            "ScalableDimension": self.dimension,
            "Description": self.description,
            "Cause": self.cause,
            "StartTime": self.start_s,
            "StatusCode": self.status,
            "StatusMessage": self.message,
        }
        if self.end_s is not None:
            shown["EndTime"] = self.end_s
        if self.not_scaled:
            shown["NotScaledReasons"] = list(self.not_scaled)
        return shown


class ActivityLog:
    """The newest activities of one region. Older activities are dropped."""

    def __init__(self) -> None:
        self._activities: deque[ScalingActivity] = deque(maxlen=ACTIVITIES_MAX)

    def add(self, activity: ScalingActivity) -> None:
        """Add an activity; a new capacity ends earlier activities that are still in progress.

        An activity that is in progress has set the capacity. An activity that has already ended
        has not: the endpoint refused the capacity, the capacity did not have to change, or only
        the bounds were set.

        An activity that changes nothing is left out if the activity before it changed nothing for
        the same reason.
        """
        before = self._list_activities_of_resource(activity.resource_id, activity.dimension)
        if activity.not_scaled and before:
            newest = before[-1]
            if (newest.not_scaled, newest.cause) == (activity.not_scaled, activity.cause):
                return
        if activity.status == "InProgress":
            for other in before:
                if other.status == "InProgress":
                    message = "A newer activity has set the capacity."
                    other.finish("Overridden", message, activity.start_s)
        self._activities.append(activity)

    def finish_done_activities(self, resource_id: str, now_s: float) -> None:
        """End those activities of a resource whose requested capacity is running."""
        for activity in tuple(self._activities):
            is_open = activity.resource_id == resource_id and activity.status == "InProgress"
            if is_open and activity.is_done():
                message = activity.message.removesuffix(" Waiting for change to be fulfilled.")
                done = f"{message} Change successfully fulfilled by sagemaker."
                activity.finish("Successful", done, now_s)

    def list_activities_newest_first(self) -> list[ScalingActivity]:
        """Return all activities, the newest first."""
        return list(reversed(self._activities))

    def _list_activities_of_resource(
        self, resource_id: str, dimension: str
    ) -> list[ScalingActivity]:
        return [
            one
            for one in self._activities
            if (one.resource_id, one.dimension) == (resource_id, dimension)
        ]
