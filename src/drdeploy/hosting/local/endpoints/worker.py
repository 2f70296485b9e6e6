"""A worker: an instance that has answered ``GET /ping``.

SageMaker pings a container until it answers with 200, and sends requests from then on (developer
guide, "Custom Inference Code with Hosting Services").  How finely the ping is repeated goes
straight into every cold start that is measured, so a port that refuses is tried every 4 ms.
"""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.hosting.engine.ports import LOOPBACK
from drdeploy.hosting.local.instances.instance import Instance, StartFailed

if TYPE_CHECKING:
    from drdeploy.hosting.local.endpoints.instance_client import InstanceClient
    from drdeploy.hosting.sagemaker import Clock

CONNECT_AGAIN_S = 0.004
"""Between attempts to connect.  One takes 50 microseconds, so this costs one per cent of a core."""
PING_AGAIN_S = 0.03
"""Between pings that are answered, but not with 200: those use the container's own CPU time."""
PING_SLICE_S = 0.25
"""How long a ping waits for its answer before the instance is checked for a sign of life."""
DEATH_REPORT_S = 1.0
"""How long a container engine may take to learn that a container has died."""
PING = b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@dataclass(eq=False)
class InstanceWorker:
    """An instance that is ready for requests.

    Attributes:
        instance: The running instance.
        setup_s: Seconds from starting the instance until it answered ``GET /ping``.
        idle_since: When it last finished a request, on the monotonic clock.
        client: Sends it requests.
    """

    instance: Instance
    setup_s: float
    idle_since: float
    client: InstanceClient

    def is_usable(self) -> bool:
        """Return whether the instance runs and never ran out of memory.

        The kernel may have killed a process inside it and left the rest running, half alive.
        """
        return self.instance.is_alive() and not self.instance.ran_out_of_memory()

    def turns_out_dead(self, clock: Clock, within_s: float = DEATH_REPORT_S) -> bool:
        """Return whether the instance is found unusable within a moment.

        A connection breaks as soon as the process dies; engine and kernel report the death later.
        """
        deadline = clock.monotonic() + within_s
        while True:
            self.instance.refresh()
            if not self.is_usable():
                return True
            if clock.monotonic() >= deadline:
                return False
            clock.sleep(CONNECT_AGAIN_S)


def wait_until_ready(instance: Instance, deadline: float, clock: Clock) -> None:
    """Wait until the instance answers ``GET /ping`` with 200.

    Raises:
        StartFailed: It ended, ran out of memory, or the deadline passed.
    """
    while clock.monotonic() < deadline:
        _check_alive(instance)
        status = _ping(instance, deadline, clock)
        if status == b"200":
            # Once more: an instance that died may have lost its port to another process, and
            # that process may have answered.
            _check_alive(instance)
            return
        clock.sleep(PING_AGAIN_S if status else CONNECT_AGAIN_S)
    raise StartFailed(
        "The container did not pass the ping health check in time", where=instance.name
    )


def _check_alive(instance: Instance) -> None:
    if instance.ran_out_of_memory():
        raise StartFailed("The container ran out of memory while it started", where=instance.name)
    if not instance.is_alive():
        last_line = (instance.log_tail().splitlines() or ["it wrote nothing"])[-1]
        raise StartFailed(
            f"The container ended before it passed the ping health check: {last_line}",
            where=instance.name,
        )


def _ping(instance: Instance, deadline: float, clock: Clock) -> bytes:
    """Send one ping and return the status of its answer; empty where there is no answer.

    A server that listens early and answers late is waited for on the same connection: repeated
    pings would pile up in it.  A connection that is refused or reset (an engine publishes a port
    before anybody listens behind it) counts as no answer.
    """
    address = (LOOPBACK, instance.port)
    head = b""
    with (
        contextlib.suppress(ConnectionError, TimeoutError),
        socket.create_connection(address, timeout=PING_SLICE_S) as connection,
    ):
        connection.sendall(PING)
        while b"\r\n" not in head:
            received = _receive(connection, instance, deadline, clock)
            if not received:
                return b""
            head += received
    status = head.split(b" ", 2)[1:2]
    return status[0] if status else b""


def _receive(connection: socket.socket, instance: Instance, deadline: float, clock: Clock) -> bytes:
    while clock.monotonic() < deadline:
        try:
            return connection.recv(1024)
        except TimeoutError:
            _check_alive(instance)
    return b""
