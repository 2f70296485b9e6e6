"""The limits in a manifest beyond which a photograph is not graded."""

from __future__ import annotations

import msgspec


class GradabilityLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Limits on darkness, blur and other flaws; a photograph within these limits is graded.

    The default limits accept all real photographs that they were tested on: 516 photographs of
    IDRiD at 512 x 512 pixels, and 11 photographs at camera resolution. The default limits also
    accept 99 % of 1,548 crops from inside the eye. The brackets below show measured values, so that
    they can be compared with the limits. The first number in a bracket is the most extreme value
    among the accepted photographs and crops. After it come examples of pictures that the limit
    refuses, each with its value.

    Attributes:
        min_eye_px: Least diameter of the eye in the photograph as it was sent, in pixels (501).
        min_brightness: Least mean brightness of the eye, from 0 to 255 (69; a photograph darkened
            to a tenth: 22).
        max_clipped_share: Largest share of the eye that may be overexposed (0.04; a photograph made
            four times as bright: 0.89).
        min_sharpness: Least mean difference of the green channel from its blurred copy, divided by
            the mean of the green channel, with the eye scaled to 256 pixels. From each difference,
            one grey level is subtracted first, because compression alone may cause it (0.0012; a
            photograph blurred with sigma 8 at 512 pixels: 0.0007; the same, saved as a JPEG of
            quality 70: 0.0009).
        max_sharpness: Largest mean difference, measured like ``min_sharpness``, beyond which the
            picture is noise (0.040; noise: 0.18).
        min_lit_share: Least share of the eye that is not dark (0.98; half an eye, cut off along a
            diagonal: 0.68).
        min_roundness: Least ratio of the sides of the eye's box (0.83; half an eye: 0.60).
        max_stray_share: Largest share of the corners around the disc that may be lit, if there is
            a dark surround (0.00; a flower before a dark background: 0.11).
        min_warm_share: Least share of the eye's pixels in which red is stronger than green, and
            green is at least 0.8 times as strong as blue (0.98).
        unframed_min_redness: Least share of red in the sum of all channels, for a picture without a
            dark surround, where only the colour distinguishes an eye (0.48; a cat: 0.45).
        unframed_max_hue_spread: Largest standard deviation of the ratio of green to red, for a
            picture without a dark surround (0.10; a cat: 0.16).
        unframed_max_spread: Largest standard deviation of the mean of the three channels, divided
            by the mean brightness, for a picture without a dark surround (0.21; a cat: 0.26).
        unframed_max_sharpness: Largest mean difference, measured like ``min_sharpness``, for a
            picture without a dark surround (0.029; parts of a picture of a cat: up to 0.058).
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
    unframed_max_sharpness: float = 0.05
