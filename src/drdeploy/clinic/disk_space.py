"""Keep photographs from filling a disk."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from drdeploy.units import GIB

if TYPE_CHECKING:
    from pathlib import Path

DISK_TOO_FULL = "The disk has too little free space."
FREE_BYTES_MIN = GIB
"""No photograph is stored on a disk with less free space than this number of bytes.

The database, its log and other programs need space on the disk, too.
"""


def is_disk_too_full_for_photograph(folder: Path) -> bool:
    """Return whether the disk of a folder has too little free space to store another photograph."""
    return shutil.disk_usage(folder).free < FREE_BYTES_MIN
