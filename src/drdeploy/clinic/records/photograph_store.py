"""Keep DICOM files in a folder, each under the SHA-256 of its content."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.errors import ClinicError
from drdeploy.files import (
    delete_abandoned_temporary_files,
    sha256_of_bytes,
    sha256_of_file,
    write_file_atomically,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NAME = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class PhotographStore:
    """A folder of DICOM files, which only its owner may read.

    Attributes:
        folder: The folder; it is made when the first file arrives.
    """

    folder: Path

    def add_file(self, content: bytes) -> str:
        """Write a file to the disk unless it is there already, and return its SHA-256.

        A file that has changed on the disk is written again.
        """
        sha256 = sha256_of_bytes(content)
        path = self._path_of_photograph(sha256)
        if not path.exists() or sha256_of_file(path) != sha256:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_file_atomically(path, content)
            path.chmod(0o600)
        return sha256

    def has_file(self, sha256: str) -> bool:
        """Return whether a file exists."""
        return self._path_of_photograph(sha256).exists()

    def read_file(self, sha256: str) -> bytes:
        """Return a file's content.

        Raises:
            ClinicError: The file does not exist, or its content has changed.
        """
        try:
            content = self._path_of_photograph(sha256).read_bytes()
        except FileNotFoundError as error:
            raise self._make_error("is missing") from error
        if sha256_of_bytes(content) != sha256:
            raise self._make_error("has changed on the disk")
        return content

    def remove_file(self, sha256: str) -> None:
        """Delete a file, if it exists."""
        self._path_of_photograph(sha256).unlink(missing_ok=True)

    def remove_drafts(self) -> None:
        """Delete the half-written files of programs that were killed."""
        for folder in self.folder.glob("??"):
            delete_abandoned_temporary_files(folder)

    def list_hashes(self) -> Iterator[str]:
        """Yield the SHA-256 of every file."""
        for path in sorted(self.folder.glob("??/*.dcm")):
            if _NAME.fullmatch(path.stem):
                yield path.stem

    def _path_of_photograph(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / f"{sha256}.dcm"

    def _make_error(self, what: str) -> ClinicError:
        return ClinicError(
            f"A photograph {what}",
            where=str(self.folder),
            remedy="Restore the folder from a backup, or send the study from the camera again; "
            "then run `drdeploy clinic studies --again`",
        )
