"""The photograph that a check sends, padded or cut off, and random bytes."""

from __future__ import annotations

import mimetypes
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

START_OF_IMAGE = b"\xff\xd8"
COMMENT = b"\xff\xfe"
APPLICATION_DATA = range(0xE0, 0xF0)
LONGEST_SEGMENT = 65_535
"""Longest segment of a JPEG, with its two bytes of length (ITU-T T.81, B.1.1.4)."""
PADDING = b"padding of a conformance check "
GARBAGE_BYTES = 20_000


@dataclass(frozen=True)
class ProbePhotograph:
    """A photograph that the image must be able to answer, with its content type."""

    data: bytes
    content_type: str = "image/jpeg"

    @classmethod
    def read(cls, path: Path, content_type: str = "") -> Self:
        """Read a file; its content type follows from its name unless given.

        Raises:
            OSError: The file cannot be read.
        """
        guessed = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return cls(path.read_bytes(), content_type or guessed)

    @classmethod
    def synthetic(cls) -> Self:
        """Return a synthetic photograph at camera resolution: it costs as much as a real one."""
        from drdeploy.grader.synthetic.photograph import synthetic_photograph

        return cls(synthetic_photograph(1))

    @property
    def headers(self) -> dict[str, str]:
        """The request headers that go with it."""
        return {"Content-Type": self.content_type}

    @property
    def is_jpeg(self) -> bool:
        """Whether comment segments can make it longer without a change of the picture."""
        return self.data.startswith(START_OF_IMAGE)

    def truncated(self) -> bytes:
        """Return its first half."""
        return self.data[: len(self.data) // 2]

    def padded(self, size_bytes: int) -> bytes:
        """Return the same picture in ``size_bytes``, or up to three less; only for a JPEG."""
        place = _after_application_data(self.data)
        comments = _comments(size_bytes - len(self.data))
        return self.data[:place] + comments + self.data[place:]


def garbage() -> bytes:
    """Return random bytes that are no file of any kind, always the same."""
    return b"\0" + random.Random(0).randbytes(GARBAGE_BYTES)


def _after_application_data(jpeg: bytes) -> int:
    """Return where comments may begin: readers expect the JFIF and Exif segments first."""
    place = len(START_OF_IMAGE)
    while jpeg[place] == 0xFF and jpeg[place + 1] in APPLICATION_DATA:
        place += 2 + int.from_bytes(jpeg[place + 2 : place + 4])
    return place


def _comments(size_bytes: int) -> bytes:
    segments = []
    overhead = len(COMMENT) + 2
    while size_bytes >= overhead:
        text_bytes = min(size_bytes - overhead, LONGEST_SEGMENT - 2)
        text = (PADDING * (text_bytes // len(PADDING) + 1))[:text_bytes]
        segments.append(COMMENT + (text_bytes + 2).to_bytes(2) + text)
        size_bytes -= overhead + text_bytes
    return b"".join(segments)
