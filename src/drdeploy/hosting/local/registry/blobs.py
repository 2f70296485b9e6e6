"""Layers and configurations on disk, each under its own digest."""

from __future__ import annotations

import re
import shutil
import threading
import uuid
from typing import IO, TYPE_CHECKING

from drdeploy.files import CHUNK_BYTES, sha256_of_file

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class WrongDigest(ValueError):
    """What was sent is not what its digest says."""


class BlobStore:
    """Safe to use from several threads.

    Args:
        folder: Where they lie; made when the first one comes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._uploads: dict[str, Path] = {}
        self._lock = threading.Lock()

    def path(self, digest: str) -> Path | None:
        """The file of a blob; None where there is none, or no such digest."""
        if not DIGEST.fullmatch(digest):
            return None
        path = self._folder / digest.removeprefix("sha256:")
        return path if path.is_file() else None

    def begin(self) -> str:
        """Open an upload and return its id."""
        self._folder.mkdir(parents=True, exist_ok=True)
        upload = uuid.uuid4().hex
        part = self._folder / f"{upload}.part"
        part.touch()
        with self._lock:
            self._uploads[upload] = part
        return upload

    def append(self, upload: str, content: IO[bytes]) -> int:
        """Add to an upload; returns the bytes that it has now.

        Raises:
            KeyError: There is no such upload.
        """
        part = self._part(upload)
        with part.open("ab") as file:
            shutil.copyfileobj(content, file, CHUNK_BYTES)
            return file.tell()

    def finish(self, upload: str, digest: str) -> None:
        """Keep an upload as a blob.

        Raises:
            KeyError: There is no such upload.
            WrongDigest: Its bytes have another digest; they are dropped.
        """
        part = self._part(upload)
        with self._lock:
            del self._uploads[upload]
        found = f"sha256:{sha256_of_file(part)}"
        if found != digest:
            part.unlink()
            raise WrongDigest(f"The content's digest is {found}")
        part.replace(self._folder / digest.removeprefix("sha256:"))

    def cancel(self, upload: str) -> None:
        """Drop an upload.

        Raises:
            KeyError: There is no such upload.
        """
        part = self._part(upload)
        with self._lock:
            self._uploads.pop(upload, None)
        part.unlink(missing_ok=True)

    def _part(self, upload: str) -> Path:
        with self._lock:
            return self._uploads[upload]
