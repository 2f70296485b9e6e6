"""Read a TIFF image file directory: the header of a TIFF file and the body of an EXIF block.

Layout and tag numbers: TIFF revision 6.0 (Adobe, 1992), section 2.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from drdeploy.errors import UnreadableImage

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

ORIENTATION = 274
UPRIGHT = 1

MAX_ENTRIES = 512
"""Real TIFF files have about 20 entries; a hostile one may have 65,535."""

_SIZE_BY_TYPE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_CODE_BY_TYPE = {1: "B", 3: "H", 4: "I"}
_ENTRY_BYTES = 12


def read_directory(data: bytes, *, decisive: Container[int] = ()) -> Mapping[int, tuple[int, ...]]:
    """Return the whole-number entries of the first directory by tag; none is empty.

    Args:
        data: Begins with the byte order mark (``II*`` or ``MM*``).
        decisive: Tags by which the decoder allocates memory.  Each must be there once at most and
            as whole numbers, or our reader and the decoder might read different values.

    Raises:
        UnreadableImage: An entry points outside the data, the entries together claim more bytes
            than there are, there are more than ``MAX_ENTRIES``, or a decisive one is ambiguous.
    """
    order = "<" if data[:1] == b"I" else ">"
    try:
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, start)
        if count > MAX_ENTRIES:
            raise UnreadableImage(f"The TIFF directory has {count} entries")
        return _read_entries(
            data, order, range(start + 2, start + 2 + count * _ENTRY_BYTES, _ENTRY_BYTES), decisive
        )
    except struct.error as err:
        raise UnreadableImage("The TIFF directory points outside the file") from err


def _read_entries(
    data: bytes, order: str, positions: range, decisive: Container[int]
) -> dict[int, tuple[int, ...]]:
    entries: dict[int, tuple[int, ...]] = {}
    claimed_bytes = 0
    for position in positions:
        tag, kind, length = struct.unpack_from(f"{order}HHI", data, position)
        size = length * _SIZE_BY_TYPE.get(kind, 0)
        claimed_bytes += size
        # Entries may point to the same bytes: without this sum, 512 of them make a small file
        # cost its reader gigabytes.
        if claimed_bytes > len(data):
            raise UnreadableImage("The TIFF directory claims more than the file holds")
        if kind not in _CODE_BY_TYPE or length == 0 or tag in entries:
            if tag in decisive:
                raise UnreadableImage("The TIFF directory is ambiguous")
            continue
        inline = size <= 4  # then the value stands in the entry itself, in place of its offset
        offset = position + 8 if inline else struct.unpack_from(f"{order}I", data, position + 8)[0]
        entries[tag] = struct.unpack_from(f"{order}{length}{_CODE_BY_TYPE[kind]}", data, offset)
    return entries


def exif_orientation(exif: bytes) -> int:
    """Return the orientation in an EXIF block, 1 to 8; upright if it has none or is broken.

    A photograph with a broken EXIF block is readable all the same: every viewer shows it.
    """
    try:
        values = read_directory(exif).get(ORIENTATION, ()) if exif[:2] in {b"II", b"MM"} else ()
    except UnreadableImage:
        return UPRIGHT
    return valid_orientation(values)


def valid_orientation(values: tuple[int, ...]) -> int:
    """Return the orientation that an entry holds; upright if the value is not one of the eight."""
    return values[0] if len(values) == 1 and 1 <= values[0] <= 8 else UPRIGHT
