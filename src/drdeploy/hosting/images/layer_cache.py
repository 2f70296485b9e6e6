"""Caches what was read of a layer by its digest: a layer with that digest never changes."""

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

FORMAT = 2
"""Part of the folder's name; raise it when cached values change their format or meaning."""

Cached = TypeVar("Cached", bound=msgspec.Struct)


def default_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return ``drdeploy/layers-2`` below the user's cache folder (XDG base directories)."""
    base = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "drdeploy" / f"layers-{FORMAT}"


class LayerCache:
    """A folder with a file per digest; safe to delete at any time.

    A file that cannot be read counts as missing, and a value that cannot be written is not cached.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_folder()

    def get(self, digest: str, kind: type[Cached]) -> Cached | None:
        """Return the value cached for a digest (``sha256:…``); None if there is none."""
        try:
            data = zlib.decompress(self._path(digest).read_bytes())
            return msgspec.json.decode(data, type=kind)
        except (OSError, zlib.error, msgspec.MsgspecError):
            return None

    def put(self, digest: str, value: msgspec.Struct) -> None:
        """Cache a value for a digest."""
        with suppress(OSError):
            write_atomically(self._path(digest), zlib.compress(msgspec.json.encode(value), 1))

    def _path(self, digest: str) -> Path:
        return self.folder / f"{digest.rpartition(':')[2]}.json.z"
