"""Extract model archives from S3 once, and keep them as long as an endpoint serves them.

Workers of an endpoint start at different times. Suppose that each of them read the archive from S3.
If the archive was overwritten, later workers would load another model than earlier ones. If the
archive was deleted, no further worker could start. The archive is therefore pinned: the endpoint
serves it as it was when the endpoint was created or last updated. SageMaker does the same with a
container image: it resolves the image's tag to a digest and keeps the digest (API reference,
``DeployedImage``). Archives are stored by digest, so endpoints with equal archives share one
folder.
"""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
import tempfile
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from drdeploy.errors import ArtifactError
from drdeploy.files import sha256_of_bytes
from drdeploy.hosting.local.instances.instance import StartFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True)
class PinnedArtifact:
    """An extracted model archive that stays on disk until it is released.

    :meth:`ArtifactCache.release_archive` releases it.

    Attributes:
        key: The digest of the archive, followed by ``-unchecked`` if nothing has checked that this
            project's server can serve the archive. Empty for a model without an archive.
        folder: The folder that the container reads as ``/opt/ml/model``. None for a model without
            an archive; its container keeps the files that the image has at this path.
    """

    key: str
    folder: Path | None


class ArtifactCache:
    """The extracted model archives by digest; safe to use from several threads.

    Args:
        folder: The folder to which archives are extracted.
        fetch: A function that returns the object at an ``s3://`` URI, and raises KeyError if the
            object does not exist.
        fetch_files: A function that returns the objects that a URI names, by file name. A URI that
            ends with a slash names all objects below it, and any other URI names one object. The
            function raises KeyError if there is no object.
    """

    def __init__(
        self,
        folder: Path,
        fetch: Callable[[str], bytes],
        fetch_files: Callable[[str], Mapping[str, bytes]] = lambda _: {},
    ) -> None:
        self._folder = folder
        self._fetch = fetch
        self._fetch_files = fetch_files
        self._users: Counter[str] = Counter()
        self._extractions: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def extract_and_pin_archive(
        self, model_data_url: str | None, *, is_checked: bool = True, is_archive: bool = True
    ) -> PinnedArtifact:
        """Download and extract a model archive, and keep it until it is released.

        Args:
            model_data_url: The ``s3://`` URI of the archive. None if the model has no archive; the
                result then names no folder.
            is_checked: Whether to check that this project's server can serve the archive. If false,
                the only check is that the archive is safe to extract.
            is_archive: Whether the URI names an archive; otherwise it names uncompressed files.

        Raises:
            StartFailed: The object does not exist, or is not a safe archive of a model. The message
                becomes the endpoint's ``FailureReason``, in SageMaker's words.
        """
        if model_data_url is None:
            return PinnedArtifact("", None)
        try:
            archive = (
                self._fetch(model_data_url)
                if is_archive
                else _pack_files_as_archive(self._fetch_files(model_data_url))
            )
        except KeyError as err:
            raise StartFailed(
                'Failed to download model data for container "primary" from URL: '
                f'"{model_data_url}". Please ensure that there is an object located at the URL '
                "and that the role passed to CreateModel has permissions to download the model"
            ) from err
        try:
            return self._get_or_extract(
                f"{sha256_of_bytes(archive)}{'' if is_checked else '-unchecked'}",
                lambda folder: _extract_archive(archive, folder, is_checked=is_checked),
            )
        except ArtifactError as err:
            raise StartFailed(
                f'Failed to extract model data archive for container "primary" from URL '
                f'"{model_data_url}": {err.what}',
                remedy=err.remedy,
            ) from err

    def release_archive(self, artifact: PinnedArtifact) -> None:
        """Release a pinned archive; its folder is deleted when no endpoint uses it any more."""
        if artifact.folder is None:
            return
        with self._lock:
            self._users[artifact.key] -= 1
            if self._users[artifact.key] <= 0:
                del self._users[artifact.key]
                self._extractions.pop(artifact.key, None)
                shutil.rmtree(artifact.folder, ignore_errors=True)

    def _get_or_extract(self, key: str, make: Callable[[Path], object]) -> PinnedArtifact:
        folder = self._folder / key
        artifact = PinnedArtifact(key, folder)
        with self._lock:
            # The user is counted first, so that no other thread deletes the folder before it is
            # used.
            self._users[key] += 1
            extraction = self._extractions.setdefault(key, threading.Lock())
        try:
            # Extracting gigabytes takes minutes, and endpoints with other archives must not wait
            # meanwhile.
            with extraction:
                if not folder.exists():
                    make(folder)
        except BaseException:
            self.release_archive(artifact)
            raise
        return artifact


def _pack_files_as_archive(files: Mapping[str, bytes]) -> bytes:
    """Pack uncompressed files into an archive, which is then checked like any other archive.

    Raises:
        StartFailed: SageMaker refuses the name of a file (API reference, ``S3ModelDataSource``).
    """
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w") as tar,
    ):
        for name, data in sorted(files.items()):
            if any(part in {"", ".", ".."} for part in name.split("/")):
                raise StartFailed(
                    f'The object "{name}" below the S3Uri of the model data cannot be a file: a '
                    'part of its name is empty, "." or ".."',
                    remedy="Delete the object, or move it to another prefix",
                )
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _extract_archive(archive: bytes, folder: Path, *, is_checked: bool) -> None:
    from drdeploy.grader.artifacts import extract_archive, unpack_archive

    try:
        with tempfile.NamedTemporaryFile(dir=folder.parent, suffix=".tar.gz") as file:
            file.write(archive)
            file.flush()
            if is_checked:
                extract_archive(Path(file.name), folder)
            else:
                unpack_archive(Path(file.name), folder)
    except OSError as err:
        raise ArtifactError(f"The archive cannot be stored: {err.strerror}") from err
