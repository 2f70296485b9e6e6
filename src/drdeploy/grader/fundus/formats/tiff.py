"""Read the first picture of a TIFF file, and write it anew without anything else (TIFF 6.0).

libtiff keeps every entry of a directory, follows entries that point to other directories, and
reads types that TIFF 6.0 does not know: a file of 0.3 MiB made it allocate 294 MB.  So the decoder
never sees the file that was sent.  It gets one directory of the tags that pixels need, each
checked here, and the data of the strips or tiles that the picture consists of.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from drdeploy.errors import UnreadableImage, UnsupportedImage
from drdeploy.grader.fundus.formats import jpeg
from drdeploy.grader.fundus.formats.header import ImageHeader, truncated
from drdeploy.grader.fundus.formats.ifd import (
    BYTE,
    MAX_VALUES,
    NUMBERS,
    ORIENTATION,
    RATIONAL,
    UNDEFINED,
    Directory,
    Entry,
    directory_bytes,
    orientation,
    read_directory,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.grader.fundus.limits import ImageLimits

SIGNATURES = (b"II*\x00", b"MM\x00*")
MAX_PARTS = MAX_VALUES
"""Strips or tiles of a picture: 40 million pixels in tiles of 32 x 32 are 39,063."""
MAX_SAMPLES = 6
"""Samples per pixel: CMYK and two more, the most that Pillow decodes."""

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, PLANAR = 273, 277, 278, 279, 284
PREDICTOR, COLOR_MAP = 317, 320
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES = 322, 323, 324, 325
EXTRA_SAMPLES, SAMPLE_FORMAT, JPEG_TABLES = 338, 339, 347
YCBCR_COEFFICIENTS, YCBCR_SUBSAMPLING, REFERENCE_BLACK_WHITE = 529, 530, 532

_KINDS_BY_TAG: Mapping[int, frozenset[int]] = {
    **dict.fromkeys(
        (
            *(WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, ORIENTATION),
            *(STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, PLANAR, PREDICTOR, COLOR_MAP),
            *(TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES),
            *(EXTRA_SAMPLES, SAMPLE_FORMAT, YCBCR_SUBSAMPLING),
        ),
        NUMBERS,
    ),
    JPEG_TABLES: frozenset({UNDEFINED, BYTE}),
    YCBCR_COEFFICIENTS: frozenset({RATIONAL}),
    REFERENCE_BLACK_WHITE: frozenset({RATIONAL}),
}
"""The tags that the pixels need, and the types that each may have."""
_OPTIONAL = frozenset({ORIENTATION, YCBCR_COEFFICIENTS, REFERENCE_BLACK_WHITE})

_SINGLE = (
    *(WIDTH, HEIGHT, COMPRESSION, PHOTOMETRIC, FILL_ORDER, SAMPLES, ROWS_PER_STRIP, PLANAR),
    *(PREDICTOR, TILE_WIDTH, TILE_HEIGHT),
)
"""Tags with one value; of several, readers take different ones."""

_NONE, _JPEG = 1, 7
# None, LZW, JPEG, Deflate (two numbers), PackBits: what cameras and image editors write.
_COMPRESSIONS = frozenset({_NONE, 5, _JPEG, 8, 32946, 32773})
# White is zero, black is zero, RGB, palette, CMYK, YCbCr.
_PHOTOMETRICS = frozenset({0, 1, 2, 3, 5, 6})
_TILES = frozenset({TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES})
_STRIPS = frozenset({STRIP_OFFSETS, STRIP_BYTES})
_UNSIGNED = 1
_WHITE_IS_ZERO = 0
_SEPARATE_PLANES = 2
_HEADER_BYTES = 8


class _Parts(NamedTuple):
    """The strips or tiles that a picture is cut into.

    Attributes:
        width_px: Of each.
        height_px: Of each; the last strip may be lower.
        number: How many there are in all planes.
        offsets_tag: Names the tag of their offsets.
        bytes_tag: Names the tag of their lengths.
    """

    width_px: int
    height_px: int
    number: int
    offsets_tag: int
    bytes_tag: int


def read_header(data: bytes, limits: ImageLimits) -> ImageHeader:
    """Read what the first picture of a TIFF says about itself, and write it anew.

    Raises:
        UnreadableImage: The directory is broken, or the picture's data lie outside the file.
        UnsupportedImage: A compression or a kind of pixel that photographs do not have.
        PayloadTooLarge: The picture exceeds a limit; its data have not been touched then.
    """
    directory = read_directory(data, _KINDS_BY_TAG, optional=_OPTIONAL)
    if any(len(directory.numbers(tag)) > 1 for tag in _SINGLE):
        raise UnreadableImage("The TIFF directory is ambiguous: a tag has several values")
    width_px, height_px = directory.number(WIDTH, 0), directory.number(HEIGHT, 0)
    header = ImageHeader("TIFF", width_px, height_px, orientation(directory), data)
    header.check(limits)
    _check_kind(directory)
    is_tiled = not directory.entries.keys().isdisjoint(_TILES)
    if is_tiled and not directory.entries.keys().isdisjoint(_STRIPS):
        raise UnreadableImage("The TIFF is cut into strips and into tiles")
    parts = (_tiles if is_tiled else _strips)(directory, width_px, height_px)
    return replace(
        header,
        data=_rebuilt(directory, parts, _part_data(data, directory, parts, height_px)),
        part_px=parts.width_px * parts.height_px,
    )


def _check_kind(directory: Directory) -> None:
    compression = directory.number(COMPRESSION, _NONE)
    if compression not in _COMPRESSIONS:
        raise UnsupportedImage(
            f"TIFF compression {compression} is not read", remedy="Save it with LZW or Deflate"
        )
    photometric = directory.number(PHOTOMETRIC, _WHITE_IS_ZERO)
    bits = directory.numbers(BITS) or (1,)
    is_whole_number = set(directory.numbers(SAMPLE_FORMAT) or (_UNSIGNED,)) == {_UNSIGNED}
    is_inverted_deep = photometric == _WHITE_IS_ZERO and max(bits) > 8
    is_known = photometric in _PHOTOMETRICS and {*bits} <= {1, 2, 4, 8, 16}
    samples = max(directory.number(SAMPLES, 1), len(bits))
    if not is_known or not is_whole_number or is_inverted_deep or not 1 <= samples <= MAX_SAMPLES:
        raise UnsupportedImage(
            "TIFF with this kind of pixel is not read",
            remedy="Save it as RGB or grey with 8 or 16 bits per sample",
        )


def _tiles(directory: Directory, width_px: int, height_px: int) -> _Parts:
    tile = (directory.number(TILE_WIDTH, 0), directory.number(TILE_HEIGHT, 0))
    # The decoder allocates whole tiles. If one may be larger than the picture (but for the
    # rounding to 16 that the format asks for), the limits on the picture's size mean nothing.
    too_large = tile[0] > max(width_px, 512) + 15 or tile[1] > max(height_px, 512) + 15
    if min(tile) < 1 or too_large:
        raise UnreadableImage("The tiles of the TIFF do not fit its picture")
    count = -(-width_px // tile[0]) * -(-height_px // tile[1]) * _planes(directory)
    return _Parts(*tile, count, TILE_OFFSETS, TILE_BYTES)


def _strips(directory: Directory, width_px: int, height_px: int) -> _Parts:
    rows = min(directory.number(ROWS_PER_STRIP, height_px), height_px)
    if rows < 1:
        raise UnreadableImage("The TIFF says that it has no pixels")
    count = -(-height_px // rows) * _planes(directory)
    return _Parts(width_px, rows, count, STRIP_OFFSETS, STRIP_BYTES)


def _planes(directory: Directory) -> int:
    """How often the picture's strips or tiles are there: once, or once for each sample."""
    is_separate = directory.number(PLANAR, 1) == _SEPARATE_PLANES
    return directory.number(SAMPLES, 1) if is_separate else 1


def _part_data(data: bytes, directory: Directory, parts: _Parts, height_px: int) -> list[bytes]:
    """Cut the strips or tiles out of the file.

    Raises:
        UnreadableImage: Some are missing or lie outside the file, or they share their bytes.
    """
    offsets = directory.numbers(parts.offsets_tag)[: parts.number]
    if parts.number > MAX_PARTS:
        raise UnreadableImage("The TIFF is cut into more parts than any photograph")
    if len(offsets) < parts.number:
        raise truncated("TIFF")
    compression = directory.number(COMPRESSION, _NONE)
    if compression == _NONE:
        lengths = _plain_lengths(directory, parts, height_px)
    else:
        lengths = _claimed_lengths(directory, parts, offsets, len(data))
    # Parts that share their bytes would let a small file cost its reader as many copies of itself.
    is_outside = any(
        start + length > len(data) for start, length in zip(offsets, lengths, strict=True)
    )
    if is_outside or sum(lengths) > len(data):
        raise truncated("TIFF")
    cut = [data[start : start + length] for start, length in zip(offsets, lengths, strict=True)]
    if compression == _JPEG:
        return [
            jpeg.checked_part(part, max_width_px=parts.width_px, max_height_px=parts.height_px)
            for part in cut
        ]
    return cut


def _plain_lengths(directory: Directory, parts: _Parts, height_px: int) -> list[int]:
    """Return the lengths of uncompressed parts, which follow from the picture's size alone."""
    bits = directory.numbers(BITS) or (1,)
    samples = 1 if _planes(directory) > 1 else directory.number(SAMPLES, 1)
    row_bytes = -(-parts.width_px * max(bits) * samples // 8)
    if parts.offsets_tag == TILE_OFFSETS:
        return [row_bytes * parts.height_px] * parts.number
    per_plane = parts.number // _planes(directory)
    last_rows = height_px - (per_plane - 1) * parts.height_px
    rows = [parts.height_px] * (per_plane - 1) + [last_rows]
    return [row_bytes * count for count in rows] * _planes(directory)


def _claimed_lengths(
    directory: Directory, parts: _Parts, offsets: tuple[int, ...], file_bytes: int
) -> list[int]:
    """Return the lengths of compressed parts; one without a length ends where another begins."""
    claimed = directory.numbers(parts.bytes_tag)
    if claimed and len(claimed) < parts.number:
        raise truncated("TIFF")
    starts = sorted({*offsets, file_bytes})
    ends = (starts[min(bisect_right(starts, offset), len(starts) - 1)] for offset in offsets)
    known = claimed or (0,) * parts.number
    return [
        length or max(end - offset, 0)
        for length, end, offset in zip(known, ends, offsets, strict=False)
    ]


def _rebuilt(directory: Directory, parts: _Parts, data: list[bytes]) -> bytes:
    # The picture is turned upright with the others', not by the decoder.
    entries = {tag: entry for tag, entry in directory.entries.items() if tag != ORIENTATION}
    if JPEG_TABLES in entries:
        tables = jpeg.checked_tables(entries[JPEG_TABLES].body)
        entries[JPEG_TABLES] = Entry(UNDEFINED, tables)
    lengths = directory.longs(*map(len, data))
    entries |= {parts.offsets_tag: lengths, parts.bytes_tag: lengths}  # the offsets follow below
    if parts.offsets_tag == STRIP_OFFSETS:
        entries[ROWS_PER_STRIP] = directory.longs(parts.height_px)
    head_bytes = _HEADER_BYTES + len(directory_bytes(Directory(directory.order, entries), 8))
    *offsets, _ = accumulate(map(len, data), initial=head_bytes)
    entries[parts.offsets_tag] = Entry(lengths.kind, directory.longs(*offsets).body)
    mark = SIGNATURES[directory.order == ">"] + directory.longs(_HEADER_BYTES).body
    head = directory_bytes(Directory(directory.order, entries), _HEADER_BYTES)
    return b"".join([mark, head, *data])
