"""Write, read and verify ``model.tar.gz`` and its manifest.

:func:`pack_archive` writes an archive with ``manifest.json`` and the files that the manifest lists.
Packing the same model again gives the same bytes. SageMaker extracts the archive to
``/opt/ml/model``, and :func:`open_artifact` reads that folder. On your own machine,
:func:`extract_archive` extracts an archive and checks everything in it. The functions
:func:`read_manifest_in_archive` and :func:`verify_archive` read an archive without writing
anything. For a container of another project, :func:`unpack_archive` extracts an archive without
checking which files it contains.

A TensorFlow SavedModel may lack a manifest. Without a manifest, the model is used as in the 2023
study that drdeploy follows. Photographs get that study's preprocessing, and the answer is raw
probabilities without class names.

A server never needs to extract an archive: it opens a folder with the files that SageMaker has
extracted. To keep the start of a server short, the modules that handle archives are imported only
when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from drdeploy.grader.artifacts.artifact import ModelArtifact
from drdeploy.grader.artifacts.manifest import (
    MANIFEST_NAME,
    AssumedPrevalence,
    Clinical,
    FileDigest,
    InputLayout,
    ModelDescription,
    ModelFormat,
    ModelManifest,
    OperatingPoint,
    Precision,
    Provenance,
    Quantization,
    Rate,
    Recalibration,
    TestedRates,
    Weights,
)
from drdeploy.grader.artifacts.opening import open_artifact

if TYPE_CHECKING:
    from drdeploy.grader.artifacts.extraction import (
        ArchiveContents,
        extract_archive,
        read_contents,
        read_manifest_in_archive,
        verify_archive,
    )
    from drdeploy.grader.artifacts.packing import pack_archive, read_transform_file
    from drdeploy.grader.artifacts.tar_archive import ArchiveLimits, iterate_archive_members
    from drdeploy.grader.artifacts.unpacking import unpack_archive

__all__ = [
    "MANIFEST_NAME",
    "ArchiveContents",
    "ArchiveLimits",
    "AssumedPrevalence",
    "Clinical",
    "FileDigest",
    "InputLayout",
    "ModelArtifact",
    "ModelDescription",
    "ModelFormat",
    "ModelManifest",
    "OperatingPoint",
    "Precision",
    "Provenance",
    "Quantization",
    "Rate",
    "Recalibration",
    "TestedRates",
    "Weights",
    "extract_archive",
    "iterate_archive_members",
    "open_artifact",
    "pack_archive",
    "read_contents",
    "read_manifest_in_archive",
    "read_transform_file",
    "unpack_archive",
    "verify_archive",
]

_ON_DEMAND = {
    "tar_archive": ("ArchiveLimits", "iterate_archive_members"),
    "extraction": (
        "ArchiveContents",
        "extract_archive",
        "read_manifest_in_archive",
        "read_contents",
        "verify_archive",
    ),
    "packing": ("pack_archive", "read_transform_file"),
    "unpacking": ("unpack_archive",),
}


def __getattr__(name: str) -> Any:
    for module, names in _ON_DEMAND.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
