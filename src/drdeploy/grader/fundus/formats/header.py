"""The facts in an image file's header, which are read without decoding a pixel."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from drdeploy.errors import PayloadTooLarge, UnreadableImage, UnsupportedImage

if TYPE_CHECKING:
    from drdeploy.grader.fundus.limits import ImageLimits


@dataclass(frozen=True)
class ImageHeader:
    """The values in the header of an image file, and the data for the decoder.

    Attributes:
        format: Format, recognised by the content and not by a declared type or file name.
        width_px: Width as stored, before the picture is turned upright.
        height_px: Height as stored, before the picture is turned upright.
        orientation: EXIF orientation, 1 to 8, which says how to turn the picture; 1 is upright.
        data: The file, reduced to the parts that are needed to decode the pixels.
        part_px: How many pixels one strip or tile of a TIFF has. The decoder holds a whole strip or
            tile in memory. 0 for the other formats, which are decoded row by row.
        is_progressive: Whether the file is a JPEG whose decoder must hold all coefficients until
            its last scan.
        scan_count: How many scans a JPEG has; 0 for the other formats.
        lacks_end: Whether the file is a JPEG without its end marker, the last two bytes. Only
            decoding shows whether the picture is complete.
    """

    format: Literal["JPEG", "PNG", "TIFF"]
    width_px: int
    height_px: int
    orientation: int
    data: bytes
    part_px: int = 0
    is_progressive: bool = False
    scan_count: int = 0
    lacks_end: bool = False

    @property
    def note_on_missing_end_marker(self) -> str:
        """A sentence that says that the JPEG lacks its end marker; empty if it has one."""
        return NO_END_MARKER if self.lacks_end else ""

    @property
    def decoding_memory_bytes(self) -> int:
        """The estimated peak memory of decoding; a JPEG is assumed to be decoded at a smaller size.

        In a measurement with 40 million pixels, a PNG or TIFF with transparency took 16.2 bytes per
        pixel, and a JPEG 2.9. The worst case of a JPEG, progressive and with four components, took
        7.7. The estimates here are a little larger than these measurements.
        """
        jpeg_bytes = 8 if self.is_progressive else 4
        return (jpeg_bytes if self.format == "JPEG" else 17) * max(
            self.width_px * self.height_px, self.part_px
        )

    def check_size_limits(self, limits: ImageLimits) -> None:
        """Refuse the picture if its width, height or number of pixels is too large.

        Raises:
            UnreadableImage: A side is zero.
            PayloadTooLarge: A side or the number of pixels exceeds its limit.
        """
        check_picture_size(self.format, self.width_px, self.height_px, limits)


def check_picture_size(
    file_format: str, width_px: int, height_px: int, limits: ImageLimits
) -> None:
    """Refuse a picture whose width, height or number of pixels is too large.

    Raises:
        UnreadableImage: A side is zero.
        PayloadTooLarge: A side or the number of pixels exceeds its limit.
    """
    if min(width_px, height_px) < 1:
        raise UnreadableImage(f"The {file_format} has a width or height of 0")
    if max(width_px, height_px) > limits.max_side_px:
        raise PayloadTooLarge(
            f"The image measures {width_px} x {height_px} pixels, "
            f"but at most {limits.max_side_px} are allowed on a side",
            remedy="Send the image at a lower resolution",
        )
    if width_px * height_px > limits.max_pixels:
        raise PayloadTooLarge(
            f"The image has {width_px * height_px} pixels, "
            f"but at most {limits.max_pixels} are allowed",
            remedy="Send the image at a lower resolution",
        )


_ZEROS = re.compile(rb"\0*")
NO_END_MARKER = "The JPEG lacks its end marker; its picture is complete."


def several_pictures_error(*, file_format: str) -> UnsupportedImage:
    """Make the error for a file with several pictures: it is unclear which one to grade."""
    return UnsupportedImage(
        f"The {file_format} holds more than one picture",
        remedy="Save each picture as a file of its own",
    )


def refuse_picture_behind_end(data: bytes, end: int, *, file_format: str) -> None:
    """Refuse a file in which a second JPEG or PNG follows the first picture.

    Cameras and phones may append other data, for example a video. These data are ignored.

    Raises:
        UnsupportedImage: Another picture begins where the first one ends, or after zeros.
    """
    start = _ZEROS.match(data, end).end()  # type: ignore[union-attr]  # it matches nothing, too
    if data.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"), start):
        raise several_pictures_error(file_format=file_format)


def truncated_image_error(*, file_format: str) -> UnreadableImage:
    """Make the error for a file that ends too early."""
    return UnreadableImage(
        f"The {file_format} ends before its image does", remedy="Send the image again"
    )
