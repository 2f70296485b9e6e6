"""Refuse a TIFF whose first picture may not be the photograph that should be graded.

The first picture of a camera raw file (DNG, NEF, ARW) is only a small preview. Each page of a scan
or of an export may show another eye. If only the first picture were graded, readers would take its
grade for the grade of the whole file. Smaller copies and masks of the first picture are allowed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from drdeploy.errors import UnsupportedImage
from drdeploy.grader.fundus.formats.header import several_pictures_error
from drdeploy.grader.fundus.formats.ifd import (
    BYTE,
    LONG,
    NUMBERS,
    OFFSET,
    TiffDirectory,
    offset_of_first_directory,
    offset_of_next_directory,
    read_tiff_directory,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DIRECTORIES = 64
"""The largest number of directories; a real file has fewer, because each smaller copy of a
photograph has half the width of the previous copy."""

SUBFILE_KIND, OLD_SUBFILE_KIND, SUB_DIRECTORIES, DNG_VERSION = 254, 255, 330, 50706
_KINDS_BY_TAG = {
    SUBFILE_KIND: NUMBERS,
    OLD_SUBFILE_KIND: NUMBERS,
    SUB_DIRECTORIES: frozenset({LONG, OFFSET}),
    DNG_VERSION: frozenset({BYTE}),
}
_CR2_MARK = b"CR\x02\0"
_IS_SMALLER_COPY, _IS_MASK = 1, 4  # bits of SUBFILE_KIND
_OLD_SMALLER_COPY = 2  # value of OLD_SUBFILE_KIND


def refuse_several_tiff_pictures(data: bytes) -> None:
    """Refuse a TIFF in which the first picture may not be the photograph to grade.

    Raises:
        UnsupportedImage: The first picture is a smaller copy or a mask of another picture, the file
            is a camera raw file, or there are further pictures.
        UnreadableImage: The list of tags of a page (an image file directory) begins beyond the end
            of the file.
    """
    first = _read_directory_at_offset(data, offset_of_first_directory(data))
    if DNG_VERSION in first.entries or data.startswith(_CR2_MARK, 8):
        raise UnsupportedImage(
            "The file is a camera raw file, whose first picture may be only a preview",
            remedy="Export the photograph as a JPEG, PNG or TIFF",
        )
    if _is_smaller_copy_or_mask(first):
        raise UnsupportedImage(
            "The first picture of the TIFF is marked as a smaller copy or a mask of another "
            "picture, as in camera raw files",
            remedy="Export the photograph as a JPEG, PNG or TIFF with one picture",
        )
    for number, directory in enumerate(_read_further_directories(data, first), 2):
        if number > MAX_DIRECTORIES or not _is_smaller_copy_or_mask(directory):
            raise several_pictures_error(file_format="TIFF")


def _read_further_directories(data: bytes, first: TiffDirectory) -> Iterator[TiffDirectory]:
    for start in first.numbers_of_tag(SUB_DIRECTORIES):
        yield _read_directory_at_offset(data, start)
    start = offset_of_next_directory(data, offset_of_first_directory(data))
    while start:  # a chain that is a circle ends at MAX_DIRECTORIES
        yield _read_directory_at_offset(data, start)
        start = offset_of_next_directory(data, start)


def _read_directory_at_offset(data: bytes, start: int) -> TiffDirectory:
    return read_tiff_directory(data, _KINDS_BY_TAG, optional=_KINDS_BY_TAG, start=start)


def _is_smaller_copy_or_mask(directory: TiffDirectory) -> bool:
    """Whether a picture is marked as a smaller copy or as a mask of another picture."""
    return (
        directory.first_number_of_tag(SUBFILE_KIND, 0) & (_IS_SMALLER_COPY | _IS_MASK) != 0
        or directory.first_number_of_tag(OLD_SUBFILE_KIND, 0) == _OLD_SMALLER_COPY
    )
