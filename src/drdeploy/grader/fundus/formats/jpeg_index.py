"""Read the index of further pictures in a JPEG (CIPA DC-007, Multi-Picture Format).

A stereo camera writes both views into one file, and an export may write both eyes. A camera also
writes previews, and a phone may write a map of brightness (a gain map) or of depth. Previews and
maps belong to the first picture. If a file holds nothing else, its first picture is graded. If the
index lists any other picture, that picture may be the one to grade, so the file is refused.
"""

from __future__ import annotations

import struct
from typing import Final

from drdeploy.errors import UnreadableImage
from drdeploy.grader.fundus.formats.header import several_pictures_error
from drdeploy.grader.fundus.formats.ifd import UNDEFINED, read_tiff_directory

IDENTIFIER: Final = b"MPF\0"
"""The first bytes of the application segment that contains the index."""

MAX_PICTURES: Final = 64
_ENTRIES = 0xB002
_ENTRY_BYTES = 16
_PREVIEW_CLASS = 0x01
"""The upper byte in the type number of a preview. It is the same for previews of every size."""
_MAP_MARKS: Final = (
    b"http://ns.adobe.com/hdr-gain-map/",
    b"urn:iso:std:iso:ts:21496:-1",
    b"AuxiliaryImageType",  # Apple's gain maps, depths and mattes
)
_MAP_HEAD_BYTES: Final = 16_384
"""The marks of a map are searched for in this many bytes at the beginning of a picture."""


def count_previews_and_gain_maps(data: bytes, start: int) -> int:
    """Return how many previews and maps follow the first picture; 0 if their index is unreadable.

    Args:
        data: The file.
        start: The position in the file at which the index begins, after the identifier.

    Raises:
        UnsupportedImage: The file contains a further picture that is neither a preview nor a map.
    """
    index = data[start : start + 65_536]
    if index[:4] not in {b"II*\0", b"MM\0*"}:
        return 0
    try:
        directory = read_tiff_directory(
            index, {_ENTRIES: frozenset({UNDEFINED})}, optional={_ENTRIES}
        )
    except UnreadableImage:  # every viewer shows the first picture nevertheless
        return 0
    body = directory.entries[_ENTRIES].body if _ENTRIES in directory.entries else b""
    count = 0
    whole = body[: len(body) // _ENTRY_BYTES * _ENTRY_BYTES]
    entries = struct.iter_unpack(f"{directory.order}IIIHH", whole)
    for attribute, _, offset, _, _ in list(entries)[1 : MAX_PICTURES + 1]:
        picture = data[start + offset : start + offset + _MAP_HEAD_BYTES]
        if offset == 0 or not picture.startswith(b"\xff\xd8\xff"):
            continue  # whoever copied the file cut the picture off
        is_preview = attribute >> 16 & 0xFF == _PREVIEW_CLASS
        if not is_preview and not any(mark in picture for mark in _MAP_MARKS):
            raise several_pictures_error(file_format="JPEG")
        count += 1
    return count
