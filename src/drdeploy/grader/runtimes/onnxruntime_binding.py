"""ONNX Runtime through its Python extension, where its wheel has no C library (not on Linux)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnxruntime as ort

from drdeploy.grader.runtimes.onnxruntime_library import ERRORS_ONLY, Node

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

VERSION: str = ort.__version__
DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16"}


class BindingSession:
    """A loaded model, as :class:`drdeploy.grader.runtimes.onnxruntime_library.LibrarySession`."""

    def __init__(self, path: str, *, threads: int, entries: Mapping[str, str]) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = ERRORS_ONLY
        for name, value in entries.items():
            options.add_session_config_entry(name, value)
        self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.inputs = tuple(map(_node, self._session.get_inputs()))
        self.outputs = tuple(map(_node, self._session.get_outputs()))

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Predict; see :meth:`drdeploy.grader.runtimes.onnxruntime_library.LibrarySession.run`."""
        outputs: list[Any] = self._session.run(None, {self.inputs[0].name: batch})
        result: NDArray[Any] = outputs[0]
        return result


def _node(node: ort.NodeArg) -> Node:
    shape = tuple(side if isinstance(side, int) else None for side in node.shape)
    return Node(node.name, shape, DTYPES.get(node.type, node.type))
