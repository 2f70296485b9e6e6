"""A model on disk, with its manifest or with the one that a bare SavedModel is read by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from drdeploy.errors import DigestMismatch, ManifestError
from drdeploy.grader.artifacts.manifest import MANIFEST_NAME, FileDigest, ModelManifest, Provenance
from drdeploy.grader.fundus.transform import STUDY_TRANSFORM

if TYPE_CHECKING:
    from collections.abc import Collection

SAVED_MODEL_NAME = "saved_model.pb"


@dataclass(frozen=True)
class ModelArtifact:
    """An extracted model.

    Attributes:
        folder: Holds the manifest and the files that it names.
        manifest: What the model is and how to use it.
        digest: SHA-256 of ``manifest.json``, and through it of every file; of
            ``saved_model.pb`` if there is no manifest.
    """

    folder: Path
    manifest: ModelManifest
    digest: str

    @property
    def entry_path(self) -> Path:
        """The SavedModel's folder or the ONNX file."""
        return self.folder / self.manifest.entry


def find_saved_model(names: Collection[str]) -> str:
    """Return the one ``saved_model.pb`` among an artifact's files.

    TensorFlow Serving keeps numbered versions side by side (``1/``, ``2/``) and serves the
    newest, so that one is taken.

    Raises:
        ManifestError: There is none, or it is unclear which is meant.
    """
    found = [PurePosixPath(name) for name in names if PurePosixPath(name).name == SAVED_MODEL_NAME]
    are_versions = len({path.parent.parent for path in found}) == 1
    if found and are_versions and all(path.parent.name.isdecimal() for path in found):
        return str(max(found, key=lambda path: int(path.parent.name)))
    if len(found) != 1:
        what = "several SavedModels" if found else f"neither {MANIFEST_NAME} nor a SavedModel"
        raise ManifestError(
            f"The artifact holds {what}",
            remedy="Pack the model with `drdeploy artifact pack`",
        )
    return str(found[0])


def study_manifest(names: Collection[str], files: tuple[FileDigest, ...] = ()) -> ModelManifest:
    """Make the manifest of a SavedModel that comes without one.

    It says what the container of the original study did with any model: that study's
    preprocessing, raw probabilities, no class names.

    Args:
        names: The artifact's files, relative to its folder.
        files: The same with their digests, if these are known.
    """
    return ModelManifest(
        name="saved-model",
        architecture="unknown",
        model_format="saved_model",
        entry=str(PurePosixPath(find_saved_model(names)).parent),
        weights="unknown",
        classes=(),
        transform=STUDY_TRANSFORM,
        files=files,
        provenance=Provenance(notes="No manifest: the original study's preprocessing is assumed"),
    )


def missing_file(path: str) -> ManifestError:
    """Make the error for a file that the manifest names and that is not there."""
    return ManifestError(
        f"The manifest names '{path}', which is missing", where=f"{MANIFEST_NAME}: files"
    )


def mismatch(path: str) -> DigestMismatch:
    """Make the error for a file whose size or digest is not the one in the manifest."""
    return DigestMismatch(
        f"'{path}' is not the file that the manifest names",
        where=path,
        remedy="Copy or pack the artifact again",
    )
