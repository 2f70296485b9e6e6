"""Images in a ``multipart/form-data`` body; imported by the first request that has one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from drdeploy.errors import MalformedRequest, PayloadTooLarge

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks


def files_of(content_type: str, body: bytes, *, max_parts: int) -> list[bytes]:
    """The contents of the parts, in order.  The body is bounded already.

    Raises:
        MalformedRequest: No boundary, or a body that does not follow it.
        PayloadTooLarge: More than ``max_parts`` parts.
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
    """Collects what the parser finds, within bounds."""

    def __init__(self, max_parts: int) -> None:
        self._max_parts = max_parts
        self._parts: list[bytearray] = []
        self._is_complete = False

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_part_data": self._data,
            "on_end": self._end,
        }

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
