"""Receive from the engine the id of each container that ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drdeploy.hosting.container_engine.failures import translate_engine_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDS = {"die", "died", "oom"}
"""The names of the events after which a container may have ended; ``died`` is from some versions of
Podman.
"""


class ContainerEndEvents:
    """The ids of containers in the order in which they end, as the engine reports them.

    Some engines also report a container's id when one of its processes runs out of memory. An id
    can therefore be reported twice.

    Args:
        stream: The stream of events that the Docker SDK returned.
        where: The engine's version and address, for error messages.
    """

    def __init__(self, stream: Any, where: str) -> None:
        self._stream = stream
        self._where = where

    def __iter__(self) -> Iterator[str]:
        """Yield ids until the stream is closed, or the engine ends it.

        Raises:
            EngineError: The stream broke.
        """
        with translate_engine_errors("The engine's events cannot be read", where=self._where):
            for event in self._stream:
                # The events are filtered here, because Podman 4.3 has other names for them in
                # filters.
                if event.get("Action", "").partition(":")[0] in ENDS:
                    yield str(event["Actor"]["ID"])

    def close(self) -> None:
        """End the stream; a thread that waits for the next id stops waiting."""
        self._stream.close()
