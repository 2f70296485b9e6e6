"""How large a photograph may be."""

from __future__ import annotations

from dataclasses import dataclass

from drdeploy.units import MIB


@dataclass(frozen=True)
class ImageLimits:
    """Bounds that hold before any pixel is decoded.

    ``ImageLimits()`` suits a request: SageMaker passes at most 6 MB to a real-time endpoint, and
    no fundus camera known to us exceeds the 7360 x 4912 pixels of its camera back.
    ``ImageLimits(max_pixels=12_300_000)`` suits a container with little memory: the worst image
    takes about 17 bytes per pixel to decode (PNG with transparency, at full size), a JPEG
    decoded at reduced scale less than one, or 6 if it is progressive.

    Attributes:
        max_bytes: Size of the encoded file.
        max_pixels: Width times height.
        max_side_px: Width, and height.
    """

    max_bytes: int = 6 * MIB
    max_pixels: int = 40_000_000
    max_side_px: int = 10_000


LOCAL_FILE_LIMITS = ImageLimits(max_bytes=256 * MIB)
"""For files on the user's own disk, where a 12-megapixel TIFF is 36 MB."""
