"""One number that makes probabilities mean what they say (Guo et al., ICML 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST, MOST = 0.2, 5.0
"""A network further off than that is not to be mended by one number."""
SMALLEST = 1e-12


def fit_temperature(labels: NDArray[np.intp], probabilities: NDArray[np.floating]) -> float:
    """The temperature with the highest likelihood, rounded to three decimals.

    Args:
        labels: Shape ``(n,)``.
        probabilities: Shape ``(n, 5)``, of photographs that were not trained on.
    """
    from scipy.optimize import minimize_scalar

    def loss(temperature: float) -> float:
        scaled = with_temperature(probabilities, temperature)
        of_label = scaled[np.arange(len(labels)), labels]
        return float(-np.log(np.maximum(of_label, SMALLEST)).mean())

    found = minimize_scalar(loss, bounds=(LEAST, MOST), method="bounded")
    return round(float(found.x), 3)


def with_temperature(
    probabilities: NDArray[np.floating], temperature: float
) -> NDArray[np.float64]:
    """Softmax of the logits over ``temperature``, shape ``(n, 5)``."""
    logs = np.log(np.maximum(probabilities.astype(np.float64), SMALLEST)) / temperature
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    scaled: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return scaled


def fold_in(network: Any, temperature: float) -> None:
    """Divide the last layer by the temperature: the outputs are calibrated from then on."""
    last = network.get_layer("grades")
    last.kernel.assign(last.kernel / temperature)
    last.bias.assign(last.bias / temperature)
