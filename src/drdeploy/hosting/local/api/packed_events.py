"""Keep the lines of a log stream compressed, because a server writes a line for each request.

moto keeps an object for each line, with a dictionary and the whole text: 0.6 kB of memory for a
line of a model server.  This module keeps only the newest lines in that form. Older lines are kept
in compressed blocks, which need less than a tenth of the memory.
"""

from __future__ import annotations

import threading
import zlib
from typing import TYPE_CHECKING, Any, Self

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LINES_PER_BLOCK = 1000


class LogLineEvent(msgspec.Struct, array_like=True, frozen=True):
    """A line of a log stream, with the methods that moto expects of an event.

    Attributes:
        event_id: A number that identifies the line among the lines of all streams. A later line has
            a larger number.
        timestamp: When the line was written, in milliseconds since 1970.
        ingestion_time: When the line was read, in milliseconds since 1970.
        message: The line.
    """

    event_id: int
    timestamp: Any  # moto does not check what a client of PutLogEvents sends
    ingestion_time: int
    message: Any

    def to_filter_dict(self) -> dict[str, Any]:
        """Return the event in the format of ``FilterLogEvents``, without the name of the stream."""
        return {"eventId": str(self.event_id), **self.to_response_dict()}

    def to_response_dict(self) -> dict[str, Any]:
        """Return the event in the format of ``GetLogEvents``."""
        return {
            "ingestionTime": self.ingestion_time,
            "message": self.message,
            "timestamp": self.timestamp,
        }


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[LogLineEvent]).decode


class EventBlock:
    """A block of compressed lines.

    Attributes:
        count: The number of lines.
        newest: The latest timestamp of a line, in milliseconds since 1970.
    """

    __slots__ = ("_packed", "count", "newest")

    def __init__(self, events: list[LogLineEvent]) -> None:
        self.count = len(events)
        self.newest = max(event.timestamp for event in events)
        self._packed = zlib.compress(_encode(events))

    def unpack(self) -> list[LogLineEvent]:
        """Return the lines."""
        return _decode(zlib.decompress(self._packed))


class PackedEvents:
    """The lines of a stream, oldest first; threads may add lines while others read them."""

    def __init__(self) -> None:
        self._blocks: list[EventBlock] = []
        self._newest: list[LogLineEvent] = []
        self._lock = threading.Lock()

    def __iadd__(self, events: Iterable[Any]) -> Self:
        """Append moto's events."""
        with self._lock:
            self._newest += [
                LogLineEvent(one.event_id, one.timestamp, one.ingestion_time, one.message)
                for one in events
            ]
            while len(self._newest) >= 2 * LINES_PER_BLOCK:
                self._blocks.append(EventBlock(self._newest[:LINES_PER_BLOCK]))
                del self._newest[:LINES_PER_BLOCK]
        return self

    def __iter__(self) -> Iterator[LogLineEvent]:
        with self._lock:
            blocks, newest = tuple(self._blocks), tuple(self._newest)
        for block in blocks:
            yield from block.unpack()
        yield from newest

    def __len__(self) -> int:
        with self._lock:
            return self._count()

    def keep_newest(self, count: int) -> None:
        """Drop the oldest lines in whole blocks, but keep at least the newest ``count`` lines."""
        with self._lock:
            while self._blocks and self._count() - self._blocks[0].count >= count:
                del self._blocks[0]

    def drop_older_than(self, oldest_ms: float) -> None:
        """Drop the lines that were written before a time, in milliseconds since 1970."""
        with self._lock:
            blocks = []
            for block in self._blocks:
                events = block.unpack() if block.newest >= oldest_ms else []
                kept = [one for one in events if one.timestamp >= oldest_ms]
                if kept:
                    blocks.append(block if len(kept) == block.count else EventBlock(kept))
            self._blocks = blocks
            self._newest = [one for one in self._newest if one.timestamp >= oldest_ms]

    def _count(self) -> int:
        return sum(block.count for block in self._blocks) + len(self._newest)


def make_stream_class(base: Any) -> Any:
    """Return a class that moto uses for log streams, and that keeps the lines compressed.

    Args:
        base: moto's own class.
    """

    class StreamOfPackedEvents(base):  # type: ignore[misc]  # moto has no types
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.events: Any = PackedEvents()

    return StreamOfPackedEvents
