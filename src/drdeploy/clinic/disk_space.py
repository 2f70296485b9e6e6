"""Keep photographs from filling a disk."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FREE_BYTES_MIN = 1024**3
"""No photograph is stored on a disk that has less free space than this.

The database, its log and what other programs write need some of the disk, too.
"""


def is_disk_full(folder: Path) -> bool:
    """Return whether the disk of a folder has less free space than photographs must leave."""
    return shutil.disk_usage(folder).free < FREE_BYTES_MIN
