"""Calibrate probabilities by temperature scaling (Guo et al., ICML 2017).

A network trained to the end is too sure of itself.  Dividing its logits by one number, the
temperature, corrects that on average and changes no ranking of the grades.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST, MOST = 0.2, 5.0
"""Range of the temperature.  A network beyond it has a fault that no single number repairs."""
SMALLEST = 1e-12
"""Smallest probability whose logarithm is taken."""


def fit_temperature(labels: NDArray[np.intp], probabilities: NDArray[np.floating]) -> float:
    """Find the temperature with the highest likelihood, rounded to three decimals.

    Args:
        labels: Shape ``(n,)``.
        probabilities: Shape ``(n, 5)``, of photographs that the network was not trained on.
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
    """Divide the logits by the temperature and return the probabilities, shape ``(n, 5)``."""
    # Logarithms of the probabilities are the logits but for a constant, which softmax ignores.
    logs = np.log(np.maximum(probabilities.astype(np.float64), SMALLEST)) / temperature
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    scaled: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return scaled


def fold_in(network: Any, temperature: float) -> None:
    """Divide the last layer's weights by the temperature, so that the outputs are calibrated."""
    last = network.get_layer("grades")
    last.kernel.assign(last.kernel / temperature)
    last.bias.assign(last.bias / temperature)
