"""Make the models that the benchmarks compare, in every format and precision.

The models are written to the folder ``build/benchmarks``.

MobileNet is the packaged grader. The Keras MobileNet gets the weights of the packaged grader in
fp32. Keras's ``model.predict``, which the 2023 study used, therefore gives the same probabilities
as the packaged grader. The packaged grader has no normalization layers. When it was exported, most
normalization layers of the trained network were merged into the convolutions before them. The
others became a multiplication by a scale and an addition. A normalization layer of the Keras
network therefore only adds the bias of a convolution. Where the packaged grader has a separate
scale, the layer also multiplies by this scale. VGG19 has random weights: its latency is valid, but
its grades mean nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from drdeploy.grader.box import FOLDER, NAME
from drdeploy.grader.synthetic.photograph import paint_synthetic_photograph
from harness.options import BUILD, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

TOLERANCE = 1e-4
SHARED = ROOT.parent / "shared" / "data"
CALIBRATION_IMAGES = 60
SYNTHETIC_IMAGES = 16


@dataclass(frozen=True)
class Forms:
    """The files of one network in every format and precision.

    Attributes:
        name: Name of the network.
        fp32: Folder of the artifact in fp32.
        int8: Folder of the artifact in int8.
        keras: A ``.keras`` file.
        saved_model: Folder of the SavedModel.
        flop: Floating-point operations for one image. A multiplication and an addition count as two
            operations.
    """

    name: str
    fp32: Path
    int8: Path
    keras: Path
    saved_model: Path
    flop: float

    def onnx(self, precision: str) -> Path:
        """Return the ONNX file for a precision; for bf16, this is the file in fp32."""
        return (self.int8 if precision == "int8" else self.fp32) / "model.onnx"


def forms_of(name: str) -> Forms:
    """Return a network in every format and precision; build it first if it is missing.

    The network is built in a new process. If it were built in the benchmark's process, TensorFlow's
    threads would keep running there.
    """
    folder = BUILD / "models" / name
    if not (folder / "done").exists():
        path = os.pathsep.join(
            filter(None, (str(ROOT / "benchmarks"), os.environ.get("PYTHONPATH")))
        )
        subprocess.run(
            [sys.executable, "-m", "harness.models", name],
            check=True, env={**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )  # fmt: skip
    return Forms(
        name, folder / "fp32", folder / "int8", folder / "model.keras", folder / "saved_model",
        float((folder / "flop").read_text(encoding="ascii")),
    )  # fmt: skip


def photographs() -> list[bytes]:
    """Return photographs of 512 x 512 pixels.

    The photographs come from the data set IDRiD if it is on this machine. Otherwise, they are
    synthetic.
    """
    real = sorted((SHARED / "idrid_512" / "train").glob("*.jpg"))[:CALIBRATION_IMAGES]
    if real:
        return [file.read_bytes() for file in real]
    return [paint_synthetic_photograph(seed, width_px=512, height_px=512)
            for seed in range(SYNTHETIC_IMAGES)]  # fmt: skip


def build(name: str) -> None:
    """Write one network in every format and precision."""
    folder = BUILD / "models" / name
    shutil.rmtree(folder, ignore_errors=True)  # what an interrupted run has left
    folder.mkdir(parents=True)
    network = _mobilenet(folder) if name == "mobilenet" else _vgg19(folder)
    network.save(folder / "model.keras")
    from drdeploy.grader.networks.convert import save_as_saved_model

    save_as_saved_model(network, folder).rename(folder / "saved_model")
    flop = count_flop(folder / "fp32" / "model.onnx")
    (folder / "flop").write_text(f"{flop:g}", encoding="ascii")
    (folder / "done").touch()


def _mobilenet(folder: Path) -> Any:
    from drdeploy.grader.artifacts import extract_archive
    from drdeploy.grader.networks.architectures import find_architecture
    from drdeploy.grader.networks.network import build_network

    for precision in ("fp32", "int8"):
        extract_archive(FOLDER / f"{NAME}-{precision}.tar.gz", folder / precision)
    network = build_network(find_architecture("MobileNet"))
    _fill(network, folder / "fp32" / "model.onnx")
    _check(network, folder / "fp32")
    return network


def _fill(network: Any, graph: Path) -> None:
    """Copy the weights in an exported ONNX file into a Keras MobileNet."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(graph)
    tensors = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    products = [node for node in model.graph.node if node.op_type == "MatMul"]
    reader = {name: node for node in model.graph.node for name in node.input}
    filled = [layer for layer in network.layers if "Conv" in type(layer).__name__]
    normalizations = [layer for layer in network.layers if "Norm" in type(layer).__name__]
    for node, layer, after in zip(convolutions, filled, normalizations, strict=True):
        kernel = tensors[node.input[1]]
        if len(node.input) > 2:
            bias = tensors[node.input[2]]
            scale = np.ones_like(bias)
        else:  # a depthwise convolution keeps its normalization as a product and a sum
            product = reader[node.output[0]]
            scale = tensors[product.input[1]].ravel()
            bias = tensors[reader[product.output[0]].input[1]].ravel()
        is_depthwise = "Depthwise" in type(layer).__name__
        layer.set_weights([kernel.transpose((2, 3, 0, 1) if is_depthwise else (2, 3, 1, 0))])
        one, none = np.ones_like(bias), np.zeros_like(bias)
        after.set_weights([scale, bias, none, one - np.float32(after.epsilon)])
    dense = [layer for layer in network.layers if type(layer).__name__ == "Dense"]
    for product, layer in zip(products, dense, strict=True):
        layer.set_weights([tensors[product.input[1]], tensors[reader[product.output[0]].input[1]]])


def _check(network: Any, artifact: Path) -> None:
    """Check that the Keras network and the artifact give the same answers."""
    from drdeploy.grader.artifacts import open_artifact
    from drdeploy.grader.runtimes.model_loading import load_model_in_runtime

    opened = open_artifact(artifact)
    batch = np.stack(list(_inputs(opened.manifest.transform, photographs()[:4])))
    difference = load_model_in_runtime(opened).predict(batch) - network.predict(batch, verbose=0)
    if not np.abs(difference).max() <= TOLERANCE:
        raise SystemExit(
            f"the Keras network and the artifact differ by {np.abs(difference).max():.2g}"
        )


def _inputs(transform: Any, files: list[bytes]) -> Iterator[NDArray[np.float32]]:
    from drdeploy.grader.fundus.apply import make_model_input

    for data in files:
        yield make_model_input(transform, data)


def _vgg19(folder: Path) -> Any:
    from drdeploy.grader.artifacts import extract_archive
    from drdeploy.grader.networks.architectures import find_architecture
    from drdeploy.grader.networks.export import (
        build_network_with_weights,
        export_network_as_archives,
    )
    from drdeploy.grader.quantization.convert import write_quantized_onnx
    from drdeploy.grader.quantization.quantize import pack_quantized_model

    built = build_network_with_weights(find_architecture("VGG19"), "random", seed=0)
    archive = export_network_as_archives(built, folder, formats=("onnx",))["onnx"]
    artifact = extract_archive(archive, folder / "fp32")
    batches = (one[None] for one in _inputs(artifact.manifest.transform, photographs()))
    small = write_quantized_onnx(artifact.entry_path, folder / "int8.onnx", "int8", batches)
    pack_quantized_model(small, folder / "int8.tar.gz", artifact, "int8", None, clinical=None)
    extract_archive(folder / "int8.tar.gz", folder / "int8")
    for left in (archive, small, folder / "int8.tar.gz"):
        left.unlink()
    return built.network


def count_flop(graph: Path) -> float:
    """Count the floating-point operations for one image.

    Only convolutions and matrix products are counted. Nearly all operations are in these.
    """
    import onnx

    model = onnx.load(graph)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    model = onnx.shape_inference.infer_shapes(model)
    shapes = {
        value.name: [one.dim_value for one in value.type.tensor_type.shape.dim]
        for value in (*model.graph.value_info, *model.graph.output)
    }
    weights = {one.name: list(one.dims) for one in model.graph.initializer}
    total = 0.0
    for node in model.graph.node:
        if node.op_type == "Conv":
            total += 2.0 * np.prod(shapes[node.output[0]][1:]) * np.prod(weights[node.input[1]][1:])
        elif node.op_type == "MatMul" and node.input[1] in weights:
            total += 2.0 * np.prod(weights[node.input[1]])
    return total


if __name__ == "__main__":
    build(sys.argv[1])
