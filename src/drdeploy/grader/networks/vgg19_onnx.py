"""Write VGG19 with random weights as ONNX, without TensorFlow.

``drdeploy study`` can compare the cost of a small model with that of a large one. The grades of the
large model do not matter, so its weights may be random. The large model takes 80 MB, which is too
much for the package, so it is built on the user's machine. TensorFlow is too large to download for
building only one model. Therefore this module needs only ``onnx`` and the packages of a server. It
writes the same network and weights as ``model export vgg19 --format onnx``. The network is
configuration E of Simonyan and Zisserman (ICLR 2015) with the study's last layers.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.grader.artifacts import ModelDescription, Provenance, extract_archive, pack_archive
from drdeploy.grader.fundus.gradability_limits import GradabilityLimits
from drdeploy.grader.grading.grade import ICDR_CLASSES
from drdeploy.grader.networks.architectures import find_architecture
from drdeploy.grader.networks.notes import RANDOM
from drdeploy.grader.networks.random_weights import (
    draw_he_normal_kernel,
    scale_last_layer_to_unit_logits,
)
from drdeploy.grader.networks.sample import make_sample_batch
from drdeploy.grader.runtimes.model_loading import load_model_in_runtime
from drdeploy.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from onnx import NodeProto

    LayerWeights = dict[str, NDArray[np.float32]]

BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
"""The number of filters and the number of convolutions in each block.

Each block ends in 2 x 2 max-pooling.
"""

HIDDEN = (128, 128)
OPSET, IR_VERSION = 17, 8


def export_random_vgg19_as_onnx(out_dir: Path, *, seed: int = 0) -> Path:
    """Write ``vgg19-fp32-onnx.tar.gz`` with random weights, and return the path of the archive."""
    architecture = find_architecture("VGG19")
    sample = make_sample_batch(architecture.transform)
    weights = draw_random_vgg19_weights(seed)
    archive = out_dir / "vgg19-fp32-onnx.tar.gz"
    out_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="drdeploy-export-") as scratch:
        features = _compute_input_of_last_layer(weights, sample, Path(scratch))
        weights["grades/kernel"], weights["grades/bias"] = scale_last_layer_to_unit_logits(
            features, weights["grades/kernel"]
        )
        provenance = Provenance(
            tool_version=VERSION, source="keras.applications.VGG19", seed=seed, notes=RANDOM
        )
        description = ModelDescription(
            name="vgg19",
            architecture="VGG19",
            weights="random",
            transform=architecture.transform,
            gradability=GradabilityLimits(),
            provenance=provenance,
        )
        pack_archive(write_vgg19_graph(weights, Path(scratch) / "model.onnx"), archive, description)
    return archive


def draw_random_vgg19_weights(seed: int) -> LayerWeights:
    """Draw kernels ``(height, width, in, out)`` and zero biases for each layer.

    Each layer has a random generator of its own, whose seed contains the layer's position in
    Keras's network. The weights are equal to those of
    :func:`drdeploy.grader.networks.random_weights.draw_random_kernels`.
    """
    weights: LayerWeights = {}
    for place, name, shape in _iterate_layers_in_keras_order():
        rng = np.random.default_rng([seed, place])
        weights[f"{name}/kernel"] = draw_he_normal_kernel(rng, shape, int(np.prod(shape[:-1])))
        weights[f"{name}/bias"] = np.zeros(shape[-1], dtype=np.float32)
    return weights


def _iterate_layers_in_keras_order() -> Iterator[tuple[int, str, tuple[int, ...]]]:
    """Yield the position in Keras's network, the name and the kernel's shape of each layer.

    The positions count all of Keras's layers, including those for input, pooling and flattening.
    """
    place, channels = 1, 3
    for block, (filters, convolutions) in enumerate(BLOCKS, start=1):
        for number in range(1, convolutions + 1):
            yield place, f"block{block}_conv{number}", (3, 3, channels, filters)
            channels, place = filters, place + 1
        place += 1  # the block's pooling
    place += 1  # the global one
    names, widths = ("hidden_1", "hidden_2", "grades"), (*HIDDEN, len(ICDR_CLASSES))
    for name, width in zip(names, widths, strict=True):
        yield place, name, (channels, width)
        channels, place = width, place + 1


def write_vgg19_graph(weights: LayerWeights, path: Path, *, is_cut: bool = False) -> Path:
    """Write the network as an ONNX file.

    If ``is_cut`` is true, the last layer is left out. The graph's output is then the input of that
    layer.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = list(_make_graph_nodes(is_cut=is_cut))
    used = {name for node in nodes for name in node.input}
    architecture = find_architecture("VGG19")
    height_px, width_px, _ = architecture.shape_of_input
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
            numpy_helper.from_array(_rearrange_kernel_for_onnx(value), name)
            for name, value in weights.items()
            if name in used
        ],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    onnx.save(model, path)
    return path


def _make_graph_nodes(*, is_cut: bool) -> Iterator[NodeProto]:
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


def _rearrange_kernel_for_onnx(value: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rearrange a convolution's kernel to ONNX's order ``(out, in, height, width)``."""
    return np.ascontiguousarray(value.transpose(3, 2, 0, 1)) if value.ndim == 4 else value


def _compute_input_of_last_layer(
    weights: LayerWeights, sample: NDArray[np.float32], scratch: Path
) -> NDArray[np.float32]:
    """Compute the input of the last layer for the sample photographs."""
    units = tuple(f"unit_{number}" for number in range(HIDDEN[-1]))
    cut = write_vgg19_graph(weights, scratch / "cut.onnx", is_cut=True)
    description = ModelDescription(
        name="cut",
        architecture="VGG19",
        weights="random",
        classes=units,
        transform=find_architecture("VGG19").transform,
    )
    pack_archive(cut, scratch / "cut.tar.gz", description)
    runtime = load_model_in_runtime(extract_archive(scratch / "cut.tar.gz", scratch / "cut"))
    return np.concatenate([runtime.predict(one[None]) for one in sample])
