"""Read the chunks of a PNG file (W3C, Portable Network Graphics, third edition)."""

from __future__ import annotations

import zlib

from drdeploy.errors import UnreadableImage
from drdeploy.grader.fundus.formats.header import (
    ImageHeader,
    refuse_picture_behind_end,
    several_pictures_error,
    truncated_image_error,
)
from drdeploy.grader.fundus.formats.ifd import UPRIGHT, read_exif_orientation

SIGNATURE = b"\x89PNG\r\n\x1a\n"

MAX_CHUNKS = 65_536
"""The largest number of chunks in a file. Encoders write image data in chunks of at least 8 kB, so
this limit allows half a gigabyte.
"""

# Text and colour profiles are compressed and may grow a thousandfold, so they never reach a
# decompressor.
_NEEDED = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})


def read_png_header(data: bytes) -> ImageHeader:
    """Read the header of a PNG.

    Raises:
        UnreadableImage: The file ends too early, does not start with IHDR, has a wrong checksum, or
            has too many chunks.
        UnsupportedImage: The file holds more than one picture.
    """
    kept = [SIGNATURE]
    orientation = UPRIGHT
    position = len(SIGNATURE)
    for _ in range(MAX_CHUNKS):
        kind, body, end = _read_chunk(data, position)
        if kind in _NEEDED:
            _verify_chunk_checksum(data, position, end)
            kept.append(data[position:end])
        elif kind == b"eXIf":
            orientation = read_exif_orientation(body)
        elif kind == b"fdAT":  # a picture of an animation, other than the one in IDAT
            raise several_pictures_error(file_format="PNG")
        if kind == b"IEND":
            refuse_picture_behind_end(data, end, file_format="PNG")
            return _build_image_header(kept, orientation)
        position = end
    raise UnreadableImage("The PNG has too many chunks")


def _read_chunk(data: bytes, position: int) -> tuple[bytes, bytes, int]:
    body_start = position + 8
    body_end = body_start + int.from_bytes(data[position : position + 4])
    if body_end + 4 > len(data):
        raise truncated_image_error(file_format="PNG")
    return data[position + 4 : body_start], data[body_start:body_end], body_end + 4


def _verify_chunk_checksum(data: bytes, position: int, end: int) -> None:
    content = memoryview(data)[position + 4 : end - 4]
    if zlib.crc32(content) != int.from_bytes(data[end - 4 : end]):
        raise UnreadableImage("A checksum of the PNG is wrong", remedy="Send the image again")


def _build_image_header(kept: list[bytes], orientation: int) -> ImageHeader:
    first = kept[1]
    if first[4:8] != b"IHDR" or len(first) != 25:
        raise UnreadableImage("The PNG does not start with its header")
    return ImageHeader(
        format="PNG",
        width_px=int.from_bytes(first[8:12]),
        height_px=int.from_bytes(first[12:16]),
        orientation=orientation,
        data=b"".join(kept),
    )
