"""``model.tar.gz`` and its manifest: write, read, verify.

A model becomes an archive in :func:`pack`: ``manifest.json`` beside the files that it names,
byte for byte the same for the same model.  SageMaker extracts it to ``/opt/ml/model`` and
:func:`open_artifact` reads that folder; :func:`extract` does SageMaker's part here, and trusts
nothing that the archive says of itself.  :func:`inspect` and :func:`verify` look without
writing.

A TensorFlow SavedModel without a manifest is accepted too, and read as the original study's
container would: that study's preprocessing, raw probabilities, no class names.

A server only opens what was extracted.  What handles archives is imported when it is first
asked for, so that a cold start does not pay for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from drdeploy.grader.artifacts.artifact import ModelArtifact, open_artifact
from drdeploy.grader.artifacts.manifest import (
    MANIFEST_NAME,
    Clinical,
    FileDigest,
    ModelFormat,
    ModelManifest,
    OperatingPoint,
    Precision,
    Provenance,
    Quantization,
    Rate,
    Weights,
)

if TYPE_CHECKING:
    from drdeploy.grader.artifacts.archive import ArchiveLimits
    from drdeploy.grader.artifacts.extraction import extract, inspect, verify
    from drdeploy.grader.artifacts.packing import pack
    from drdeploy.grader.artifacts.transform_file import read_transform

__all__ = [
    "MANIFEST_NAME",
    "ArchiveLimits",
    "Clinical",
    "FileDigest",
    "ModelArtifact",
    "ModelFormat",
    "ModelManifest",
    "OperatingPoint",
    "Precision",
    "Provenance",
    "Quantization",
    "Rate",
    "Weights",
    "extract",
    "inspect",
    "open_artifact",
    "pack",
    "read_transform",
    "verify",
]

_ON_DEMAND = {
    "ArchiveLimits": "archive",
    "extract": "extraction",
    "inspect": "extraction",
    "pack": "packing",
    "read_transform": "transform_file",
    "verify": "extraction",
}


def __getattr__(name: str) -> Any:
    if name not in _ON_DEMAND:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ON_DEMAND[name]}"), name)
