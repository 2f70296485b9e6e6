"""Tables and photographs of small data sets."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from photographs import photograph

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def write_table(path: Path, header: Sequence[str], *rows: Sequence[object]) -> None:
    """A CSV file; its header as it is, stray spaces included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def write_photograph(path: Path, seed: int, kind: str = "JPEG") -> None:
    """A photograph of its own; the same seed gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(photograph(32, seed=seed, kind=kind))
