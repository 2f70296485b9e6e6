"""Decode JPEG, PNG and TIFF files that may be hostile.

A file's format is recognised by its content.  Its size is checked before a pixel is decoded, what
the pixels do not need never reaches the decoder, and whatever goes wrong becomes a
:class:`~drdeploy.errors.RequestRefused` of one sentence.  All functions may run in threads.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from drdeploy.errors import (
    EmptyBody,
    PayloadTooLarge,
    RequestRefused,
    UnreadableImage,
    UnsupportedImage,
)
from drdeploy.grader.fundus import pixels
from drdeploy.grader.fundus.formats import jpeg, png, tiff
from drdeploy.grader.fundus.limits import ImageLimits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.ImageFile import ImageFile

    from drdeploy.grader.fundus.formats.header import ImageHeader

__all__ = ["ImageLimits", "decode", "decode_pixels", "read_header", "reduction"]

REDUCTIONS = (8, 4, 2)
"""Factors by which a JPEG can shrink while it is decoded: its inverse DCT computes 1, 2 or 4 of the
8 pixels along a block's side."""


def decode(
    data: bytes, *, limits: ImageLimits = ImageLimits(), min_side_px: int | None = None
) -> NDArray[np.uint8]:
    """Decode a JPEG, PNG or TIFF (its first picture) to RGB.

    Args:
        data: The file.
        limits: Bounds on bytes, pixels and sides; those of a request by default.
        min_side_px: Shrink the picture by 8, 4 or 2 if its shorter side keeps that many pixels.
            A JPEG shrinks while it is decoded, which is several times as fast.

    Returns:
        Shape ``(h, w, 3)``, upright, transparency on black, 16 bits scaled to 8.

    Raises:
        EmptyBody: There are no bytes.
        UnsupportedImage: It is not a JPEG, PNG or TIFF, or a kind of these that no photograph is.
        UnreadableImage: It is truncated, damaged, or built to be slow to decode.
        PayloadTooLarge: It exceeds a limit.
    """
    return decode_pixels(read_header(data, limits=limits), min_side_px=min_side_px)


def decode_pixels(header: ImageHeader, *, min_side_px: int | None = None) -> NDArray[np.uint8]:
    """Decode a file whose header has been read and checked; see :func:`decode`.

    Raises:
        UnsupportedImage: It is a kind of image that no photograph is.
        UnreadableImage: It is truncated or damaged.
    """
    try:
        return _decode(header, reduction(header, min_side_px))
    except RequestRefused:
        raise
    except Exception as err:  # Pillow raises a dozen unrelated kinds for damaged files
        raise UnreadableImage(
            f"The {header.format} is damaged and does not decode", remedy="Send it again"
        ) from err


def read_header(data: bytes, *, limits: ImageLimits = ImageLimits()) -> ImageHeader:
    """Read a file's header and check it against the limits, without decoding a pixel.

    Raises:
        EmptyBody: There are no bytes.
        UnsupportedImage: It is not a JPEG, PNG or TIFF, or a kind of these that no photograph is.
        UnreadableImage: It is truncated, damaged, or built to be slow to decode.
        PayloadTooLarge: It exceeds a limit.
    """
    if not data:
        raise EmptyBody("The request has no image", remedy="Send the photograph as the body")
    if len(data) > limits.max_bytes:
        raise PayloadTooLarge(
            f"The image has {len(data)} bytes, with at most {limits.max_bytes} allowed",
            remedy="Save it as a JPEG",
        )
    header = _read_header(data, limits)
    header.check(limits)
    if header.format == "JPEG":
        jpeg.check_substance(header)
    return header


def _read_header(data: bytes, limits: ImageLimits) -> ImageHeader:
    if data.startswith(jpeg.SIGNATURE):
        return jpeg.read_header(data)
    if data.startswith(png.SIGNATURE):
        return png.read_header(data)
    if data.startswith(tiff.SIGNATURES):
        return tiff.read_header(data, limits)
    raise UnsupportedImage("The body is not a JPEG, PNG or TIFF", remedy="Send one of these")


def reduction(header: ImageHeader, min_side_px: int | None) -> int:
    """Return the largest of 1, 2, 4 and 8 that leaves ``min_side_px`` on the shorter side."""
    if min_side_px is None:
        return 1
    available = min(header.width_px, header.height_px) // max(min_side_px, 1)
    return next((factor for factor in REDUCTIONS if factor <= available), 1)


def _decode(header: ImageHeader, factor: int) -> NDArray[np.uint8]:
    image = _open(header)
    _check_size(header, image.size)
    if header.format == "JPEG":
        image.draft(None, (header.width_px // factor, header.height_px // factor))
        factor = 1
    image.load()
    rgb = pixels.to_rgb(image, factor)
    return pixels.to_array(pixels.upright(rgb, header.orientation))


def _check_size(header: ImageHeader, size: tuple[int, int]) -> None:
    """Check that the decoder has read the same size as we did.

    A file may state its size twice, and which one counts differs from reader to reader.
    """
    if sorted(size) != sorted((header.width_px, header.height_px)):
        raise UnreadableImage(f"The {header.format} contradicts itself about its size")


def _open(header: ImageHeader) -> ImageFile:
    """Open the file with the one Pillow plugin that it needs.

    ``Image.open`` imports five others first, which a cold start would pay for.
    """
    stream = io.BytesIO(header.data)
    if header.format == "JPEG":
        from PIL.JpegImagePlugin import JpegImageFile

        return JpegImageFile(stream)
    if header.format == "PNG":
        from PIL.PngImagePlugin import PngImageFile

        return PngImageFile(stream)
    from PIL.TiffImagePlugin import TiffImageFile

    return TiffImageFile(stream)
