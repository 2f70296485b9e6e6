"""Load a model with one of several kinds of runtime, in the predictor's own process."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    Predict = Callable[[], object]

Kind = Literal["keras", "signature", "onnxruntime", "openvino", "drdeploy", "gemm"]
GEMM_SIDE = 1536


@dataclass(frozen=True)
class Spec:
    """The model that a predictor loads, and how it runs the model.

    Attributes:
        kind: ``keras`` is ``model.predict``, as in the 2023 study, and ``signature`` is a
            SavedModel called directly. ``onnxruntime`` and ``openvino`` are these runtimes, called
            directly. ``drdeploy`` is drdeploy's own prediction code, which computes the
            probabilities of a batch and checks them. ``gemm`` is not a model but a large matrix
            product, which measures the highest speed of the machine.
        model: A ``.keras`` file, a SavedModel, an ONNX file or an artifact's folder.
        precision: ``fp32``, ``bf16`` or ``int8``.
        threads: Number of threads of the runtime. With 0, the runtime chooses the number.
        spins: Whether idle threads of ONNX Runtime spin, which uses CPU time. With None, ONNX
            Runtime's default is used.
        batch: Images in one prediction.
        runtime: The runtime to use if ``kind`` is ``drdeploy``. With None, drdeploy chooses the
            runtime.
        cpus: CPU limit of the process, or None.
    """

    kind: Kind
    model: str
    precision: str = "fp32"
    threads: int = 1
    spins: bool | None = None
    batch: int = 1
    runtime: str | None = None
    cpus: float | None = None


def _batch(spec: Spec) -> np.ndarray:
    shape = (spec.batch, 224, 224, 3)
    return np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)


def _keras(spec: Spec) -> Predict:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(spec.threads)
    tf.config.threading.set_inter_op_parallelism_threads(spec.threads)
    model = keras.models.load_model(spec.model, compile=False)
    batch = _batch(spec)
    return lambda: model.predict(batch, verbose=0)


def _signature(spec: Spec) -> Predict:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(spec.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = tf.saved_model.load(spec.model)
    function = model.signatures["serving_default"]
    batch = _batch(spec)

    def predict() -> object:
        (output,) = function(tf.constant(batch)).values()
        return output.numpy()

    predict.model = model  # type: ignore[attr-defined]  # owns the variables
    return predict


def _onnxruntime(spec: Spec, model: object = None) -> Predict:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = spec.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if spec.spins is not None:
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spec.spins)))
    session = ort.InferenceSession(model or spec.model, options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    feed = {given.name: _batch(spec) if model is None else _gemm_input(spec)}
    return lambda: session.run(None, feed)


def _openvino(spec: Spec, model: object = None) -> Predict:
    import openvino as ov
    from openvino import properties
    from openvino.properties import hint

    core = ov.Core()
    loaded = core.read_model(model or spec.model)
    compiled = core.compile_model(loaded, "CPU", {
        hint.performance_mode: hint.PerformanceMode.LATENCY,
        hint.inference_precision: ov.Type.bf16 if spec.precision == "bf16" else ov.Type.f32,
        hint.enable_cpu_pinning: False,
        properties.inference_num_threads: spec.threads,
    })  # fmt: skip
    batch = _batch(spec) if model is None else _gemm_input(spec)
    own = threading.local()

    def predict() -> object:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        return own.request.infer([batch], share_inputs=True)[0]

    return predict


def _drdeploy(spec: Spec) -> Predict:
    from drdeploy.grader.artifacts import open_artifact
    from drdeploy.grader.runtimes.classifier import Classifier
    from drdeploy.grader.runtimes.model_loading import load_model_in_runtime

    artifact = open_artifact(Path(spec.model))
    runtime: Any = spec.runtime
    loaded = load_model_in_runtime(artifact, runtime=runtime, threads=spec.threads or None)
    classifier = Classifier(artifact, loaded)
    batch = _batch(spec)
    return lambda: classifier.predict(batch)


def _gemm(spec: Spec) -> Predict:
    """Return a function that multiplies large matrices.

    OpenVINO computes the product in bf16, because it is the faster runtime in bf16. In any other
    precision, ONNX Runtime is faster and computes the product.
    """
    graph = _gemm_graph(spec.precision)
    load = _openvino if spec.precision == "bf16" else _onnxruntime
    return load(spec, graph)


def _gemm_input(spec: Spec) -> np.ndarray:
    draw = np.random.default_rng(2)
    shape = (GEMM_SIDE, GEMM_SIDE)
    if spec.precision == "int8":
        return draw.integers(0, 255, shape).astype(np.uint8)
    return draw.uniform(-1, 1, shape).astype(np.float32)


def _gemm_graph(precision: str) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    is_int8 = precision == "int8"
    draw = np.random.default_rng(3)
    shape = (GEMM_SIDE, GEMM_SIDE)
    weights = draw.integers(-127, 127, shape).astype(np.int8)
    kernel = weights if is_int8 else (weights / 127).astype(np.float32)
    given = TensorProto.UINT8 if is_int8 else TensorProto.FLOAT
    found = TensorProto.INT32 if is_int8 else TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger" if is_int8 else "MatMul", ["x", "w"], ["y"])],
        "gemm",
        [helper.make_tensor_value_info("x", given, shape)],
        [helper.make_tensor_value_info("y", found, shape)],
        [numpy_helper.from_array(kernel, "w")],
    )
    opset = [helper.make_opsetid("", 17)]
    data: bytes = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    return data


LOADERS: dict[Kind, Callable[[Spec], Predict]] = {
    "keras": _keras,
    "signature": _signature,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "drdeploy": _drdeploy,
    "gemm": _gemm,
}
