"""Decode images that are sent as text: in base64, or as a ``data:`` URL."""

from __future__ import annotations

import binascii
from base64 import b64encode, urlsafe_b64encode
from typing import Final

from drdeploy.errors import MalformedRequest
from drdeploy.grader.fundus.decode import SIGNATURES

_DATA_URL: Final = b"data:"
_HEAD_BYTES: Final = 256
"""The largest number of bytes of a ``data:`` URL before its comma; usually about thirty."""
_BEGINNINGS: Final = tuple(
    encode(signature[:3]) for signature in SIGNATURES for encode in (b64encode, urlsafe_b64encode)
)
"""The first four characters of an image in base64, which encode the first three bytes of its
file."""
_IMAGE_URLS: Final = (b"data:image/", b"data:application/octet-stream;", b"data:;base64,")
_BASE64_CHARACTERS: Final = bytes.maketrans(b"-_", b"+/")
"""Translates the base64 alphabet for URLs and file names into the usual alphabet. The two alphabets
differ in two characters (RFC 4648, section 5).
"""
_ESCAPES: Final = tuple(
    (escape, character)
    for character in (b"+", b"/", b"=")
    for escape in (b"%%%02X" % ord(character), b"%%%02x" % ord(character))
)
"""The percent escapes of the three special characters of base64. No other percent escape is
decoded, because decoding all of them would create many small objects.
"""


def begins_like_encoded_image(text: bytes) -> bool:
    """Return whether a string begins like an image in base64 or like its ``data:`` URL."""
    beginning = text[:_HEAD_BYTES].lstrip().removeprefix(b"b'")
    return beginning.startswith(_BEGINNINGS) or beginning.lower().startswith(_IMAGE_URLS)


def decode_base64_text(text: bytes) -> bytes:
    r"""Return the bytes that a string encodes in base64.

    Line breaks are ignored, because MIME wraps lines after 76 characters. A text like ``b'…'``, as
    Python prints bytes, is accepted too. RFC 4648 has two alphabets for base64, and both are
    accepted. The padding may be missing.

    Raises:
        MalformedRequest: The text is not base64, or is a ``data:`` URL without base64.
    """
    text = text.translate(_BASE64_CHARACTERS, b"\r\n").strip()
    if text.startswith(b"b'") and text.endswith(b"'"):
        text = text[2:-1]
    if text[:5].lower() == _DATA_URL:
        text = _extract_base64_of_data_url(text)
    text = text.removesuffix(b"=").removesuffix(b"=")
    try:
        return binascii.a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)
    except binascii.Error as err:
        raise _make_not_base64_error(text) from err


def _extract_base64_of_data_url(text: bytes) -> bytes:
    """Return the base64 in a ``data:`` URL (RFC 2397), which may escape ``+``, ``/`` and ``=``."""
    head, comma, content = text[:_HEAD_BYTES].partition(b",")
    if not comma or not head.lower().endswith(b";base64"):
        raise MalformedRequest(
            "A `data:` URL in the request is not in base64",
            remedy="Send data:image/jpeg;base64,BASE64",
        )
    content = text[len(head) + 1 :]
    for escape, character in _ESCAPES:
        content = content.replace(escape, character)
    return content


def _make_not_base64_error(text: bytes) -> MalformedRequest:
    scheme = text[:8].lower()
    if scheme.startswith((b"http:", b"https:", b"s3:", b"gs:", b"file:")):
        return MalformedRequest(
            "The server does not fetch images from an address",
            remedy="Send the bytes of the image in base64",
        )
    if b" " in text:
        return MalformedRequest(
            "A string that should be an image in base64 contains spaces",
            remedy="Send the text without spaces; in a form or URL, write each + as %2B",
        )
    return MalformedRequest(
        "A string that should be an image is not base64", remedy="Send the whole file in base64"
    )
