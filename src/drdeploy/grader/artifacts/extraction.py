"""Extract or read an archive from an untrusted source.

An archive may come from somebody else's S3 bucket, and a server will load the files in it.
Therefore every file is hashed while it is read, and the hash is compared with the manifest. The
target folder is created only when all files match the manifest.
"""

from __future__ import annotations

import hashlib
import weakref
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from drdeploy.end_of_process import make_temporary_folder, remove_temporary_folder
from drdeploy.errors import UnsafeArchive
from drdeploy.files import CHUNK_BYTES
from drdeploy.grader.artifacts.artifact import (
    ModelArtifact,
    digest_mismatch_error,
    find_bare_model,
    make_manifest_of_original_study,
)
from drdeploy.grader.artifacts.contents import (
    find_path_of_manifest,
    is_debris_file_in_archive,
    sort_artifact_files,
)
from drdeploy.grader.artifacts.manifest import (
    MANIFEST_NAME,
    FileDigest,
    ModelManifest,
    decode_manifest,
)
from drdeploy.grader.artifacts.tar_archive import (
    ArchiveLimits,
    ArchiveMember,
    iterate_archive_members,
)
from drdeploy.grader.artifacts.unpacking import DEFAULT_LIMITS, fill_new_folder_atomically
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MANIFEST_BYTES_MAX = 4 * MIB


def extract_archive(
    archive: Path, folder: Path, *, limits: ArchiveLimits = DEFAULT_LIMITS
) -> ModelArtifact:
    """Extract an archive and verify every file while it is written.

    The archive is extracted to a temporary folder, which is renamed to the target at the end. A
    refused archive leaves nothing behind in the target.

    Args:
        archive: A ``model.tar.gz``.
        folder: The target folder, which must not exist or must be empty.
        limits: The largest extracted size.

    Raises:
        UnsafeArchive: A file would be written outside the folder, or the archive holds links or is
            too large.
        TruncatedArchive: The archive ends too early.
        ManifestError: The manifest is wrong, or does not list exactly the files of the archive.
        DigestMismatch: A file's content differs from the digest in the manifest.
        ArtifactError: The folder is not empty, or cannot be written.
    """
    with fill_new_folder_atomically(folder) as part:
        contents = read_contents(archive, limits, into=part)
    return ModelArtifact(
        folder / contents.root, contents.manifest, contents.digest, contents.unused
    )


def extract_archive_temporarily(archive: Path) -> ModelArtifact:
    """Extract an archive to a temporary folder that exists as long as the returned artifact.

    Raises:
        ArtifactError: :func:`extract_archive` would refuse the archive.
    """
    folder = make_temporary_folder("drdeploy-")
    try:
        artifact = extract_archive(archive, folder / "model")
    except BaseException:
        remove_temporary_folder(folder)
        raise
    weakref.finalize(artifact, remove_temporary_folder, folder)
    return artifact


def verify_archive(archive: Path, *, limits: ArchiveLimits = DEFAULT_LIMITS) -> ModelManifest:
    """Check an archive as :func:`extract_archive` does, without writing anything.

    Raises:
        ArtifactError: :func:`extract_archive` would refuse the archive.
    """
    return read_contents(archive, limits).manifest


def read_manifest_in_archive(
    archive: Path, *, limits: ArchiveLimits = DEFAULT_LIMITS
) -> ModelManifest:
    """Read only the manifest of an archive; the files are not compared with the manifest.

    Raises:
        ArtifactError: The archive is unreadable or unsafe, or its manifest is wrong.
    """
    for member in iterate_archive_members(archive, limits):
        if member.name == MANIFEST_NAME:
            return decode_manifest(_read_manifest_bytes(member))
    return read_contents(archive, limits).manifest


@dataclass(frozen=True)
class ArchiveContents:
    """The contents of a verified archive.

    Attributes:
        manifest: The manifest of the artifact; for a SavedModel without a manifest, the manifest of
            the 2023 study.
        digest: The same digest as in :class:`drdeploy.grader.artifacts.ModelArtifact`.
        root: The folder in the archive that contains all files, with a slash at the end. Empty if
            the files are not in a folder.
        unused: Paths of the files that are not used.
    """

    manifest: ModelManifest
    digest: str
    root: str
    unused: tuple[str, ...]


def read_contents(
    archive: Path, limits: ArchiveLimits = DEFAULT_LIMITS, into: Path | None = None
) -> ArchiveContents:
    """Read and verify an archive, and write its files if a folder is given.

    Raises:
        ArtifactError: :func:`extract_archive` would refuse the archive.
    """
    digests: dict[str, FileDigest] = {}
    manifest_path: str | None = None
    manifest_bytes = b""
    for member in iterate_archive_members(archive, limits):
        chunks: Iterator[bytes] = member.iterate_content_chunks()
        # Only one manifest is in memory at a time, even if the archive holds many.
        if (
            not is_debris_file_in_archive(member.name)
            and find_path_of_manifest({member.name, manifest_path or member.name}) == member.name
        ):
            manifest_path, manifest_bytes = member.name, _read_manifest_bytes(member)
            chunks = iter([manifest_bytes])
        digests[member.name] = _hash_and_write_member(member, chunks, into)
    contents = sort_artifact_files(digests)
    if not contents.has_manifest or manifest_path is None:
        found, own, unused = find_bare_model(contents)
        manifest = make_manifest_of_original_study(found, tuple(digests[name] for name in own))
        return ArchiveContents(manifest, digests[found].sha256, "", unused)
    if manifest_path != contents.root + MANIFEST_NAME:
        # The two searches for the manifest can disagree only if the archive holds a folder of code.
        contents.refuse_code_files()
    manifest = decode_manifest(manifest_bytes)
    unused = contents.check_manifest_files_and_list_unused({file.path for file in manifest.files})
    for file in manifest.files:
        read = digests[contents.root + file.path]
        if (read.sha256, read.size_bytes) != (file.sha256, file.size_bytes):
            raise digest_mismatch_error(file.path)
    return ArchiveContents(manifest, digests[manifest_path].sha256, contents.root, unused)


def _read_manifest_bytes(member: ArchiveMember) -> bytes:
    if member.size_bytes > MANIFEST_BYTES_MAX:
        raise UnsafeArchive(
            f"{MANIFEST_NAME} is larger than {MANIFEST_BYTES_MAX} bytes",
            remedy="Pack the model again with `drdeploy artifact pack`",
        )
    return b"".join(member.iterate_content_chunks())


def _hash_and_write_member(
    member: ArchiveMember, chunks: Iterator[bytes], into: Path | None
) -> FileDigest:
    """Hash a file of the archive, and write the file if a folder is given."""
    digest = hashlib.sha256()
    if into is None:
        for chunk in chunks:
            digest.update(chunk)
    else:
        path = into / PurePosixPath(member.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb", buffering=CHUNK_BYTES) as file:
            for chunk in chunks:
                digest.update(chunk)
                file.write(chunk)
    return FileDigest(member.name, digest.hexdigest(), member.size_bytes)
