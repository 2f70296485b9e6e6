"""Change photographs as three kinds of augmentation do that the packaged recipe does not have.

Graham's filter and CLAHE raise the local contrast.  The third kind gives a photograph the colours
and the light of another photograph, by mixing their lowest spatial frequencies.  All functions take
and return RGB pixels from 0 to 255, shape ``(height, width, 3)``; the background stays black.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter

if TYPE_CHECKING:
    from numpy.typing import NDArray

DARK = 8
"""A pixel with no channel above this value is background."""
GRAHAM_WEIGHT = 4.0
GRAHAM_SIGMA = 1 / 60
"""Share of the side, which is about 1/30 of the eye's radius (Graham 2015)."""
MID_GREY = 128.0
TILES = 8
CLIP = 2.0
"""Largest count of a histogram's bin, in multiples of the mean count (Zuiderveld 1994)."""
LOWEST_FREQUENCIES = 2
"""Periods across a photograph up to which amplitudes are mixed: its light and its colours."""


def filter_as_graham(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Add four times the difference between a photograph and its blurred copy to mid-grey."""
    values = pixels.astype(np.float32)
    blurred = gaussian_filter(values, (*(side * GRAHAM_SIGMA for side in values.shape[:2]), 0))
    return _finish(GRAHAM_WEIGHT * (values - blurred) + MID_GREY, pixels)


def equalize_local_histograms(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Apply contrast-limited adaptive histogram equalization (CLAHE) to the light, not the hue."""
    light = pixels.max(axis=2)
    rows, columns = (np.linspace(0, side, TILES + 1).astype(int) for side in light.shape)
    curves = np.array(
        [
            [
                _contrast_limited_curve(light[top:bottom, left:right])
                for left, right in pairwise(columns)
            ]
            for top, bottom in pairwise(rows)
        ]
    )
    (above, below, down), (left, right, across) = map(_neighbouring_tiles, light.shape)
    upper = (1 - across) * curves[above[:, None], left, light]
    upper += across * curves[above[:, None], right, light]
    lower = (1 - across) * curves[below[:, None], left, light]
    lower += across * curves[below[:, None], right, light]
    equalized = (1 - down[:, None]) * upper + down[:, None] * lower
    gain = equalized / np.maximum(light, 1)
    return _finish(pixels * gain[:, :, None], pixels)


def _contrast_limited_curve(tile: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the new value of each of the 256 values in a tile."""
    counts = np.bincount(tile.ravel(), minlength=256).astype(np.float64)
    limit = CLIP * tile.size / 256
    excess = np.maximum(counts - limit, 0).sum()
    return np.asarray(np.cumsum(np.minimum(counts, limit) + excess / 256) * 255 / tile.size)


def _neighbouring_tiles(
    side: int,
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Return the tiles before and after each pixel, and how near each pixel is to the second."""
    place = np.clip((np.arange(side) + 0.5) * TILES / side - 0.5, 0, TILES - 1)
    before = np.minimum(place.astype(np.intp), TILES - 2)
    return before, before + 1, place - before


def mix_low_frequencies(
    pixels: NDArray[np.uint8], partner: NDArray[np.uint8], share: float
) -> NDArray[np.uint8]:
    """Mix the amplitudes of the lowest frequencies with those of another photograph.

    The phases stay (Yang and Soatto, Fourier Domain Adaptation, CVPR 2020; the mixing by a share is
    that of Xu et al., CVPR 2021).

    Args:
        pixels: The photograph.
        partner: A photograph of the same size.
        share: Share of the partner's amplitudes, 0 to 1.
    """
    values = pixels.astype(np.float64)
    own, other = _low_spectrum(values), _low_spectrum(partner.astype(np.float64))
    changed = ((1 - share) * np.abs(own) + share * np.abs(other)) * np.exp(1j * np.angle(own))
    down, across = (_waves(side) for side in values.shape[:2])
    added = np.einsum("hk,klc,wl->hwc", down, changed - own, across).real
    return _finish(values + added, pixels)


def _low_spectrum(values: NDArray[np.float64]) -> NDArray[np.complex128]:
    down, across = (_waves(side).conj() / side for side in values.shape[:2])
    rows = np.einsum("hk,hwc->kwc", down, values)
    return np.asarray(np.einsum("kwc,wl->klc", rows, across))


def _waves(side: int) -> NDArray[np.complex128]:
    """Return the waves of the lowest frequencies, shape ``(side, 5)``."""
    periods = np.arange(-LOWEST_FREQUENCIES, LOWEST_FREQUENCIES + 1)
    return np.asarray(np.exp(2j * np.pi * np.outer(np.arange(side) / side, periods)))


def _finish(values: NDArray[np.floating], pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Round to pixels, and keep the background of the original black."""
    is_eye = pixels.max(axis=2, keepdims=True) > DARK
    return np.where(is_eye, np.clip(np.rint(values), 0, 255), 0).astype(np.uint8)
