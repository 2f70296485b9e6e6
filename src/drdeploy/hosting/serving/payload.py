"""Takes the images out of a request's body.

===============================================  ===========================================
Content-Type                                     body
===============================================  ===========================================
``image/*``, ``application/x-image``,            one image, of whatever format: the
``application/octet-stream``, none               decoder looks at the bytes
``multipart/form-data``                          every part that is a file, in order
``application/json``                             ``["base64", …]`` or
                                                 ``{"instances": [{"b64": "base64"}, …]}``
===============================================  ===========================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from drdeploy.errors import EmptyBody, MalformedRequest, PayloadTooLarge, UnsupportedImage

if TYPE_CHECKING:
    from collections.abc import Sequence

RAW_TYPES = frozenset({
    "",
    "application/octet-stream",
    "application/x-image",  # SageMaker's built-in image classifiers are called with it
    "application/x-www-form-urlencoded",  # what curl says of --data-binary @photo.jpg
})  # fmt: skip


class _Instance(msgspec.Struct):
    b64: bytes


class _Instances(msgspec.Struct):
    instances: list[_Instance]


_JSON_BODY = msgspec.json.Decoder(list[bytes] | _Instances)


def images_of(content_type: str, body: bytes, *, max_images: int) -> Sequence[bytes]:
    """Return the images in a body, in order.

    Raises:
        EmptyBody: There is no body, or no image in it.
        MalformedRequest: The body is not what its content type says.
        PayloadTooLarge: There are more than ``max_images`` images.
        UnsupportedImage: The content type is none of those above.
    """
    if not body:
        raise EmptyBody("The request has no body", remedy="Send an image as the body")
    images = _split(content_type, body, max_images)
    if not images:
        raise EmptyBody("The request holds no image")
    if len(images) > max_images:
        raise PayloadTooLarge(f"The request holds more than {max_images} images")
    return images


def _split(content_type: str, body: bytes, max_images: int) -> Sequence[bytes]:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type in RAW_TYPES or media_type.startswith("image/"):
        return (body,)
    if media_type == "application/json":
        return _from_json(body)
    if media_type == "multipart/form-data":
        from drdeploy.hosting.serving.multipart import files_of

        return files_of(content_type, body, max_parts=max_images)
    raise UnsupportedImage(
        "A body of this Content-Type holds no image",
        remedy="Send image/jpeg, image/png, image/tiff, multipart/form-data or application/json",
    )


def _from_json(body: bytes) -> Sequence[bytes]:
    try:
        content: list[bytes] | _Instances = _JSON_BODY.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as err:
        raise MalformedRequest(
            "The JSON body is not a list of base64 texts",
            remedy='Send ["BASE64"] or {"instances": [{"b64": "BASE64"}]}',
        ) from err
    if isinstance(content, _Instances):
        return [instance.b64 for instance in content.instances]
    return content
