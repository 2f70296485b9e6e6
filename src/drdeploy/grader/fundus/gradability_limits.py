"""What a photograph must be for its grade to mean anything.  It travels in the manifest."""

from __future__ import annotations

import msgspec


class GradabilityLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Beyond one of these a photograph is not graded; None in a manifest checks nothing.

    The defaults leave every real photograph at hand in, 516 of IDRiD at 512 x 512 and 11 at
    camera resolution, and 99 % of 1548 crops of them that lie wholly within the eye.  In brackets
    the most extreme of these (of the crops, the most extreme but one in a hundred), and what the
    limit keeps out.

    Attributes:
        min_eye_px: Least diameter of the eye in the photograph as it was sent (501).
        min_brightness: Least mean brightness of the eye, of 255 (69; a tenth of the light: 22).
        max_clipped_share: Largest share of the eye that is overexposed (0.04; with four times
            the light: 0.89).
        min_sharpness: Least mean difference from a blurred copy, beyond one level of rounding, as
            a share of the brightness, with the eye scaled to 256 pixels (0.0012; blurred with
            sigma 8 at 512 pixels: 0.0007, saved as a JPEG of quality 70 after that: 0.0009).
        max_sharpness: Beyond it the picture is noise (0.040; noise: 0.18).
        min_lit_share: Least share of the eye that does not lie in the dark (0.98; half an eye cut
            off along a diagonal: 0.68).
        min_roundness: Least ratio of the sides of the eye's box (0.83; half an eye: 0.60).
        max_stray_share: Largest share of the corners around the disc that is lit, if there is a
            dark surround (0.00; a flower before a dark background: 0.11).
        min_warm_share: Least share of the eye that is redder than green and blue (0.98).
        unframed_min_redness: Of a picture without a dark surround, in which nothing but its
            colour tells an eye: least share of red in all its light (0.48; a cat: 0.45).
        unframed_max_hue_spread: Likewise, largest standard deviation of green over red: one
            tissue has one hue (0.10; a cat: 0.16).
        unframed_max_spread: Likewise, largest standard deviation of the brightness, as a share of
            its mean (0.21; a cat: 0.26).
    """

    min_eye_px: int = 160
    min_brightness: float = 30.0
    max_clipped_share: float = 0.25
    min_sharpness: float = 0.001
    max_sharpness: float = 0.12
    min_lit_share: float = 0.75
    min_roundness: float = 0.65
    max_stray_share: float = 0.08
    min_warm_share: float = 0.6
    unframed_min_redness: float = 0.47
    unframed_max_hue_spread: float = 0.12
    unframed_max_spread: float = 0.25
