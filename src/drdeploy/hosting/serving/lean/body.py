"""Extract the body of a request from the bytes of a connection (RFC 9112, sections 6 and 7)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from drdeploy.errors import HeadersTooLarge, MalformedRequest, PayloadTooLarge

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.hosting.serving.budgets import Budgets

_CHUNK_SIZE = re.compile(rb"0*([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")
_CHUNK_END = re.compile(rb"\r?\n")


class BodyReader(Protocol):
    """Separates the body of a request from the bytes that follow the body.

    Attributes:
        is_complete: Whether the end of the body has been found.
    """

    is_complete: bool

    def take_body_and_return_rest(self, data: bytes, take: Callable[[bytes], None]) -> bytes:
        """Pass the bytes that belong to the body to ``take``, and return the bytes after the body.

        Raises:
            RequestRefused: The body is malformed, or exceeds a limit.
        """


class SizedBody:
    """A body whose length is in the headers."""

    def __init__(self, length: int) -> None:
        self._left = length
        self.is_complete = length == 0

    def take_body_and_return_rest(self, data: bytes, take: Callable[[bytes], None]) -> bytes:
        """See :meth:`BodyReader.take_body_and_return_rest`."""
        piece = data[: self._left]
        self._left -= len(piece)
        self.is_complete = not self._left
        take(piece)
        return data[len(piece) :]


class ChunkedBody:
    """A body in chunked transfer coding.

    All chunks that arrive in one read are joined. A chunk may consist of one byte. If each chunk
    were an object of its own, these objects would take thirty times the memory of the body.
    """

    def __init__(self, budgets: Budgets) -> None:
        self.is_complete = False
        self._budgets = budgets
        self._chunks = 0
        self._left = 0
        self._is_in_trailers = False
        self._is_after_data = False
        self._partial_line = b""
        self._framing_bytes = 0

    def take_body_and_return_rest(self, data: bytes, take: Callable[[bytes], None]) -> bytes:
        """See :meth:`BodyReader.take_body_and_return_rest`."""
        if self._partial_line:
            data, self._partial_line = self._partial_line + data, b""
        pieces = bytearray()
        place = 0
        while place < len(data) and not self.is_complete:
            if self._left:
                place = self._read_chunk_data(data, place, pieces)
            elif end := data.find(b"\n", place) + 1:
                self._read_framing_line(data, place, end)
                place = end
            else:
                self._keep_partial_line(data[place:])
                place = len(data)
        if pieces:
            take(bytes(pieces))
        return data[place:]

    def _read_chunk_data(self, data: bytes, start: int, pieces: bytearray) -> int:
        """Read the part of a chunk that has arrived, and return the position after this part."""
        end = start + self._left
        pieces += data[start:end]
        self._framing_bytes = 0
        if end >= len(data):
            self._left = end - len(data)
            self._is_after_data = not self._left
            return len(data)
        self._left = 0
        if data.startswith(b"\r\n", end):  # nearly always, and a line less to read
            return end + 2
        self._is_after_data = True
        return end

    def _keep_partial_line(self, partial_line: bytes) -> None:
        if self._framing_bytes + len(partial_line) > self._budgets.framing_bytes:
            raise self._make_framing_error()
        self._partial_line = partial_line

    def _read_framing_line(self, data: bytes, start: int, end: int) -> None:
        self._framing_bytes += end - start
        if self._framing_bytes > self._budgets.framing_bytes:
            raise self._make_framing_error()
        if self._is_after_data:
            if not _CHUNK_END.fullmatch(data, start, end):
                raise MalformedRequest("A chunk is longer than its declared size")
            self._is_after_data = False
        elif self._is_in_trailers:
            # Trailers are discarded, as RFC 9112 (7.1.2) allows: none may become a header.
            self.is_complete = bool(_CHUNK_END.fullmatch(data, start, end))
        else:
            self._read_chunk_size(data, start, end)

    def _read_chunk_size(self, data: bytes, start: int, end: int) -> None:
        line = _CHUNK_SIZE.fullmatch(data, start, end)
        if line is None:
            raise MalformedRequest("The size of a chunk is not a number, or it is too large")
        self._left = int(line[1], 16)
        self._is_in_trailers = not self._left
        if self._left > self._budgets.body_bytes:
            raise PayloadTooLarge(f"The body is larger than {self._budgets.body_bytes} bytes")
        self._chunks += 1
        if self._chunks > self._budgets.body_chunks:
            raise PayloadTooLarge(
                f"The body has more than {self._budgets.body_chunks} chunks",
                remedy="Send larger chunks",
            )

    def _make_framing_error(self) -> HeadersTooLarge:
        return HeadersTooLarge(
            f"Chunk extensions or trailers are longer than {self._budgets.framing_bytes} bytes"
        )
