"""Limits on the size of a photograph, checked before it is decoded."""

from __future__ import annotations

from dataclasses import dataclass

from drdeploy.units import MIB


@dataclass(frozen=True)
class ImageLimits:
    """How large a photograph may be.

    ``ImageLimits()`` suits a request: SageMaker passes at most 6 MB to a real-time endpoint, and
    the largest fundus camera that we know of takes 7360 x 4912 pixels.
    ``ImageLimits(max_pixels=12_300_000)`` suits a container with little memory: the worst image
    takes about 17 bytes per pixel to decode (a PNG with transparency, at full size), a JPEG
    decoded at a reduced scale less than one, or 6 if it is progressive.

    Attributes:
        max_bytes: Of the file.
        max_pixels: Width times height.
        max_side_px: Width, and height.
    """

    max_bytes: int = 6 * MIB
    max_pixels: int = 40_000_000
    max_side_px: int = 10_000


LOCAL_FILE_LIMITS = ImageLimits(max_bytes=256 * MIB)
"""For files on the user's own disk, where a 12-megapixel TIFF is 36 MB."""
