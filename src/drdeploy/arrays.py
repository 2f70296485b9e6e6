"""The types of arrays that several packages use."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # no part of a server needs NumPy for these names alone
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    """An array of numbers with double precision, of any shape."""
