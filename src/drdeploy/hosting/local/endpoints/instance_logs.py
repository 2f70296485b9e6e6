"""Copy the log lines of instances to CloudWatch Logs when a client reads them or an instance ends.

The log group of an endpoint is ``/aws/sagemaker/Endpoints/ENDPOINT``, and that of an inference
component is ``/aws/sagemaker/InferenceComponents/COMPONENT``. The log stream of an instance is
``VARIANT/INSTANCE-ID``. All are named as on SageMaker (developer guide, "Log groups and streams
that Amazon SageMaker AI sends to Amazon CloudWatch Logs"). A container engine keeps the lines of a
container and their times. These lines are fetched only when a client asks for them, so an idle
service does no work. A process writes its lines to a file, without times. The service therefore
reads new lines of processes every second, and gives them the time at which it read them.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from drdeploy.hosting.local.instances.instance import make_ec2_instance_id
from drdeploy.hosting.sagemaker.cloudwatch import ENDPOINTS, INFERENCE_COMPONENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from drdeploy.hosting.local.instances.instance import Instance, LogLine

log = logging.getLogger(__name__)

PROCESS_EVERY_S = 1.0
"""Seconds between two readings of the log files of processes."""


@dataclass(frozen=True)
class LogStreamName:
    """The region, the group and the name of a log stream."""

    region: str
    group: str
    stream: str


@dataclass(frozen=True)
class InstanceOrigin:
    """The region, endpoint, variant and inference component for which an instance was started.

    Attributes:
        component: The inference component that the instance is a copy of; empty if it is not a
            copy.
    """

    region: str
    endpoint: str
    variant: str
    component: str = ""

    def name_log_stream(self, instance: Instance) -> LogStreamName:
        """Return the log stream of one instance."""
        group = f"{ENDPOINTS}/{self.endpoint}"
        if self.component:
            group = f"{INFERENCE_COMPONENTS}/{self.component}"
        return LogStreamName(self.region, group, f"{self.variant}/{make_ec2_instance_id(instance)}")


class LogOrigin(Protocol):
    """What an instance was started for; this decides to which log stream its lines go."""

    def name_log_stream(self, instance: Instance) -> LogStreamName:
        """Return the log stream of one instance."""


class InstanceLogs:
    """The logs of all instances; safe to use from several threads.

    Args:
        put: Called as ``put(name, lines)`` to append lines to a log stream, which is created if it
            does not exist.
    """

    def __init__(self, put: Callable[[LogStreamName, Sequence[LogLine]], None]) -> None:
        self._put = put
        self._streams: dict[Instance, LogStreamName] = {}
        self._lock = threading.Lock()
        # Only one thread fetches at a time, so that the lines of a stream stay in order.
        self._fetching = threading.Lock()
        self._processes_due_s = 0.0

    def add_instance(self, instance: Instance, origin: LogOrigin) -> None:
        """Create the log stream of an instance that has been started."""
        name = origin.name_log_stream(instance)
        with self._lock:
            self._streams[instance] = name
        self._put(name, ())

    def put_lines(self, name: LogStreamName, lines: Sequence[LogLine]) -> None:
        """Append lines of the service itself to a log stream; no instance wrote them."""
        self._put(name, lines)

    def finish_instance(self, instance: Instance) -> None:
        """Copy the last lines of a stopped instance to its log stream, and forget the instance."""
        self._fetch_lines_of_instance(instance)
        with self._lock:
            self._streams.pop(instance, None)

    def fetch_lines_of_groups(self, region: str, is_wanted: Callable[[str], bool]) -> None:
        """Fetch the new lines of each log group whose name ``is_wanted`` accepts."""
        for instance, name in self._list_instances_with_log_streams():
            if name.region == region and is_wanted(name.group):
                self._fetch_lines_of_instance(instance)

    def fetch_lines_without_times(self) -> None:
        """Copy the new log lines of processes, but not those of containers.

        The lines of containers are copied when a client asks for them.
        """
        now_s = time.monotonic()
        if now_s >= self._processes_due_s:
            self._processes_due_s = now_s + PROCESS_EVERY_S
            for instance, _ in self._list_instances_with_log_streams():
                if not instance.has_line_times:
                    self._fetch_lines_of_instance(instance)

    def _list_instances_with_log_streams(self) -> tuple[tuple[Instance, LogStreamName], ...]:
        with self._lock:
            return tuple(self._streams.items())

    def _fetch_lines_of_instance(self, instance: Instance) -> None:
        with self._fetching:
            name = self._streams.get(instance)
            lines = instance.read_new_lines()
            if name is not None and lines:
                self._put(name, lines)
