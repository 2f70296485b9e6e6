"""Read the first directory of a TIFF file: the first of its pictures (TIFF revision 6.0)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drdeploy.errors import UnreadableImage, UnsupportedImage
from drdeploy.grader.fundus.formats.header import ImageHeader, truncated
from drdeploy.grader.fundus.formats.ifd import UPRIGHT, read_directory

if TYPE_CHECKING:
    from collections.abc import Mapping

    Directory = Mapping[int, tuple[int, ...]]

SIGNATURES = (b"II*\x00", b"MM\x00*")
BIG_TIFF_SIGNATURES = (b"II+\x00", b"MM\x00+")

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, PLANAR = 273, 277, 278, 279, 284
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, SAMPLE_FORMAT = 322, 323, 324, 325, 339

# None, LZW, JPEG, Deflate (two numbers), PackBits: what cameras and image editors write.
_COMPRESSIONS = frozenset({1, 5, 7, 8, 32946, 32773})
# White is zero, black is zero, RGB, palette, CMYK, YCbCr.
_PHOTOMETRICS = frozenset({0, 1, 2, 3, 5, 6})
_DECISIVE = frozenset({
    WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC,
    STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, PLANAR,
    TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, SAMPLE_FORMAT,
})  # fmt: skip
"""Tags by which the decoder allocates memory: it must not read other values than were checked."""

_TILES = frozenset({TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES})
_STRIPS = frozenset({STRIP_OFFSETS, STRIP_BYTES})
_UNSIGNED = 1
_WHITE_IS_ZERO = 0


def read_header(data: bytes) -> ImageHeader:
    """Read what the first picture of a TIFF says about itself.

    ``orientation`` is upright whatever the file says: Pillow's TIFF decoder turns the picture.

    Raises:
        UnreadableImage: The directory is broken, or the picture's data lie outside the file.
        UnsupportedImage: A compression or a kind of pixel that photographs do not have.
    """
    directory = read_directory(data, decisive=_DECISIVE)
    width_px, height_px = _one(directory, WIDTH, 0), _one(directory, HEIGHT, 0)
    _check_kind(directory)
    is_tiled = not directory.keys().isdisjoint(_TILES)
    if is_tiled and not directory.keys().isdisjoint(_STRIPS):
        raise UnreadableImage("The TIFF is cut into strips and into tiles")
    if is_tiled:
        _check_tiles(directory, width_px, height_px)
        _check_inside(directory, TILE_OFFSETS, TILE_BYTES, len(data))
    else:
        _check_strips(directory, height_px)
        _check_inside(directory, STRIP_OFFSETS, STRIP_BYTES, len(data))
    return ImageHeader("TIFF", width_px, height_px, UPRIGHT, data)


def _one(directory: Directory, tag: int, default: int) -> int:
    values = directory.get(tag, ())
    return values[0] if values else default


def _check_kind(directory: Directory) -> None:
    compression = _one(directory, COMPRESSION, 1)
    if compression not in _COMPRESSIONS:
        raise UnsupportedImage(
            f"TIFF compression {compression} is not read", remedy="Save it with LZW or Deflate"
        )
    photometric = _one(directory, PHOTOMETRIC, _WHITE_IS_ZERO)
    bits = max(directory.get(BITS, (1,)))
    is_whole_number = set(directory.get(SAMPLE_FORMAT, (_UNSIGNED,))) == {_UNSIGNED}
    is_inverted_deep = photometric == _WHITE_IS_ZERO and bits > 8
    is_known = photometric in _PHOTOMETRICS and bits in {1, 2, 4, 8, 16}
    if not is_known or not is_whole_number or is_inverted_deep:
        raise UnsupportedImage(
            "TIFF with this kind of pixel is not read",
            remedy="Save it as RGB or grey with 8 or 16 bits per sample",
        )


def _check_tiles(directory: Directory, width_px: int, height_px: int) -> None:
    tile = (_one(directory, TILE_WIDTH, 0), _one(directory, TILE_HEIGHT, 0))
    # The decoder allocates whole tiles. If one may be larger than the picture (but for the
    # rounding to 16 that the format asks for), the limits on the picture's size mean nothing.
    too_large = tile[0] > max(width_px, 512) + 15 or tile[1] > max(height_px, 512) + 15
    if min(tile) < 1 or too_large:
        raise UnreadableImage("The tiles of the TIFF do not fit its picture")
    needed = -(-width_px // tile[0]) * -(-height_px // tile[1]) * _planes(directory)
    if len(directory.get(TILE_OFFSETS, ())) < needed:
        raise truncated("TIFF")


def _check_strips(directory: Directory, height_px: int) -> None:
    rows = min(_one(directory, ROWS_PER_STRIP, height_px), height_px)
    if rows < 1:
        raise UnreadableImage("The TIFF says that it has no pixels")
    needed = -(-height_px // rows) * _planes(directory)
    if len(directory.get(STRIP_OFFSETS, ())) < needed:
        raise truncated("TIFF")


def _planes(directory: Directory) -> int:
    """How often the picture's strips or tiles are there: once, or once for each sample."""
    return _one(directory, SAMPLES, 1) if _one(directory, PLANAR, 1) == 2 else 1


def _check_inside(directory: Directory, offsets_tag: int, bytes_tag: int, file_bytes: int) -> None:
    offsets = directory[offsets_tag]
    lengths = directory.get(bytes_tag, (0,) * len(offsets))
    ends = [offset + length for offset, length in zip(offsets, lengths, strict=False)]
    if len(lengths) < len(offsets) or max(ends) > file_bytes:
        raise truncated("TIFF")
