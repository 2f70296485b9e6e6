"""Convert an ONNX graph in fp32 to int8, bf16 or fp16.

Quantization to int8 is static: the smallest and largest value of every activation are measured once
on calibration photographs. Two other ways to find the range, called percentile and entropy
calibration, were tried on the packaged MobileNet. They took three times as long, and were no
better: quantization changed as many grades. Weights are quantized symmetrically, with one scale for
each output channel. With one scale for all channels, a MobileNet would be useless, because the
ranges of its depthwise kernels differ by orders of magnitude. Activations have one scale for each
tensor. They are unsigned, because one instruction of AVX-512 VNNI multiplies unsigned activations
with signed weights. Weights use all 8 bits. On x86 processors without VNNI, OpenVINO and, by
default, ONNX Runtime add two products of an activation and a weight in 16 bits, where large sums
are cut off. On these processors, drdeploy uses ONNX Runtime's setting
``session.x64quantprecision``, which avoids this.

The first convolution, and all layers after the last convolution, stay in fp32. If these layers were
in int8 too, ONNX Runtime and OpenVINO would give different grades to 3 % of the photographs,
because the two runtimes round differently. The difference arises in average pooling, and in padding
if the integer that stands for zero is not 0. With these layers in fp32, less than 1 % of the grades
differ. In exchange, the file is 0.4 MB larger.

Weights in bf16 are rounded to bf16, but stored as fp32. Every runtime can therefore compute with
them, and OpenVINO computes in bf16 if the processor supports it. In the compressed archive, weights
in bf16 take half the space. Weights in fp16 are stored in 16 bits, and runtimes without fp16
kernels convert them to fp32.
"""

from __future__ import annotations

import logging
import tempfile
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, assert_never, get_args

import numpy as np

from drdeploy.errors import InvalidInput, ModelLoadFailed, turn_import_error_into_missing_extra

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

SmallPrecision = Literal["int8", "bf16", "fp16"]
BF16_DROPPED_BITS = 16

ACTIVATIONS = frozenset({"Clip", "Relu"})
"""Operators that runtimes fuse with the convolution before them."""


def write_quantized_onnx(
    model: Path,
    out: Path,
    precision: SmallPrecision,
    batches: Iterable[NDArray[np.float32]],
) -> Path:
    """Write a quantized copy of an ONNX file in fp32; the file must contain its weights.

    Only int8 uses ``batches``, which are the calibration input in shape ``(1, h, w, 3)``. If the
    graph ends in a softmax, the logits of the int8 model are shifted until their means on the
    calibration input equal those of the original. Without the shift, the rounding errors of all
    layers would add up and move all grades in the same direction. The method is called bias
    correction (Nagel et al., ICCV 2019).

    Raises:
        InvalidInput: The precision is not int8, bf16 or fp16.
        ModelLoadFailed: ONNX Runtime cannot read or rewrite the graph.
        MissingExtra: The package ``onnx`` is not installed.
    """
    if precision not in get_args(SmallPrecision):
        raise InvalidInput(
            f"A model cannot be quantized to '{precision}'",
            remedy=f"Choose one of {', '.join(get_args(SmallPrecision))}",
        )
    with turn_import_error_into_missing_extra("study", "Quantization"):
        import onnx
    # Outside of the block below: a photograph that cannot be read is no fault of the graph.
    kept = list(batches) if precision == "int8" else []
    try:
        with _silence_quantizer():
            match precision:
                case "int8":
                    _write_onnx_quantized_to_int8(model, out, kept)
                    if kept and ends_in_softmax(out):
                        _move_logits_to_means_of_original(model, out, kept)
                case "bf16":
                    _write_onnx_rounded_to_bf16(model, out)
                case "fp16":
                    from onnxruntime.transformers.float16 import convert_float_to_float16

                    onnx.save(convert_float_to_float16(onnx.load(model), keep_io_types=True), out)
                case _:
                    assert_never(precision)
    except Exception as err:  # protobuf's, ONNX's and the quantizer's have no common base
        raise ModelLoadFailed(
            f"The graph cannot be rewritten ({err})",
            where=model.name,
            remedy="Export the model to ONNX again, or choose another --precision",
        ) from err
    return out


def _write_onnx_quantized_to_int8(
    model: Path, out: Path, batches: Iterable[NDArray[np.float32]]
) -> None:
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory(prefix="drdeploy-quantize-") as scratch:
        folded = Path(scratch) / "folded.onnx"
        # Symbolic shapes need SymPy (40 MB) and change no node and no weight: compared
        # for VGG19, MobileNet, MobileNetV3Small and EfficientNetB0.
        quant_pre_process(str(model), str(folded), skip_symbolic_shape=True)
        graph = onnx.load(folded).graph
        inputs = ({graph.input[0].name: batch} for batch in batches)
        quantize_static(
            str(folded),
            str(out),
            # All that the quantizer asks of the reader of its calibration data.
            SimpleNamespace(get_next=lambda: next(inputs, None)),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_names_of_nodes_left_in_fp32(graph),
            extra_options={"WeightSymmetric": True},
        )


def _move_logits_to_means_of_original(
    original: Path, quantized: Path, batches: Sequence[NDArray[np.float32]]
) -> None:
    import onnx
    from onnx import helper, numpy_helper

    means = [_compute_mean_logits(model, batches) for model in (original, quantized)]
    loaded = onnx.load(quantized)
    softmax = _find_output_softmax(loaded.graph)
    offset, moved = "drdeploy_logit_offset", "drdeploy_moved_logits"
    loaded.graph.initializer.append(numpy_helper.from_array(means[0] - means[1], offset))
    addition = helper.make_node("Add", [softmax.input[0], offset], [moved])
    loaded.graph.node.insert(list(loaded.graph.node).index(softmax), addition)
    softmax.input[0] = moved
    onnx.save(loaded, quantized)


def _compute_mean_logits(
    model: Path, batches: Sequence[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return the mean of the softmax's input over all batches, shape ``(classes,)``."""
    import onnx
    import onnxruntime

    loaded = onnx.load(model)
    logits = _find_output_softmax(loaded.graph).input[0]
    loaded.graph.output.append(onnx.ValueInfoProto(name=logits))
    session = onnxruntime.InferenceSession(
        loaded.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    found = [session.run([logits], {name: batch})[0] for batch in batches]
    means: NDArray[np.float32] = np.concatenate(found).mean(axis=0, dtype=np.float32)
    return means


def _names_of_nodes_left_in_fp32(graph: Any) -> list[str]:
    """Return the names of the nodes that stay in fp32, in the order of the graph."""
    convolutions = [at for at, node in enumerate(graph.node) if node.op_type == "Conv"]
    if not convolutions:
        return [node.name for node in graph.node if node.op_type == "Softmax"]
    first, last = convolutions[0], convolutions[-1]
    follows = last + 1 + (graph.node[last + 1].op_type in ACTIVATIONS)
    left = [*graph.node[: first + 1], *graph.node[follows:]]
    return [node.name for node in left]


def _write_onnx_rounded_to_bf16(model: Path, out: Path) -> None:
    import onnx
    from onnx import numpy_helper

    loaded = onnx.load(model)
    for tensor in loaded.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            rounded = round_values_to_bf16(numpy_helper.to_array(tensor))
            tensor.CopyFrom(numpy_helper.from_array(rounded, tensor.name))
    onnx.save(loaded, out)


def divide_onnx_logits_by_temperature(model: Path, temperature: float) -> None:
    """Divide the logits inside an ONNX file by a temperature, so that its outputs are calibrated.

    Raises:
        InvalidInput: The output of the graph is not a softmax.
    """
    import onnx
    from onnx import helper, numpy_helper

    loaded = onnx.load(model)
    graph = loaded.graph
    softmax = _find_output_softmax(graph)
    if softmax is None:
        raise InvalidInput(
            "The output of the graph is not a softmax",
            where=model.name,
            remedy="Export the model so that it ends in a softmax",
        )
    # In fp16 a cast follows, because the graph's output stays in fp32.
    is_output = softmax.output[0] in {one.name for one in graph.output}
    value = np.asarray(temperature, dtype=np.float32 if is_output else np.float16)
    graph.initializer.append(numpy_helper.from_array(value, "drdeploy_temperature"))
    scaled = "drdeploy_calibrated_logits"
    division = helper.make_node("Div", [softmax.input[0], "drdeploy_temperature"], [scaled])
    graph.node.insert(list(graph.node).index(softmax), division)
    softmax.input[0] = scaled
    onnx.save(loaded, model)


def ends_in_softmax(model: Path) -> bool:
    """Return whether a softmax computes the output of an ONNX graph."""
    import onnx

    return _find_output_softmax(onnx.load(model).graph) is not None


def _find_output_softmax(graph: Any) -> Any:
    """Return the softmax from which the output comes, directly or through a cast; else None."""
    ends = {one.name for one in graph.output}
    ends |= {
        node.input[0] for node in graph.node if node.op_type == "Cast" and node.output[0] in ends
    }
    found = (node for node in graph.node if node.op_type == "Softmax" and node.output[0] in ends)
    return next(found, None)


def round_values_to_bf16(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round values to eight significant bits, ties to even, and return them as float32."""
    # bf16 is the upper half of a float32. Adding just under half of its last bit, and that bit
    # itself, carries into the upper half exactly when rounding goes up.
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    last_kept = (bits >> BF16_DROPPED_BITS) & 1
    rounded = bits + 0x7FFF + last_kept
    kept: NDArray[np.float32] = (rounded & np.uint32(0xFFFF0000)).view(np.float32)
    return kept


@contextmanager
def _silence_quantizer() -> Iterator[None]:
    """Silence the progress and the advice that the quantizer prints inside the ``with`` block."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        logging.disable(before)
