"""Decode JPEG, PNG and TIFF files that may be hostile.

The format of a file is recognised by its content.  The size of a photograph is checked before any
pixel is decoded. The decoder gets only the data that the pixels need, and every failure becomes a
:class:`~drdeploy.errors.RequestRefused`.  All functions are safe to call from several threads.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageChops

from drdeploy.errors import EmptyBody, PayloadTooLarge, RequestRefused, UnreadableImage
from drdeploy.grader.fundus.formats import foreign, jpeg, png, tiff
from drdeploy.grader.fundus.formats.header import truncated_image_error
from drdeploy.grader.fundus.limits import ImageLimits

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.ImageFile import ImageFile

    from drdeploy.grader.fundus.formats.header import ImageHeader

__all__ = [
    "ImageLimits",
    "choose_reduction_factor",
    "decode_image",
    "decode_image_of_header",
    "decode_picture_of_header",
    "read_and_check_header",
]

SIGNATURES = (jpeg.SIGNATURE, png.SIGNATURE, *tiff.SIGNATURES)
"""The first bytes of files in the formats that are decoded."""

REDUCTIONS = (8, 4, 2)
"""Factors by which a JPEG can shrink while it is decoded: the inverse DCT can compute 1, 2 or 4
instead of 8 pixels along a block's side."""

# Modes whose stored values may be averaged. The mean of two palette indices is a third colour, and
# Pillow averages the two bytes of a 16-bit sample separately.
_AVERAGED = frozenset({"L", "LA", "RGB", "RGBA", "CMYK", "YCbCr"})
_DEEP_GREY = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})

_ONES, _OTHER_BITS = b"\xff\x00" * 8, b"\x6a" * 8
"""Eight bytes 0xFF, each followed by 0x00 as in compressed data; and eight bytes of mixed bits.

A JPEG with one scan is decoded with one-bits in place of its end marker. If libjpeg finds an end
marker in the middle of the picture, it paints the rest grey without an error; if the bytes end
instead, libjpeg stops. One-bits are safe to add: libjpeg reads up to eight bytes ahead, and no
Huffman code consists only of ones. A JPEG that came without an end marker is decoded again with the
mixed bits. If the two pictures differ, the file ended too early.
"""
_END_OF_IMAGE = b"\xff\xd9"

_TURN_BY_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The transposition that turns a picture upright, by its EXIF orientation (EXIF 2.32, tag 274)."""


def decode_image(
    data: bytes, *, limits: ImageLimits = ImageLimits(), min_side_px: int | None = None
) -> NDArray[np.uint8]:
    """Decode a JPEG, PNG or TIFF file to RGB; the file must hold one picture.

    Args:
        data: Content of the file.
        limits: Limits on bytes, pixels and sides; the default suits a request to a server.
        min_side_px: The picture may be shrunk to an eighth, a quarter or half its size, as long as
            its shorter side keeps at least this many pixels. A JPEG is shrunk while it is decoded,
            which is several times as fast.

    Returns:
        Upright RGB, shape ``(h, w, 3)``.  Transparent pixels are black, and 16-bit values are
        scaled to 8 bits.

    Raises:
        EmptyBody: There are no bytes.
        UnsupportedImage: The file is not a JPEG, PNG or TIFF, or is of a variant that is not used
            for photographs.
        UnreadableImage: The file is truncated, damaged, or built to be slow to decode.
        PayloadTooLarge: The file exceeds a limit.
    """
    return decode_image_of_header(
        read_and_check_header(data, limits=limits), min_side_px=min_side_px
    )


def decode_image_of_header(
    header: ImageHeader, *, min_side_px: int | None = None
) -> NDArray[np.uint8]:
    """Decode a file whose header has already been checked; see :func:`decode_image`.

    Raises:
        UnreadableImage: The file is truncated or damaged.
    """
    return np.asarray(decode_picture_of_header(header, min_side_px=min_side_px))


def decode_picture_of_header(header: ImageHeader, *, min_side_px: int | None = None) -> Image.Image:
    """Decode a file to an upright Pillow picture in mode ``RGB``; see :func:`decode_image`.

    All later steps work on the Pillow picture. Copying the pixels to a NumPy array and back would
    take as long as scaling them down.

    Raises:
        UnreadableImage: The file is truncated or damaged.
    """
    try:
        return _decode_with_pillow(header, choose_reduction_factor(header, min_side_px))
    except RequestRefused:
        raise
    except Exception as err:  # Pillow raises a dozen unrelated kinds for damaged files
        if "truncated" in str(err):
            raise truncated_image_error(file_format=header.format) from err
        raise UnreadableImage(
            f"The {header.format} is damaged and cannot be decoded", remedy="Send the image again"
        ) from err


def read_and_check_header(data: bytes, *, limits: ImageLimits = ImageLimits()) -> ImageHeader:
    """Read a file's header and check it against the limits, without decoding a pixel.

    Raises:
        EmptyBody: There are no bytes.
        UnsupportedImage: The file is not a JPEG, PNG or TIFF, or is of a variant that is not used
            for photographs.
        UnreadableImage: The file is truncated, damaged, or built to be slow to decode.
        PayloadTooLarge: The file exceeds a limit.
    """
    if not data:
        raise EmptyBody("The request has no image", remedy="Send the photograph as the body")
    if len(data) > limits.max_bytes:
        raise PayloadTooLarge(
            f"The image has {len(data)} bytes, but at most {limits.max_bytes} are allowed",
            remedy="Save the image as a JPEG, or at a lower resolution",
        )
    header = _read_header_by_format(data, limits)
    header.check_size_limits(limits)
    if header.format == "JPEG":
        jpeg.refuse_jpeg_with_too_few_bytes(header)
    return header


def _read_header_by_format(data: bytes, limits: ImageLimits) -> ImageHeader:
    if data.startswith(jpeg.SIGNATURE):
        return jpeg.read_jpeg_header(data)
    if data.startswith(png.SIGNATURE):
        return png.read_png_header(data)
    if data.startswith(tiff.SIGNATURES):
        return tiff.read_and_rewrite_tiff(data, limits)
    raise foreign.make_unsupported_format_error(data)


def choose_reduction_factor(header: ImageHeader, min_side_px: int | None) -> int:
    """Return the largest factor of 1, 2, 4 and 8 that keeps the shorter side >= ``min_side_px``."""
    if min_side_px is None:
        return 1
    available = min(header.width_px, header.height_px) // max(min_side_px, 1)
    return next((factor for factor in REDUCTIONS if factor <= available), 1)


def _decode_with_pillow(header: ImageHeader, factor: int) -> Image.Image:
    if header.format != "JPEG":
        return _decode_with_pillow_plugin(header, factor, header.data)
    compressed = memoryview(header.data)[: -len(_END_OF_IMAGE)]
    # libjpeg looks for a further scan until it finds the end marker.
    end = _END_OF_IMAGE if header.scan_count > 1 else b""
    picture = _decode_with_pillow_plugin(header, factor, b"".join([compressed, _ONES, end]))
    if header.lacks_end:
        # If a pixel depends on what follows, the picture is not complete.
        others = _decode_with_pillow_plugin(
            header, factor, b"".join([compressed, _OTHER_BITS, end])
        )
        if ImageChops.difference(picture, others).getbbox():
            raise truncated_image_error(file_format="JPEG")
    return picture


def _decode_with_pillow_plugin(header: ImageHeader, factor: int, data: bytes) -> Image.Image:
    image = _open_with_pillow_plugin(header, data)
    _check_decoder_reads_same_size(header, image.size)
    if header.format == "JPEG":
        image.draft(None, (header.width_px // factor, header.height_px // factor))
        factor = 1
        # All data at once: libjpeg decodes more slowly where a block of data ends.
        image.decodermaxblock = len(data)
    image.load()
    rgb = _convert_to_shrunk_rgb(image, factor)
    turn = _TURN_BY_ORIENTATION.get(header.orientation)
    return rgb if turn is None else rgb.transpose(turn)


def _check_decoder_reads_same_size(header: ImageHeader, size: tuple[int, int]) -> None:
    """Check that the decoder found the same size as the code that read the header.

    A file may state its size twice, and programs differ in which of the two sizes they use.
    """
    if sorted(size) != sorted((header.width_px, header.height_px)):
        raise UnreadableImage(f"The {header.format} states two different sizes of the picture")


def _open_with_pillow_plugin(header: ImageHeader, data: bytes) -> ImageFile:
    """Open the file with the one Pillow plugin for its format.

    ``Image.open`` would first import five other plugins and make a cold start slower.
    """
    stream = io.BytesIO(data)
    if header.format == "JPEG":
        from PIL.JpegImagePlugin import JpegImageFile

        return JpegImageFile(stream)
    if header.format == "PNG":
        from PIL.PngImagePlugin import PngImageFile

        return PngImageFile(stream)
    from PIL.TiffImagePlugin import TiffImageFile

    return TiffImageFile(stream)


def _convert_to_shrunk_rgb(image: Image.Image, factor: int) -> Image.Image:
    """Convert a picture to 8-bit ``RGB``; transparent pixels become black.

    Colour profiles are ignored, because cameras write sRGB and models were trained without
    profiles.

    Args:
        image: A picture in any mode that a Pillow decoder returns.
        factor: By how much to shrink the picture. Each pixel of the result is the mean of
            ``factor`` x ``factor`` pixels.
    """
    if factor == 1:
        return _convert_to_rgb(image)
    if image.mode in _AVERAGED and "transparency" not in image.info:
        # Shrunk first, converting takes a fraction of the memory.
        return _convert_to_rgb(image.reduce(factor))
    return _convert_to_rgb(image).reduce(factor)


def _convert_to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in _DEEP_GREY:
        # Pillow's own conversion clips at 255 instead of scaling.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba, on_black = image.convert("RGBA"), Image.new("RGB", image.size)
        on_black.paste(rgba.convert("RGB"), mask=rgba.getchannel("A"))
        return on_black
    return image.convert("RGB")
