"""The rule that decides whether a photograph is unlike the training photographs."""

from __future__ import annotations

import msgspec

BLURS_PX = (1.0, 2.0, 4.0, 8.0)
"""Standard deviations of the blurs that are applied to a photograph. The difference between two
neighbouring blurs is the detail of one size.
"""

COLOUR_MEASUREMENTS = (
    "light",
    "red_to_green",
    "blue_to_green",
    *("spread_red", "spread_green", "spread_blue"),
    "vignetting",
)
MEASUREMENTS = (
    *COLOUR_MEASUREMENTS,
    *(f"detail_{int(blur)}px" for blur in BLURS_PX),
    *(f"bright_spots_{int(blur)}px" for blur in BLURS_PX),
    *(f"dark_spots_{int(blur)}px" for blur in BLURS_PX),
)
"""Names of the measurements of :func:`drdeploy.grader.fundus.appearance.measure_appearance`."""

SENTENCE = (
    "The photograph is unlike those that the grader was trained on (camera, colour, field, "
    "sharpness or disease), so the grade may be wrong"
)


class Familiarity(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A manifest's rule for how much a photograph may differ from the training photographs.

    From each measurement in :data:`MEASUREMENTS`, the rule subtracts the mean over the training
    photographs. The matrix ``directions`` turns these differences into uncorrelated numbers with a
    standard deviation of 1. The distance of a photograph is the root mean square of these
    uncorrelated numbers.

    Attributes:
        measurements: Names of the measurements, in order.
        means: Mean of each measurement over the training photographs.
        directions: The matrix, with one row of weights for each uncorrelated number.
        limit: Distance beyond which a photograph is unlike the training photographs.
        chosen_on: A description of the photographs on which the rule was chosen.
        flagged_share: Share of the training photographs whose distance is beyond the limit. Each of
            these distances was computed with a rule that was fitted to other patients or sessions.
    """

    measurements: tuple[str, ...]
    means: tuple[float, ...]
    directions: tuple[tuple[float, ...], ...]
    limit: float
    chosen_on: str
    flagged_share: float
