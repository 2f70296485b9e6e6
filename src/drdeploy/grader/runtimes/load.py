"""Pick the runtime for an artifact, and import it alone."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, cast

from drdeploy.errors import InvalidInput, ModelLoadFailed, RuntimeUnavailable, install_remedy
from drdeploy.grader.runtimes.cpu_limit import thread_count

if TYPE_CHECKING:
    from drdeploy.grader.artifacts import ModelArtifact, ModelFormat
    from drdeploy.grader.runtimes.protocol import Runtime, RuntimeName

DEFAULT: dict[ModelFormat, RuntimeName] = {"saved_model": "tensorflow", "onnx": "onnxruntime"}

READS: dict[RuntimeName, tuple[ModelFormat, ...]] = {
    "tensorflow": ("saved_model",),
    "onnxruntime": ("onnx",),
    "openvino": ("saved_model", "onnx"),
}

EXTRA: dict[RuntimeName, str] = {
    "tensorflow": "tensorflow",
    "onnxruntime": "serve",
    "openvino": "openvino",
}


class RuntimeModule(Protocol):
    """A module of this package that wraps one library."""

    def load(self, artifact: ModelArtifact, *, threads: int) -> Runtime:
        """Load a model."""
        ...


def load_runtime(
    artifact: ModelArtifact, *, runtime: RuntimeName | None = None, threads: int | None = None
) -> Runtime:
    """Load a model.

    Args:
        artifact: An opened artifact.
        runtime: Which library; if None, TensorFlow for a SavedModel and ONNX Runtime for ONNX.
        threads: For one prediction; if None, as many as the CPU limit allows.

    Raises:
        RuntimeUnavailable: The library is not installed.
        ModelLoadFailed: The library does not read the format, or refuses the model.
        InvalidInput: No runtime has that name, or ``threads`` is below one.
    """
    if threads is not None and threads < 1:
        raise InvalidInput(f"A model cannot run on {threads} threads", remedy="Name 1 or more")
    module = import_runtime(artifact, runtime=runtime)
    return module.load(artifact, threads=threads or thread_count())


def import_runtime(artifact: ModelArtifact, *, runtime: RuntimeName | None = None) -> RuntimeModule:
    """Import the library that :func:`load_runtime` uses.

    It is a step of its own because a cold start reports its time separately.

    Raises:
        RuntimeUnavailable: The library is not installed.
        ModelLoadFailed: The library does not read the artifact's format.
        InvalidInput: No runtime has that name.
    """
    model_format = artifact.manifest.model_format
    chosen = runtime or DEFAULT[model_format]
    if chosen not in READS:
        raise InvalidInput(
            f"No runtime is called '{chosen}'", remedy=f"Choose one of {', '.join(READS)}"
        )
    if model_format not in READS[chosen]:
        raise ModelLoadFailed(
            f"The runtime {chosen} does not read the format {model_format}",
            where=artifact.manifest.name,
            remedy=f"Use {DEFAULT[model_format]}",
        )
    try:
        module = importlib.import_module(f"drdeploy.grader.runtimes.{chosen}_runtime")
        return cast("RuntimeModule", module)
    except ImportError as err:
        raise RuntimeUnavailable(
            f"The runtime {chosen} is not installed",
            remedy=install_remedy(EXTRA[chosen]),
        ) from err
