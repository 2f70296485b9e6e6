"""Read the images in a JSON body, in the shapes that clients of model servers send.

This module is imported only when a body arrives that is neither an image file nor ``multipart``, so
that the server starts faster.
"""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Any, Final

import msgspec

from drdeploy.errors import MalformedRequest, PayloadTooLarge
from drdeploy.hosting.serving.encoded_text import begins_like_encoded_image, decode_base64_text

if TYPE_CHECKING:
    from drdeploy.hosting.serving.budgets import Budgets

NAMES: Final[tuple[str, ...]] = ("instances", "inputs", "images", "image", "data", "b64")
"""The names of the JSON members that may hold images.

The names are those of TensorFlow Serving, Vertex AI, Hugging Face, the Open Inference Protocol, and
servers written by hand.
"""

_DEEPEST: Final = 6
"""How many lists and objects may enclose an image. In ``{"images": [{"image": {"b64": …}}]}``, four
of them enclose the image.
"""
_REMEDY: Final = 'Send ["BASE64"] or {"instances": [{"b64": "BASE64"}]}'
_BYTE_ORDER_MARKS: Final = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def begins_like_json(body: bytes) -> bool:
    """Return whether a body begins like a JSON list or object."""
    beginning = body[:256]
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if beginning.startswith(mark):
            beginning = beginning.decode(encoding, "ignore").encode()
    return beginning.lstrip().startswith((b"[", b"{"))


def extract_images_from_json(body: bytes, budgets: Budgets) -> list[bytes]:
    """Return the images in a JSON body, in the order in which the body lists them.

    Raises:
        MalformedRequest: The body is not JSON, or contains something other than images in base64.
        PayloadTooLarge: The body has more values than the budgets allow.
    """
    content = _decode_json(_convert_json_to_utf8(body), budgets)
    if isinstance(content, str) and content.lstrip()[:1] in {"[", "{"}:
        # The client encoded its body as JSON twice.
        content = _decode_json(content.encode(), budgets)
    images: list[bytes] = []
    _append_images_of_value(content, images, budgets, depth=0)
    return images


def _convert_json_to_utf8(body: bytes) -> bytes:
    """Convert a body to UTF-8 without a byte order mark, as JSON must be (RFC 8259, section 8.1).

    Some programs use another encoding. For example, PowerShell 5 on Windows writes redirected
    output in UTF-16.
    """
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if body.startswith(mark):
            try:
                return body.decode(encoding).encode()
            except UnicodeError as err:
                raise _make_not_json_error() from err
    return body


def _decode_json(body: bytes, budgets: Budgets) -> Any:
    # Commas are counted before the body is decoded, because the decoder makes an object of each
    # value. Base64 contains no commas.
    if body.count(b",") > budgets.json_commas:
        raise PayloadTooLarge(
            f"The JSON body contains more than {budgets.json_commas} values",
            remedy="Send the file of each image as one text in base64, not the values of its "
            "pixels or bytes",
        )
    try:
        try:
            return msgspec.json.decode(body)
        except msgspec.DecodeError:
            # JSON allows no line break inside a string, but a shell may have put the output of
            # `base64` there. Outside of strings, line breaks mean nothing.
            if b"\n" not in body:
                raise
            return msgspec.json.decode(body.translate(None, b"\r\n"))
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as err:
        raise _make_not_json_error() from err


def _make_not_json_error() -> MalformedRequest:
    return MalformedRequest("The body is not valid JSON in UTF-8", remedy=_REMEDY)


def _append_images_of_value(
    value: Any, images: list[bytes], budgets: Budgets, *, depth: int
) -> None:
    """Append the images in a JSON value to the list ``images``."""
    if isinstance(value, str):
        if len(images) >= budgets.images:
            raise PayloadTooLarge(f"The request contains more than {budgets.images} images")
        # A character outside ASCII becomes a question mark, which is not base64 either.
        images.append(decode_base64_text(value.encode("ascii", "replace")))
    elif depth >= _DEEPEST:
        raise MalformedRequest(
            f"The JSON body nests its images more than {_DEEPEST} levels deep",
            remedy=_REMEDY,
        )
    elif isinstance(value, list):
        for element in value:
            _append_images_of_value(element, images, budgets, depth=depth + 1)
    elif isinstance(value, dict):
        _append_images_of_value(
            value[_find_member_with_images(value)], images, budgets, depth=depth + 1
        )
    else:
        raise MalformedRequest(
            "The JSON body has a number, true, false or null in the place of an image in base64",
            remedy="Send the file of each image as one text in base64, not the values of its "
            "pixels or bytes",
        )


def _find_member_with_images(members: dict[str, Any]) -> str:
    """Return the name of the member that holds the images; other members are not read.

    Raises:
        MalformedRequest: No member holds images, or it is not clear which of several members does.
    """
    named = [name for name in NAMES if name in members]
    if len(named) > 1:
        raise MalformedRequest(
            f"A JSON object has both {named[0]!r} and {named[1]!r}, and either may hold the images",
            remedy="Send only one of the two members",
        )
    found = named or [name for name, value in members.items() if _is_image_value(value)]
    if len(found) > 1:
        raise MalformedRequest(
            "A JSON object has several members that hold an image",
            remedy='Use the name "image" for the one to grade, or send {"images": ["BASE64", …]}',
        )
    if not found:
        raise MalformedRequest(
            f"A JSON object has none of the members {', '.join(NAMES)}, and no other "
            "member is an image in base64",
            remedy=_REMEDY,
        )
    return found[0]


def _is_image_value(value: Any) -> bool:
    if isinstance(value, dict):
        return "b64" in value
    return isinstance(value, str) and begins_like_encoded_image(
        value[:256].encode("ascii", "replace")
    )
