"""The interface of a loaded model, whichever library runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from drdeploy.grader.runtimes.signature import ModelSignature, Tensor

RuntimeName = Literal["tensorflow", "onnxruntime", "openvino", "cuda"]

CUDA_INSTALLATION = (
    "Use the image drdeploy:cuda, or replace the package onnxruntime: `pip uninstall onnxruntime`, "
    "then `pip install 'onnxruntime-gpu[cuda,cudnn]'`"
)
"""How to install the runtime ``cuda``.

The advice is defined in this small module, so that showing it does not import a runtime.
"""


@dataclass(frozen=True)
class OpenedModel:
    """A model that a library has loaded, but that is not compared with its manifest yet.

    Attributes:
        name: The name of the library that runs the model.
        version: That library's version.
        inputs: The inputs of the model.
        outputs: The outputs of the model.
        run: Calls the model with a batch and the position of an output, and returns that output.
            Raises :class:`PredictionFailed` if the library refuses the batch.
        owner: An object that must stay in memory as long as ``run`` is used. For example, a
            SavedModel holds the variables that the function ``run`` reads.
    """

    name: RuntimeName
    version: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    run: Callable[[NDArray[Any], int], NDArray[Any]]
    owner: Any = None


@dataclass(frozen=True)
class Runtime:
    """A loaded model. Several threads may call the runtime at once.

    Attributes:
        opened: The model that the library has loaded.
        signature: The shape and type of the batches that the model takes.
    """

    opened: OpenedModel
    signature: ModelSignature

    @property
    def name(self) -> RuntimeName:
        """The name of the library that runs the model."""
        return self.opened.name

    @property
    def version(self) -> str:
        """The version of the library that runs the model."""
        return self.opened.version

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict a batch.

        Args:
            batch: Photographs that the manifest's transform has prepared, of shape ``(n, height,
                width, 3)``.

        Returns:
            The model's raw outputs (probabilities or logits), shape ``(n, classes)``.

        Raises:
            PredictionFailed: The library refuses the batch, or the batch does not have the shape of
                the model's input.
        """
        return self.signature.predict_in_model_shape(
            batch, lambda data: self.opened.run(data, self.signature.output)
        )
