"""What a photograph must be for its grade to mean anything.  It travels in the manifest."""

from __future__ import annotations

import msgspec


class GradabilityLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Beyond one of these a photograph is not graded; None in a manifest checks nothing.

    The defaults leave every real photograph at hand in: 516 of IDRiD at 512 x 512, 11 at camera
    resolution, and crops of them that lie wholly within the eye.  In brackets the most extreme
    value among them, and what they keep out.

    Attributes:
        min_eye_px: Least diameter of the eye in the photograph as it was sent (501).
        min_brightness: Least mean brightness of the eye, of 255 (69; a tenth of the light: 22).
        max_brightness: Beyond it the photograph is overexposed (225; white paper: 255).
        min_sharpness: Least mean difference from a blurred copy, as a share of the brightness,
            with the eye scaled to 256 pixels (0.0073; blurred with sigma 6 at 512 pixels: at
            most 0.0054).
        max_sharpness: Beyond it the picture is noise (0.072; noise: 0.19).
        min_warm_share: Least share of the eye that is redder than green and blue (0.93).
        min_roundness: Least ratio of the sides of the eye's box (0.83; half an eye: 0.6).
        unframed_max_sharpness: As ``max_sharpness``, of a picture without a dark surround, which
            shows nothing that tells an eye but its colour and its evenness (0.053; a cat: 0.068).
        unframed_min_saturation: Likewise, least mean saturation (0.61; a cat: 0.47).
        unframed_max_spread: Likewise, largest deviation of the brightness, as a share of its
            mean (0.22; a cat: 0.26).
    """

    min_eye_px: int = 160
    min_brightness: float = 30.0
    max_brightness: float = 245.0
    min_sharpness: float = 0.0065
    max_sharpness: float = 0.12
    min_warm_share: float = 0.6
    min_roundness: float = 0.65
    unframed_max_sharpness: float = 0.062
    unframed_min_saturation: float = 0.52
    unframed_max_spread: float = 0.25
