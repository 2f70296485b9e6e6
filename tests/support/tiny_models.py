"""Models that are built in milliseconds and answer as real ones do."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from drdeploy.grader.artifacts import ModelDescription, extract_archive, pack_archive
from drdeploy.grader.grading import ICDR_CLASSES

if TYPE_CHECKING:
    from pathlib import Path

SIDE_PX = 224


def described(name: str = "tiny", **fields: Any) -> ModelDescription:
    """What a manifest says of a model, with what a test leaves out filled in."""
    return ModelDescription(**{"architecture": "Tiny", "weights": "random"} | fields, name=name)


def tiny_onnx(
    folder: Path,
    classes: int = 5,
    *,
    rounds: int = 0,
    ballast: bytes = b"",
    sides_px: tuple[int | str, int | str] = (SIDE_PX, SIDE_PX),
) -> Path:
    """Softmax of the mean colour; ``rounds`` of useless convolution make it slow."""
    seed = np.random.default_rng(3)
    weights = {
        "w": seed.normal(size=(3, classes)).astype(np.float32),
        "axes": np.array([1, 2], dtype=np.int64),
    }
    nodes = []
    x = "x"
    if rounds:
        weights["k"] = np.full((3, 3, 7, 7), 1e-3, dtype=np.float32)
        nodes.append(helper.make_node("Transpose", [x], ["c0"], perm=[0, 3, 1, 2]))
        nodes += [
            helper.make_node("Conv", [f"c{i}", "k"], [f"c{i + 1}"], pads=[3, 3, 3, 3])
            for i in range(rounds)
        ]
        nodes.append(helper.make_node("Transpose", [f"c{rounds}"], ["t"], perm=[0, 2, 3, 1]))
        x = "t"
    nodes += [
        helper.make_node("ReduceMean", [x, "axes"], ["m"], keepdims=0),
        helper.make_node("MatMul", ["m", "w"], ["l"]),
        helper.make_node("Softmax", ["l"], ["y"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *sides_px, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", classes])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    if ballast:
        graph.initializer.append(numpy_helper.from_array(np.frombuffer(ballast, np.uint8), "b"))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path = folder / "tiny.onnx"
    onnx.save(model, str(path))
    return path


def onnx_artifact(
    folder: Path, *, classes: tuple[str, ...] = ICDR_CLASSES, rounds: int = 0
) -> Path:
    """An extracted artifact with a tiny ONNX classifier."""
    folder.mkdir(parents=True, exist_ok=True)
    model = tiny_onnx(folder, len(classes), rounds=rounds)
    archive = folder / "model.tar.gz"
    pack_archive(model, archive, described(classes=classes))
    extract_archive(archive, folder / "model")
    return folder / "model"


def saved_model_artifact(folder: Path, *, rounds: int = 0) -> Path:
    """An extracted artifact with the same classifier as :func:`onnx_artifact`, as SavedModel."""
    import tensorflow as tf

    seed = np.random.default_rng(3)
    weights = tf.Variable(seed.normal(size=(3, 5)).astype(np.float32))
    kernel = tf.Variable(np.full((7, 7, 3, 3), 1e-3, dtype=np.float32))

    class Tiny(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights, self.kernel = weights, kernel

        @tf.function(input_signature=[tf.TensorSpec((None, SIDE_PX, SIDE_PX, 3), tf.float32, "x")])
        def __call__(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            for _ in range(rounds):
                x = tf.nn.conv2d(x, self.kernel, strides=1, padding="SAME")
            return {"y": tf.nn.softmax(tf.reduce_mean(x, [1, 2]) @ self.weights)}

    model = Tiny()
    folder.mkdir(parents=True, exist_ok=True)
    tf.saved_model.save(model, str(folder / "exported"), {"serving_default": model.__call__})
    archive = folder / "model.tar.gz"
    pack_archive(folder / "exported", archive, described())
    extract_archive(archive, folder / "model")
    return folder / "model"


def bare_saved_model(folder: Path) -> Path:
    """An extracted archive with a TensorFlow SavedModel and nothing else, as the study's."""
    import tensorflow as tf

    inputs = tf.keras.Input((SIDE_PX, SIDE_PX, 3))
    pooled = tf.keras.layers.GlobalAveragePooling2D()(inputs)
    model = tf.keras.Model(inputs, tf.keras.layers.Dense(5, activation="softmax")(pooled))
    model.export(str(folder / "exported"), verbose=False)
    archive = folder / "model.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder / "exported", arcname=".")
    extract_archive(archive, folder / "model")
    return folder / "model"
