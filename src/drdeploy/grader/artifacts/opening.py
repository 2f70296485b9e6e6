"""Open a model, from its folder or from its archive."""

from __future__ import annotations

from pathlib import Path

from drdeploy.errors import ArtifactError
from drdeploy.files import sha256_of_bytes, sha256_of_file
from drdeploy.grader.artifacts.artifact import (
    ModelArtifact,
    digest_mismatch_error,
    find_bare_model,
    make_manifest_of_original_study,
)
from drdeploy.grader.artifacts.contents import sort_artifact_files
from drdeploy.grader.artifacts.manifest import MANIFEST_NAME, decode_manifest


def open_artifact(model: Path | str, *, verify: bool = True) -> ModelArtifact:
    """Open a model and check its files against its manifest.

    ::

        artifact = open_artifact("model.tar.gz")
        artifact.manifest.architecture

    Args:
        model: A ``model.tar.gz``, or the folder that it was extracted to, for example
            ``/opt/ml/model``.  An archive is extracted to a temporary folder, which is deleted
            together with the returned object.
        verify: Whether to compare every file of a folder with its digest, which takes about a
            second per gigabyte. The files of an archive are always compared.

    Raises:
        ManifestError: The manifest is wrong, does not list a file of the model, or lists a missing
            file.
        DigestMismatch: A file's content differs from the digest in the manifest.
        ArtifactError: The file or folder is missing or unreadable, or the archive is damaged or
            unsafe.
    """
    try:
        return _open_file_or_folder(Path(model), verify=verify)
    except OSError as err:  # a name longer than the file system allows, somebody else's folder
        raise ArtifactError(
            f"The model cannot be opened: {err.strerror}",
            where=str(model),
            remedy="Give a model.tar.gz or a folder that you may read",
        ) from err


def _open_file_or_folder(folder: Path, *, verify: bool) -> ModelArtifact:
    if folder.is_file():
        # A server only opens folders, so its cold start does not import the code that reads
        # archives.
        from drdeploy.grader.artifacts.extraction import extract_archive_temporarily

        return extract_archive_temporarily(folder)
    if not folder.is_dir():
        what = "is neither a file nor a folder" if folder.exists() else "does not exist"
        raise ArtifactError(
            f"The model {what}",
            where=str(folder),
            remedy="Give a model.tar.gz, or the folder to which it was extracted",
        )
    contents = sort_artifact_files(_list_files_of_folder(folder))
    if not contents.has_manifest:
        found, _, unused = find_bare_model(contents)
        return ModelArtifact(
            folder, make_manifest_of_original_study(found), sha256_of_file(folder / found), unused
        )
    folder /= contents.root
    data = (folder / MANIFEST_NAME).read_bytes()
    manifest = decode_manifest(data)
    unused = contents.check_manifest_files_and_list_unused({file.path for file in manifest.files})
    for file in manifest.files:
        path = folder / file.path
        # The size is compared in any case: it costs nothing and finds an interrupted copy.
        if path.stat().st_size != file.size_bytes or (
            verify and sha256_of_file(path) != file.sha256
        ):
            raise digest_mismatch_error(file.path)
    return ModelArtifact(folder, manifest, sha256_of_bytes(data), unused)


def _list_files_of_folder(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
