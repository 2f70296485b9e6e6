"""The photograph that is sent, and what is made of it: longer, shorter, none at all."""

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
"""Of a JPEG, its two bytes of length included (ITU-T T.81, B.1.1.4)."""
PADDING = b"padding of a conformance check "
GARBAGE_BYTES = 20_000


@dataclass(frozen=True)
class ProbePhotograph:
    """A body that the image must be able to answer."""

    data: bytes
    content_type: str = "image/jpeg"

    @classmethod
    def read(cls, path: Path, content_type: str = "") -> Self:
        """A file; its content type is told from its name unless given.

        Raises:
            OSError: It cannot be read.
        """
        guessed = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return cls(path.read_bytes(), content_type or guessed)

    @classmethod
    def synthetic(cls) -> Self:
        """A painted eye at the resolution of a fundus camera: as costly as a real one."""
        from drdeploy.grader.synthetic.photograph import synthetic_photograph

        return cls(synthetic_photograph(1))

    @property
    def headers(self) -> dict[str, str]:
        """What goes with it."""
        return {"Content-Type": self.content_type}

    @property
    def is_jpeg(self) -> bool:
        """Whether comments can make it longer without changing the picture."""
        return self.data.startswith(START_OF_IMAGE)

    def truncated(self) -> bytes:
        """Its first half."""
        return self.data[: len(self.data) // 2]

    def padded(self, size_bytes: int) -> bytes:
        """The same picture in at most three bytes less than ``size_bytes``; a JPEG alone."""
        place = _after_application_data(self.data)
        comments = _comments(size_bytes - len(self.data))
        return self.data[:place] + comments + self.data[place:]


def garbage() -> bytes:
    """Bytes that are no file of any kind; always the same."""
    return b"\0" + random.Random(0).randbytes(GARBAGE_BYTES)


def _after_application_data(jpeg: bytes) -> int:
    """Readers expect the JFIF and Exif segments first."""
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
