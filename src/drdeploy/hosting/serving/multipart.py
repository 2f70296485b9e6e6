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


MAX_FIELDS = 32
"""Fields of a form beside its images; real ones have a few."""


def files_of(content_type: str, body: bytes, *, max_parts: int) -> list[bytes]:
    """Return the contents of the parts that are files, in order.

    A form's text fields are passed over: they name no file (RFC 7578, section 4.2) and have no
    image's type.  The size of the body is checked already.

    Raises:
        MalformedRequest: There is no boundary, or the body does not follow it.
        PayloadTooLarge: There are more than ``max_parts`` files, or ``MAX_FIELDS`` fields.
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
    """Collects the files among the parts that the parser finds."""

    def __init__(self, max_parts: int) -> None:
        self._max_parts = max_parts
        self._files: list[bytearray] = []
        self._fields = 0
        self._name = self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._file: bytearray | None = None
        self._is_complete = False

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_end": self._end,
        }

    def finished(self) -> list[bytes]:
        if not self._is_complete:
            raise MalformedRequest("The multipart body ends before its last boundary")
        return [bytes(file) for file in self._files]

    def _begin(self) -> None:
        self._headers = {}
        self._file = None

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _headers_finished(self) -> None:
        if _is_field(self._headers):
            self._fields += 1
            if self._fields > MAX_FIELDS:
                raise PayloadTooLarge(f"The form holds more than {MAX_FIELDS} fields")
            return
        if len(self._files) >= self._max_parts:
            raise PayloadTooLarge(f"The request holds more than {self._max_parts} images")
        self._file = bytearray()
        self._files.append(self._file)

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file += data[start:end]

    def _end(self) -> None:
        self._is_complete = True


def _is_field(headers: dict[bytes, bytes]) -> bool:
    """Whether a part is a field of the form; one that does not say so is a file."""
    disposition = headers.get(b"content-disposition")
    if disposition is None or b"filename" in parse_options_header(disposition)[1]:
        return False
    media_type = headers.get(b"content-type", b"").strip().lower()
    return not media_type.startswith((b"image/", b"application/octet-stream", b"application/x-im"))
