"""One large image at a time in the whole container.

The worst image takes 17 bytes per pixel to decode (see :class:`ImageLimits`): 680 MB for 40
million pixels, which a container of 1 GB has once, beside its model.  So those wait for each
other, across threads and worker processes; an ordinary photograph waits for nothing.
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

LARGE_JPEG_PX = 16_000_000
"""Decoded at reduced scale it takes 3 bytes per pixel, at full scale 10."""
LARGE_PX = 4_000_000
"""Of a PNG or TIFF, with 17 bytes per pixel."""


@dataclass(frozen=True)
class LargeImages:
    """Hands out the turns.

    Attributes:
        lock: A file that all processes of the container can write to.  The kernel drops its lock
            when the holder dies.
    """

    lock: Path

    @contextmanager
    def turn(self, header: ImageHeader) -> Iterator[None]:
        """Wait, if the image is large, until no other large one is in work."""
        if not _is_large(header):
            yield
            return
        file = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)


def _is_large(header: ImageHeader) -> bool:
    most = LARGE_JPEG_PX if header.format == "JPEG" else LARGE_PX
    return header.width_px * header.height_px > most
