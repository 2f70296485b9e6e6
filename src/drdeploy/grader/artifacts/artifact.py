"""An artifact: opened and verified."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from drdeploy.errors import ArtifactError, DigestMismatch, ManifestError
from drdeploy.files import sha256_of, sha256_of_file
from drdeploy.grader.artifacts.bare import find_saved_model, study_manifest
from drdeploy.grader.artifacts.manifest import MANIFEST_NAME, ModelManifest, decode_manifest


@dataclass(frozen=True)
class ModelArtifact:
    """An extracted model.

    Attributes:
        folder: Holds the manifest and its files.
        manifest: What it says.
        digest: SHA-256 of ``manifest.json``, and through it of every file; of
            ``saved_model.pb`` where there is no manifest.
    """

    folder: Path
    manifest: ModelManifest
    digest: str

    @property
    def entry_path(self) -> Path:
        """The SavedModel's folder or the ONNX file."""
        return self.folder / self.manifest.entry


def open_artifact(model: Path | str, *, verify: bool = True) -> ModelArtifact:
    """Open a model and check its files against its manifest.

    ::

        artifact = open_artifact("model.tar.gz")
        artifact.manifest.architecture

    Args:
        model: A ``model.tar.gz``, or the folder that one was extracted to, for example
            ``/opt/ml/model``.  An archive is extracted to a temporary folder, which is removed
            with the returned object.
        verify: Compare every file of a folder with its digest (about a second per gigabyte).
            The files of an archive are always compared, while they are extracted.

    Raises:
        ManifestError: The manifest is wrong, or a file that it names is missing.
        DigestMismatch: A file is not the one that the manifest names.
        ArtifactError: There is no such file or folder, or the archive cannot be trusted.
    """
    folder = Path(model)
    if folder.is_file():
        # A server opens folders only; its cold start does not pay for what reads archives.
        from drdeploy.grader.artifacts.extraction import extract_temporarily

        return extract_temporarily(folder)
    if not folder.is_dir():
        raise ArtifactError("There is no such model", where=str(folder))
    path = folder / MANIFEST_NAME
    if not path.is_file():
        return _open_bare(folder)
    data = path.read_bytes()
    artifact = ModelArtifact(folder, decode_manifest(data), sha256_of(data))
    _verify_folder(artifact, with_digests=verify)
    return artifact


def _open_bare(folder: Path) -> ModelArtifact:
    names = [str(path.relative_to(folder).as_posix()) for path in sorted(folder.rglob("*.pb"))]
    manifest = study_manifest(names)
    return ModelArtifact(folder, manifest, sha256_of_file(folder / find_saved_model(names)))


def _verify_folder(artifact: ModelArtifact, *, with_digests: bool) -> None:
    for file in artifact.manifest.files:
        path = artifact.folder / file.path
        if not path.is_file():
            raise missing_file(file.path)
        if path.stat().st_size != file.size_bytes or (
            with_digests and sha256_of_file(path) != file.sha256
        ):
            raise mismatch(file.path)


def missing_file(path: str) -> ManifestError:
    """The error for a file that the manifest names and nobody finds."""
    return ManifestError(
        f"The manifest names '{path}', which is missing", where=f"{MANIFEST_NAME}: files"
    )


def mismatch(path: str) -> DigestMismatch:
    """The error for a file that is another than the manifest names."""
    return DigestMismatch(
        f"'{path}' is not the file that the manifest names",
        where=path,
        remedy="Copy or pack the artifact again",
    )
