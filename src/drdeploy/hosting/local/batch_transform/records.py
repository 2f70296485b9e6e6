"""Split the objects of a transform job into records, and pack the records into payloads.

Sources: API reference, ``TransformInput`` (``SplitType``) and ``CreateTransformJob``
(``BatchStrategy``, ``MaxPayloadInMB``); "Create a Dataset Using RecordIO" of MXNet; "TFRecord" of
TensorFlow. The frame of a record is the length and the checksums that RecordIO or TFRecord stores
with the record. With ``SingleRecord``, a record is sent without its frame. With ``MultiRecord``,
records keep their frames. If records are lines, each keeps its line feed.

Objects are read in chunks, so that only the payloads in progress are in memory.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from drdeploy.units import GIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

RECORDIO_MAGIC = 0xCED7230A
HELD_BYTES_MAX = GIB
"""The largest number of bytes of one request, or of one object's output, that the local service
holds.
"""
RECORDS_MAX = 1_000_000
"""The largest number of records in progress for one instance, in all its payloads together. Each
record takes about 50 bytes of memory in addition to its content. Without this limit, a gigabyte of
empty lines, which gzip packs into a megabyte, would take 20 GB.
"""
_WHOLE, _BEGIN, _MIDDLE, _END = range(4)
_RECORDIO_LENGTH_BITS = 29


class RecordFailure(Exception):
    """An input object cannot be transformed; the message is for the job's log.

    Attributes:
        is_of_client: Whether the data caused the failure. If not, the container or the local
            service caused it.
    """

    def __init__(self, message: str, *, is_of_client: bool = True) -> None:
        super().__init__(message)
        self.is_of_client = is_of_client


def decompress_chunks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content of a gzip file. The file may consist of several gzip members.

    Raises:
        RecordFailure: The file is not gzip, or is truncated.
    """
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)
    is_empty = True
    try:
        for chunk in chunks:
            rest = chunk
            while rest:
                if decoder.eof:
                    decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)
                is_empty = False
                # A megabyte at a time, because a small gzip file can expand to a thousand times its
                # size.
                data = decoder.decompress(rest, MIB)
                rest = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
                if data:
                    yield data
    except zlib.error as err:
        raise RecordFailure(f"the object is not a gzip file ({err})") from err
    if not is_empty and not decoder.eof:
        raise RecordFailure("the gzip file is truncated")


def pack_payloads(
    chunks: Iterable[bytes],
    split_type: str,
    *,
    has_many: bool,
    max_bytes: int | None,
    max_records: int = RECORDS_MAX,
) -> Iterator[list[bytes]]:
    """Yield the payloads of an object, each as a list of records.

    Args:
        chunks: The content of the object.
        split_type: ``None``, ``Line``, ``RecordIO`` or ``TFRecord``.
        has_many: Whether a payload holds as many records as fit (``MultiRecord``). If not, it holds
            one record.
        max_bytes: The largest allowed size of a payload; None means ``HELD_BYTES_MAX``.
        max_records: The largest number of records that a payload may have.

    Raises:
        RecordFailure: A record is larger than a payload may be, or the object is malformed.
    """
    max_bytes = HELD_BYTES_MAX if max_bytes is None else max_bytes
    if split_type == "None":
        yield [_read_whole_object(chunks, max_bytes)]
        return
    batch: list[bytes] = []
    size = 0
    for record in _split_records(chunks, split_type, has_frames=has_many, max_bytes=max_bytes):
        is_full = size + len(record) > max_bytes or len(batch) >= max_records
        if batch and (not has_many or is_full):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += len(record)
    if batch:
        yield batch


def _read_whole_object(chunks: Iterable[bytes], max_bytes: int) -> bytes:
    data = bytearray()
    for chunk in chunks:
        data += chunk
        _refuse_large_record(len(data), max_bytes)
    return bytes(data)


def _refuse_large_record(length_bytes: int, max_bytes: int) -> None:
    if length_bytes <= max_bytes:
        return
    if max_bytes == HELD_BYTES_MAX:
        raise RecordFailure(
            f"a record has more than {max_bytes} bytes, which is the most that the service can hold"
        )
    raise RecordFailure(f"a record is larger than MaxPayloadInMB ({max_bytes} bytes)")


def _split_records(
    chunks: Iterable[bytes], split_type: str, *, has_frames: bool, max_bytes: int
) -> Iterator[bytes]:
    if split_type == "Line":
        return _split_lines(chunks, max_bytes)
    reader = _ChunkReader(chunks, max_bytes)
    if split_type == "TFRecord":
        return _split_tfrecord(reader, has_frames=has_frames)
    return _split_recordio(reader, has_frames=has_frames, max_bytes=max_bytes)


def _split_lines(chunks: Iterable[bytes], max_bytes: int) -> Iterator[bytes]:
    pending = bytearray()
    for chunk in chunks:
        begin = 0
        while (end := chunk.find(b"\n", begin)) >= 0:
            line = bytes(pending) + chunk[begin : end + 1]
            pending.clear()
            begin = end + 1
            _refuse_large_record(len(line), max_bytes)
            if line.strip(b"\r\n"):
                yield line
        pending += chunk[begin:]
        _refuse_large_record(len(pending), max_bytes)
    if pending.strip(b"\r\n"):
        yield bytes(pending)


def _split_tfrecord(reader: _ChunkReader, *, has_frames: bool) -> Iterator[bytes]:
    # Length (8 bytes), its checksum (4 bytes), data, checksum of the data (4 bytes).
    while head := reader.read_exactly_or_nothing(12):
        (length,) = struct.unpack("<Q", head[:8])
        data = reader.read_exactly(length)
        tail = reader.read_exactly(4)
        yield head + data + tail if has_frames else data


def _split_recordio(reader: _ChunkReader, *, has_frames: bool, max_bytes: int) -> Iterator[bytes]:
    framed, parts = bytearray(), bytearray()
    while head := reader.read_exactly_or_nothing(8):
        magic, word = struct.unpack("<II", head)
        if magic != RECORDIO_MAGIC:
            raise RecordFailure("the object is not in the format RecordIO")
        flag, length = word >> _RECORDIO_LENGTH_BITS, word & ((1 << _RECORDIO_LENGTH_BITS) - 1)
        if (flag in {_WHOLE, _BEGIN}) == bool(framed):
            raise RecordFailure("the parts of a RecordIO record of the object are not in order")
        data = reader.read_exactly(length)
        framed += head + data + reader.read_exactly(-length % 4)
        # If a record contains the magic number, RecordIO cuts the record there and leaves the
        # number out.
        parts += data if flag in {_WHOLE, _BEGIN} else struct.pack("<I", magic) + data
        _refuse_large_record(len(framed if has_frames else parts), max_bytes)
        if flag in {_WHOLE, _END}:
            yield bytes(framed if has_frames else parts)
            framed.clear()
            parts.clear()
    if framed:
        raise RecordFailure("the last record of the object is truncated")


class _ChunkReader:
    """Reads an exact number of bytes from a sequence of chunks."""

    def __init__(self, chunks: Iterable[bytes], max_bytes: int) -> None:
        self._chunks = iter(chunks)
        self._max_bytes = max_bytes
        self._pending = bytearray()

    def read_exactly(self, count: int) -> bytes:
        _refuse_large_record(count, self._max_bytes)
        data = self.read_exactly_or_nothing(count)
        if len(data) < count:
            raise RecordFailure("the last record of the object is truncated")
        return data

    def read_exactly_or_nothing(self, count: int) -> bytes:
        """Return the next ``count`` bytes, or no bytes at the end of the object."""
        while len(self._pending) < count:
            chunk = next(self._chunks, None)
            if chunk is None:
                if self._pending:
                    raise RecordFailure("the last record of the object is truncated")
                return b""
            self._pending += chunk
        data = bytes(self._pending[:count])
        del self._pending[:count]
        return data
