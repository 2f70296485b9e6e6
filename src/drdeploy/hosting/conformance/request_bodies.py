"""Make the request bodies of a check: photographs (whole, padded or cut off) and random bytes."""

from __future__ import annotations

import mimetypes
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from drdeploy.grader.photograph_files import find_content_type_of_photograph

if TYPE_CHECKING:
    from pathlib import Path

START_OF_IMAGE = b"\xff\xd8"
COMMENT = b"\xff\xfe"
APPLICATION_DATA = frozenset(bytes([marker]) for marker in range(0xE0, 0xF0))
LONGEST_SEGMENT = 65_535
"""The longest segment that JPEG allows, in bytes, including the two bytes that state its length
(ITU-T T.81, B.1.1.4)."""
PADDING = b"padding of a conformance check "
GARBAGE_BYTES = 20_000


@dataclass(frozen=True)
class ProbePhotograph:
    """A photograph that the checked image must be able to grade, with its content type."""

    data: bytes
    content_type: str = "image/jpeg"

    @classmethod
    def read_from_file(cls, path: Path, content_type: str = "") -> Self:
        """Read a photograph from a file.

        If no content type is given, it is found from the file's content. If the content does not
        show it, the file's name decides.

        Raises:
            OSError: The file cannot be read.
        """
        data = path.read_bytes()
        guessed = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return cls(data, content_type or find_content_type_of_photograph(data) or guessed)

    @classmethod
    def make_synthetic(cls) -> Self:
        """Return a synthetic photograph at the resolution of a fundus camera."""
        from drdeploy.grader.synthetic.photograph import paint_synthetic_photograph

        return cls(paint_synthetic_photograph(1))

    @property
    def request_headers(self) -> dict[str, str]:
        """The headers of a request with the photograph as its body."""
        return {"Content-Type": self.content_type}

    @property
    def is_jpeg(self) -> bool:
        """Whether the file is a JPEG, which can be padded with comments."""
        return self.data.startswith(START_OF_IMAGE)

    def first_half_of_bytes(self) -> bytes:
        """Return the first half of the photograph's bytes."""
        return self.data[: len(self.data) // 2]

    def pad_jpeg_to_size(self, size_bytes: int) -> bytes:
        """Pad the JPEG with comments to ``size_bytes``; the result may be up to 3 bytes shorter."""
        place = _find_end_of_application_segments(self.data)
        comments = _make_comment_segments(size_bytes - len(self.data))
        return self.data[:place] + comments + self.data[place:]


def make_random_bytes() -> bytes:
    """Return random bytes that are not a valid file; every call returns the same bytes."""
    return b"\0" + random.Random(0).randbytes(GARBAGE_BYTES)


def _find_end_of_application_segments(jpeg: bytes) -> int:
    """Return the position after a JPEG's JFIF and Exif segments, where comments may be inserted."""
    place = len(START_OF_IMAGE)
    # A file that is cut off may end inside a segment.
    while jpeg[place : place + 1] == b"\xff" and jpeg[place + 1 : place + 2] in APPLICATION_DATA:
        place += 2 + int.from_bytes(jpeg[place + 2 : place + 4])
    return place


def _make_comment_segments(size_bytes: int) -> bytes:
    segments = []
    overhead = len(COMMENT) + 2
    while size_bytes >= overhead:
        text_bytes = min(size_bytes - overhead, LONGEST_SEGMENT - 2)
        text = (PADDING * (text_bytes // len(PADDING) + 1))[:text_bytes]
        segments.append(COMMENT + (text_bytes + 2).to_bytes(2) + text)
        size_bytes -= overhead + text_bytes
    return b"".join(segments)
