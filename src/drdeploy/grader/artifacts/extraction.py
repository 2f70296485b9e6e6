"""Extract or read an archive, without believing anything that it says about itself.

An archive may come from a stranger's bucket, and the server loads what it holds.  So every file
is hashed while it is read and compared with the manifest, and a folder appears only when all of
them agree.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from drdeploy.errors import ArtifactError, ManifestError, UnsafeArchive
from drdeploy.files import CHUNK_BYTES
from drdeploy.grader.artifacts.archive import ArchiveLimits, Member, read_archive
from drdeploy.grader.artifacts.artifact import (
    ModelArtifact,
    find_saved_model,
    mismatch,
    missing_file,
    study_manifest,
)
from drdeploy.grader.artifacts.manifest import (
    MANIFEST_NAME,
    FileDigest,
    ModelManifest,
    decode_manifest,
)
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEFAULT_LIMITS = ArchiveLimits()
MANIFEST_BYTES_MAX = 4 * MIB


def extract(
    archive: Path, folder: Path, *, limits: ArchiveLimits = DEFAULT_LIMITS
) -> ModelArtifact:
    """Extract an archive and verify every file while it is written.

    A refused archive leaves nothing behind: it is extracted to a folder beside the target, which
    takes the target's place at the end.

    Args:
        archive: A ``model.tar.gz``.
        folder: Where to; absent or empty.
        limits: How much it may unpack to.

    Raises:
        UnsafeArchive: It would write outside its folder, holds links, or is too large.
        TruncatedArchive: It ends too early.
        ManifestError: The manifest is wrong, or does not name exactly the files there are.
        DigestMismatch: A file is not the one that the manifest names.
        ArtifactError: The folder is not empty, or cannot be written.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ArtifactError("The folder is not empty", where=str(folder))
    part: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        contents = _read(archive, limits, into=part)
        _check_contents(contents)
        part.chmod(0o755)
        part.replace(folder)
    except OSError as err:  # a full disk, a folder of somebody else's, a name it does not take
        raise ArtifactError(
            f"The archive cannot be extracted: {err.strerror}", where=str(folder)
        ) from err
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)
    return ModelArtifact(folder, contents.manifest, contents.digest)


def extract_temporarily(archive: Path) -> ModelArtifact:
    """Extract an archive to a temporary folder that lives as long as the returned artifact.

    Raises:
        ArtifactError: One of those of :func:`extract`.
    """
    folder = Path(tempfile.mkdtemp(prefix="drdeploy-"))
    try:
        artifact = extract(archive, folder / "model")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(artifact, shutil.rmtree, folder, ignore_errors=True)
    return artifact


def verify(archive: Path, *, limits: ArchiveLimits = DEFAULT_LIMITS) -> ModelManifest:
    """Check an archive as :func:`extract` does, without writing anything.

    Raises:
        ArtifactError: One of those of :func:`extract`.
    """
    contents = _read(archive, limits)
    _check_contents(contents)
    return contents.manifest


def inspect(archive: Path, *, limits: ArchiveLimits = DEFAULT_LIMITS) -> ModelManifest:
    """Read an archive's manifest alone; the files are not compared with it.

    Raises:
        ArtifactError: The archive is unreadable or unsafe, or its manifest is wrong.
    """
    for member in read_archive(archive, limits):
        if member.name == MANIFEST_NAME:
            return decode_manifest(_manifest_bytes(member))
    return _read(archive, limits).manifest


@dataclass(frozen=True)
class _Contents:
    """An archive's files with their digests, and its manifest.

    Attributes:
        files: Every file but the manifest, by path.
        is_bare: There is no manifest: the archive holds a SavedModel alone.
    """

    files: Mapping[str, FileDigest]
    manifest: ModelManifest
    digest: str
    is_bare: bool


def _read(archive: Path, limits: ArchiveLimits, into: Path | None = None) -> _Contents:
    files: dict[str, FileDigest] = {}
    manifest_bytes: bytes | None = None
    for member in read_archive(archive, limits):
        chunks: Iterator[bytes] = member.chunks()
        if member.name == MANIFEST_NAME:
            manifest_bytes = _manifest_bytes(member)
            chunks = iter([manifest_bytes])
        files[member.name] = _consume(member, chunks, into)
    if manifest_bytes is None:
        pb = files[find_saved_model(files)]
        manifest = study_manifest(files, tuple(files[name] for name in sorted(files)))
        return _Contents(files, manifest, pb.sha256, is_bare=True)
    digest = files.pop(MANIFEST_NAME).sha256
    return _Contents(files, decode_manifest(manifest_bytes), digest, is_bare=False)


def _manifest_bytes(member: Member) -> bytes:
    if member.size_bytes > MANIFEST_BYTES_MAX:
        raise UnsafeArchive(f"{MANIFEST_NAME} is larger than {MANIFEST_BYTES_MAX} bytes")
    return b"".join(member.chunks())


def _consume(member: Member, chunks: Iterator[bytes], into: Path | None) -> FileDigest:
    """Hash a file of the archive and, with a folder to write into, write it."""
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


def _check_contents(contents: _Contents) -> None:
    if contents.is_bare:
        return
    named = {file.path: file for file in contents.manifest.files}
    for path in sorted(contents.files.keys() - named.keys()):
        raise ManifestError(f"The manifest does not name '{path}'", where=f"{MANIFEST_NAME}: files")
    for path, file in named.items():
        if path not in contents.files:
            raise missing_file(path)
        if contents.files[path] != file:
            raise mismatch(path)
