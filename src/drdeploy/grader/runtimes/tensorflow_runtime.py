"""TensorFlow: reads a SavedModel, such as the original study served."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

# TensorFlow reads both once, while it is imported: hence before that.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import tensorflow as tf

from drdeploy.errors import ModelLoadFailed, PredictionFailed, reason_of
from drdeploy.grader.runtimes.signature import Signature, read_signature

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from drdeploy.grader.artifacts import ModelArtifact
    from drdeploy.grader.runtimes.protocol import RuntimeName

SIGNATURE = "serving_default"
ENDPOINT = "serve"
"""Name that ``keras.Model.export`` gives its function."""


@dataclass(frozen=True)
class TensorFlowRuntime:
    """A loaded SavedModel.  Several threads may call a concrete function.

    Attributes:
        model: Owns the variables.  The function only refers to them, so the model must live on.
        function: What is called.
        signature: What it takes.
        name: Of this runtime.
        version: Of TensorFlow.
    """

    model: Any
    function: Any
    signature: Signature
    name: RuntimeName = "tensorflow"
    version: str = tf.__version__

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict a batch; see :class:`drdeploy.grader.runtimes.protocol.Runtime`."""
        return self.signature.run(batch, self._run)

    def _run(self, data: NDArray[np.floating]) -> NDArray[np.floating]:
        try:
            outputs = self.function(tf.constant(data))
        except (tf.errors.OpError, ValueError, TypeError) as err:
            raise PredictionFailed("TensorFlow refused the batch") from err
        result: NDArray[np.floating] = tf.nest.flatten(outputs)[0].numpy()
        return result


def load(artifact: ModelArtifact, *, threads: int) -> TensorFlowRuntime:
    """Load a SavedModel.

    Raises:
        ModelLoadFailed: TensorFlow refuses it, it has no signature, or it does not fit its
            manifest.
    """
    # TensorFlow accepts both only once in a process; a model that was loaded before has set them.
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    try:
        model = tf.saved_model.load(str(artifact.entry_path))
    except Exception as err:  # a damaged SavedModel raises whatever its parser does
        raise ModelLoadFailed(
            f"TensorFlow refuses the model: {reason_of(err)}",
            where=artifact.manifest.name,
            remedy="Save it again with keras.Model.export or tf.saved_model.save",
        ) from err
    function = _function(model, artifact)
    specs: list[tf.TensorSpec] = tf.nest.flatten(function.structured_input_signature)
    outputs = tf.nest.flatten(function.structured_outputs)
    signature = read_signature(
        artifact,
        inputs=[(_shape(spec), spec.dtype.name) for spec in specs],
        outputs=[_shape(output) for output in outputs],
    )
    return TensorFlowRuntime(model, function, signature)


def _function(model: Any, artifact: ModelArtifact) -> Any:
    """Find the function to call: a signature, or what Keras exported."""
    signatures = dict(model.signatures)
    if SIGNATURE in signatures:
        return signatures[SIGNATURE]
    if len(signatures) == 1:
        return next(iter(signatures.values()))
    exported = getattr(model, ENDPOINT, None)
    if exported is not None and len(exported.concrete_functions) == 1:
        return exported.concrete_functions[0]
    raise ModelLoadFailed(
        f"The SavedModel has no signature '{SIGNATURE}'",
        where=artifact.manifest.name,
        remedy="Save it again with keras.Model.export",
    )


def _shape(spec: Any) -> tuple[int | None, ...]:
    return tuple(spec.shape.as_list()) if spec.shape.rank is not None else ()
