"""Read the only picture of a TIFF file, and rewrite the file with this picture alone (TIFF 6.0).

libtiff keeps every entry of a directory, follows pointers to other directories, and reads types
that TIFF 6.0 does not have. A file of 0.3 MiB made libtiff allocate 294 MB. Therefore the decoder
never gets the user's file. It gets a rewritten file. The rewritten file holds only one directory
with checked tags, and the data of the picture's strips or tiles.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from drdeploy.errors import UnreadableImage, UnsupportedImage
from drdeploy.grader.fundus.formats import jpeg
from drdeploy.grader.fundus.formats.header import ImageHeader, truncated_image_error
from drdeploy.grader.fundus.formats.ifd import (
    BYTE,
    MAX_VALUES,
    NUMBERS,
    ORIENTATION,
    RATIONAL,
    UNDEFINED,
    Entry,
    TiffDirectory,
    encode_tiff_directory,
    orientation_of_directory,
    read_tiff_directory,
)
from drdeploy.grader.fundus.formats.tiff_pages import refuse_several_tiff_pictures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.grader.fundus.limits import ImageLimits

SIGNATURES = (b"II*\x00", b"MM\x00*")
MAX_PARTS = MAX_VALUES
"""The largest number of strips or tiles of a picture; 40 million pixels in tiles of 32 x 32 are
39,063 tiles."""
MAX_SAMPLES = 6
"""The largest number of samples per pixel that Pillow decodes: the four of CMYK, and two more."""

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
"""Tags that must have exactly one value, because programs disagree on which of several values
counts.
"""

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
        width_px: Width of each strip or tile.
        height_px: Height of each strip or tile; the last strip may have fewer rows.
        number: Number of strips or tiles in all planes.
        offsets_tag: Tag of the offsets of the strips or tiles.
        bytes_tag: Tag of the lengths of the strips or tiles.
    """

    width_px: int
    height_px: int
    number: int
    offsets_tag: int
    bytes_tag: int


def read_and_rewrite_tiff(data: bytes, limits: ImageLimits) -> ImageHeader:
    """Read the header of the only picture of a TIFF, and rewrite the picture.

    Raises:
        UnreadableImage: The directory is broken, or the picture's data are outside the file.
        UnsupportedImage: The file has more than one picture, or a compression or pixel format that
            is not used for photographs.
        PayloadTooLarge: The picture exceeds a limit. Its data are not read.
    """
    directory = read_tiff_directory(data, _KINDS_BY_TAG, optional=_OPTIONAL)
    if any(len(directory.numbers_of_tag(tag)) > 1 for tag in _SINGLE):
        raise UnreadableImage("A tag of the TIFF directory has several values instead of one")
    width_px, height_px = (
        directory.first_number_of_tag(WIDTH, 0),
        directory.first_number_of_tag(HEIGHT, 0),
    )
    header = ImageHeader("TIFF", width_px, height_px, orientation_of_directory(directory), data)
    header.check_size_limits(limits)
    refuse_several_tiff_pictures(data)
    _check_pixel_format(directory)
    is_tiled = not directory.entries.keys().isdisjoint(_TILES)
    if is_tiled and not directory.entries.keys().isdisjoint(_STRIPS):
        raise UnreadableImage("The TIFF has both strips and tiles")
    parts = (_compute_tile_layout if is_tiled else _compute_strip_layout)(
        directory, width_px, height_px
    )
    return replace(
        header,
        data=_rebuild_file_with_one_picture(
            directory, parts, _cut_out_strips_or_tiles(data, directory, parts, height_px)
        ),
        part_px=parts.width_px * parts.height_px,
    )


def _check_pixel_format(directory: TiffDirectory) -> None:
    compression = directory.first_number_of_tag(COMPRESSION, _NONE)
    if compression not in _COMPRESSIONS:
        raise UnsupportedImage(
            f"TIFF compression {compression} is not supported",
            remedy="Save the image with LZW or Deflate",
        )
    photometric = directory.first_number_of_tag(PHOTOMETRIC, _WHITE_IS_ZERO)
    bits = directory.numbers_of_tag(BITS) or (1,)
    is_whole_number = set(directory.numbers_of_tag(SAMPLE_FORMAT) or (_UNSIGNED,)) == {_UNSIGNED}
    is_inverted_deep = photometric == _WHITE_IS_ZERO and max(bits) > 8
    is_known = photometric in _PHOTOMETRICS and {*bits} <= {1, 2, 4, 8, 16}
    samples = max(directory.first_number_of_tag(SAMPLES, 1), len(bits))
    if not is_known or not is_whole_number or is_inverted_deep or not 1 <= samples <= MAX_SAMPLES:
        raise UnsupportedImage(
            "The pixel format of the TIFF is not supported",
            remedy="Save the image as RGB or grey with 8 or 16 bits per sample",
        )


def _compute_tile_layout(directory: TiffDirectory, width_px: int, height_px: int) -> _Parts:
    tile = (
        directory.first_number_of_tag(TILE_WIDTH, 0),
        directory.first_number_of_tag(TILE_HEIGHT, 0),
    )
    # The decoder allocates whole tiles. If one may be larger than the picture (but for the
    # rounding to 16 that the format asks for), the limits on the picture's size mean nothing.
    too_large = tile[0] > max(width_px, 512) + 15 or tile[1] > max(height_px, 512) + 15
    if min(tile) < 1 or too_large:
        raise UnreadableImage("The tiles of the TIFF do not match the size of the picture")
    count = -(-width_px // tile[0]) * -(-height_px // tile[1]) * _count_planes(directory)
    return _Parts(*tile, count, TILE_OFFSETS, TILE_BYTES)


def _compute_strip_layout(directory: TiffDirectory, width_px: int, height_px: int) -> _Parts:
    rows = min(directory.first_number_of_tag(ROWS_PER_STRIP, height_px), height_px)
    if rows < 1:
        raise UnreadableImage("The TIFF has a width or height of 0")
    count = -(-height_px // rows) * _count_planes(directory)
    return _Parts(width_px, rows, count, STRIP_OFFSETS, STRIP_BYTES)


def _count_planes(directory: TiffDirectory) -> int:
    """Return the number of planes: one per colour if colours are stored separately, otherwise 1."""
    is_separate = directory.first_number_of_tag(PLANAR, 1) == _SEPARATE_PLANES
    return directory.first_number_of_tag(SAMPLES, 1) if is_separate else 1


def _cut_out_strips_or_tiles(
    data: bytes, directory: TiffDirectory, parts: _Parts, height_px: int
) -> list[bytes]:
    """Return the data of the strips or tiles.

    Raises:
        UnreadableImage: Strips or tiles are missing, outside the file, or overlap.
    """
    offsets = directory.numbers_of_tag(parts.offsets_tag)[: parts.number]
    if parts.number > MAX_PARTS:
        raise UnreadableImage("The TIFF has too many strips or tiles")
    if len(offsets) < parts.number:
        raise truncated_image_error(file_format="TIFF")
    compression = directory.first_number_of_tag(COMPRESSION, _NONE)
    if compression == _NONE:
        lengths = _lengths_of_uncompressed_parts(directory, parts, height_px)
    else:
        lengths = _lengths_of_compressed_parts(directory, parts, offsets, len(data))
    # Parts that share their bytes would let a small file cost its reader as many copies of itself.
    is_outside = any(
        start + length > len(data) for start, length in zip(offsets, lengths, strict=True)
    )
    if is_outside or sum(lengths) > len(data):
        raise truncated_image_error(file_format="TIFF")
    cut = [data[start : start + length] for start, length in zip(offsets, lengths, strict=True)]
    if compression == _JPEG:
        return [
            jpeg.check_and_reduce_tiff_part(
                part, max_width_px=parts.width_px, max_height_px=parts.height_px
            )
            for part in cut
        ]
    return cut


def _lengths_of_uncompressed_parts(
    directory: TiffDirectory, parts: _Parts, height_px: int
) -> list[int]:
    """Compute the lengths of uncompressed strips or tiles from the size of the picture."""
    bits = directory.numbers_of_tag(BITS) or (1,)
    samples = 1 if _count_planes(directory) > 1 else directory.first_number_of_tag(SAMPLES, 1)
    row_bytes = -(-parts.width_px * max(bits) * samples // 8)
    if parts.offsets_tag == TILE_OFFSETS:
        return [row_bytes * parts.height_px] * parts.number
    per_plane = parts.number // _count_planes(directory)
    last_rows = height_px - (per_plane - 1) * parts.height_px
    rows = [parts.height_px] * (per_plane - 1) + [last_rows]
    return [row_bytes * count for count in rows] * _count_planes(directory)


def _lengths_of_compressed_parts(
    directory: TiffDirectory, parts: _Parts, offsets: tuple[int, ...], file_bytes: int
) -> list[int]:
    """Return the lengths of compressed strips or tiles.

    If a length is missing, the strip or tile ends where the next one begins.
    """
    claimed = directory.numbers_of_tag(parts.bytes_tag)
    if claimed and len(claimed) < parts.number:
        raise truncated_image_error(file_format="TIFF")
    starts = sorted({*offsets, file_bytes})
    ends = (starts[min(bisect_right(starts, offset), len(starts) - 1)] for offset in offsets)
    known = claimed or (0,) * parts.number
    return [
        length or max(end - offset, 0)
        for length, end, offset in zip(known, ends, offsets, strict=False)
    ]


def _rebuild_file_with_one_picture(
    directory: TiffDirectory, parts: _Parts, data: list[bytes]
) -> bytes:
    # The picture is turned upright later, like those of other formats, and not by the decoder.
    entries = {tag: entry for tag, entry in directory.entries.items() if tag != ORIENTATION}
    if JPEG_TABLES in entries:
        tables = jpeg.check_and_reduce_tiff_tables(entries[JPEG_TABLES].body)
        entries[JPEG_TABLES] = Entry(UNDEFINED, tables)
    lengths = directory.make_entry_of_longs(*map(len, data))
    entries |= {parts.offsets_tag: lengths, parts.bytes_tag: lengths}  # the offsets follow below
    if parts.offsets_tag == STRIP_OFFSETS:
        entries[ROWS_PER_STRIP] = directory.make_entry_of_longs(parts.height_px)
    head_bytes = _HEADER_BYTES + len(
        encode_tiff_directory(TiffDirectory(directory.order, entries), 8)
    )
    *offsets, _ = accumulate(map(len, data), initial=head_bytes)
    entries[parts.offsets_tag] = Entry(lengths.kind, directory.make_entry_of_longs(*offsets).body)
    mark = SIGNATURES[directory.order == ">"] + directory.make_entry_of_longs(_HEADER_BYTES).body
    head = encode_tiff_directory(TiffDirectory(directory.order, entries), _HEADER_BYTES)
    return b"".join([mark, head, *data])
