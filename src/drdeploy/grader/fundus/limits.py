"""Limits on the size of a photograph, which are checked before the photograph is decoded."""

from __future__ import annotations

from dataclasses import dataclass

from drdeploy.units import MIB


@dataclass(frozen=True)
class ImageLimits:
    """The limits on the size of a photograph.

    ``ImageLimits()`` suits a request to a server: SageMaker passes at most 6 MB to a real-time
    endpoint, and the largest known fundus camera takes 7360 x 4912 pixels.
    ``ImageLimits(max_pixels=12_300_000)`` suits a container with little memory. For a PNG with
    transparency, decoding takes up to 17 bytes of memory per pixel, and for a JPEG up to 8. See
    :mod:`drdeploy.grader.fundus.formats.header`.

    Attributes:
        max_bytes: Largest size of the file.
        max_pixels: Largest product of width and height.
        max_side_px: The maximum width and the maximum height.
    """

    max_bytes: int = 6 * MIB
    max_pixels: int = 40_000_000
    max_side_px: int = 10_000


LOCAL_FILE_LIMITS = ImageLimits(max_bytes=256 * MIB)
"""Limits for files on the user's own disk.

These files may be large: a TIFF of 12 megapixels takes 36 MB.
"""
