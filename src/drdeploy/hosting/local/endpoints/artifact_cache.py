"""The artifact as of an endpoint's creation: fetched from S3 once, extracted, kept while used."""

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
    """An extracted archive; :meth:`ArtifactCache.release` it when it is no longer served."""

    key: str
    folder: Path


class ArtifactCache:
    """Extracted artifacts by the digest of their archive; safe to use from several threads.

    Args:
        folder: Where they lie.
        fetch: Reads an ``s3://`` URI; raises KeyError where nothing is there.
    """

    def __init__(self, folder: Path, fetch: Callable[[str], bytes]) -> None:
        self._folder = folder
        self._fetch = fetch
        self._users: Counter[str] = Counter()
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def pin(self, model_data_url: str | None) -> PinnedArtifact:
        """Fetch and extract what the URI holds now; None is a model without data.

        Raises:
            StartFailed: Nothing is there, or it is no safe archive of a model.
        """
        if model_data_url is None:
            return self._shelve("none", lambda folder: folder.mkdir())
        try:
            archive = self._fetch(model_data_url)
        except KeyError as err:
            raise StartFailed(
                'Failed to download model data for container "primary" from URL: '
                f'"{model_data_url}". Please ensure that there is an object located at the URL '
                "and that the role passed to CreateModel has permissions to download the model"
            ) from err
        try:
            key = sha256_of(archive)
            return self._shelve(key, lambda folder: _extract(archive, folder))
        except ArtifactError as err:
            raise StartFailed(
                f'Failed to extract model data archive for container "primary" from URL '
                f'"{model_data_url}": {err.what}',
                remedy=err.remedy,
            ) from err

    def release(self, artifact: PinnedArtifact) -> None:
        """One user less; the last one's folder is deleted."""
        with self._lock:
            self._users[artifact.key] -= 1
            if self._users[artifact.key] <= 0:
                del self._users[artifact.key]
                shutil.rmtree(artifact.folder, ignore_errors=True)

    def _shelve(self, key: str, make: Callable[[Path], object]) -> PinnedArtifact:
        folder = self._folder / key
        with self._lock:
            if not folder.exists():
                make(folder)
            self._users[key] += 1
        return PinnedArtifact(key, folder)


def _extract(archive: bytes, folder: Path) -> None:
    from drdeploy.grader.artifacts import extract

    with tempfile.NamedTemporaryFile(dir=folder.parent, suffix=".tar.gz") as file:
        file.write(archive)
        file.flush()
        extract(Path(file.name), folder)
