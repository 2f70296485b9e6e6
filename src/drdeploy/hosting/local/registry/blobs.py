"""Store blobs (layers and image configurations) as files named by digest."""

from __future__ import annotations

import re
import shutil
import threading
import time
import uuid
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from drdeploy.files import CHUNK_BYTES, sha256_of_file

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

ABANDONED_AFTER_S = 3600.0
"""An upload that has received nothing for this time is deleted when the next upload begins. Clients
that break off, for example by Ctrl-C, do not cancel their uploads.
"""


class WrongDigest(ValueError):
    """The digest of the uploaded bytes differs from the digest that the client stated."""


class BlobStore:
    """Layers and image configurations as files; safe to use from several threads.

    An upload is a separate file until it is complete and its digest is verified.  A method that
    takes the id of an upload raises KeyError if the upload does not exist.

    Args:
        folder: The folder of the files, which is made with the first upload.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._uploads: dict[str, Path] = {}
        self._lock = threading.Lock()

    def find_blob_file(self, digest: str) -> Path | None:
        """Return a blob's file, or None if the blob is missing or the digest is malformed."""
        if not DIGEST.fullmatch(digest):
            return None
        path = self._folder / digest.removeprefix("sha256:")
        return path if path.is_file() else None

    def begin_upload(self) -> str:
        """Begin an upload and return its id; uploads that were given up are deleted."""
        self._delete_abandoned_uploads()
        self._folder.mkdir(parents=True, exist_ok=True)
        upload = uuid.uuid4().hex
        part = self._folder / f"{upload}.part"
        part.touch()
        with self._lock:
            self._uploads[upload] = part
        return upload

    def append_to_upload(self, upload: str, content: IO[bytes]) -> int:
        """Append content to an upload, and return the size of the upload in bytes."""
        with self._find_file_of_upload(upload).open("ab") as file:
            shutil.copyfileobj(content, file, CHUNK_BYTES)
            return file.tell()

    def measure_upload_size(self, upload: str) -> int:
        """Return the size of an upload in bytes."""
        return self._find_file_of_upload(upload).stat().st_size

    def finish_upload(self, upload: str, digest: str) -> None:
        """Turn a complete upload into a blob.

        Raises:
            WrongDigest: The digest of the uploaded bytes is not ``digest``; the upload is deleted.
        """
        part = self._find_file_of_upload(upload)
        with self._lock:
            del self._uploads[upload]
        actual = f"sha256:{sha256_of_file(part)}"
        if actual != digest:
            part.unlink()
            raise WrongDigest(f"The digest of the uploaded content is {actual}")
        part.replace(self._folder / digest.removeprefix("sha256:"))

    def cancel_upload(self, upload: str) -> None:
        """Delete an upload."""
        part = self._find_file_of_upload(upload)
        with self._lock:
            self._uploads.pop(upload, None)
        part.unlink(missing_ok=True)

    def _delete_abandoned_uploads(self) -> None:
        with self._lock:
            uploads = dict(self._uploads)
        for upload, part in uploads.items():
            try:
                idle_s = time.time() - part.stat().st_mtime
            except FileNotFoundError:  # finished or cancelled meanwhile
                continue
            if idle_s > ABANDONED_AFTER_S:
                with suppress(KeyError):
                    self.cancel_upload(upload)

    def _find_file_of_upload(self, upload: str) -> Path:
        with self._lock:
            return self._uploads[upload]
