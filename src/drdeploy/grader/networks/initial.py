"""Random weights that are the same everywhere: drawn by NumPy, whatever builds the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_SPREAD = 0.01
"""Of the logits' size: a smaller spread is not stretched to one, it would be rounding errors."""


def he_normal(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> NDArray[np.float32]:
    """He initialisation (He et al., ICCV 2015): keeps the scale through ReLU layers."""
    drawn = rng.standard_normal(shape, dtype=np.float32)
    return np.asarray(drawn * np.sqrt(2.0 / fan_in), dtype=np.float32)


def spread_logits(
    features: NDArray[np.float32], kernel: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scale a last layer so that its logits vary with unit deviation about zero.

    Args:
        features: Its input for some photographs, ``(n, units)``.
        kernel: Shape ``(units, classes)``.

    Returns:
        The scaled kernel, and a bias ``(classes,)``.
    """
    logits = features @ kernel
    # Rounded, so that the last bits of another machine's sums do not make another model.
    scale = round_digits(1.0 / np.maximum(logits.std(axis=0), LEAST_SPREAD * np.abs(logits).max()))
    return kernel * scale, -round_digits(logits.mean(axis=0) * scale)


def round_digits(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """To three significant digits: the last bits differ between machines.  Shape ``(n,)``."""
    return np.asarray([float(f"{value:.3g}") for value in values], dtype=np.float32)
