"""Draw random weights with NumPy, so that they are the same whatever builds the network.

A study needs a large model whose weights nobody may ship.  Random ones serve for size, latency and
cost, if two builds of the network give the same file and different photographs different answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_SPREAD = 0.01
"""Smallest spread of a logit, as a share of the largest logit.  A smaller one is not scaled up to
1, which would enlarge rounding errors into answers."""


def he_normal(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> NDArray[np.float32]:
    """Draw a kernel by He's initialisation, which keeps the scale through ReLU layers.

    He et al., ICCV 2015.
    """
    drawn = rng.standard_normal(shape, dtype=np.float32)
    return np.asarray(drawn * np.sqrt(2.0 / fan_in), dtype=np.float32)


def spread_logits(
    features: NDArray[np.float32], kernel: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scale a last layer so that each logit has mean 0 and deviation 1 over some photographs.

    Args:
        features: The layer's input for these photographs, ``(n, units)``.
        kernel: Shape ``(units, classes)``.

    Returns:
        The scaled kernel, and a bias of shape ``(classes,)``.
    """
    logits = features @ kernel
    # Rounded, because the last bits of sums differ between machines, and the model must not.
    scale = round_digits(1.0 / np.maximum(logits.std(axis=0), LEAST_SPREAD * np.abs(logits).max()))
    return kernel * scale, -round_digits(logits.mean(axis=0) * scale)


def round_digits(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Round to three significant digits, so that machines agree.  Shape ``(n,)``."""
    return np.asarray([float(f"{value:.3g}") for value in values], dtype=np.float32)
