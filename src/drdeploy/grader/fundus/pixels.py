"""Turn whatever a decoder gives into upright 8-bit RGB."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Modes whose stored values may be averaged. The mean of two palette indices is a third colour, and
# Pillow averages the two bytes of a 16-bit sample separately.
_AVERAGED = frozenset({"L", "LA", "RGB", "RGBA", "CMYK", "YCbCr"})
_DEEP_GREY = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})

_TURN_BY_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns a picture upright, by the orientation it was stored in (EXIF 2.32, tag 274)."""


def to_rgb(image: Image.Image, factor: int = 1) -> Image.Image:
    """Convert to mode ``RGB``: transparency on black, 16-bit grey scaled by 1/256.

    Colour profiles are ignored: cameras write sRGB, and models were trained without them.

    Args:
        image: In any mode that the decoders give.
        factor: Shrink it so that each pixel is the mean of ``factor`` x ``factor`` pixels.
    """
    if factor == 1:
        return _to_rgb(image)
    if image.mode in _AVERAGED and "transparency" not in image.info:
        # Shrunk first, converting takes a fraction of the memory.
        return _to_rgb(image.reduce(factor))
    return _to_rgb(image).reduce(factor)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in _DEEP_GREY:
        return _deep_grey_to_rgb(image)
    if image.has_transparency_data:
        return _on_black(image.convert("RGBA"))
    return image.convert("RGB")


def _deep_grey_to_rgb(image: Image.Image) -> Image.Image:
    # Pillow's own conversion clips at 255 instead of scaling.
    grey = (np.asarray(image) >> 8).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def _on_black(image: Image.Image) -> Image.Image:
    canvas = Image.new("RGB", image.size)
    canvas.paste(image.convert("RGB"), mask=image.getchannel("A"))
    return canvas


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Turn a picture upright that was stored in that EXIF orientation, 1 to 8."""
    turn = _TURN_BY_ORIENTATION.get(orientation)
    return image if turn is None else image.transpose(turn)


def to_array(image: Image.Image) -> NDArray[np.uint8]:
    """Return the pixels, shape ``(h, w, 3)``; read-only where Pillow shares its memory."""
    return np.asarray(image, dtype=np.uint8)
