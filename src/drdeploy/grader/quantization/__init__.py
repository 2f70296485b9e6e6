"""Make a grader's weights smaller, and measure what that costs in sensitivity.

``convert`` rewrites the ONNX graph (int8 static per channel, bf16, fp16).  ``verdict`` compares the
two graders photograph by photograph and accepts or refuses the smaller one, or says how many
photographs it would take to decide.  ``quantize`` is the whole way from one archive to another,
and ``out_of_fold`` the same for the networks of a training run.
"""

from drdeploy.grader.quantization.convert import SmallPrecision, quantize_onnx
from drdeploy.grader.quantization.quantize import QuantizationOutcome, quantize_artifact
from drdeploy.grader.quantization.verdict import (
    DEFAULT_MARGIN,
    NonInferiorityVerdict,
    compare_quantized,
)

__all__ = [
    "DEFAULT_MARGIN",
    "NonInferiorityVerdict",
    "QuantizationOutcome",
    "SmallPrecision",
    "compare_quantized",
    "quantize_artifact",
    "quantize_onnx",
]
