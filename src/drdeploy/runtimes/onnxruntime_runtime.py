"""ONNX Runtime: the smallest and the fastest to start."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

# Its wheels report use to their maker unless told not to before they are imported; a server
# of patients' photographs does not, and a cold start need not wait for it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

from drdeploy.errors import ModelLoadFailed, PredictionFailed
from drdeploy.runtimes.cpu_limit import available_cpus
from drdeploy.runtimes.signature import Signature, read_signature

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from drdeploy.artifacts import ModelArtifact
    from drdeploy.runtimes.protocol import RuntimeName

LOG_ERRORS_ONLY = 3
SPIN_US = 100
"""Before an idle thread sleeps; releases of ONNX Runtime that do not know it ignore it."""
DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16"}


@dataclass(frozen=True)
class OnnxRuntime:
    """A loaded session.  ONNX Runtime allows concurrent calls of one session."""

    session: ort.InferenceSession
    input_name: str
    signature: Signature
    name: RuntimeName = "onnxruntime"
    version: str = ort.__version__

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict a batch; see :class:`drdeploy.runtimes.protocol.Runtime`."""
        return self.signature.run(batch, self._run)

    def _run(self, data: NDArray[np.floating]) -> NDArray[np.floating]:
        try:
            outputs: list[Any] = self.session.run(None, {self.input_name: data})
        except Exception as err:  # its exceptions have no common base but Exception
            raise PredictionFailed("ONNX Runtime refused the batch") from err
        result: NDArray[np.floating] = outputs[0]
        return result


def load(artifact: ModelArtifact, *, threads: int) -> OnnxRuntime:
    """Load an ONNX file.

    Raises:
        ModelLoadFailed: ONNX Runtime refuses it, or it does not fit its manifest.
    """
    try:
        session = ort.InferenceSession(
            artifact.entry_path, session_options(threads), providers=["CPUExecutionProvider"]
        )
    except Exception as err:  # its exceptions have no common base but Exception
        raise ModelLoadFailed(
            f"ONNX Runtime refuses the model ({type(err).__name__})",
            where=artifact.manifest.name,
            remedy="The log says why; check the file with onnx.checker",
        ) from err
    inputs = [(_shape(node), DTYPES.get(node.type, node.type)) for node in session.get_inputs()]
    outputs = [_shape(node) for node in session.get_outputs()]
    signature = read_signature(artifact, inputs=inputs, outputs=outputs)
    return OnnxRuntime(session, session.get_inputs()[0].name, signature)


def session_options(threads: int, cpus: float | None = None) -> ort.SessionOptions:
    """Options for one prediction at a time on that many threads.

    Idle threads wait instead of spinning where the CPU limit is below their number: under a
    quota, a spinning thread spends the time that the working ones need.  Elsewhere they spin for
    as long as the gap between two layers is, and no longer: by default they spin on after the
    prediction, and on a busy machine double the CPU time of a request.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = LOG_ERRORS_ONLY
    limit = available_cpus() if cpus is None else cpus
    spins = "0" if limit < threads else "1"
    options.add_session_config_entry("session.intra_op.allow_spinning", spins)
    options.add_session_config_entry("session.intra_op.spin_duration_us", str(SPIN_US))
    return options


def _shape(node: ort.NodeArg) -> tuple[int | None, ...]:
    return tuple(side if isinstance(side, int) else None for side in node.shape)
