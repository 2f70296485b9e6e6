"""Listen to the container engine, and tell instances at once that their containers have ended.

The service asks for a container's state only after the engine has reported a change, because each
request costs the engine milliseconds. Asking for the state of twenty idle containers every second
would take a tenth of a CPU. If the stream of events breaks, the service asks for the state of every
container from time to time, until the stream is back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from drdeploy.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = logging.getLogger(__name__)

ASK_AGAIN_S = 10.0
"""Seconds between two requests for a container's state while the stream of events is broken.

The same time passes between two attempts to open the stream.
"""
REMEMBERED_ENDS = 1000


class EndStream(Protocol):
    """A stream of ids of ended containers; reading it blocks until the next container ends."""

    def __iter__(self) -> Iterator[str]:
        """Yield ids until the stream ends."""

    def close(self) -> None:
        """End the stream."""


class ContainerEndListener:
    """Listens for the ends of a service's containers, in a thread.

    Args:
        open_stream: A function that takes a start time, and returns a stream of the containers that
            have ended since this time. The function raises :class:`EngineError` if the engine opens
            no stream.
        ask_again_s: Seconds between two requests for a container's state while the stream is
            broken.
    """

    def __init__(
        self, open_stream: Callable[[datetime], EndStream], ask_again_s: float = ASK_AGAIN_S
    ) -> None:
        self._open_stream = open_stream
        self._ask_again_s = ask_again_s
        self._lock = threading.Lock()
        self._callbacks: dict[str, Callable[[], None]] = {}
        # An end may be reported before its container is registered.
        self._ended: deque[str] = deque(maxlen=REMEMBERED_ENDS)
        self._stream: EndStream | None = None
        self._is_closed = threading.Event()
        self._is_broken = False
        self._thread: threading.Thread | None = None

    def register_container(self, container_id: str, on_end: Callable[[], None]) -> None:
        """Call ``on_end`` when the container ends, or at once if its end is already known."""
        with self._lock:
            if self._thread is None and not self._is_closed.is_set():
                self._thread = threading.Thread(
                    target=self._listen_to_engine_events,
                    args=(datetime.now(UTC),),
                    name="container ends",
                    daemon=True,
                )
                self._thread.start()
            self._callbacks[container_id] = on_end
            has_ended = container_id in self._ended
        if has_ended:
            on_end()

    def forget_container(self, container_id: str) -> None:
        """Stop reporting the end of the container."""
        with self._lock:
            self._callbacks.pop(container_id, None)

    def must_ask_engine_for_state(self, asked_at: float) -> bool:
        """Return whether to ask for a container's state again; false while the stream is open."""
        return self._is_broken and time.monotonic() >= asked_at + self._ask_again_s

    def close(self) -> None:
        """Stop listening."""
        self._is_closed.set()
        with self._lock:
            stream = self._stream
        if stream is not None:
            stream.close()

    def _listen_to_engine_events(self, since: datetime) -> None:
        while not self._is_closed.is_set():
            opened = datetime.now(UTC)
            try:
                stream = self._open_stream(since)
                with self._lock:
                    self._stream = stream
                if self._is_closed.is_set():  # close() was called during the opening
                    stream.close()
                    return
                self._report_ends_missed_while_broken()
                for container_id in stream:
                    self._call_on_end_of_container(container_id)
                reason = "the engine ended it"
            except (EngineError, OSError, ValueError) as err:
                reason = str(err)
            except Exception as err:  # noqa: BLE001  the SDK raises its HTTP library's exceptions, too
                reason = f"{type(err).__name__}: {err}"
            if self._is_closed.is_set():
                return
            if not self._is_broken:
                log.warning(
                    "the engine's stream of events broke (%s): containers are asked for their "
                    "state every %g s until the stream is back", reason, self._ask_again_s,
                )  # fmt: skip
            self._is_broken = True
            since = opened
            self._is_closed.wait(self._ask_again_s)

    def _report_ends_missed_while_broken(self) -> None:
        if self._is_broken:
            log.warning("the engine's stream of events is back")
            self._is_broken = False
            with self._lock:
                callbacks = tuple(self._callbacks.values())
            for on_end in callbacks:  # each instance asks the engine for its state once
                on_end()

    def _call_on_end_of_container(self, container_id: str) -> None:
        with self._lock:
            self._ended.append(container_id)
            on_end = self._callbacks.get(container_id)
        if on_end is not None:
            on_end()
