"""What a photograph must be for its grade to mean anything.  It travels in the manifest."""

from __future__ import annotations

import msgspec


class GradabilityLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Below one of these a photograph is not graded; the defaults suit a 45 degree camera.

    Attributes:
        min_eye_px: Least diameter of the field of view in the photograph as it was sent.
    """

    min_eye_px: int = 200
