"""Run models with ONNX Runtime, the smallest runtime and the fastest to start."""

from __future__ import annotations

import os
import re
from functools import cache
from typing import TYPE_CHECKING, Any

# Its wheels report usage to Microsoft unless this is set before they are loaded. A server of
# patients' photographs must not report usage, and a cold start need not wait for the report.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from drdeploy.errors import ModelLoadFailed, PredictionFailed, one_line_error_message
from drdeploy.grader.runtimes.cpu_limit import count_available_cpus
from drdeploy.grader.runtimes.onnxruntime_library import (
    OnnxRuntimeLibrary,
    find_onnxruntime_library,
)
from drdeploy.grader.runtimes.processor import has_exact_int8_sums
from drdeploy.grader.runtimes.runtime import OpenedModel

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from drdeploy.grader.artifacts import ModelArtifact
    from drdeploy.grader.runtimes.onnxruntime_library import LibrarySession


SPIN_US = 100
"""An idle thread spins for this many microseconds before it sleeps. To spin means to check for work
in a loop. Older releases of ONNX Runtime ignore this number of microseconds.
"""

_PLACES = re.compile(
    r"^Load model from .*? failed: ?"
    r"|/\S+\.(?:cc|h):\d+ .*?\) (?=[A-Z])"  # a function with its parameters
    r"|\b\w+\.(?:cc|h):\d+ \w+ ?"
)
"""A pattern for the paths and source positions in an error message of ONNX Runtime."""
_REMEDIES = {
    r"not a registered function|No Op registered|No opset import": "Export the model with ONNX's "
    "own operators; drdeploy does not load libraries of custom operators",
    r"opset|IR version": "Export the model with an older opset, for example opset_version=17, or "
    "install a newer onnxruntime",
    r"out of bounds": "Copy the model again, together with the files that hold its weights",
    r"find an implementation": "Export the model with float32, and check that ONNX Runtime runs "
    "its operators on the CPU",
    r"external data": "Pack the model again from the folder that holds its weights",
}
"""Remedies for errors of ONNX Runtime; each key is a pattern that matches an error message."""

LIBRARY_PATH = find_onnxruntime_library()
if LIBRARY_PATH is None:
    # If ONNX Runtime is not installed at all, this import fails and names it.
    from drdeploy.grader.runtimes.onnxruntime_binding import VERSION, BindingSession


def open_model(artifact: ModelArtifact, *, threads: int) -> OpenedModel:
    """Load an ONNX file; several threads may call the model at once.

    Raises:
        ModelLoadFailed: ONNX Runtime refuses the model.
    """
    try:
        session, version = _open_onnxruntime_session(
            str(artifact.entry_path), threads=threads, entries=choose_session_settings(threads)
        )
    except Exception as err:  # its exceptions have no common base but Exception
        reason = _PLACES.sub("", one_line_error_message(err))
        raise ModelLoadFailed(
            f"ONNX Runtime cannot load the model: {reason}",
            where=artifact.manifest.name,
            remedy=_write_remedy_for_refused_model(reason),
        ) from err

    def run_model_on_batch(data: NDArray[Any], output: int) -> NDArray[Any]:
        try:
            return session.run_batch(data, output)
        except Exception as err:  # its exceptions have no common base but Exception
            raise PredictionFailed("ONNX Runtime could not run the batch") from err

    return OpenedModel("onnxruntime", version, session.inputs, session.outputs, run_model_on_batch)


def _write_remedy_for_refused_model(reason: str) -> str:
    for pattern, remedy in _REMEDIES.items():
        if re.search(pattern, reason, re.IGNORECASE):
            return remedy
    return "Export the model again, and check the file with onnx.checker"


def choose_session_settings(threads: int, cpus: float | None = None) -> dict[str, str]:
    """Return the settings of an ONNX Runtime session, except for the number of threads.

    A thread that waits for work either sleeps or spins, which means that it checks for work in a
    loop. A sleeping thread takes time to wake up. A spinning thread uses CPU time. If the CPU limit
    is below the number of threads, waiting threads sleep, because spinning would use up the quota
    of the working threads. Otherwise, waiting threads spin, but only about as long as it takes
    until the next layer begins. ONNX Runtime's default is to spin for a millisecond after a
    prediction, which doubles the CPU time of a request on a busy machine.

    An int8 model gives the same answers on every x86 processor. On processors that lack the VNNI
    instructions, ONNX Runtime by default cuts off large sums, but a setting avoids this. On
    processors with VNNI, the setting is not used: it would change no answer, but make a prediction
    in int8 take 2.6 times as long.
    """
    limit = count_available_cpus() if cpus is None else cpus
    return {
        "session.intra_op.allow_spinning": "0" if limit < threads else "1",
        "session.intra_op.spin_duration_us": str(SPIN_US),
        "session.x64quantprecision": "0" if has_exact_int8_sums() else "1",
    }


def _open_onnxruntime_session(
    path: str, *, threads: int, entries: Mapping[str, str]
) -> tuple[LibrarySession | BindingSession, str]:
    if LIBRARY_PATH is None:
        return BindingSession(path, threads=threads, entries=entries), VERSION
    library = _open_library_once(LIBRARY_PATH)
    return library.load_onnx_file(path, threads=threads, entries=entries), library.version


@cache
def _open_library_once(path: Path) -> OnnxRuntimeLibrary:
    return OnnxRuntimeLibrary(path)
