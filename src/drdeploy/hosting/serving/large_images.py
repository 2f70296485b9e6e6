"""Let the whole container handle only one request with large images at a time.

Decoding takes up to 17 bytes per pixel (see :class:`ImageLimits`). An image of 40 million pixels
can take 680 MB, so a container of 1 GB has room for only one of these images beside its model.
Large images wait for each other, across threads and worker processes. Ordinary photographs do not
wait.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class LargeImages:
    """Makes large images wait for each other, so that only one is handled at a time.

    Attributes:
        lock: A file that all processes of the container can lock.  The kernel releases the lock
            when the holder of the lock dies.
    """

    lock: Path

    @contextmanager
    def wait_for_turn_and_hold_it(self, *, is_large: bool) -> Iterator[None]:
        """Wait for other large images; make later ones wait until the ``with`` block ends.

        A request without large images does not wait.
        """
        if not is_large:
            yield
            return
        # The file is opened for each turn, because a flock(2) lock belongs to the open file. The
        # lock therefore also works between the threads of a process.
        file = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)
