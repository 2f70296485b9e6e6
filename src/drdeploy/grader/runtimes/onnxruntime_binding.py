"""Call ONNX Runtime through its Python extension: on GPUs, and on systems other than Linux."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnxruntime as ort

from drdeploy.grader.runtimes.onnxruntime_library import FATAL_ONLY
from drdeploy.grader.runtimes.signature import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

VERSION: str = ort.__version__
DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}


Provider = str | tuple[str, dict[str, str]]
"""An execution provider of ONNX Runtime: its name, or its name and its options."""
CPU_PROVIDER = "CPUExecutionProvider"


class BindingSession:
    """A loaded model, with the same interface as ``LibrarySession`` in ``onnxruntime_library``.

    Attributes:
        providers: The names of the execution providers that the session uses.  ONNX Runtime leaves
            out a provider that it cannot load, and only warns.
    """

    def __init__(
        self,
        path: str,
        *,
        threads: int,
        entries: Mapping[str, str],
        providers: Sequence[Provider] = (CPU_PROVIDER,),
    ) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = FATAL_ONLY
        for name, value in entries.items():
            options.add_session_config_entry(name, value)
        self._session = ort.InferenceSession(path, options, providers=list(providers))
        self.providers: tuple[str, ...] = tuple(self._session.get_providers())
        self.inputs = tuple(map(_describe_node, self._session.get_inputs()))
        self.outputs = tuple(map(_describe_node, self._session.get_outputs()))

    def run_batch(self, batch: NDArray[Any], output: int = 0) -> NDArray[Any]:
        """Predict a batch in the same way as ``LibrarySession.run_batch``."""
        outputs: list[Any] = self._session.run(
            [self.outputs[output].name], {self.inputs[0].name: batch}
        )
        result: NDArray[Any] = outputs[0]
        return result


def _describe_node(node: ort.NodeArg) -> Tensor:
    shape = tuple(side if isinstance(side, int) else None for side in node.shape)
    return Tensor(node.name, shape, DTYPES.get(node.type, node.type))
