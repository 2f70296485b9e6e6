"""Make a grader's weights smaller, and find out what that does to the patients.

:mod:`~drdeploy.training.quantization.convert` rewrites the ONNX graph (int8 static per channel,
bf16, fp16); :mod:`~drdeploy.training.quantization.verdict` compares the two graders photograph
by photograph and accepts, refuses, or says how many photographs it would take to tell;
:mod:`~drdeploy.training.quantization.quantize` goes the whole way from one archive to another.
"""

from drdeploy.training.quantization.convert import SmallPrecision, quantize_onnx
from drdeploy.training.quantization.quantize import QuantizationOutcome, quantize_artifact
from drdeploy.training.quantization.verdict import DEFAULT_MARGIN, Verdict, judge

__all__ = [
    "DEFAULT_MARGIN",
    "QuantizationOutcome",
    "SmallPrecision",
    "Verdict",
    "judge",
    "quantize_artifact",
    "quantize_onnx",
]
