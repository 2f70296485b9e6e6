"""Images that others published, to set one's own beside."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReferenceImage:
    """An image that somebody else weighed.

    Attributes:
        name: As we call the same stage.
        compressed_mb: Megabytes as the registry stores it.
        on_disk_gb: Gigabytes unpacked.
        source: Where the figures are printed.
    """

    name: str
    compressed_mb: int
    on_disk_gb: float
    source: str
