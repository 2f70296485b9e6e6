"""Find out where the body of a request ends, and refuse ambiguous requests.

Python's ``http.server`` reads headers as if they were those of an e-mail. It joins folded lines,
drops all lines after a malformed line, and does not check for repeated headers. Another program may
therefore read the same request differently.
"""

from __future__ import annotations

import re
from email.errors import (
    FirstHeaderLineIsContinuationDefect,
    InvalidHeaderDefect,
    MisplacedEnvelopeHeaderDefect,
    MissingHeaderBodySeparatorDefect,
)
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from email.message import Message
    from io import BufferedIOBase

_HEADER_DEFECTS = (
    FirstHeaderLineIsContinuationDefect,
    InvalidHeaderDefect,
    MisplacedEnvelopeHeaderDefect,
    MissingHeaderBodySeparatorDefect,
)
"""The defects that the standard library records for malformed header lines. By itself, the library
only drops the rest of the headers. For example, if Content-Length had a space before its colon, the
body would be read as the next request.
"""


class MalformedHttp(ValueError):
    """A request that two programs may read differently; the message is for the client."""


class HeaderLines:
    """Reads the lines of headers and chunks, and refuses a carriage return within a line.

    The standard library treats a carriage return as the end of a line, and other programs do not. A
    client could therefore hide a header with another body length in the value of a harmless header.

    Args:
        file: The file from which the client's bytes are read.
        place: The part of the request that the lines belong to, for messages.
    """

    def __init__(self, file: BufferedIOBase, place: str = "the headers") -> None:
        self._file = file
        self._place = place

    def readline(self, limit: int = -1) -> bytes:
        """Return the next line.

        Raises:
            MalformedHttp: The line has a carriage return before its end.
        """
        line = self._file.readline(limit)
        if b"\r" in line.removesuffix(b"\n").removesuffix(b"\r"):
            raise MalformedHttp(f"A line of {self._place} has a carriage return before its end")
        return line

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes; used to read and discard what is left of a refused request."""
        return self._file.read(size)


def read_body_length(headers: Message, version: str) -> int | None:
    """Return the length that the headers state for the body; None if the body is chunked.

    A request must say clearly where its body ends and for which host it is (RFC 9112, sections 3.2,
    5 and 6). Any other request is refused. The model server (:mod:`drdeploy.hosting.serving`) has
    the same rules.

    Raises:
        MalformedHttp: The headers are ambiguous.
    """
    has_defect = any(isinstance(defect, _HEADER_DEFECTS) for defect in headers.defects)
    if has_defect or headers.get_unixfrom():
        raise MalformedHttp("Each header line must consist of a name, a colon and a value")
    if any(character in value for value in headers.values() for character in "\r\n\0"):
        raise MalformedHttp("The value of a header has a line break or a null character")
    hosts, lengths, codings = (
        headers.get_all(name) or [] for name in ("Host", "Content-Length", "Transfer-Encoding")
    )
    if len(hosts) > 1 or (not hosts and version == "HTTP/1.1"):
        raise MalformedHttp("The request must have one Host header")
    if len(lengths) > 1 or (lengths and codings):
        raise MalformedHttp("The headers state more than one body length")
    if not codings:
        return parse_body_length(lengths[0].strip()) if lengths else 0
    if [coding.strip().lower() for coding in codings] != ["chunked"] or version == "HTTP/1.0":
        raise MalformedHttp(
            "The service accepts only the Transfer-Encoding chunked, and only in HTTP/1.1"
        )
    return None


def parse_body_length(text: str, base: int = 10) -> int:
    """Read a length that consists only of digits; ``int`` would also accept "-5".

    Raises:
        MalformedHttp: The text does not consist of 1 to 15 digits.
    """
    digits = r"[0-9]{1,15}" if base == 10 else r"[0-9A-Fa-f]{1,15}"
    if not re.fullmatch(digits, text):
        raise MalformedHttp(f"{text[:20]!r} is not a valid body length")
    return int(text, base)
