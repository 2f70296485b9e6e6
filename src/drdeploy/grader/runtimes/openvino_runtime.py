"""Run models with OpenVINO, the fastest runtime on Intel CPUs; it reads ONNX and SavedModel."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import openvino as ov
from openvino import properties
from openvino.properties import hint

from drdeploy.errors import ModelLoadFailed, PredictionFailed
from drdeploy.grader.runtimes.runtime import OpenedModel
from drdeploy.grader.runtimes.signature import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.grader.artifacts import ModelArtifact, Precision


def open_model(artifact: ModelArtifact, *, threads: int) -> OpenedModel:
    """Load a SavedModel or an ONNX file.

    Raises:
        ModelLoadFailed: OpenVINO refuses the model.
    """
    try:
        compiled = ov.Core().compile_model(
            str(artifact.entry_path),
            "CPU",
            choose_compile_options(threads, artifact.manifest.precision),
        )
    except RuntimeError as err:
        # All lines but the last name places in OpenVINO's source.
        reason = (str(err).strip().splitlines() or [type(err).__name__])[-1]
        raise ModelLoadFailed(
            f"OpenVINO cannot load the model: {reason}",
            where=artifact.manifest.name,
            remedy="Choose another runtime, or export the model again",
        ) from err
    # An inference request holds the buffers of one prediction, so each thread has one of its own.
    own = threading.local()

    def run_model_on_batch(data: NDArray[Any], output: int) -> NDArray[Any]:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        try:
            results = own.request.infer([data], share_inputs=True)
        except (RuntimeError, ValueError, TypeError) as err:
            raise PredictionFailed("OpenVINO could not run the batch") from err
        result: NDArray[Any] = results[output]
        return result

    inputs, outputs = (
        tuple(map(_describe_port, ports)) for ports in (compiled.inputs, compiled.outputs)
    )
    return OpenedModel("openvino", ov.__version__, inputs, outputs, run_model_on_batch)


def choose_compile_options(threads: int, precision: Precision) -> dict[str, object]:
    """Return OpenVINO's options for one prediction at a time on the given number of threads.

    On a CPU with bfloat16, OpenVINO computes in bfloat16 by default.  A model in fp32 must give the
    same answer on every machine, so the precision is always set.
    """
    is_bf16 = precision == "bf16"
    return {
        hint.performance_mode: hint.PerformanceMode.LATENCY,
        hint.inference_precision: ov.Type.bf16 if is_bf16 else ov.Type.f32,
        hint.enable_cpu_pinning: False,  # several workers would pin to the same cores
        properties.inference_num_threads: threads,
    }


def _describe_port(port: ov.ConstOutput) -> Tensor:
    shape = port.get_partial_shape()
    sides = () if shape.rank.is_dynamic else tuple(map(_length_of_side, shape))
    # OpenVINO may know a tensor by several names. The first in alphabetical order is used.
    name = min(port.get_names(), default="")
    return Tensor(name, sides, port.element_type.to_dtype().name)


def _length_of_side(dimension: ov.Dimension) -> int | None:
    return dimension.get_length() if dimension.is_static else None
