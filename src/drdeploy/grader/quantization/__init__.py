"""Make a grader's weights smaller, and find out what that does to the patients.

:mod:`~drdeploy.grader.quantization.convert` rewrites the ONNX graph (int8 static per channel,
bf16, fp16); :mod:`~drdeploy.grader.quantization.verdict` compares the two graders photograph
by photograph and accepts, refuses, or says how many photographs it would take to tell;
:mod:`~drdeploy.grader.quantization.quantize` goes the whole way from one archive to another.
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
