"""A model on disk and its manifest; a SavedModel without a manifest gets a default manifest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from drdeploy.errors import DigestMismatch
from drdeploy.grader.artifacts.contents import SAVED_MODEL_NAME, find_path_of_saved_model
from drdeploy.grader.artifacts.manifest import FileDigest, ModelManifest, Provenance
from drdeploy.grader.fundus.transform import STUDY_TRANSFORM

if TYPE_CHECKING:
    from drdeploy.grader.artifacts.contents import ArtifactContents


@dataclass(frozen=True)
class ModelArtifact:
    """An extracted model.

    Attributes:
        folder: Folder with the manifest and the files that the manifest names.
        manifest: The description of the model and of its use.
        digest: SHA-256 of ``manifest.json``, which lists the SHA-256 of every file. Without a
            manifest, the digest is the SHA-256 of ``saved_model.pb``.
        unused: Paths of the files that came with the model but are ignored.
    """

    folder: Path
    manifest: ModelManifest
    digest: str
    unused: tuple[str, ...] = ()

    @property
    def entry_path(self) -> Path:
        """The path of the SavedModel's folder or of the ONNX file."""
        return self.folder / self.manifest.entry


def make_manifest_of_original_study(
    saved_model: str, files: tuple[FileDigest, ...] = ()
) -> ModelManifest:
    """Make the default manifest for a SavedModel that came without a manifest.

    The manifest describes the container of the 2023 study that drdeploy follows. That container
    used the study's preprocessing, and returned probabilities without class names. ``saved_model``
    is the path of ``saved_model.pb`` in the artifact; ``files`` has the digests of the SavedModel's
    files, if known.
    """
    return ModelManifest(
        name="saved-model",
        architecture="unknown",
        model_format="saved_model",
        entry=str(PurePosixPath(saved_model).parent),
        weights="unknown",
        classes=(),
        transform=STUDY_TRANSFORM,
        files=files,
        provenance=Provenance(
            notes="The artifact has no manifest, so the preprocessing of the original study "
            "(2023) is assumed"
        ),
    )


def find_bare_model(contents: ArtifactContents) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Find the SavedModel in an artifact that has no manifest.

    Returns:
        The path of ``saved_model.pb``, the paths of all files of its SavedModel, and the paths of
            all other files, which are not used.

    Raises:
        ManifestError: There is no SavedModel, there are several, or the artifact contains code.
    """
    saved_model = find_path_of_saved_model(contents.files)
    contents.refuse_code_files()
    folder = saved_model.removesuffix(SAVED_MODEL_NAME)
    own = tuple(path for path in contents.files if path.startswith(folder))
    others = [path for path in contents.files if not path.startswith(folder)]
    return saved_model, own, tuple(sorted([*others, *contents.debris]))


def digest_mismatch_error(path: str) -> DigestMismatch:
    """Make the error for a file whose size or digest differs from the manifest."""
    return DigestMismatch(
        f"The size or digest of '{path}' differs from the manifest",
        where=path,
        remedy="Copy or pack the artifact again",
    )
