"""Run SavedModels with TensorFlow, as in the study of 2023 that drdeploy follows."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

# TensorFlow reads both once, while it is imported: hence before that.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import tensorflow as tf

from drdeploy.errors import ModelLoadFailed, PredictionFailed, one_line_error_message
from drdeploy.grader.runtimes.runtime import OpenedModel
from drdeploy.grader.runtimes.signature import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from drdeploy.grader.artifacts import ModelArtifact

SIGNATURE = "serving_default"
ENDPOINT = "serve"
"""Name of the function that ``keras.Model.export`` writes."""


def open_model(artifact: ModelArtifact, *, threads: int) -> OpenedModel:
    """Load a SavedModel.

    Raises:
        ModelLoadFailed: TensorFlow refuses the model, or the model has no function that predicts.
    """
    # TensorFlow accepts both only once in a process; a model that was loaded before has set them.
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    try:
        model = tf.saved_model.load(str(artifact.entry_path))
    except Exception as err:  # a damaged SavedModel raises whatever its parser does
        if "Failed to find any matching files" in str(err):
            raise ModelLoadFailed(
                "The SavedModel lacks its folder 'variables', which holds the weights",
                where=artifact.manifest.name,
                remedy="Copy the whole folder of the SavedModel",
            ) from err
        raise ModelLoadFailed(
            f"TensorFlow cannot load the model: {one_line_error_message(err)}",
            where=artifact.manifest.name,
            remedy="Save the model again with keras.Model.export or tf.saved_model.save",
        ) from err
    function = _find_prediction_function(model, artifact)
    inputs: list[tf.TensorSpec] = tf.nest.flatten(function.structured_input_signature)

    def run_model_on_batch(data: NDArray[Any], output: int) -> NDArray[Any]:
        try:
            # Several threads may call a concrete function.
            outputs = function(tf.constant(data))
        except (tf.errors.OpError, ValueError, TypeError) as err:
            raise PredictionFailed("TensorFlow could not run the batch") from err
        result: NDArray[Any] = tf.nest.flatten(outputs)[output].numpy()
        return result

    return OpenedModel(
        "tensorflow",
        tf.__version__,
        inputs=tuple(_describe_spec(spec.name or "", spec) for spec in inputs),
        outputs=tuple(_describe_outputs(function.structured_outputs)),
        run=run_model_on_batch,
        owner=model,
    )


def _find_prediction_function(model: Any, artifact: ModelArtifact) -> Any:
    """Return the SavedModel's function that predicts: a signature, or what Keras exported."""
    signatures = dict(model.signatures)
    if SIGNATURE in signatures:
        return signatures[SIGNATURE]
    if len(signatures) == 1:
        return next(iter(signatures.values()))
    exported = getattr(model, ENDPOINT, None)
    if exported is not None and len(exported.concrete_functions) == 1:
        return exported.concrete_functions[0]
    raise ModelLoadFailed(
        f"The SavedModel has no signature '{SIGNATURE}'"
        + (f", but {', '.join(sorted(signatures))}" if signatures else ""),
        where=artifact.manifest.name,
        remedy="Save the model again with keras.Model.export",
    )


def _describe_outputs(structure: Any) -> Iterator[Tensor]:
    """Describe the outputs in the order in which TensorFlow flattens them: sorted by name."""
    flat = tf.nest.flatten(structure)
    named = isinstance(structure, dict) and len(structure) == len(flat)
    names = sorted(structure) if named else [f"output_{index}" for index in range(len(flat))]
    yield from map(_describe_spec, names, flat)


def _describe_spec(name: str, spec: Any) -> Tensor:
    sides = () if spec.shape.rank is None else tuple(spec.shape.as_list())
    return Tensor(name, sides, spec.dtype.name)
