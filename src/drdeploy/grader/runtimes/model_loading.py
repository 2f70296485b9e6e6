"""Choose the runtime for an artifact, and import only this runtime."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, cast

from drdeploy.errors import (
    InvalidInput,
    ModelLoadFailed,
    RuntimeUnavailable,
    describe_extra_installation,
)
from drdeploy.grader.runtimes.cpu_limit import choose_thread_count
from drdeploy.grader.runtimes.runtime import CUDA_INSTALLATION, Runtime
from drdeploy.grader.runtimes.signature import check_and_read_signature

if TYPE_CHECKING:
    from drdeploy.grader.artifacts import ModelArtifact, ModelFormat
    from drdeploy.grader.runtimes.runtime import OpenedModel, RuntimeName

DEFAULT: dict[ModelFormat, RuntimeName] = {"saved_model": "tensorflow", "onnx": "onnxruntime"}

READS: dict[RuntimeName, tuple[ModelFormat, ...]] = {
    "tensorflow": ("saved_model",),
    "onnxruntime": ("onnx",),
    "openvino": ("saved_model", "onnx"),
    "cuda": ("onnx",),
}

EXTRA: dict[RuntimeName, str] = {
    "tensorflow": "tensorflow",
    "onnxruntime": "serve",
    "openvino": "openvino",
}
"""For each runtime, the extra of drdeploy that installs the runtime. No extra installs ``cuda``,
because the packages onnxruntime-gpu and onnxruntime install the same files, and drdeploy already
depends on onnxruntime.
"""


class RuntimeModule(Protocol):
    """The interface of a module that wraps one runtime."""

    def open_model(self, artifact: ModelArtifact, *, threads: int) -> OpenedModel:
        """Load a model."""
        ...


def load_model_in_runtime(
    artifact: ModelArtifact, *, runtime: RuntimeName | None = None, threads: int | None = None
) -> Runtime:
    """Load a model.

    Args:
        artifact: An opened artifact.
        runtime: The library to use; None means TensorFlow for a SavedModel and ONNX Runtime for
            ONNX.
        threads: Threads for one prediction. None means as many as the CPU limit allows.

    Raises:
        RuntimeUnavailable: The library is not installed.
        ModelLoadFailed: The library cannot read the format or refuses the model, or the manifest
            does not fit the model.
        InvalidInput: No runtime has that name, or ``threads`` is below one.
    """
    opened = open_model(artifact, runtime=runtime, threads=threads)
    return Runtime(
        opened, check_and_read_signature(artifact.manifest, opened.inputs, opened.outputs)
    )


def open_model(
    artifact: ModelArtifact, *, runtime: RuntimeName | None = None, threads: int | None = None
) -> OpenedModel:
    """Do what :func:`load_model_in_runtime` does, but without checking the manifest."""
    refuse_thread_count_below_one(threads)
    module = import_runtime_module(artifact, runtime=runtime)
    return module.open_model(artifact, threads=threads or choose_thread_count())


def refuse_thread_count_below_one(threads: int | None) -> None:
    """Refuse a number of threads with which nothing can run; None is no number.

    Raises:
        InvalidInput: The number is below one.
    """
    if threads is not None and threads < 1:
        raise InvalidInput(
            f"A model cannot run on {threads} threads", remedy="Use 1 thread or more"
        )


def choose_runtime(artifact: ModelArtifact, runtime: RuntimeName | None = None) -> RuntimeName:
    """Return the given runtime, or the default for the artifact's format."""
    return runtime or DEFAULT[artifact.manifest.model_format]


def import_runtime_module(
    artifact: ModelArtifact, *, runtime: RuntimeName | None = None
) -> RuntimeModule:
    """Import the library for an artifact, and return the module that wraps the library.

    Importing is separate from loading, so that a cold start can report how long the import takes.

    Raises:
        RuntimeUnavailable: The library is not installed.
        ModelLoadFailed: The library cannot read the artifact's format.
        InvalidInput: No runtime has this name.
    """
    model_format = artifact.manifest.model_format
    chosen = choose_runtime(artifact, runtime)
    if chosen not in READS:
        raise InvalidInput(
            f"The runtime '{chosen}' does not exist", remedy=f"Choose one of {', '.join(READS)}"
        )
    if model_format not in READS[chosen]:
        raise ModelLoadFailed(
            f"The runtime {chosen} cannot load the format {model_format}",
            where=artifact.manifest.name,
            remedy=f"Choose the runtime {DEFAULT[model_format]}, or leave the choice out",
        )
    try:
        module = importlib.import_module(f"drdeploy.grader.runtimes.{chosen}_runtime")
        return cast("RuntimeModule", module)
    except ImportError as err:
        raise RuntimeUnavailable(
            f"The runtime {chosen} is not installed",
            remedy=describe_extra_installation(EXTRA[chosen])
            if chosen in EXTRA
            else CUDA_INSTALLATION,
        ) from err
