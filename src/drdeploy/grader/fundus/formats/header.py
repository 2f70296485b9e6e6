"""What an image file says about itself, read without decoding a pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from drdeploy.errors import PayloadTooLarge, UnreadableImage

if TYPE_CHECKING:
    from drdeploy.grader.fundus.limits import ImageLimits


@dataclass(frozen=True)
class ImageHeader:
    """What a file claims to hold, and the part of it that is handed to the decoder.

    Attributes:
        format: Recognised by the content, never by a declared type or a file name.
        width_px: As stored, before the picture is turned upright.
        height_px: As stored.
        orientation: EXIF orientation, 1 to 8, by which the picture must still be turned; 1 is
            upright.
        data: The file without what the pixels do not need.
        part_px: Pixels of one strip or tile of a TIFF, which the decoder holds as a whole; 0 for
            the other formats, which are decoded row by row.
        is_progressive: A JPEG whose decoder must hold all coefficients until its last scan.
    """

    format: Literal["JPEG", "PNG", "TIFF"]
    width_px: int
    height_px: int
    orientation: int
    data: bytes
    part_px: int = 0
    is_progressive: bool = False

    @property
    def memory_bytes(self) -> int:
        """About the most that decoding takes, for a JPEG at a reduced scale.

        Measured on pictures of 40 million pixels: 16.2 bytes per pixel for PNG and TIFF with
        transparency, 2.9 for a JPEG, and up to 7.7 for a progressive one with four components.
        """
        jpeg_bytes = 8 if self.is_progressive else 4
        return (jpeg_bytes if self.format == "JPEG" else 17) * max(
            self.width_px * self.height_px, self.part_px
        )

    def check(self, limits: ImageLimits) -> None:
        """Compare the claimed size with the limits.

        Raises:
            UnreadableImage: A side is zero.
            PayloadTooLarge: A side or the number of pixels exceeds its limit.
        """
        sides = (self.width_px, self.height_px)
        if min(sides) < 1:
            raise UnreadableImage(f"The {self.format} says that it has no pixels")
        if max(sides) > limits.max_side_px:
            raise PayloadTooLarge(
                f"The image measures {sides[0]} x {sides[1]} pixels, "
                f"with at most {limits.max_side_px} allowed on a side",
                remedy="Send it at a lower resolution",
            )
        if sides[0] * sides[1] > limits.max_pixels:
            raise PayloadTooLarge(
                f"The image has {sides[0] * sides[1]} pixels, "
                f"with at most {limits.max_pixels} allowed",
                remedy="Send it at a lower resolution",
            )


def truncated(file_format: str) -> UnreadableImage:
    """Make the refusal of a file that ends too early."""
    return UnreadableImage(f"The {file_format} ends before its image does", remedy="Send it again")
