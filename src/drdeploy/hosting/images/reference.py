"""Published sizes of other images, to compare one's own with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReferenceImage:
    """The published size of an image.

    Attributes:
        name: The project's name for the image that corresponds to it.
        compressed_mb: Megabytes as a registry stores it.
        on_disk_gb: Gigabytes unpacked.
        source: Where the figures are published.
    """

    name: str
    compressed_mb: int
    on_disk_gb: float
    source: str
