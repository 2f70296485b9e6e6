"""Convert an ONNX graph in fp32 to int8, bf16 or fp16.

int8 is static: the range of every activation is measured once on calibration photographs, as its
smallest and largest value.  Percentile and entropy calibration changed as many grades of the
MobileNet in the box and took three times as long.  Weights are symmetric with one scale for each
output channel, because the depthwise kernels of a MobileNet differ in range by orders of
magnitude, and one scale for all of them ruins it.  Activations have one scale for each tensor and
are unsigned, since AVX-512 VNNI multiplies unsigned activations with signed weights in one
instruction.

The first convolution, and everything after the last one, stay in fp32.  There ONNX Runtime and
OpenVINO round differently (when they pad an input whose zero is not the integer 0, and in the mean
of a pooling), and gave 3 % of the photographs different grades.  With these layers in fp32 it is
less than 1 %, for 0.4 MB more.

bf16 weights are rounded but stored as fp32.  Every runtime can compute with them, OpenVINO in bf16
itself where the processor can, and the archive compresses to half.  fp16 weights are stored in 16
bits; runtimes without fp16 kernels compute with them in fp32.
"""

from __future__ import annotations

import logging
import tempfile
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, assert_never, get_args

import numpy as np

from drdeploy.errors import InvalidInput, ModelLoadFailed, requires_extra

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

SmallPrecision = Literal["int8", "bf16", "fp16"]
BF16_DROPPED_BITS = 16

ACTIVATIONS = frozenset({"Clip", "Relu"})
"""Operators that belong to the convolution before them: runtimes fuse the two."""


def quantize_onnx(
    model: Path,
    out: Path,
    precision: SmallPrecision,
    batches: Iterable[NDArray[np.float32]],
) -> Path:
    """Write a smaller copy of an ONNX file.

    Args:
        model: In fp32, its weights inside the file.
        out: Where to write.
        precision: Number format of the copy.
        batches: Calibration input, each ``(1, h, w, 3)``; only int8 uses it.

    Raises:
        InvalidInput: There is no such precision.
        ModelLoadFailed: ONNX Runtime cannot read or rewrite the graph.
        MissingExtra: The package ``onnx`` is not installed.
    """
    if precision not in get_args(SmallPrecision):
        raise InvalidInput(
            f"A model cannot be quantized to '{precision}'",
            remedy=f"Choose one of {', '.join(get_args(SmallPrecision))}",
        )
    with requires_extra("study", "Quantization"):
        import onnx  # noqa: F401
    try:
        with _quiet():
            match precision:
                case "int8":
                    _to_int8(model, out, batches)
                case "bf16":
                    _round_to_bf16(model, out)
                case "fp16":
                    _to_fp16(model, out)
                case _:
                    assert_never(precision)
    except Exception as err:  # protobuf's, ONNX's and the quantizer's have no common base
        raise ModelLoadFailed(f"The graph cannot be rewritten ({err})", where=model.name) from err
    return out


def _to_int8(model: Path, out: Path, batches: Iterable[NDArray[np.float32]]) -> None:
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory(prefix="drdeploy-quantize-") as scratch:
        folded = Path(scratch) / "folded.onnx"
        # Symbolic shapes need SymPy (40 MB) and change no node and no weight: compared
        # for VGG19, MobileNet, MobileNetV3Small and EfficientNetB0.
        quant_pre_process(str(model), str(folded), skip_symbolic_shape=True)
        graph = onnx.load(folded).graph
        reader = _Reader(graph.input[0].name, batches)
        quantize_static(
            str(folded),
            str(out),
            reader,
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_in_float(graph),
            extra_options={"WeightSymmetric": True},
        )


def _in_float(graph: Any) -> list[str]:
    """Names of the nodes that stay in fp32; a graph lists its nodes in the order of their use."""
    convolutions = [at for at, node in enumerate(graph.node) if node.op_type == "Conv"]
    if not convolutions:
        return [node.name for node in graph.node if node.op_type == "Softmax"]
    first, last = convolutions[0], convolutions[-1]
    follows = last + 1 + (graph.node[last + 1].op_type in ACTIVATIONS)
    left = [*graph.node[: first + 1], *graph.node[follows:]]
    return [node.name for node in left]


def _round_to_bf16(model: Path, out: Path) -> None:
    import onnx
    from onnx import numpy_helper

    loaded = onnx.load(model)
    for tensor in loaded.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            rounded = round_to_bf16(numpy_helper.to_array(tensor))
            tensor.CopyFrom(numpy_helper.from_array(rounded, tensor.name))
    onnx.save(loaded, out)


def round_to_bf16(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to the nearest values with eight bits of significance, ties to even, as float32."""
    # bf16 is the upper half of a float32. Adding just under half of its last bit, and that bit
    # itself, carries into the upper half exactly where rounding goes up.
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    last_kept = (bits >> BF16_DROPPED_BITS) & 1
    rounded = bits + 0x7FFF + last_kept
    kept: NDArray[np.float32] = (rounded & np.uint32(0xFFFF0000)).view(np.float32)
    return kept


def _to_fp16(model: Path, out: Path) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    converted = convert_float_to_float16(onnx.load(model), keep_io_types=True)
    onnx.save(converted, out)


class _Reader:
    """Hands calibration input to ONNX Runtime's quantizer, batch by batch."""

    def __init__(self, input_name: str, batches: Iterable[NDArray[np.float32]]) -> None:
        self._input_name = input_name
        self._batches = iter(batches)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Return the next batch, or None at the end."""
        batch = next(self._batches, None)
        return None if batch is None else {self._input_name: batch}

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        batch = self.get_next()
        if batch is None:
            raise StopIteration
        return batch


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the quantizer, which prints its progress and gives advice through the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        logging.disable(before)
