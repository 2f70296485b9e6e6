"""``model.tar.gz`` and its manifest: write, read, verify.

:func:`pack` writes an archive: ``manifest.json`` beside the files that it names, byte for byte
the same for the same model.  SageMaker extracts it to ``/opt/ml/model``, and
:func:`open_artifact` reads that folder.  :func:`extract` does SageMaker's part on this machine and
believes nothing that the archive says about itself.  :func:`inspect` and :func:`verify` read an
archive without writing anything.

A TensorFlow SavedModel without a manifest is accepted too, and used as the original study's
container used it: that study's preprocessing, raw probabilities, no class names.

A server opens only what was extracted already.  The modules that handle archives are imported
when first used, so that a cold start does not pay for them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from drdeploy.grader.artifacts.artifact import ModelArtifact
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
from drdeploy.grader.artifacts.opening import open_artifact

if TYPE_CHECKING:
    from drdeploy.grader.artifacts.archive import ArchiveLimits, read_archive
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
    "read_archive",
    "read_transform",
    "verify",
]

_ON_DEMAND = {
    "ArchiveLimits": "archive",
    "extract": "extraction",
    "inspect": "extraction",
    "pack": "packing",
    "read_archive": "archive",
    "read_transform": "transform_file",
    "verify": "extraction",
}


def __getattr__(name: str) -> Any:
    if name not in _ON_DEMAND:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ON_DEMAND[name]}"), name)
