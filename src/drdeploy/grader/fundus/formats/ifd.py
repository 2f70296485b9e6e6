"""Read and write a TIFF image file directory, which TIFF files and EXIF blocks contain.

The layout and the tag numbers are those of TIFF revision 6.0 (Adobe, 1992), section 2.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from drdeploy.errors import UnreadableImage

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

ORIENTATION = 274
UPRIGHT = 1

MAX_ENTRIES = 512
"""The largest number of entries in a directory. Real TIFF files have about 20; a hostile file may
have 65,535.
"""
MAX_VALUES = 65_536
"""The largest number of values that are read from one entry. The longest list that a photograph
needs has one offset for each strip or tile."""

BYTE, SHORT, LONG, RATIONAL, UNDEFINED, OFFSET = 1, 3, 4, 5, 7, 13
NUMBERS = frozenset({BYTE, SHORT, LONG})
"""The types of unsigned whole numbers."""

_SIZE_BY_KIND = {BYTE: 1, SHORT: 2, LONG: 4, RATIONAL: 8, UNDEFINED: 1, OFFSET: 4}
_CODE_BY_KIND = {BYTE: "B", SHORT: "H", LONG: "I", OFFSET: "I"}
_ENTRY_BYTES = 12


class Entry(NamedTuple):
    """One tag of the directory, with its values.

    Attributes:
        kind: Type of the values, as its number in the specification.
        body: The bytes of the values, in the file's byte order.
    """

    kind: int
    body: bytes


class TiffDirectory(NamedTuple):
    """The entries of an image file directory.

    Attributes:
        order: The file's byte order in the notation of :mod:`struct`, ``<`` or ``>``.
        entries: The entries by their tag.
    """

    order: str
    entries: Mapping[int, Entry]

    def numbers_of_tag(self, tag: int) -> tuple[int, ...]:
        """Return the integers of a tag; empty if the tag is missing."""
        entry = self.entries.get(tag)
        if entry is None:
            return ()
        count = len(entry.body) // _SIZE_BY_KIND[entry.kind]
        return struct.unpack(f"{self.order}{count}{_CODE_BY_KIND[entry.kind]}", entry.body)

    def first_number_of_tag(self, tag: int, default: int) -> int:
        """Return the first number of a tag, or the default if the tag is missing."""
        return next(iter(self.numbers_of_tag(tag)), default)

    def make_entry_of_longs(self, *numbers: int) -> Entry:
        """Make an entry of 32-bit numbers for the directory."""
        return Entry(LONG, struct.pack(f"{self.order}{len(numbers)}I", *numbers))


def read_tiff_directory(
    data: bytes,
    kinds_by_tag: Mapping[int, frozenset[int]],
    *,
    optional: Container[int] = (),
    start: int | None = None,
) -> TiffDirectory:
    """Read the named tags of one directory, and skip all other entries.

    At most ``MAX_VALUES`` values of each tag are read, so that the file cannot make the result
    large.

    Args:
        data: A file or block that begins with the byte order mark (``II*`` or ``MM*``).
        kinds_by_tag: The tags to read, and the types that each may have.
        optional: Tags that are not required. If an optional tag has no value or a wrong type, it is
            left out of the result. If an optional tag occurs twice, the second one is ignored.
        start: Where the directory begins; None means the first directory of the file.

    Raises:
        UnreadableImage: An entry points outside the data, the directory has more than
            ``MAX_ENTRIES`` entries, or a required tag occurs twice, has no value, or has a wrong
            type.
    """
    order = "<" if data[:1] == b"I" else ">"
    entries: dict[int, Entry] = {}
    try:
        if start is None:
            start = offset_of_first_directory(data)
        (count,) = struct.unpack_from(f"{order}H", data, start)
        if count > MAX_ENTRIES:
            raise UnreadableImage(
                f"The TIFF directory has {count} entries, but at most {MAX_ENTRIES} are read"
            )
        for position in range(start + 2, start + 2 + count * _ENTRY_BYTES, _ENTRY_BYTES):
            tag, kind, length = struct.unpack_from(f"{order}HHI", data, position)
            if tag not in kinds_by_tag:
                continue
            if kind not in kinds_by_tag[tag] or length == 0 or tag in entries:
                if tag in optional:
                    continue
                raise UnreadableImage(
                    "A tag of the TIFF directory occurs twice or has the wrong type"
                )
            entries[tag] = Entry(kind, _read_values_of_entry(data, order, position, kind, length))
    except struct.error as err:
        raise _offset_outside_file_error() from err
    return TiffDirectory(order, entries)


def offset_of_first_directory(data: bytes) -> int:
    """Return the position at which the first directory begins.

    Raises:
        UnreadableImage: The file ends before its first directory.
    """
    return _read_offset_at_position(data, 4)


def offset_of_next_directory(data: bytes, start: int) -> int:
    """Return the position at which the next directory begins; 0 after the last directory.

    Args:
        data: A file or block that begins with the byte order mark.
        start: The position of the previous directory.

    Raises:
        UnreadableImage: The directory at ``start`` is outside the data.
    """
    try:
        (count,) = struct.unpack_from("<H" if data[:1] == b"I" else ">H", data, start)
    except struct.error as err:
        raise _offset_outside_file_error() from err
    end = start + 2 + count * _ENTRY_BYTES
    # Some programs end the file with the last directory, without the offset 0.
    return _read_offset_at_position(data, end) if end + 4 <= len(data) else 0


def _read_offset_at_position(data: bytes, position: int) -> int:
    try:
        (offset,) = struct.unpack_from("<I" if data[:1] == b"I" else ">I", data, position)
    except struct.error as err:
        raise _offset_outside_file_error() from err
    return int(offset)


def _offset_outside_file_error() -> UnreadableImage:
    return UnreadableImage(
        "The TIFF may be incomplete, because its directory points to data outside the file",
        remedy="Copy the file again",
    )


def _read_values_of_entry(data: bytes, order: str, position: int, kind: int, length: int) -> bytes:
    value_bytes = _SIZE_BY_KIND[kind]
    if length * value_bytes <= 4:  # then the values are in the entry, in place of their offset
        offset = position + 8
    else:
        (offset,) = struct.unpack_from(f"{order}I", data, position + 8)
    size = min(length, MAX_VALUES) * value_bytes
    body = data[offset : offset + size]
    if len(body) < size:
        raise _offset_outside_file_error()
    return body


def encode_tiff_directory(directory: TiffDirectory, start: int) -> bytes:
    """Return the bytes of a directory and of its values; no other directory may follow.

    Args:
        directory: The directory to write.
        start: Position of the directory in the file, an even number.
    """
    order, entries = directory
    # The values begin behind the number of entries, the entries and the offset of the next
    # directory, which is 0: there is none.
    values_start = start + 2 + len(entries) * _ENTRY_BYTES + 4
    table = [struct.pack(f"{order}H", len(entries))]
    values = b""
    for tag, (kind, body) in sorted(entries.items()):
        table.append(struct.pack(f"{order}HHI", tag, kind, len(body) // _SIZE_BY_KIND[kind]))
        if len(body) <= 4:
            table.append(body.ljust(4, b"\0"))
        else:
            table.append(struct.pack(f"{order}I", values_start + len(values)))
            values += body + bytes(len(body) % 2)
    return b"".join([*table, bytes(4), values])


def read_exif_orientation(exif: bytes) -> int:
    """Return the orientation in an EXIF block, 1 to 8; 1 (upright) if none can be read.

    A broken EXIF block is not an error, because viewers show the photograph even so.
    """
    if exif[:2] not in {b"II", b"MM"}:
        return UPRIGHT
    try:
        return orientation_of_directory(
            read_tiff_directory(exif, {ORIENTATION: NUMBERS}, optional={ORIENTATION})
        )
    except UnreadableImage:
        return UPRIGHT


def orientation_of_directory(directory: TiffDirectory) -> int:
    """Return the orientation in a directory; upright if it is missing or not from 1 to 8."""
    values = directory.numbers_of_tag(ORIENTATION)
    return values[0] if len(values) == 1 and 1 <= values[0] <= 8 else UPRIGHT
