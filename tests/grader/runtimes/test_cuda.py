"""Prediction on a GPU, as far as a machine without a GPU shows it."""

import pytest

from drdeploy.errors import ModelLoadFailed, RuntimeUnavailable
from drdeploy.grader.artifacts import open_artifact
from drdeploy.grader.box import box_artifact
from drdeploy.grader.inference import InferenceService
from drdeploy.grader.runtimes import cuda_runtime
from drdeploy.grader.runtimes.cuda_runtime import (
    CudaDriver,
    check_cuda_driver,
    find_cuda_driver,
    open_model_on_gpu,
)


def open_and_be_refused():
    with (
        pytest.warns(UserWarning, match="not in available"),
        pytest.raises(ModelLoadFailed) as refused,
    ):
        open_model_on_gpu(open_artifact(box_artifact("fp32")), threads=1)
    return refused.value


def test_a_runtime_without_cuda_is_refused_and_never_falls_back_to_the_cpu():
    with pytest.raises(RuntimeUnavailable, match="was built without CUDA") as refused:
        InferenceService.load(box_artifact("fp32"), runtime="cuda")
    assert "drdeploy:cuda" in refused.value.remedy


def test_a_session_that_onnx_runtime_silently_put_on_the_cpu_is_refused(monkeypatch):
    """ONNX Runtime only warns of a provider that it cannot load, and predicts on the CPU."""
    monkeypatch.setattr(cuda_runtime, "ENTRIES", {})
    refused = open_and_be_refused()
    assert "would run on the CPU" in refused.what
    assert "onnxruntime" in refused.remedy


def test_a_model_of_which_a_part_would_run_on_the_cpu_is_refused():
    assert "CUDA cannot compute every node of the model" in open_and_be_refused().what


def test_a_model_in_int8_is_refused_with_the_precision_that_works():
    with pytest.raises(ModelLoadFailed, match="no convolution in int8") as refused:
        InferenceService.load(box_artifact("int8"), runtime="cuda")
    assert "fp16" in refused.value.remedy


@pytest.mark.parametrize(
    ("driver", "reason"),
    [
        (None, "There is no NVIDIA driver here"),
        (CudaDriver((11, 4), 1), "supports CUDA 11.4, but ONNX Runtime .* built for CUDA 13.0"),
        (CudaDriver((12, 4), 1), "supports CUDA 12.4"),
        (CudaDriver((13, 0), 0), "finds no GPU"),
    ],
)
def test_a_machine_that_cannot_run_cuda_is_refused_with_the_reason(driver, reason):
    with pytest.raises(RuntimeUnavailable, match=reason) as refused:
        check_cuda_driver(driver, "13.0")
    assert refused.value.remedy.endswith("To grade on the CPU, choose the runtime onnxruntime")


@pytest.mark.parametrize("cuda", [(13, 0), (13, 2), (14, 0)])
def test_a_driver_of_the_same_or_a_later_major_version_runs_it(cuda):
    check_cuda_driver(CudaDriver(cuda, 1), "13.0")
    check_cuda_driver(CudaDriver(cuda, 1), "12.8")


def test_a_machine_without_a_driver_has_none():
    assert find_cuda_driver("libcuda-of-no-machine.so.1") is None
