"""The original study's three images, as it printed them (table 5.2 of the thesis)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedImage:
    """One stage of the study's size reduction.

    Attributes:
        name: As we call the same stage.
        compressed_mb: As the registry stored it.
        on_disk_gb: Unpacked.
    """

    name: str
    compressed_mb: int
    on_disk_gb: float


PUBLISHED_IMAGES = (
    PublishedImage("baseline", 1798, 4.97),
    PublishedImage("two-step", 924, 3.32),
    PublishedImage("reduced", 517, 2.06),
)
SOURCE = "thesis, table 5.2"
