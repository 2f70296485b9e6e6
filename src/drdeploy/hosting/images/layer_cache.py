"""Cache facts about image layers by digest, because a layer's digest fixes its content."""

from __future__ import annotations

import os
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from drdeploy.files import write_file_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 2
"""The version number in the cache folder's name. Raise it when the format or the meaning of cached
values changes."""

Cached = TypeVar("Cached", bound=msgspec.Struct)


def find_layer_cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return ``drdeploy/layers-2`` below the user's cache folder (XDG base directories)."""
    base = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "drdeploy" / f"layers-{FORMAT}"


class LayerCache:
    """A cache folder with one file per digest.

    The folder may be deleted at any time. A file that cannot be read counts as missing. Writing a
    value may fail, for example on a full disk; the value is then not cached, and no error is
    raised.

    Args:
        folder: The folder; None means the one that :func:`find_layer_cache_folder` returns.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or find_layer_cache_folder()

    def read_value(self, digest: str, kind: type[Cached]) -> Cached | None:
        """Return the value cached for a digest (``sha256:…``); None if there is no value."""
        try:
            data = zlib.decompress(self._make_cache_file_path(digest).read_bytes())
            return msgspec.json.decode(data, type=kind)
        except (OSError, zlib.error, msgspec.MsgspecError):
            return None

    def write_value(self, digest: str, value: msgspec.Struct) -> None:
        """Cache a value for a digest."""
        with suppress(OSError):
            write_file_atomically(
                self._make_cache_file_path(digest), zlib.compress(msgspec.json.encode(value), 1)
            )

    def _make_cache_file_path(self, digest: str) -> Path:
        return self.folder / f"{digest.rpartition(':')[2]}.json.z"
