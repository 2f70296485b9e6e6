"""Published sizes of other container images, for comparison."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReferenceImage:
    """The published size of an image.

    Attributes:
        name: The name of the project's image that corresponds to the published image.
        compressed_mb: Megabytes of the published image in a registry.
        on_disk_gb: Gigabytes of the published image when unpacked on disk.
        source: The publication that states both sizes.
    """

    name: str
    compressed_mb: int
    on_disk_gb: float
    source: str
