"""A SavedModel that nobody wrote a manifest for."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from drdeploy.errors import ManifestError
from drdeploy.grader.artifacts.manifest import MANIFEST_NAME, FileDigest, ModelManifest, Provenance
from drdeploy.grader.fundus.transform import STUDY_TRANSFORM

if TYPE_CHECKING:
    from collections.abc import Collection

SAVED_MODEL_NAME = "saved_model.pb"


def find_saved_model(names: Collection[str]) -> str:
    """The one ``saved_model.pb`` among an artifact's files.

    Of TensorFlow Serving's numbered versions (``1/``, ``2/``) the newest is taken, as it does.

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
    """The manifest under which the original study's container would have served the model."""
    entry = str(PurePosixPath(find_saved_model(names)).parent)
    return ModelManifest(
        name="saved-model",
        architecture="unknown",
        model_format="saved_model",
        entry=entry,
        weights="unknown",
        classes=(),
        transform=STUDY_TRANSFORM,
        files=files,
        provenance=Provenance(notes="No manifest: the original study's preprocessing is assumed"),
    )
