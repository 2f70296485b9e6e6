"""Keep the contents of many S3 objects in one file instead of in memory."""

from __future__ import annotations

import contextlib
import ctypes
import os
import tempfile
import threading
from typing import TYPE_CHECKING

from drdeploy.files import CHUNK_BYTES
from drdeploy.units import GIB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO
    from pathlib import Path

BLOCK_BYTES = 4096
"""The content of each object begins at a multiple of this number of bytes. File systems free only
whole blocks. Two objects never share a block, so the blocks of a deleted object can be freed.
"""
LENGTH_BITS = 48
LENGTH_MAX = (1 << LENGTH_BITS) - 1
"""The largest number of bytes that one object's content may have; S3 allows far less."""
PUNCH_HOLE = 0x03
"""The mode of fallocate(2) that makes a hole: ``FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE``."""

_fallocate = ctypes.CDLL(None).fallocate
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


class ContentFile:
    """An unnamed file that holds the contents of many objects.

    All objects share one file, because a process may not open one file for each of 50,000 objects.
    The file has no name, so that the kernel removes it when the process ends or is killed. New
    contents are written at the end of the file. When the content of an object is no longer needed,
    its part of the file is turned into a hole, which takes no space on the disk.

    Args:
        folder: The folder in which the file is made.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  open until the process ends
        self._lock = threading.Lock()
        self._end = 0

    def append_content(self, data: bytes) -> StoredContent:
        """Write content to the end of the file, and return an object that reads it.

        The space on the disk is freed when nothing refers to the returned object any more.

        Raises:
            OSError: The content cannot be written, for example because the disk is full.
        """
        with self._lock:
            content = StoredContent(self._file, self._end, len(data))
            self._end += -len(data) // BLOCK_BYTES * -BLOCK_BYTES
        rest, offset = memoryview(data), content.offset
        while rest:  # Linux writes at most 2 GiB at once
            written = os.pwrite(self._file.fileno(), rest, offset)
            rest, offset = rest[written:], offset + written
        return content

    def measure_disk_bytes(self) -> int:
        """Return how many bytes the contents take on the disk."""
        return os.fstat(self._file.fileno()).st_blocks * 512  # stat(2) counts blocks of 512 bytes


class StoredContent:
    """The content of one object in a :class:`ContentFile`; the content never changes.

    A reader can read the content to its end, even if the object is overwritten or deleted
    meanwhile.

    Args:
        file: The file that holds the contents of many objects.
        offset: The position of the content in the file in bytes, a multiple of ``BLOCK_BYTES``.
        length: The length of the content in bytes.
    """

    # ``_place`` holds the offset and the length in one number. This saves memory, because there may
    # be very many contents.
    __slots__ = ("_file", "_place")

    def __init__(self, file: FileIO, offset: int, length: int) -> None:
        self._file = file
        self._place = (offset // BLOCK_BYTES << LENGTH_BITS) | length

    @property
    def offset(self) -> int:
        """The position of the content in the file in bytes, a multiple of ``BLOCK_BYTES``."""
        return (self._place >> LENGTH_BITS) * BLOCK_BYTES

    @property
    def length(self) -> int:
        """The length of the content in bytes."""
        return self._place & LENGTH_MAX

    def read(self) -> bytes:
        """Return the whole content."""
        return b"".join(self.read_chunks(GIB))

    def read_chunks(self, most_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
        """Yield the content in pieces.

        Raises:
            OSError: The disk cannot be read.
        """
        position = 0
        while position < self.length:
            size = min(most_bytes, self.length - position)
            chunk = os.pread(self._file.fileno(), size, self.offset + position)
            if not chunk:
                raise OSError("the file with the contents of the stored objects was truncated")
            position += len(chunk)
            yield chunk

    def __del__(self) -> None:
        # Without a lock: the garbage collector may call this while its thread holds any lock. When
        # Python exits, modules may be empty already, and the file may be closed. The file object is
        # kept, not its descriptor: after the file is closed, another file may get the same
        # descriptor.
        with contextlib.suppress(AttributeError, TypeError, ValueError):
            if self.length:
                _free_disk_space_of_range(
                    self._file.fileno(), self.offset, -self.length // BLOCK_BYTES * -BLOCK_BYTES
                )


def _free_disk_space_of_range(file: int, offset: int, length: int) -> None:
    """Free the disk space of a part of a file, if the file system supports it.

    ext4, XFS, Btrfs and tmpfs support this. On other file systems, the space is freed when the
    process ends.
    """
    _fallocate(file, PUNCH_HOLE, offset, length)
