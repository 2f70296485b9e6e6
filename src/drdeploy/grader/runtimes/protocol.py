"""The interface of a loaded model, whichever library runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RuntimeName = Literal["tensorflow", "onnxruntime", "openvino"]


class Runtime(Protocol):
    """A loaded model.  Safe to call from several threads at once."""

    @property
    def name(self) -> RuntimeName:
        """Which library runs the model."""
        ...

    @property
    def version(self) -> str:
        """That library's version."""
        ...

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict a batch.

        Args:
            batch: Shape ``(n, height, width, 3)``, as the manifest's transform makes it.

        Returns:
            Shape ``(n, classes)``: the model's raw outputs (probabilities or logits).

        Raises:
            PredictionFailed: The runtime refuses the batch.
        """
        ...
