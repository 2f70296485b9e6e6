"""How many invocations a worker takes on: some in work, some waiting, the rest refused."""

from __future__ import annotations

from drdeploy.errors import Overloaded


class Admission:
    """Counts the invocations in a worker.  Used from its event loop alone.

    An upload in progress counts too, so that the memory for bodies is bounded as well.
    """

    def __init__(self, *, concurrency: int, queue_length: int) -> None:
        self._capacity = concurrency + queue_length
        self._admitted = 0

    @property
    def admitted(self) -> int:
        """Invocations in work or waiting."""
        return self._admitted

    def enter(self) -> None:
        """Take a place.

        Raises:
            Overloaded: None is left.
        """
        if self._admitted >= self._capacity:
            raise Overloaded(
                f"All {self._capacity} places are taken", remedy="Try again in a moment"
            )
        self._admitted += 1

    def leave(self) -> None:
        """Give the place back."""
        self._admitted -= 1
