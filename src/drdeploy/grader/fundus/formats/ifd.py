"""Read and write a TIFF image file directory: the header of a TIFF file, the body of an EXIF block.

Layout and tag numbers: TIFF revision 6.0 (Adobe, 1992), section 2.
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
"""Real TIFF files have about 20 entries; a hostile one may have 65,535."""
MAX_VALUES = 65_536
"""Values that are read of one entry. The longest that a photograph needs are the offsets of its
strips or tiles, one for each."""

BYTE, SHORT, LONG, RATIONAL, UNDEFINED = 1, 3, 4, 5, 7
NUMBERS = frozenset({BYTE, SHORT, LONG})
"""Types of whole numbers without a sign."""

_SIZE_BY_KIND = {BYTE: 1, SHORT: 2, LONG: 4, RATIONAL: 8, UNDEFINED: 1}
_CODE_BY_KIND = {BYTE: "B", SHORT: "H", LONG: "I"}
_ENTRY_BYTES = 12


class Entry(NamedTuple):
    """The values of one tag.

    Attributes:
        kind: Their type, by its number in the specification.
        body: The values in the file's byte order.
    """

    kind: int
    body: bytes


class Directory(NamedTuple):
    """The entries of an image file directory.

    Attributes:
        order: The file's byte order, as :mod:`struct` writes it: ``<`` or ``>``.
        entries: By tag.
    """

    order: str
    entries: Mapping[int, Entry]

    def numbers(self, tag: int) -> tuple[int, ...]:
        """Return the whole numbers of a tag; empty if it is not there."""
        entry = self.entries.get(tag)
        if entry is None:
            return ()
        count = len(entry.body) // _SIZE_BY_KIND[entry.kind]
        return struct.unpack(f"{self.order}{count}{_CODE_BY_KIND[entry.kind]}", entry.body)

    def number(self, tag: int, default: int) -> int:
        """Return the first number of a tag, or the default if it is not there."""
        return next(iter(self.numbers(tag)), default)

    def longs(self, *numbers: int) -> Entry:
        """Make an entry of 32-bit numbers for this directory."""
        return Entry(LONG, struct.pack(f"{self.order}{len(numbers)}I", *numbers))


def read_directory(
    data: bytes, kinds_by_tag: Mapping[int, frozenset[int]], *, optional: Container[int] = ()
) -> Directory:
    """Read the named tags of the first directory; all other entries are passed over unread.

    At most ``MAX_VALUES`` of each tag are read, so that the result's size does not depend on what
    the file claims.

    Args:
        data: Begins with the byte order mark (``II*`` or ``MM*``).
        kinds_by_tag: The tags to read, and the types that each may have.
        optional: Those among them that are left out where they cannot be used.

    Raises:
        UnreadableImage: An entry points outside the data, there are more than ``MAX_ENTRIES``, or
            a tag that is not optional is there twice, without a value, or of another type.
    """
    order = "<" if data[:1] == b"I" else ">"
    entries: dict[int, Entry] = {}
    try:
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, start)
        if count > MAX_ENTRIES:
            raise UnreadableImage(f"The TIFF directory has {count} entries")
        for position in range(start + 2, start + 2 + count * _ENTRY_BYTES, _ENTRY_BYTES):
            tag, kind, length = struct.unpack_from(f"{order}HHI", data, position)
            if tag not in kinds_by_tag:
                continue
            if kind not in kinds_by_tag[tag] or length == 0 or tag in entries:
                if tag in optional:
                    continue
                raise UnreadableImage(
                    "The TIFF directory is ambiguous: a tag occurs twice or is of a wrong type"
                )
            entries[tag] = Entry(kind, _body(data, order, position, kind, length))
    except struct.error as err:
        raise UnreadableImage("The TIFF directory points outside the file") from err
    return Directory(order, entries)


def _body(data: bytes, order: str, position: int, kind: int, length: int) -> bytes:
    value_bytes = _SIZE_BY_KIND[kind]
    if length * value_bytes <= 4:  # then the values stand in the entry, in place of their offset
        offset = position + 8
    else:
        (offset,) = struct.unpack_from(f"{order}I", data, position + 8)
    size = min(length, MAX_VALUES) * value_bytes
    body = data[offset : offset + size]
    if len(body) < size:
        raise UnreadableImage("The TIFF directory points outside the file")
    return body


def directory_bytes(directory: Directory, start: int) -> bytes:
    """Return a directory as it stands in a file, followed by its values; no other follows it.

    Args:
        directory: With the entries to write.
        start: Where in the file it will stand; even.
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


def exif_orientation(exif: bytes) -> int:
    """Return the orientation in an EXIF block, 1 to 8; upright if it has none or is broken.

    A photograph with a broken EXIF block is readable all the same: every viewer shows it.
    """
    if exif[:2] not in {b"II", b"MM"}:
        return UPRIGHT
    try:
        return orientation(read_directory(exif, {ORIENTATION: NUMBERS}, optional={ORIENTATION}))
    except UnreadableImage:
        return UPRIGHT


def orientation(directory: Directory) -> int:
    """Return the orientation that a directory names; upright if it is not one of the eight."""
    values = directory.numbers(ORIENTATION)
    return values[0] if len(values) == 1 and 1 <= values[0] <= 8 else UPRIGHT
