"""The state folder, in which the container's processes share counters and sockets."""

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
def make_folder_of_counters_and_sockets(settings: Settings) -> Iterator[Path]:
    """Make the state folder that the settings name, or a temporary one that is removed at the end.

    Raises:
        InvalidInput: The server cannot write to the folder.
    """
    named = settings.state_dir
    parent = os.environ.get("TMPDIR") or "/tmp"  # noqa: S108 - the one writable place of a container
    folder = Path(named or f"{parent}/drdeploy-{os.urandom(6).hex()}")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=bool(named))
        (folder / COUNTERS_NAME).unlink(missing_ok=True)  # a restarted container counts from zero
        (folder / COUNTERS_NAME).touch(mode=0o600)
    except OSError as err:
        raise InvalidInput(
            f"The server cannot write to its state folder ({err.strerror})",
            where=f"DRDEPLOY_STATE_DIR={folder}",
            remedy="Set DRDEPLOY_STATE_DIR to a writable folder",
        ) from err
    try:
        yield folder
    finally:
        if not named:
            import shutil

            shutil.rmtree(folder, ignore_errors=True)
