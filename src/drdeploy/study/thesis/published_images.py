"""The original study's three images, as it printed them (table 5.2 of the thesis)."""

from __future__ import annotations

from drdeploy.hosting.images.reference import ReferenceImage

SOURCE = "thesis, table 5.2"

PUBLISHED_IMAGES = (
    ReferenceImage("baseline", 1798, 4.97, SOURCE),
    ReferenceImage("two-step", 924, 3.32, SOURCE),
    ReferenceImage("reduced", 517, 2.06, SOURCE),
)
