"""Open a model, from its folder or from its archive."""

from __future__ import annotations

from pathlib import Path

from drdeploy.errors import ArtifactError
from drdeploy.files import sha256_of, sha256_of_file
from drdeploy.grader.artifacts.artifact import (
    ModelArtifact,
    find_saved_model,
    mismatch,
    missing_file,
    study_manifest,
)
from drdeploy.grader.artifacts.manifest import MANIFEST_NAME, decode_manifest


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
    manifest_file = folder / MANIFEST_NAME
    if not manifest_file.is_file():
        names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.pb"))]
        saved_model = folder / find_saved_model(names)
        return ModelArtifact(folder, study_manifest(names), sha256_of_file(saved_model))
    data = manifest_file.read_bytes()
    artifact = ModelArtifact(folder, decode_manifest(data), sha256_of(data))
    for file in artifact.manifest.files:
        path = folder / file.path
        if not path.is_file():
            raise missing_file(file.path)
        # The size is compared in any case: it costs nothing and finds an interrupted copy.
        if path.stat().st_size != file.size_bytes or (
            verify and sha256_of_file(path) != file.sha256
        ):
            raise mismatch(file.path)
    return artifact
