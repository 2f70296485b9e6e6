"""How many invocations a worker takes on at once: some in work, some waiting, the rest refused."""

from __future__ import annotations

from drdeploy.errors import Overloaded


class Admission:
    """Counts the invocations that a worker has taken on.

    An upload in progress counts too, so that the memory for bodies is bounded as well: by the
    number of places times the largest payload.  Refusing at once is better for a client than
    waiting: it may retry elsewhere, and a queue that grows only adds latency to every request.

    It needs no lock: only the worker's event loop calls it.
    """

    def __init__(self, *, concurrency: int, queue_length: int) -> None:
        self._capacity = concurrency + queue_length
        self._admitted = 0

    def enter(self) -> None:
        """Take a place.

        Raises:
            Overloaded: No place is free.
        """
        if self._admitted >= self._capacity:
            raise Overloaded(
                f"All {self._capacity} places are taken", remedy="Try again in a moment"
            )
        self._admitted += 1

    def leave(self) -> None:
        """Give the place back."""
        self._admitted -= 1
