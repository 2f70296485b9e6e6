"""ONNX Runtime: the smallest of the runtimes, and the fastest to start."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

# Its wheels report usage to Microsoft unless this is set before they are loaded. A server of
# patients' photographs must not, and a cold start need not wait for it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from drdeploy.errors import ModelLoadFailed, PredictionFailed, reason_of
from drdeploy.grader.runtimes.cpu_limit import available_cpus
from drdeploy.grader.runtimes.onnxruntime_library import OnnxRuntimeLibrary, find_library
from drdeploy.grader.runtimes.signature import Signature, read_signature

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from drdeploy.grader.artifacts import ModelArtifact
    from drdeploy.grader.runtimes.onnxruntime_library import Node
    from drdeploy.grader.runtimes.protocol import RuntimeName


SPIN_US = 100
"""How long an idle thread spins before it sleeps; older releases of ONNX Runtime ignore it."""

LIBRARY_PATH = find_library()
if LIBRARY_PATH is None:
    # If ONNX Runtime is not installed at all, this import fails and names it.
    from drdeploy.grader.runtimes.onnxruntime_binding import VERSION, BindingSession


class OnnxSession(Protocol):
    """A model that was loaded by the C library or by the Python extension."""

    @property
    def inputs(self) -> Sequence[Node]: ...  # noqa: D102
    @property
    def outputs(self) -> Sequence[Node]: ...  # noqa: D102
    def run(self, batch: NDArray[Any]) -> NDArray[Any]: ...  # noqa: D102


@dataclass(frozen=True)
class OnnxRuntime:
    """A model loaded by ONNX Runtime, which allows concurrent calls of one session."""

    session: OnnxSession
    signature: Signature
    version: str
    name: RuntimeName = "onnxruntime"

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict a batch; see :class:`drdeploy.grader.runtimes.protocol.Runtime`."""
        return self.signature.run(batch, self._run)

    def _run(self, data: NDArray[np.floating]) -> NDArray[np.floating]:
        try:
            return self.session.run(data)
        except Exception as err:  # its exceptions have no common base but Exception
            raise PredictionFailed("ONNX Runtime refused the batch") from err


def load(artifact: ModelArtifact, *, threads: int) -> OnnxRuntime:
    """Load an ONNX file.

    Raises:
        ModelLoadFailed: ONNX Runtime refuses it, or it does not fit its manifest.
    """
    try:
        session, version = _open(
            str(artifact.entry_path), threads=threads, entries=session_entries(threads)
        )
    except Exception as err:  # its exceptions have no common base but Exception
        raise ModelLoadFailed(
            f"ONNX Runtime refuses the model: {reason_of(err)}",
            where=artifact.manifest.name,
            remedy="Check the file with onnx.checker",
        ) from err
    inputs = [(node.shape, node.dtype) for node in session.inputs]
    signature = read_signature(
        artifact, inputs=inputs, outputs=[node.shape for node in session.outputs]
    )
    return OnnxRuntime(session, signature, version)


def session_entries(threads: int, cpus: float | None = None) -> dict[str, str]:
    """Return the session's settings beyond its number of threads.

    A thread without work may sleep, which is slow to end, or spin, which costs CPU.  With a CPU
    limit below the number of threads they sleep: a spinning thread uses up the quota that the
    working ones need.  Otherwise they spin for as long as the gap between two layers, and no
    longer: by default they go on for a millisecond after a prediction, which doubles the CPU time
    of a request on a busy machine.
    """
    limit = available_cpus() if cpus is None else cpus
    return {
        "session.intra_op.allow_spinning": "0" if limit < threads else "1",
        "session.intra_op.spin_duration_us": str(SPIN_US),
    }


def _open(path: str, *, threads: int, entries: Mapping[str, str]) -> tuple[OnnxSession, str]:
    if LIBRARY_PATH is None:
        return BindingSession(path, threads=threads, entries=entries), VERSION
    library = _library(LIBRARY_PATH)
    return library.load(path, threads=threads, entries=entries), library.version


@cache
def _library(path: Path) -> OnnxRuntimeLibrary:
    return OnnxRuntimeLibrary(path)
