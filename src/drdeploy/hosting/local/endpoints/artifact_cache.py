"""Model archives from S3, extracted once and kept as long as an endpoint serves them.

An endpoint is pinned to the bytes that its archive held when the endpoint was created or updated.
Workers start at different times, so without pinning an object that is overwritten meanwhile would
make two workers of one endpoint grade with different models, and a deleted one would fail a cold
start long after the endpoint went into service.  For images SageMaker itself resolves the tag to a
digest and keeps it (API reference, ``DeployedImage``).  Archives are kept by the digest of their
content: endpoints that serve the same bytes share one folder.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from drdeploy.errors import ArtifactError
from drdeploy.files import sha256_of
from drdeploy.hosting.local.instances.instance import StartFailed

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class PinnedArtifact:
    """An extracted model archive, to be given back with :meth:`ArtifactCache.release`.

    Attributes:
        key: Digest of the archive; ``none`` for a model without one.
        folder: What the container reads as ``/opt/ml/model``.
    """

    key: str
    folder: Path


class ArtifactCache:
    """Extracted model archives by their digest; safe to use from several threads.

    Args:
        folder: Where to extract them.
        fetch: Reads an ``s3://`` URI; raises KeyError where there is no such object.
    """

    def __init__(self, folder: Path, fetch: Callable[[str], bytes]) -> None:
        self._folder = folder
        self._fetch = fetch
        self._users: Counter[str] = Counter()
        self._extractions: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def pin(self, model_data_url: str | None) -> PinnedArtifact:
        """Fetch and extract the archive as it is now; None is a model without an archive.

        Raises:
            StartFailed: There is no such object, or it is not a safe archive of a model.  The
                message is SageMaker's ``FailureReason``.
        """
        if model_data_url is None:
            return self._keep("none", lambda folder: folder.mkdir())
        try:
            archive = self._fetch(model_data_url)
        except KeyError as err:
            raise StartFailed(
                'Failed to download model data for container "primary" from URL: '
                f'"{model_data_url}". Please ensure that there is an object located at the URL '
                "and that the role passed to CreateModel has permissions to download the model"
            ) from err
        try:
            return self._keep(sha256_of(archive), lambda folder: _extract(archive, folder))
        except ArtifactError as err:
            raise StartFailed(
                f'Failed to extract model data archive for container "primary" from URL '
                f'"{model_data_url}": {err.what}',
                remedy=err.remedy,
            ) from err

    def release(self, artifact: PinnedArtifact) -> None:
        """Give a pinned archive back; the folder is deleted with its last user."""
        with self._lock:
            self._users[artifact.key] -= 1
            if self._users[artifact.key] <= 0:
                del self._users[artifact.key]
                self._extractions.pop(artifact.key, None)
                shutil.rmtree(artifact.folder, ignore_errors=True)

    def _keep(self, key: str, make: Callable[[Path], object]) -> PinnedArtifact:
        artifact = PinnedArtifact(key, self._folder / key)
        with self._lock:
            # Counted first, so that nobody deletes the folder between making and using it.
            self._users[key] += 1
            extraction = self._extractions.setdefault(key, threading.Lock())
        try:
            # Gigabytes take minutes, in which endpoints of other archives must not wait.
            with extraction:
                if not artifact.folder.exists():
                    make(artifact.folder)
        except BaseException:
            self.release(artifact)
            raise
        return artifact


def _extract(archive: bytes, folder: Path) -> None:
    from drdeploy.grader.artifacts import extract

    try:
        with tempfile.NamedTemporaryFile(dir=folder.parent, suffix=".tar.gz") as file:
            file.write(archive)
            file.flush()
            extract(Path(file.name), folder)
    except OSError as err:
        raise ArtifactError(f"The archive cannot be stored: {err.strerror}") from err
