"""A worker: an instance that has answered ``GET /ping``, and the wait until it does."""

from __future__ import annotations

import contextlib
import logging
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from drdeploy.hosting.engine.ports import LOOPBACK
from drdeploy.hosting.local.endpoints.instance_client import InstanceClient
from drdeploy.hosting.local.instances.instance import STOP_GRACE_S, StartFailed
from drdeploy.hosting.sagemaker.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.hosting.local.instances.instance import Instance, InstanceSpec

log = logging.getLogger(__name__)

POLL_S = 0.004
"""Between attempts to connect: 50 microseconds each, so one per cent of a core."""
NEWS_S = 1.0
"""How long a container engine may take to know that a container has died."""
REPEAT_S = 0.03
"""Between pings that are answered, but not with 200: those cost the container its own CPU."""
SLICE_S = 0.25
"""How long a ping blocks before the instance's life is looked at again."""
PING = b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@dataclass(eq=False)
class InstanceWorker:
    """An instance ready for requests.

    Attributes:
        instance: What runs.
        setup_s: From the request to start it until it answered ``GET /ping``.
        idle_since: When it last finished a request, on the monotonic clock.
    """

    instance: Instance
    setup_s: float
    idle_since: float
    channel: InstanceClient = field(init=False)

    def __post_init__(self) -> None:
        """Prepare the channel; it connects on the first request."""
        self.channel = InstanceClient(self.instance.port)

    def is_usable(self) -> bool:
        """Whether it runs and never ran out of memory."""
        return self.instance.is_alive() and not self.instance.ran_out_of_memory()

    def is_lost(self, clock: Clock, within_s: float = NEWS_S) -> bool:
        """Whether it turns out unusable; a death is known a moment after its connections end."""
        deadline = clock.monotonic() + within_s
        while True:
            self.instance.look_again()
            if not self.is_usable():
                return True
            if clock.monotonic() >= deadline:
                return False
            clock.sleep(POLL_S)

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Close its connections and stop the instance."""
        self.channel.close()
        self.instance.stop(grace_s)


def launch(
    start: Callable[[InstanceSpec], Instance],
    spec: InstanceSpec,
    *,
    timeout_s: float,
    clock: Clock | None = None,
) -> InstanceWorker:
    """Start an instance and wait until it is ready.

    Raises:
        StartFailed: It ended, ran out of memory, or was not ready within ``timeout_s``; nothing
            of it remains.
    """
    clock = clock or Clock()
    begin = clock.monotonic()
    instance = start(spec)
    try:
        wait_until_ready(instance, begin + timeout_s, clock)
    except StartFailed:
        log.warning("%s did not start; its last words: %s", spec.name, instance.log_tail())
        instance.stop(0)
        raise
    now = clock.monotonic()
    return InstanceWorker(instance, now - begin, now)


def wait_until_ready(instance: Instance, deadline: float, clock: Clock) -> None:
    """Block until ``GET /ping`` is answered with 200.

    A server that listens early but answers late is simply waited for; one that refuses or
    resets (a port that an engine publishes before anybody listens) is asked again.

    Raises:
        StartFailed: It ended, or the deadline passed.
    """
    while clock.monotonic() < deadline:
        _check_alive(instance)
        status = _ping(instance, deadline, clock)
        if status == b"200":
            _check_alive(instance)  # another process may have taken its port
            return
        clock.sleep(REPEAT_S if status else POLL_S)
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
    """The status that one ping is answered with; empty where it is not answered.

    It keeps waiting on its connection, so that a busy server sees one ping only.
    """
    address = (LOOPBACK, instance.port)
    head = b""
    with (
        contextlib.suppress(ConnectionError, TimeoutError),
        socket.create_connection(address, timeout=SLICE_S) as connection,
    ):
        connection.sendall(PING)
        while b"\r\n" not in head:
            piece = _receive(connection, instance, deadline, clock)
            if not piece:
                return b""
            head += piece
    status = head.split(b" ", 2)[1:2]
    return status[0] if status else b""


def _receive(connection: socket.socket, instance: Instance, deadline: float, clock: Clock) -> bytes:
    while clock.monotonic() < deadline:
        try:
            return connection.recv(1024)
        except TimeoutError:
            _check_alive(instance)
    return b""
