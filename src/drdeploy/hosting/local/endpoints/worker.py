"""A worker is an instance that has answered ``GET /ping``.

SageMaker pings a container until it answers with 200, and then sends requests (developer guide,
"Custom Inference Code with Hosting Services").  The interval between pings adds to every measured
cold start, so a port that refuses connections is tried again every 4 ms.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.hosting.local.instances.instance import Instance, StartFailed
from drdeploy.hosting.serving.settings import CONTAINER_PORT
from drdeploy.units import KIB

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from drdeploy.hosting.local.endpoints.instance_client import (
        InstanceClient,
        InstanceConnectionLost,
    )
    from drdeploy.hosting.sagemaker import Clock

CONNECT_AGAIN_S = 0.004
"""Seconds between attempts to connect. An attempt takes 50 microseconds, so attempts at this
interval take 1 % of a core."""
PING_AGAIN_S = 0.03
"""Seconds to the next ping after an answer other than 200; a ping costs the container CPU time."""
PING_SLICE_S = 0.25
"""Seconds that a ping waits for its answer before the service checks whether the instance has
ended.
"""
STATUS_LINE_BYTES_MAX = 64 * KIB
"""A server whose answer to a ping has no line break within this number of bytes is not ready. The
server may belong to a stranger, and could otherwise fill the memory of this process."""
DEATH_REPORT_S = 1.0
"""Seconds that a container engine may take to notice that a container has ended."""
_WORD = re.compile(r"\w\w")
_TROUBLE = re.compile(
    r"error|exception|traceback|denied|refused|fail|cannot|could not|no such|not found|invalid"
    r"|emerg|fatal|unexpected",
    re.IGNORECASE,
)
_SECOND_HAND = re.compile(
    r"CalledProcessError|non-zero exit status|Worker failed to boot|HaltServer"
)
"""Matches a line in which a program only reports the failure of another program.

The failed program's own line is earlier in the log.
"""
_OF_TRACEBACK = re.compile(r"\s|Traceback \(most recent call last\)")
_PING_IN_LOG = re.compile(r"GET /ping\b")
PING = b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@dataclass(eq=False)
class InstanceWorker:
    """An instance that is ready for requests.

    Attributes:
        instance: The running instance.
        setup_s: Seconds from starting the instance until it answered ``GET /ping``.
        idle_since: The time on the monotonic clock at which the worker last finished a request.
        client: The client that sends requests to the instance.
    """

    instance: Instance
    setup_s: float
    idle_since: float
    client: InstanceClient

    def is_usable(self) -> bool:
        """Return whether the instance runs and never ran out of memory.

        When an instance runs out of memory, the kernel may kill one of its processes and leave the
        others running. Such an instance is not used again.
        """
        return self.instance.is_alive() and not self.instance.ran_out_of_memory()

    def watch_and_tell_if_unusable(self, clock: Clock, within_s: float = DEATH_REPORT_S) -> bool:
        """Watch an instance for a moment, and return whether it has become unusable.

        Watching is needed because a connection breaks as soon as the process dies, but the engine
        and the kernel report the end of the process later.
        """
        deadline = clock.monotonic() + within_s
        while True:
            self.instance.forget_cached_state()
            if not self.is_usable():
                return True
            if clock.monotonic() >= deadline:
                return False
            clock.sleep(CONNECT_AGAIN_S)


def wait_until_ready(
    instance: Instance,
    deadline: float,
    clock: Clock,
    is_wanted: Callable[[], bool] = lambda: True,
) -> None:
    """Wait until the instance answers ``GET /ping`` with 200.

    Raises:
        StartFailed: The instance ended or ran out of memory, the deadline passed, or the instance
            is no longer wanted.
    """
    last_status = b""
    while clock.monotonic() < deadline:
        if not is_wanted():
            raise StartFailed(
                "The instance was stopped before it was ready, because it is no longer needed",
                where=instance.name,
            )
        _raise_if_start_failed(instance)
        status = _ping_and_read_status_bytes(instance, deadline, clock)
        if status == b"200":
            # Checked once more: the instance may have died, and another process may have taken its
            # port and answered.
            _raise_if_start_failed(instance)
            return
        last_status = status or last_status
        clock.sleep(PING_AGAIN_S if status else CONNECT_AGAIN_S)
    seen = (
        f"GET /ping was answered with {last_status.decode(errors='replace')}"
        if last_status
        else f"nothing answered GET /ping on port {CONTAINER_PORT}"
    )
    if last_status == b"404":
        seen += ", so the server has no route /ping, or adds it only after its model is loaded"
    raise StartFailed(
        f"The container did not pass the ping health check in time: {seen}", where=instance.name
    )


def explain_lost_connection(
    worker: InstanceWorker, clock: Clock, err: InstanceConnectionLost
) -> str:
    """Return a sentence that says why an instance gave no answer."""
    if not worker.watch_and_tell_if_unusable(clock):
        return f"The container closed the connection before it answered ({err})."
    if worker.instance.ran_out_of_memory():
        return "The container ran out of memory and was stopped; it is replaced."
    return "The container ended before it answered; it is replaced."


def _raise_if_start_failed(instance: Instance) -> None:
    if instance.ran_out_of_memory():
        raise StartFailed("The container ran out of memory while it started", where=instance.name)
    if not instance.is_alive():
        reason = find_line_that_explains_failure(instance.read_log_tail()) or "it wrote nothing"
        raise StartFailed(
            f"The container ended before it passed the ping health check: {reason}",
            where=instance.name,
        )


def find_line_that_explains_failure(log: str) -> str:
    """Return the line of a log that probably says why a server ended; empty for an empty log.

    The last line of a log is often useless: a bracket that closes a quoted traceback, or a sentence
    that the server has shut down. If there are lines with a word like "error", the last of them is
    chosen instead. Lines about pings are ignored, because they say only that the server was not
    ready yet. Some lines only report that another program failed, such as ``ln`` in the ``serve``
    of AWS's samples. In this case, the line in which that program reports its error is returned.
    """
    lines = [
        line for line in log.splitlines() if _WORD.search(line) and not _PING_IN_LOG.search(line)
    ]
    troubles = [line for line in lines if _TROUBLE.search(line)]
    if not troubles:
        return lines[-1] if lines else ""
    first_hand = [
        line for line in troubles if not _SECOND_HAND.search(line) and not _OF_TRACEBACK.match(line)
    ]
    is_second_hand = _SECOND_HAND.search(troubles[-1]) is not None
    return first_hand[-1] if is_second_hand and first_hand else troubles[-1]


def _ping_and_read_status_bytes(instance: Instance, deadline: float, clock: Clock) -> bytes:
    """Send one ping, and return the status of the answer; empty if there is no answer.

    Some servers accept connections before they can answer. This function then keeps waiting for the
    answer to its one ping, because many unanswered pings would burden the server. A refused or
    reset connection counts as no answer: a container engine publishes a port before the server
    listens.
    """
    head = b""
    with (
        contextlib.suppress(ConnectionError, TimeoutError),
        instance.connect(PING_SLICE_S) as connection,
    ):
        connection.sendall(PING)
        while b"\r\n" not in head:
            received = _receive_bytes_of_answer(connection, instance, deadline, clock)
            head += received
            if not received or len(head) > STATUS_LINE_BYTES_MAX:
                return b""
    status = head.split(b" ", 2)[1:2]
    return status[0] if status else b""


def _receive_bytes_of_answer(
    connection: socket.socket, instance: Instance, deadline: float, clock: Clock
) -> bytes:
    while clock.monotonic() < deadline:
        try:
            return connection.recv(1024)
        except TimeoutError:
            _raise_if_start_failed(instance)
    return b""
