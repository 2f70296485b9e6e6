"""Read the markers of a JPEG file (ITU-T T.81, annex B)."""

from __future__ import annotations

import re
from typing import NamedTuple

from drdeploy.errors import UnreadableImage, UnsupportedImage
from drdeploy.grader.fundus.formats.header import ImageHeader, truncated
from drdeploy.grader.fundus.formats.ifd import UPRIGHT, exif_orientation

SIGNATURE = b"\xff\xd8\xff"

MAX_SCANS = 32
"""A progressive encoder writes about 10.  The decoder passes over all pixels for each, even if it
holds a single byte."""

MAX_SEGMENTS = 4096
"""Photographs have a few dozen; with a colour profile and an editing history, a few hundred."""

_MARKER = re.compile(rb"\xff([^\x00\xff])")
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # all but stuffed bytes and restarts
_STANDALONE = frozenset({0x01, 0xD8, *range(0xD0, 0xD8)})
_END_OF_IMAGE = 0xD9
_START_OF_SCAN = 0xDA
_EXIF = 0xE1
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE_FRAME = 0xC2
_HUFFMAN_FRAMES = frozenset({0xC0, 0xC1, _PROGRESSIVE_FRAME})  # baseline, extended, progressive
# Frames, Huffman, quantization and arithmetic tables, restarts, and the two application segments
# that name the colour space (JFIF, Adobe): all that libjpeg needs for the pixels.
_NEEDED = frozenset({*range(0xC0, 0xD0), 0xDB, 0xDC, 0xDD, 0xE0, 0xEE, _START_OF_SCAN})
_TABLES = frozenset({0xC4, 0xDB, 0xDD})  # Huffman, quantization, restart interval


class _Segment(NamedTuple):
    marker: int
    body: bytes  # without marker and length
    raw: bytes  # as in the file; with the compressed data where it is a scan


def read_header(data: bytes) -> ImageHeader:
    """Read what a JPEG says about itself.

    Raises:
        UnreadableImage: It ends too early, does not have exactly one frame, or is built to be
            slow to decode.
        UnsupportedImage: Its samples are not 8-bit, or not Huffman-coded.
    """
    segments = _segments(data)
    frame = _frame(segments)
    body = frame.body
    return ImageHeader(
        format="JPEG",
        height_px=int.from_bytes(body[1:3]),
        width_px=int.from_bytes(body[3:5]),
        orientation=_orientation(segments),
        data=_joined(segments, _NEEDED),
        is_progressive=frame.marker == _PROGRESSIVE_FRAME,
    )


def checked_part(data: bytes, *, max_width_px: int, max_height_px: int) -> bytes:
    """Return a strip or tile of a TIFF without what its pixels do not need.

    Raises:
        UnreadableImage: It is not a JPEG, larger than the strip or tile should be, or one of those
            of :func:`read_header`.
        UnsupportedImage: One of those of :func:`read_header`.
    """
    if not data.startswith(SIGNATURE):
        raise UnreadableImage("A part of the TIFF is not a JPEG")
    header = read_header(data)
    # Encoders may round both sides up to whole blocks, of 16 pixels at most.
    if header.width_px > max_width_px + 15 or header.height_px > max_height_px + 15:
        raise UnreadableImage("The TIFF contradicts itself about its size")
    check_substance(header)
    return header.data


def checked_tables(data: bytes) -> bytes:
    """Return the tables that the strips or tiles of a TIFF share, without anything else.

    Raises:
        UnreadableImage: It is cut off or holds more than tables.
    """
    segments = _segments(data)
    if not data.startswith(SIGNATURE) or not {part.marker for part in segments} <= _TABLES:
        raise UnreadableImage("The tables of the TIFF are damaged")
    return _joined(segments, _TABLES)


def _joined(segments: list[_Segment], markers: frozenset[int]) -> bytes:
    kept = (segment.raw for segment in segments if segment.marker in markers)
    return b"".join([b"\xff\xd8", *kept, b"\xff\xd9"])


def check_substance(header: ImageHeader) -> None:
    """Refuse a JPEG with too few bytes for the size that it claims.

    libjpeg fills what is missing with grey, so that a file of 300 bytes costs the memory and time
    of 40 million pixels.  A Huffman code has at least one bit, and each block of 8 x 8 pixels at
    least one code in its component of highest resolution.  Half of that is asked for, which
    leaves room for unusual subsampling.

    Raises:
        UnreadableImage: So few bytes cannot hold the picture.
    """
    blocks = header.width_px * header.height_px / (8 * 8)
    least_bytes = blocks / 8  # one bit each
    if len(header.data) < least_bytes / 2:
        raise truncated("JPEG")


def _frame(segments: list[_Segment]) -> _Segment:
    frames = [segment for segment in segments if segment.marker in _FRAMES]
    if len(frames) != 1 or len(frames[0].body) < 6:
        raise UnreadableImage("The JPEG does not have one frame header")
    if frames[0].marker not in _HUFFMAN_FRAMES:
        raise UnsupportedImage(
            "Lossless and arithmetic-coded JPEG is not read", remedy="Save it as a baseline JPEG"
        )
    if frames[0].body[0] != 8:
        raise UnsupportedImage(f"JPEG with {frames[0].body[0]}-bit samples is not read")
    return frames[0]


def _segments(data: bytes) -> list[_Segment]:
    segments: list[_Segment] = []
    scans = 0
    position = 2
    while True:
        found = _MARKER.search(data, position)
        if found is None:
            raise truncated("JPEG")
        marker = found[1][0]
        if marker == _END_OF_IMAGE:
            return segments
        if marker in _STANDALONE:
            position = found.end()
            continue
        scans += marker == _START_OF_SCAN
        if scans > MAX_SCANS or len(segments) >= MAX_SEGMENTS:
            raise UnreadableImage(
                "The JPEG is cut into more parts than any photograph",
                remedy="Save it as a baseline JPEG",
            )
        segment = _segment(data, found.start(), marker)
        position = found.start() + len(segment.raw)
        segments.append(segment)


def _segment(data: bytes, start: int, marker: int) -> _Segment:
    body_end = start + 2 + int.from_bytes(data[start + 2 : start + 4])
    # The length counts its own two bytes, so that less than two is not a length.
    if body_end < start + 4 or body_end > len(data):
        raise truncated("JPEG")
    end = body_end
    if marker == _START_OF_SCAN:
        after = _AFTER_SCAN.search(data, body_end)
        if after is None:
            raise truncated("JPEG")
        end = after.start()
    return _Segment(marker, data[start + 4 : body_end], data[start:end])


def _orientation(segments: list[_Segment]) -> int:
    prefix = b"Exif\x00\x00"
    for segment in segments:
        if segment.marker == _EXIF and segment.body.startswith(prefix):
            return exif_orientation(segment.body[len(prefix) :])
    return UPRIGHT
