"""Run models on a GPU with ONNX Runtime's CUDA provider, which is part of onnxruntime-gpu.

If the provider cannot be loaded, for example because the driver is too old, ONNX Runtime prints a
warning and predicts on the CPU. An endpoint that predicts on the CPU would still answer, but ten
times as slowly and at the price of a GPU. Therefore this module first checks the driver, and then
the providers that the loaded model uses. It refuses a model that has an operation (a node) that
CUDA cannot compute.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

# Before the library is loaded; see onnxruntime_runtime.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort
from onnxruntime.capi import build_and_package_info as build_info

from drdeploy.errors import (
    ModelLoadFailed,
    PredictionFailed,
    RuntimeUnavailable,
    one_line_error_message,
)
from drdeploy.grader.runtimes.onnxruntime_binding import BindingSession
from drdeploy.grader.runtimes.runtime import CUDA_INSTALLATION, OpenedModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.grader.artifacts import ModelArtifact

CUDA_PROVIDER = "CUDAExecutionProvider"
CPU_REMEDY = "To grade on the CPU, choose the runtime onnxruntime"

ENTRIES = {"session.disable_cpu_ep_fallback": "1"}
"""Session settings with which ONNX Runtime refuses a model that would run partly on the CPU."""

OPTIONS = {
    "device_id": "0",
    # TensorFloat-32 rounds the inputs of a convolution to 10 bits. A model in fp32 must give the
    # same answer on every machine, as far as the order of sums allows.
    "use_tf32": "0",
    # The default tries every algorithm for every new batch size, which takes seconds each.
    "cudnn_conv_algo_search": "HEURISTIC",
}
"""Options of the CUDA provider."""

_DRIVER_LIBRARY = "libcuda.so.1"


@dataclass(frozen=True)
class CudaDriver:
    """The NVIDIA driver of this machine.

    Attributes:
        cuda: The newest version of CUDA that the driver supports, for example ``(12, 4)``.
        gpus: The number of GPUs that this process may use.
    """

    cuda: tuple[int, int]
    gpus: int


def find_cuda_driver(library: str = _DRIVER_LIBRARY) -> CudaDriver | None:
    """Ask the NVIDIA driver for its CUDA version and its GPUs; return None without a driver.

    This function calls the CUDA driver API. NVIDIA's reference describes the calls in the sections
    "Version Management" and "Device Management".
    """
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return None
    version, gpus = ctypes.c_int(), ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    # Without a GPU, cuInit fails, and the count stays zero.
    if driver.cuInit(0) == 0:
        driver.cuDeviceGetCount(ctypes.byref(gpus))
    # The number 12040 means CUDA 12.4.
    return CudaDriver((version.value // 1000, version.value % 1000 // 10), gpus.value)


def check_cuda_driver(driver: CudaDriver | None, built_for: str) -> None:
    """Refuse a machine on which the CUDA provider cannot run.

    A program that was built for a major version of CUDA runs with every driver that supports this
    version or a later version (NVIDIA, "CUDA Compatibility", section "Minor Version
    Compatibility").

    Args:
        driver: The driver of the machine, or None.
        built_for: The version of CUDA that ONNX Runtime was built for, for example ``13.0``.

    Raises:
        RuntimeUnavailable: The driver is missing or too old, or finds no GPU.
    """
    if driver is None:
        raise RuntimeUnavailable(
            f"There is no NVIDIA driver here: {_DRIVER_LIBRARY} cannot be opened",
            remedy="Run on a machine with a GPU and its driver; with Docker, add `--gpus all`. "
            + CPU_REMEDY,
        )
    if driver.cuda[0] < int(built_for.partition(".")[0]):
        supported = ".".join(map(str, driver.cuda))
        raise RuntimeUnavailable(
            f"The NVIDIA driver supports CUDA {supported}, but ONNX Runtime {ort.__version__} "
            f"was built for CUDA {built_for}",
            remedy="Use a host with a newer driver; on SageMaker, set InferenceAmiVersion. "
            + CPU_REMEDY,
        )
    if not driver.gpus:
        raise RuntimeUnavailable(
            "The NVIDIA driver finds no GPU that this process may use",
            remedy="Give the container a GPU (with Docker `--gpus all`), and leave "
            "CUDA_VISIBLE_DEVICES unset. " + CPU_REMEDY,
        )


def open_model(artifact: ModelArtifact, *, threads: int) -> OpenedModel:
    """Load an ONNX file onto the GPU; several threads may call the model at once.

    Raises:
        RuntimeUnavailable: The installed ONNX Runtime cannot use a GPU, or the machine has no
            usable GPU.
        ModelLoadFailed: ONNX Runtime refuses the model, or a part of it would run on the CPU.
    """
    _refuse_int8(artifact)
    built_for = getattr(build_info, "cuda_version", "")
    if CUDA_PROVIDER not in ort.get_available_providers() or not built_for:
        raise RuntimeUnavailable(
            f"The installed ONNX Runtime ({build_info.package_name} {ort.__version__}) was built "
            "without CUDA",
            remedy=CUDA_INSTALLATION,
        )
    check_cuda_driver(find_cuda_driver(), built_for)
    # Finds the libraries of NVIDIA's Python packages, which no search path of the system has.
    ort.preload_dlls()
    return open_model_on_gpu(artifact, threads=threads)


def open_model_on_gpu(artifact: ModelArtifact, *, threads: int) -> OpenedModel:
    """Do what :func:`open_model` does, but without checking the driver first."""
    try:
        session = BindingSession(
            str(artifact.entry_path),
            threads=threads,
            entries=ENTRIES,
            providers=[(CUDA_PROVIDER, OPTIONS)],
        )
    except Exception as err:  # its exceptions have no common base but Exception
        raise _explain_refused_model(artifact, one_line_error_message(err)) from err
    if CUDA_PROVIDER not in session.providers:
        raise _make_fallback_error(artifact, "ONNX Runtime could not load its CUDA provider")

    def run_model_on_batch(data: NDArray[Any], output: int) -> NDArray[Any]:
        try:
            return session.run_batch(data, output)
        except Exception as err:  # its exceptions have no common base but Exception
            raise PredictionFailed("ONNX Runtime could not run the batch on the GPU") from err

    return OpenedModel("cuda", ort.__version__, session.inputs, session.outputs, run_model_on_batch)


def _refuse_int8(artifact: ModelArtifact) -> None:
    """Refuse a quantized model: the CUDA provider has no kernel for int8 convolutions."""
    if artifact.manifest.precision == "int8":
        raise ModelLoadFailed(
            "ONNX Runtime's CUDA provider has no convolution in int8, so the model would run "
            "on the CPU",
            where=artifact.manifest.name,
            remedy="Use the model in fp32, or make it smaller with `drdeploy model quantize "
            "--precision fp16`",
        )


def _explain_refused_model(artifact: ModelArtifact, reason: str) -> ModelLoadFailed:
    if "fallback to CPU EP has been explicitly disabled" in reason:
        # ONNX Runtime says the same if it could not load the provider at all.
        return _make_fallback_error(artifact, "CUDA cannot compute every node of the model")
    return ModelLoadFailed(
        f"ONNX Runtime cannot load the model onto the GPU: {reason}",
        where=artifact.manifest.name,
        remedy=f"Export the model again, and check the file with onnx.checker. {CPU_REMEDY}",
    )


def _make_fallback_error(artifact: ModelArtifact, why: str) -> ModelLoadFailed:
    return ModelLoadFailed(
        f"{why}, so the model would run on the CPU, in whole or in part",
        where=artifact.manifest.name,
        remedy=(
            "Compare the versions of CUDA and cuDNN with the versions that ONNX Runtime was "
            f"built for. Export the model without nodes that read shapes. {CPU_REMEDY}"
        ),
    )
