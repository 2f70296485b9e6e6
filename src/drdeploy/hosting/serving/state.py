"""The state folder: what the container's processes share (counters, sockets, temporary files)."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from drdeploy.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drdeploy.hosting.serving.settings import Settings

COUNTERS_NAME = "counters"
LARGE_IMAGES_NAME = "large-images"


@contextmanager
def state_folder(settings: Settings) -> Iterator[Path]:
    """Make the folder that the settings name, or a fresh one that is removed at the end.

    Raises:
        InvalidInput: It cannot be written to.
    """
    named = settings.state_dir
    parent = os.environ.get("TMPDIR") or "/tmp"  # noqa: S108 - the one writable place of a container
    folder = Path(named or f"{parent}/drdeploy-{os.urandom(6).hex()}")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=bool(named))
        (folder / COUNTERS_NAME).unlink(
            missing_ok=True
        )  # a container that starts again counts anew
        (folder / COUNTERS_NAME).touch(mode=0o600)
    except OSError as err:
        raise InvalidInput(
            f"The server cannot write there ({err.strerror})",
            where=f"DRDEPLOY_STATE_DIR={folder}",
            remedy="Name a writable folder",
        ) from err
    try:
        yield folder
    finally:
        if not named:
            import shutil

            shutil.rmtree(folder, ignore_errors=True)
