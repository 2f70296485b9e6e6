"""Extract the images from the body of a request.

The format of a body is recognised by its bytes, because clients send the same bytes with many
content types. The ``Content-Type`` is used only if the bytes do not show the format:

=======================================  ======================================================
body                                     read as
=======================================  ======================================================
begins as a JPEG, PNG or TIFF            one image, whatever type is named
``multipart/*``                          every part that is an image, in order (``multipart``)
begins with ``[`` or ``{``, or           a list of images in base64, or an object that holds
``application/json``                     images (``json_body``)
begins as base64 of an image, or as      one image (``encoded_text``)
``data:``
anything else as ``image/*``, as         one image: if it is not an image, the decoder says why
``application/octet-stream`` or one of
its synonyms, as a form of curl
(``application/x-www-form-urlencoded``),
or without a type
=======================================  ======================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from drdeploy.errors import EmptyBody, PayloadTooLarge, UnsupportedImage
from drdeploy.grader.fundus.decode import SIGNATURES
from drdeploy.hosting.serving.media_types import RAW_TYPES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.hosting.serving.budgets import Budgets


def extract_images_from_body(content_type: str, body: bytes, budgets: Budgets) -> Sequence[bytes]:
    """Return the images in a body, in order.

    Args:
        content_type: The content type of the request; may be empty.
        body: The body of the request.
        budgets: The limits on images, form fields and JSON values.

    Raises:
        EmptyBody: There is no body, or the body contains no image.
        MalformedRequest: The body does not have the format that its content type names.
        PayloadTooLarge: The body holds more images, fields or values than the budgets allow.
        UnsupportedImage: Neither the body nor the content type is in the table of this module.
    """
    if not body:
        raise EmptyBody("The request has no body", remedy="Send an image as the body")
    images = _split_body_into_images(content_type, body, budgets)
    if not images:
        raise EmptyBody(
            "The request contains no image",
            remedy="Send the photograph as the body, or as a file in a multipart form",
        )
    if len(images) > budgets.images:
        raise PayloadTooLarge(f"The request contains more than {budgets.images} images")
    return images


def _split_body_into_images(content_type: str, body: bytes, budgets: Budgets) -> Sequence[bytes]:
    if body.startswith(SIGNATURES):
        return (body,)
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type.startswith("multipart/"):
        from drdeploy.hosting.serving.multipart import extract_images_from_multipart

        return extract_images_from_multipart(content_type, body, budgets)
    from drdeploy.hosting.serving.encoded_text import begins_like_encoded_image, decode_base64_text
    from drdeploy.hosting.serving.json_body import begins_like_json, extract_images_from_json

    if begins_like_encoded_image(body):
        return (decode_base64_text(body),)
    if media_type == "application/json" or begins_like_json(body):
        return extract_images_from_json(body, budgets)
    if media_type in RAW_TYPES or media_type.startswith("image/"):
        return (body,)
    raise UnsupportedImage(
        "The body is not recognized as an image, and its Content-Type is not supported",
        remedy=(
            "Send a JPEG, PNG or TIFF as image/jpeg, image/png or image/tiff, or send several "
            "images as multipart/form-data or application/json"
        ),
    )
