"""Write VGG19 with random weights as ONNX, without TensorFlow.

A study compares a small model with a large one, whose size and cost matter and whose grades do not.
At 80 MB it cannot be shipped, and TensorFlow is a large download just to build it.  This module
needs NumPy and the ``onnx`` package alone and writes the same network, weight for weight, as
``model export vgg19 --format onnx`` (Simonyan and Zisserman, ICLR 2015, configuration E, under the
study's head).
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.grader.artifacts import Provenance, extract, pack
from drdeploy.grader.fundus.gradability_limits import GradabilityLimits
from drdeploy.grader.grading.grade import ICDR_CLASSES
from drdeploy.grader.networks.architectures import find_architecture
from drdeploy.grader.networks.initial import he_normal, spread_logits
from drdeploy.grader.networks.notes import RANDOM
from drdeploy.grader.networks.sample import sample_batch
from drdeploy.grader.runtimes.load import load_runtime
from drdeploy.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from onnx import NodeProto

    Weights = dict[str, NDArray[np.float32]]

BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
"""Filters and convolutions of each block; each ends in a 2 x 2 max-pooling."""

HIDDEN = (128, 128)
OPSET, IR_VERSION = 17, 8


def export_vgg19_onnx(out_dir: Path, *, seed: int = 0) -> Path:
    """Write ``vgg19-fp32-onnx.tar.gz`` and return its path.

    Args:
        out_dir: Created if it does not exist.
        seed: Of the weights.
    """
    architecture = find_architecture("VGG19")
    sample = sample_batch(architecture.transform)
    weights = random_weights(seed)
    archive = out_dir / "vgg19-fp32-onnx.tar.gz"
    out_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="drdeploy-export-") as scratch:
        features = _features(weights, sample, Path(scratch))
        weights["grades/kernel"], weights["grades/bias"] = spread_logits(
            features, weights["grades/kernel"]
        )
        pack(
            write_graph(weights, Path(scratch) / "model.onnx"),
            archive,
            name="vgg19",
            architecture="VGG19",
            weights="random",
            transform=architecture.transform,
            gradability=GradabilityLimits(),
            provenance=Provenance(
                tool_version=VERSION,
                source="keras.applications.VGG19",
                seed=seed,
                notes=RANDOM,
            ),
        )
    return archive


def random_weights(seed: int) -> Weights:
    """Draw kernels ``(height, width, in, out)`` and zero biases, by layer.

    Each layer's generator is seeded by its position in Keras's network, so that the weights are
    those that :func:`drdeploy.grader.networks.random_weights.randomise` draws there.
    """
    weights: Weights = {}
    channels = 3
    for place, name, shape in _layers(channels):
        rng = np.random.default_rng([seed, place])
        weights[f"{name}/kernel"] = he_normal(rng, shape, int(np.prod(shape[:-1])))
        weights[f"{name}/bias"] = np.zeros(shape[-1], dtype=np.float32)
    return weights


def _layers(channels: int) -> Iterator[tuple[int, str, tuple[int, ...]]]:
    """Yield the layers: position in Keras's network, name, and shape of the kernel.

    Keras counts input, pooling and flattening as layers too.
    """
    place = 1
    for block, (filters, convolutions) in enumerate(BLOCKS, start=1):
        for number in range(1, convolutions + 1):
            yield place, f"block{block}_conv{number}", (3, 3, channels, filters)
            channels, place = filters, place + 1
        place += 1  # the block's pooling
    place += 1  # the global one
    units = channels
    for name, width in zip(
        ("hidden_1", "hidden_2", "grades"), (*HIDDEN, len(ICDR_CLASSES)), strict=True
    ):
        yield place, name, (units, width)
        units, place = width, place + 1


def write_graph(weights: Weights, path: Path, *, is_cut: bool = False) -> Path:
    """Write the network as an ONNX file.

    Args:
        weights: As :func:`random_weights` makes them.
        path: Of the file.
        is_cut: End before the last layer, so that the output is what that layer would get.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = list(_nodes(is_cut=is_cut))
    used = {name for node in nodes for name in node.input}
    architecture = find_architecture("VGG19")
    height_px, width_px, _ = architecture.input_shape
    units = HIDDEN[-1] if is_cut else len(ICDR_CLASSES)
    graph = helper.make_graph(
        nodes,
        "vgg19",
        [
            helper.make_tensor_value_info(
                "image", TensorProto.FLOAT, ["batch", height_px, width_px, 3]
            )
        ],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", units])],
        [
            numpy_helper.from_array(_as_onnx(value), name)
            for name, value in weights.items()
            if name in used
        ],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    onnx.save(model, path)
    return path


def _nodes(*, is_cut: bool) -> Iterator[NodeProto]:
    from onnx import helper

    yield helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2])
    flow = "planes"
    for block, (_, convolutions) in enumerate(BLOCKS, start=1):
        for number in range(1, convolutions + 1):
            name = f"block{block}_conv{number}"
            parts = [flow, f"{name}/kernel", f"{name}/bias"]
            yield helper.make_node("Conv", parts, [name], name, pads=[1, 1, 1, 1])
            yield helper.make_node("Relu", [name], [f"{name}/relu"])
            flow = f"{name}/relu"
        pooled = f"block{block}_pool"
        yield helper.make_node(
            "MaxPool", [flow], [pooled], pooled, kernel_shape=[2, 2], strides=[2, 2]
        )
        flow = pooled
    yield helper.make_node("GlobalAveragePool", [flow], ["pooled"])
    yield helper.make_node("Flatten", ["pooled"], ["features"])
    flow = "features"
    for name in ("hidden_1", "hidden_2"):
        is_end = is_cut and name == "hidden_2"
        yield helper.make_node("Gemm", [flow, f"{name}/kernel", f"{name}/bias"], [name], name)
        flow = "probabilities" if is_end else f"{name}/relu"
        yield helper.make_node("Relu", [name], [flow])
    if not is_cut:
        parts = [flow, "grades/kernel", "grades/bias"]
        yield helper.make_node("Gemm", parts, ["logits"], "grades")
        yield helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1)


def _as_onnx(value: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rearrange a convolution's kernel to ONNX's order ``(out, in, height, width)``."""
    return np.ascontiguousarray(value.transpose(3, 2, 0, 1)) if value.ndim == 4 else value


def _features(weights: Weights, sample: NDArray[np.float32], scratch: Path) -> NDArray[np.float32]:
    """Compute the input of the last layer for the sample photographs."""
    units = tuple(f"unit_{number}" for number in range(HIDDEN[-1]))
    cut = write_graph(weights, scratch / "cut.onnx", is_cut=True)
    transform = find_architecture("VGG19").transform
    pack(cut, scratch / "cut.tar.gz", name="cut", classes=units, transform=transform)
    runtime = load_runtime(extract(scratch / "cut.tar.gz", scratch / "cut"))
    return np.concatenate([runtime.predict(one[None]) for one in sample])
