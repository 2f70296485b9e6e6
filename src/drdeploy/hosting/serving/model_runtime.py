"""Find out which library will run a model, without loading the model and without NumPy.

The supervisor calls this module before it forks its workers. The supervisor must have only one
thread, but importing NumPy starts threads, and ``drdeploy.grader.artifacts`` imports NumPy. This
module therefore reads only one field of the manifest, and checks nothing. If anything is wrong, the
worker that loads the model says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.grader.runtimes.runtime import RuntimeName
    from drdeploy.hosting.serving.settings import Settings

MANIFEST_NAME = "manifest.json"
SAVED_MODEL_NAME = "saved_model.pb"
RUNTIMES: Mapping[str, RuntimeName] = {"saved_model": "tensorflow", "onnx": "onnxruntime"}
"""The runtime of each format, if the settings choose none. A test compares this constant and the
two names above with those that the workers use."""


class _ManifestFormat(msgspec.Struct):
    model_format: str


def find_runtime_of_model(settings: Settings) -> RuntimeName | Literal[""]:
    """Return the library that will run the model; empty if the folder holds no readable model."""
    if settings.runtime:
        return settings.runtime
    try:
        files = [path for path in Path(settings.model_dir).rglob("*") if path.is_file()]
        manifests = [path for path in files if path.name == MANIFEST_NAME]
        if not manifests:
            is_saved_model = any(path.name == SAVED_MODEL_NAME for path in files)
            return RUNTIMES["saved_model"] if is_saved_model else ""
        # A SavedModel may hold another file of this name in a deeper folder.
        nearest = min(manifests, key=lambda path: len(path.parts))
        manifest = msgspec.json.decode(nearest.read_bytes(), type=_ManifestFormat)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return RUNTIMES.get(manifest.model_format, "")
