"""OpenVINO: reads ONNX and SavedModel, and is the fastest on Intel CPUs."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import openvino as ov
from openvino import properties
from openvino.properties import hint

from drdeploy.errors import ModelLoadFailed, PredictionFailed
from drdeploy.grader.runtimes.signature import Signature, read_signature

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from drdeploy.grader.artifacts import ModelArtifact, Precision
    from drdeploy.grader.runtimes.protocol import RuntimeName


@dataclass(frozen=True)
class OpenVinoRuntime:
    """A model compiled by OpenVINO.

    An inference request holds the buffers of one prediction, so each thread has one of its own.
    """

    compiled: ov.CompiledModel
    signature: Signature
    name: RuntimeName = "openvino"
    version: str = ov.__version__
    _own: threading.local = field(default_factory=threading.local, repr=False)

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict a batch; see :class:`drdeploy.grader.runtimes.protocol.Runtime`."""
        return self.signature.run(batch, self._run)

    def _run(self, data: NDArray[np.floating]) -> NDArray[np.floating]:
        if not hasattr(self._own, "request"):
            self._own.request = self.compiled.create_infer_request()
        try:
            results = self._own.request.infer([data], share_inputs=True)
        except (RuntimeError, ValueError, TypeError) as err:
            raise PredictionFailed("OpenVINO refused the batch") from err
        output: NDArray[np.floating] = results[0]
        return output


def load(artifact: ModelArtifact, *, threads: int) -> OpenVinoRuntime:
    """Load a SavedModel or an ONNX file.

    Raises:
        ModelLoadFailed: OpenVINO refuses it, or it does not fit its manifest.
    """
    try:
        compiled = ov.Core().compile_model(
            str(artifact.entry_path), "CPU", compile_options(threads, artifact.manifest.precision)
        )
    except RuntimeError as err:
        # All lines but the last name places in OpenVINO's source.
        reason = (str(err).strip().splitlines() or [type(err).__name__])[-1]
        raise ModelLoadFailed(
            f"OpenVINO refuses the model: {reason}", where=artifact.manifest.name
        ) from err
    signature = read_signature(
        artifact,
        inputs=[(_shape(port), port.element_type.to_dtype().name) for port in compiled.inputs],
        outputs=[_shape(port) for port in compiled.outputs],
    )
    return OpenVinoRuntime(compiled, signature)


def compile_options(threads: int, precision: Precision) -> dict[str, object]:
    """Return the options for one prediction at a time on that many threads.

    On a CPU with bfloat16, OpenVINO uses it unasked.  A model called fp32 must answer the same
    everywhere, so the precision is always stated.
    """
    is_bf16 = precision == "bf16"
    return {
        hint.performance_mode: hint.PerformanceMode.LATENCY,
        hint.inference_precision: ov.Type.bf16 if is_bf16 else ov.Type.f32,
        hint.enable_cpu_pinning: False,  # several workers would pin to the same cores
        properties.inference_num_threads: threads,
    }


def _shape(port: ov.ConstOutput) -> tuple[int | None, ...]:
    return tuple(
        dimension.get_length() if dimension.is_static else None
        for dimension in port.get_partial_shape()
    )
