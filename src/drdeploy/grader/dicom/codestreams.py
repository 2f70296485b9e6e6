"""Read the size in the header of a compressed frame, without decoding a pixel."""

from __future__ import annotations

import re
from typing import NamedTuple

from drdeploy.errors import UnreadableImage

MIN_TILE_PX = 64
"""The smallest tile that is accepted. Encoders write tiles of at least 256 pixels, and a file with
tiles of one pixel is built to be slow to decode."""

_MARKER = re.compile(rb"\xff([^\x00\xff])")
_FRAMES = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}  # 0xF7: JPEG-LS
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_START_OF_CODESTREAM_AND_SIZE = b"\xff\x4f\xff\x51"  # ISO/IEC 15444-1, A.4 and A.5
_END_OF_IMAGE = b"\xff\xd9"  # the same in all of these formats


class CodestreamSize(NamedTuple):
    """The size and format in the header of a compressed frame.

    Attributes:
        width_px: Width in pixels.
        height_px: Height in pixels.
        samples: Samples per pixel.
        bits: Bits per sample.
        frame_marker: Second byte of the JPEG marker that begins the frame; 0 for JPEG 2000.
    """

    width_px: int
    height_px: int
    samples: int
    bits: int
    frame_marker: int = 0


def scrambled_pixels_error(syntax_name: str) -> UnreadableImage:
    """Return the error for pixels that are not in the format that the file's header names."""
    return UnreadableImage(
        f"The pixels are not in the format that the DICOM file names ({syntax_name}); some vendors "
        "scramble pixels",
        remedy="Export the photograph from the vendor's program as a JPEG or as standard DICOM",
    )


def read_jpeg_size(frame: bytes, syntax_name: str) -> CodestreamSize:
    """Read the frame header of a JPEG or JPEG-LS.

    Raises:
        UnreadableImage: The bytes are neither a JPEG nor a JPEG-LS, or end before the end marker.
    """
    if not frame.startswith(b"\xff\xd8\xff"):
        raise scrambled_pixels_error(syntax_name)
    _refuse_codestream_without_end_marker(frame)
    position = 2
    while found := _MARKER.search(frame, position):
        marker = found[1][0]
        position = found.end()
        if marker in _STANDALONE:
            continue
        body = frame[position + 2 : position + int.from_bytes(frame[position : position + 2])]
        if marker in _FRAMES and len(body) >= 6:
            return CodestreamSize(
                int.from_bytes(body[3:5]), int.from_bytes(body[1:3]), body[5], body[0], marker
            )
        position += 2 + len(body)
    raise scrambled_pixels_error(syntax_name)


def read_jpeg_2000_size(frame: bytes, syntax_name: str) -> CodestreamSize:
    """Read the image and tile size of a JPEG 2000 or HTJ2K codestream.

    Raises:
        UnreadableImage: The bytes are not a codestream, or end before its end marker. This error is
            also raised for a codestream that is slow to decode and that no camera would write.
    """
    if not frame.startswith(_START_OF_CODESTREAM_AND_SIZE) or len(frame) < 42:
        raise scrambled_pixels_error(syntax_name)
    _refuse_codestream_without_end_marker(frame)
    x, y, left, top, tile_x, tile_y, tile_left, tile_top = (
        int.from_bytes(frame[place : place + 4]) for place in range(8, 40, 4)
    )
    samples = int.from_bytes(frame[40:42])
    components = frame[42 : 42 + 3 * samples]
    is_plain = (
        (left, top, tile_left, tile_top) == (0, 0, 0, 0)
        and len(components) == 3 * samples
        and samples in {1, 3}
        and {*components[1::3], *components[2::3]} == {1}
        and len({*components[::3]}) == 1
        and min(tile_x, x) >= min(x, MIN_TILE_PX)
        and min(tile_y, y) >= min(y, MIN_TILE_PX)
    )
    if not is_plain:
        raise UnreadableImage(
            "The JPEG 2000 in the DICOM file has tiles, offsets or components that no photograph "
            "has",
            remedy="Export the photograph as a JPEG",
        )
    return CodestreamSize(x, y, samples, (components[0] & 0x7F) + 1)


def _refuse_codestream_without_end_marker(frame: bytes) -> None:
    # An even number of bytes is made by one zero (PS3.5, A.4); writers append more.
    if not frame.rstrip(b"\0").endswith(_END_OF_IMAGE):
        raise UnreadableImage(
            "The compressed pixels in the DICOM file end before the picture does",
            remedy="Send the file again",
        )
