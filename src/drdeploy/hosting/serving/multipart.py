"""Reads the images of a ``multipart/form-data`` body (RFC 7578).

The first request with such a body imports this module, and with it the parser.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from drdeploy.errors import MalformedRequest, PayloadTooLarge

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks


def files_of(content_type: str, body: bytes, *, max_parts: int) -> list[bytes]:
    """Return the contents of the parts, in order; the size of the body is checked already.

    Raises:
        MalformedRequest: There is no boundary, or the body does not follow it.
        PayloadTooLarge: There are more than ``max_parts`` parts.
    """
    boundary = parse_options_header(content_type.encode("latin-1"))[1].get(b"boundary")
    if not boundary:
        raise MalformedRequest("The multipart Content-Type names no boundary")
    parts = _Parts(max_parts)
    try:
        parser = MultipartParser(boundary, parts.callbacks())
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as err:
        raise MalformedRequest("The multipart body does not follow its boundary") from err
    return parts.finished()


class _Parts:
    """Collects the parts that the parser finds."""

    def __init__(self, max_parts: int) -> None:
        self._max_parts = max_parts
        self._parts: list[bytearray] = []
        self._is_complete = False

    def callbacks(self) -> MultipartCallbacks:
        return {"on_part_begin": self._begin, "on_part_data": self._data, "on_end": self._end}

    def finished(self) -> list[bytes]:
        if not self._is_complete:
            raise MalformedRequest("The multipart body ends before its last boundary")
        return [bytes(part) for part in self._parts]

    def _begin(self) -> None:
        if len(self._parts) >= self._max_parts:
            raise PayloadTooLarge(f"The request holds more than {self._max_parts} images")
        self._parts.append(bytearray())

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._parts[-1] += data[start:end]

    def _end(self) -> None:
        self._is_complete = True
