"""Decodes one large image at a time in the whole container.

The worst image takes 17 bytes per pixel to decode (see :class:`ImageLimits`): 680 MB for 40
million pixels.  A container of 1 GB has that much beside its model once, not twice, so large images
wait for each other, across threads and worker processes.  Ordinary photographs never wait.
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

    from drdeploy.grader.fundus.formats.header import ImageHeader

LARGE_BYTES = 68_000_000
"""An image is large from here: a PNG or TIFF of 4 million pixels, a JPEG of 17 million, and a
progressive JPEG of 8.5 million."""


@dataclass(frozen=True)
class LargeImages:
    """Gives large images their turn, one at a time.

    Attributes:
        lock: A file that all processes of the container can write to.  The kernel releases a lock
            on it when the holder dies.
    """

    lock: Path

    @contextmanager
    def turn(self, header: ImageHeader) -> Iterator[None]:
        """Wait, if the image is large, until no other large one is being decoded."""
        if header.memory_bytes <= LARGE_BYTES:
            yield
            return
        # Opened anew for each turn: flock(2) locks belong to the open file, so that this one also
        # keeps the threads of a process apart.
        file = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)
