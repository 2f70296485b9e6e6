"""Read the images in a ``multipart`` body (RFC 2046), which is usually a form (RFC 7578).

This module and its parser are imported when the first multipart request arrives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from drdeploy.errors import EmptyBody, MalformedRequest, PayloadTooLarge
from drdeploy.grader.fundus.decode import SIGNATURES
from drdeploy.hosting.serving.encoded_text import begins_like_encoded_image, decode_base64_text
from drdeploy.hosting.serving.media_types import BINARY_TYPES

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

    from drdeploy.hosting.serving.budgets import Budgets

_LONGEST_BOUNDARY = 70
"""The largest length of a boundary (RFC 2046, section 5.1.1)."""


def extract_images_from_multipart(content_type: str, body: bytes, budgets: Budgets) -> list[bytes]:
    """Return the contents of all parts that are images, in order.

    Text fields and empty file fields of the form are skipped.  The caller must have checked the
    size of the body.

    Raises:
        EmptyBody: A file sent with the form is empty.
        MalformedRequest: No boundary was found, or the boundary does not separate the parts of the
            body.
        PayloadTooLarge: There are more images or fields than the budgets allow.
    """
    parts = _MultipartImages(budgets)
    try:
        parser = MultipartParser(_find_boundary(content_type, body), parts.make_parser_callbacks())
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as err:
        raise MalformedRequest(
            "The parts of the multipart body are not separated by the boundary in its Content-Type"
        ) from err
    return parts.require_complete_images()


def _find_boundary(content_type: str, body: bytes) -> bytes:
    """Return the boundary between parts from the Content-Type, or else from the body's first line.

    A Content-Type that a user writes by hand often lacks the boundary.
    """
    named = parse_options_header(content_type.encode("latin-1"))[1].get(b"boundary")
    if named:
        return named
    first_line = body[: 2 + _LONGEST_BOUNDARY + 2].partition(b"\r\n")
    if not (first_line[0].startswith(b"--") and first_line[0] != b"--" and first_line[1]):
        raise MalformedRequest(
            "The Content-Type of the multipart request names no boundary",
            remedy="Let your HTTP library set the Content-Type",
        )
    return first_line[0][2:]


class _MultipartImages:
    """Collects the images among the parts that the parser finds."""

    def __init__(self, budgets: Budgets) -> None:
        self._budgets = budgets
        self._images: list[bytes] = []
        self._fields = 0
        self._name = self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._content = bytearray()
        self._is_complete = False

    def make_parser_callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._on_part_begin,
            "on_header_field": self._on_header_name,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_body_end,
        }

    def require_complete_images(self) -> list[bytes]:
        if not self._is_complete:
            raise MalformedRequest("The multipart body ends before its last boundary")
        return self._images

    def _on_part_begin(self) -> None:
        self._headers = {}
        self._content = bytearray()

    def _on_header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._content += data[start:end]

    def _on_part_end(self) -> None:
        content = bytes(self._content)
        if not _is_image_part(self._headers, content):
            self._fields += 1
            if self._fields > self._budgets.form_fields:
                raise PayloadTooLarge(
                    f"The form has more than {self._budgets.form_fields} fields besides the images"
                )
            return
        if not content:
            raise EmptyBody("A file sent with the form is empty", remedy="Send the whole file")
        if len(self._images) >= self._budgets.images:
            raise PayloadTooLarge(f"The request contains more than {self._budgets.images} images")
        self._images.append(
            decode_base64_text(content) if begins_like_encoded_image(content) else content
        )

    def _on_body_end(self) -> None:
        self._is_complete = True


def _is_image_part(headers: dict[bytes, bytes], content: bytes) -> bool:
    """Return whether a part of the form is a file that should be an image, and not a field."""
    if content.startswith(SIGNATURES) or begins_like_encoded_image(content):
        return True
    media_type = (
        headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
    )
    file_name = parse_options_header(headers.get(b"content-disposition", b""))[1].get(b"filename")
    if not (content or file_name):
        return False  # a file field that was left empty
    if media_type.startswith("image/") or media_type in BINARY_TYPES:
        return True
    # Browsers call an object that a script adds to a form "blob", for example metadata as JSON.
    return file_name is not None and not (file_name == b"blob" and media_type)
