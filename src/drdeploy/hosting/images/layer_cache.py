"""What was read of a layer, kept by its digest: a layer never changes, so a repeat is quick."""

from __future__ import annotations

import os
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from drdeploy.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1
"""Raise it when what is kept changes its form or its meaning."""

Kept = TypeVar("Kept", bound=msgspec.Struct)


def default_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """``drdeploy/layers-1`` below the user's cache folder (XDG base directories)."""
    base = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "drdeploy" / f"layers-{FORMAT}"


class LayerCache:
    """A folder with a file per digest; safe to delete at any time.

    A file that cannot be read is read anew from the engine; a folder that cannot be written
    costs the next reading.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_folder()

    def get(self, digest: str, kind: type[Kept]) -> Kept | None:
        """What is kept of a digest (``sha256:…``), if anything is."""
        try:
            data = zlib.decompress(self._path(digest).read_bytes())
            return msgspec.json.decode(data, type=kind)
        except (OSError, zlib.error, msgspec.MsgspecError):
            return None

    def put(self, digest: str, value: msgspec.Struct) -> None:
        """Keep it, whole or not at all."""
        with suppress(OSError):
            write_atomically(self._path(digest), zlib.compress(msgspec.json.encode(value), 1))

    def _path(self, digest: str) -> Path:
        return self.folder / f"{digest.rpartition(':')[2]}.json.z"
