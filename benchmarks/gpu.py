"""Measure predictions on a GPU, and compare them with the CPU and with PyTorch on the GPU.

Run ``python benchmarks/gpu.py`` on a machine with an NVIDIA GPU, with onnxruntime-gpu in place of
onnxruntime (docs/gpu.md). On a machine without a GPU, the benchmark says what is missing and
measures nothing. It measures:

- Latency of one photograph, on the GPU in fp32 and fp16, and on the CPU in int8. The latency is the
  time from the model's input to the probabilities.
- Photographs per second in batches of 16 and 64. The page also shows the operations per second as a
  share of the GPU's peak. The peak is measured with a chain of large matrix products in the same
  precision.
- Photographs per second of 16 threads that each grade one photograph at a time, as in a server.
- A MobileNet of the packaged grader's size in PyTorch, if PyTorch is installed and finds the GPU.
"""

from __future__ import annotations

import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from drdeploy.errors import ModelError
from drdeploy.grader.artifacts import open_artifact
from drdeploy.grader.box import box_artifact
from drdeploy.grader.runtimes.batching import form_batches_in_runtime
from drdeploy.grader.runtimes.classifier import Classifier
from drdeploy.grader.runtimes.model_loading import load_model_in_runtime
from drdeploy.statistics.percentiles import estimate_median
from harness.models import count_flop
from harness.options import BUILD, Options, parser_for, read_options
from harness.page import Page, rounded
from harness.rounds import interleaved, ratio, written

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from drdeploy.grader.artifacts import ModelArtifact

CALLS = 30
BATCHES = (1, 16, 64)
THREADS = 16
WAIT_S = 0.002
SIDE, PRODUCTS = 4096, 16
"""The GPU's peak speed is measured with products of square matrices: the side of each matrix, and
the number of products.
"""
CPU, TORCH = "CPU int8", "PyTorch fp32"

INTRODUCTION = """
Only the prediction is measured, on photographs that are already decoded.  `GPU` is drdeploy's whole
prediction code with ONNX Runtime's CUDA provider, without TensorFloat-32; `CPU int8` is the
packaged grader on all processor cores; `PyTorch` is a MobileNet of the same size with random
weights.  The peak is a chain of matrix products of 4096 x 4096 in the same precision.  The value of
a round is its fastest call.
"""


def main() -> int:
    """Run the benchmark and write its page of results, or say that there is no GPU."""
    options = read_options(parser_for(__doc__))
    try:
        load_model_in_runtime(open_artifact(box_artifact("fp32")), runtime="cuda")
    except ModelError as err:
        print(f"Nothing was measured, because no GPU can be used: {err}")
        return 0
    page = Page("gpu", "GPU, CPU and PyTorch", INTRODUCTION, options)
    artifacts = artifacts_of_precisions()
    measure_batches(page, artifacts, options)
    measure_threads(page, artifacts, options)
    return page.finish()


def artifacts_of_precisions() -> dict[str, ModelArtifact]:
    """Return the packaged grader in fp32, and a copy that is converted to fp16."""
    from drdeploy.grader.quantization.convert import write_quantized_onnx
    from drdeploy.grader.quantization.quantize import pack_quantized_model

    fp32 = open_artifact(box_artifact("fp32"))
    with tempfile.TemporaryDirectory() as folder:
        small = write_quantized_onnx(fp32.entry_path, Path(folder) / "fp16.onnx", "fp16", ())
        archive = Path(folder) / "model.tar.gz"
        pack_quantized_model(small, archive, fp32, "fp16", None, clinical=None)
        return {"fp32": fp32, "fp16": open_artifact(archive)}


def measure_batches(page: Page, artifacts: Mapping[str, ModelArtifact], options: Options) -> None:
    """Time batches on the GPU, on the CPU and in PyTorch."""
    calls = options.budget.calls(CALLS)
    asked: dict[tuple[str, int], Callable[[], float]] = {}
    for size in BATCHES:
        batch = photographs(size)
        for precision, artifact in artifacts.items():
            gpu = Classifier(artifact, load_model_in_runtime(artifact, runtime="cuda"))
            asked[f"GPU {precision}", size] = partial(fastest_s, partial(gpu.predict, batch), calls)
        int8 = open_artifact(box_artifact("int8"))
        cpu = Classifier(int8, load_model_in_runtime(int8))
        asked[CPU, size] = partial(fastest_s, partial(cpu.predict, batch), calls)
        torch = predict_in_torch(batch)
        if torch is not None:
            asked[TORCH, size] = partial(fastest_s, torch, calls)
    found = interleaved(asked, options.budget.rounds)
    flop = count_flop(artifacts["fp32"].entry_path)
    peaks = {name: peak_of_card(name, options) for name in artifacts}
    rows = []
    for (way, size), seconds in found.items():
        latency = estimate_median(seconds)
        per_s = size / latency.value
        peak = peaks.get(way.removeprefix("GPU "))
        rows.append([
            way, size, written(latency.multiplied_by(1e3), "ms"), f"{per_s:.0f}",
            "" if peak is None else f"{100 * flop * per_s / peak:.0f} %",
            written(ratio(found[CPU, size], seconds)),
        ])  # fmt: skip
        page.rows += [
            {"way": way, "batch": size, "round": place, "seconds": rounded(value)}
            for place, value in enumerate(seconds)
        ]
    page.table(["way", "batch", "latency", "a second", "of the peak", f"x {CPU}"], rows)
    page.text("Peak, Gop/s: " + ", ".join(f"{k} {v / 1e9:.0f}" for k, v in peaks.items()) + ".")
    if not any(way == TORCH for way, _ in found):
        page.text("PyTorch was not compared, because it is not installed or finds no GPU.")


def measure_threads(page: Page, artifacts: Mapping[str, ModelArtifact], options: Options) -> None:
    """Time threads that each grade one photograph at a time, with and without batches.

    With batches, the GPU computes the predictions of several threads together.
    """
    count = THREADS * options.budget.calls(CALLS)
    asked: dict[str, Callable[[], float]] = {}
    for precision, artifact in artifacts.items():
        alone = load_model_in_runtime(artifact, runtime="cuda")
        formed = form_batches_in_runtime(alone, largest=THREADS, wait_s=WAIT_S)
        for way, runtime in ((f"{precision}, alone", alone), (f"{precision}, batches", formed)):
            asked[way] = partial(rate_of_threads, Classifier(artifact, runtime).predict, count)
    found = interleaved(asked, options.budget.rounds)
    page.text(f"## {THREADS} threads, one photograph each")
    page.table(
        ["way", "photographs a second"],
        [[way, written(estimate_median(rates))] for way, rates in found.items()],
    )


def photographs(size: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return a batch of random pixels.

    A prediction takes as long for random pixels as for an eye.
    """
    return np.random.default_rng(3).random((size, 224, 224, 3), np.float32) * 255


def fastest_s(predict: Callable[[], object], calls: int) -> float:
    """Call a function several times, and return the seconds of the fastest call."""
    taken = []
    for _ in range(calls):
        started = time.perf_counter()
        predict()
        taken.append(time.perf_counter() - started)
    return min(taken)


def rate_of_threads(predict: Callable[[Any], object], count: int) -> float:
    """Return the photographs per second of threads that each grade one photograph at a time."""
    batch = photographs(1)
    with ThreadPoolExecutor(THREADS) as threads:
        started = time.perf_counter()
        list(threads.map(lambda _: predict(batch), range(count)))
        return count / (time.perf_counter() - started)


def peak_of_card(
    precision: str, options: Options, *, side: int = SIDE, provider: str = "CUDAExecutionProvider"
) -> float:
    """Return the GPU's operations per second, measured with a chain of large matrix products.

    The matrices stay in the GPU's memory, so the time of copying does not count.
    """
    from drdeploy.grader.runtimes.cuda_runtime import OPTIONS
    from drdeploy.grader.runtimes.onnxruntime_binding import BindingSession

    path = write_matrix_products(
        BUILD / "models" / f"peak-{precision}-{side}.onnx", precision, side
    )
    is_gpu = provider == "CUDAExecutionProvider"
    providers = [(provider, OPTIONS)] if is_gpu else [provider]
    session = BindingSession(str(path), threads=0, entries={}, providers=providers)
    one = np.ones((1, 1), np.float32 if precision == "fp32" else np.float16)
    predict = partial(session.run_batch, one)
    predict()
    return 2.0 * side**3 * PRODUCTS / fastest_s(predict, options.budget.calls(CALLS))


def write_matrix_products(path: Path, precision: str, side: int) -> Path:
    """Write an ONNX model that takes a number, multiplies large matrices, and returns a number."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kind = np.float32 if precision == "fp32" else np.float16
    number = TensorProto.FLOAT if precision == "fp32" else TensorProto.FLOAT16
    matrix = (np.random.default_rng(4).standard_normal((side, side)) / side**0.5).astype(kind)
    nodes = [
        helper.make_node("Mul", ["w", "x"], ["m0"]),
        *(helper.make_node("MatMul", [f"m{n}", "w"], [f"m{n + 1}"]) for n in range(PRODUCTS)),
        helper.make_node("ReduceMean", [f"m{PRODUCTS}"], ["y"], keepdims=1),
    ]
    graph = helper.make_graph(
        nodes,
        "peak",
        [helper.make_tensor_value_info("x", number, (1, 1))],
        [helper.make_tensor_value_info("y", number, (1, 1))],
        [numpy_helper.from_array(matrix, "w")],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def predict_in_torch(batch: np.ndarray[Any, Any]) -> Callable[[], object] | None:
    """Return a function that predicts a batch with PyTorch; None without PyTorch or a GPU."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    torch.backends.cudnn.allow_tf32 = False
    network = build_torch_mobilenet(torch).eval().cuda()
    data = torch.from_numpy(np.ascontiguousarray(np.moveaxis(batch, 3, 1)))

    def predict() -> object:
        with torch.inference_mode():
            return network(data.cuda()).cpu()

    return predict


def build_torch_mobilenet(torch: Any) -> Any:
    """Return a MobileNet 1.0 with five classes and random weights."""
    nn = torch.nn

    def convolution(inputs: int, outputs: int, side: int, stride: int, groups: int) -> list[Any]:
        pad = side // 2
        conv = nn.Conv2d(inputs, outputs, side, stride, pad, groups=groups, bias=False)
        return [conv, nn.BatchNorm2d(outputs), nn.ReLU6()]

    layers = convolution(3, 32, 3, 2, 1)
    width = 32
    for outputs, stride in (
        (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2),
        (1024, 1),
    ):  # fmt: skip
        layers += convolution(width, width, 3, stride, width)
        layers += convolution(width, outputs, 1, 1, 1)
        width = outputs
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 5), nn.Softmax(1)]
    return nn.Sequential(*layers)


if __name__ == "__main__":
    sys.exit(main())
