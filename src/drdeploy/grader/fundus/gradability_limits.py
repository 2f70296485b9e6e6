"""Limits beyond which a photograph is not graded.  They travel in the manifest."""

from __future__ import annotations

import msgspec


class GradabilityLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The limits of darkness, blur and other flaws within which a photograph is graded.

    The defaults accept every real photograph that we have, 516 of IDRiD at 512 x 512 pixels and 11
    at camera resolution, and 99 % of 1548 crops of these that lie wholly within the eye.  The
    brackets below give the most extreme value among these photographs (for crops, leaving out the
    most extreme hundredth), and the value of something that the limit refuses.

    Attributes:
        min_eye_px: Least diameter of the eye in the photograph as it was sent, in pixels (501).
        min_brightness: Least mean brightness of the eye, of 255 (69; a tenth of the light: 22).
        max_clipped_share: Largest share of the eye that may be overexposed (0.04; with four times
            the light: 0.89).
        min_sharpness: Least mean difference from a blurred copy, beyond one level of rounding, as
            a share of the brightness, with the eye scaled to 256 pixels (0.0012; blurred with
            sigma 8 at 512 pixels: 0.0007, saved as a JPEG of quality 70 after that: 0.0009).
        max_sharpness: The same difference, beyond which the picture is noise (0.040; noise: 0.18).
        min_lit_share: Least share of the eye that is not in the dark (0.98; half an eye, cut off
            along a diagonal: 0.68).
        min_roundness: Least ratio of the sides of the eye's box (0.83; half an eye: 0.60).
        max_stray_share: Largest share of the corners around the disc that may be lit, if there is
            a dark surround (0.00; a flower before a dark background: 0.11).
        min_warm_share: Least share of the eye that is redder than it is green and blue (0.98).
        unframed_min_redness: Without a dark surround, only the colour distinguishes an eye from
            another picture.  Then, least share of red in all its light (0.48; a cat: 0.45).
        unframed_max_hue_spread: Without a dark surround, largest standard deviation of green over
            red, as one tissue has one hue (0.10; a cat: 0.16).
        unframed_max_spread: Without a dark surround, largest standard deviation of the
            brightness, as a share of its mean (0.21; a cat: 0.26).
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
