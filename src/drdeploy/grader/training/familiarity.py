"""Choose the rule that says whether a photograph is unlike the training photographs of a grader.

In the field's terms, the rule finds photographs that are out of distribution. It measures how far a
photograph is from the average training photograph. If the distance is above a limit, the rule flags
the photograph. The rule depends only on the training photographs, not on the network's weights, so
it is the same for every precision of a grader. The limit is chosen so that the rule flags the share
``FLAGGED_SHARE`` of the training photographs. To choose it, the distance of each training
photograph is computed with a rule that was fitted to other patients or sessions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from drdeploy.grader.datasets import split_into_grouped_folds
from drdeploy.grader.fundus.appearance import compute_distance_of_measurements, measure_appearance
from drdeploy.grader.fundus.decode import read_and_check_header
from drdeploy.grader.fundus.eye_copies import DETAIL_PX
from drdeploy.grader.fundus.familiarity import COLOUR_MEASUREMENTS, MEASUREMENTS, Familiarity
from drdeploy.grader.fundus.limits import LOCAL_FILE_LIMITS
from drdeploy.grader.fundus.photograph import decode_photograph

if TYPE_CHECKING:
    from drdeploy.arrays import Floats
    from drdeploy.grader.datasets import Dataset
    from drdeploy.grader.fundus.transform import FundusTransform

FLAGGED_SHARE = 0.05
"""The share of photographs that may be flagged although they resemble the training photographs."""
FEWEST_PHOTOGRAPHS = 100
"""Fewest photographs from which means and correlations of the measurements are estimated."""
SHRINKAGE = 0.02
"""The share by which correlations are shrunk towards zero. Without the shrinkage, the measurements
might not vary at all in some direction (Ledoit and Wolf, Journal of Multivariate Analysis 2004,
88:365-411).
"""
COLOUR_TOLERANCE = 0.2
"""Additional standard deviation of light, colour and vignetting, as a natural logarithm. Training
changes light and colour at random by about this much, so the grader tolerates it. Without the
tolerance, pink or vignetted copies of IDRiD were all flagged, although the grader graded them as
well as the originals. Any tolerance from 0.1 to 0.5 gave nearly the same result."""
LEAST_VARIANCE = 1e-9
FOLDS = 5
DIGITS = 5


def choose_familiarity_rule(
    dataset: Dataset, transform: FundusTransform, *, folds: int = FOLDS, seed: int = 0
) -> Familiarity | None:
    """Fit the rule to a grader's training photographs; None if there are too few of them.

    Args:
        dataset: The training photographs, without copies.
        transform: How a photograph becomes the model's input.
        folds: The number of folds on which the limit is chosen; at most :data:`FOLDS` are used.
        seed: Seed of the folds.

    Raises:
        InvalidInput: The photographs cannot be split into this number of folds.
    """
    if len(dataset) < FEWEST_PHOTOGRAPHS:
        return None
    measured = np.array([
        measure_appearance(
            decode_photograph(
                read_and_check_header(one.read_file_bytes(), limits=LOCAL_FILE_LIMITS),
                transform,
                eye_px=DETAIL_PX,
            ).eye_copies
        )
        for one in dataset.photographs
    ])  # fmt: skip
    distances = np.empty(len(dataset))
    for fold in split_into_grouped_folds(dataset, min(folds, FOLDS), seed=seed):
        rule = fit_familiarity_rule(measured[fold.train], limit=1.0, chosen_on="")
        distances[fold.validation] = [
            compute_distance_of_measurements(row, rule) for row in measured[fold.validation]
        ]
    limit = float(np.quantile(distances, 1 - FLAGGED_SHARE))
    chosen_on = f"{len(dataset)} photographs of {dataset.name}"
    return fit_familiarity_rule(measured, limit=round(limit, DIGITS), chosen_on=chosen_on)


def fit_familiarity_rule(measured: Floats, *, limit: float, chosen_on: str) -> Familiarity:
    """Fit a rule to measurements of photographs, in shape ``(n, measurements)``."""
    means = measured.mean(axis=0)
    is_colour = np.array([name in COLOUR_MEASUREMENTS for name in MEASUREMENTS])
    covariances = np.cov(measured, rowvar=False) + np.diag(
        np.where(is_colour, COLOUR_TOLERANCE**2, LEAST_VARIANCE)
    )
    spreads = np.sqrt(np.diag(covariances))
    correlations = covariances / np.outer(spreads, spreads)
    shrunk = (1 - SHRINKAGE) * correlations + SHRINKAGE * np.eye(len(MEASUREMENTS))
    values, vectors = np.linalg.eigh(shrunk)
    directions = (vectors / np.sqrt(values)).T / spreads
    return Familiarity(
        measurements=MEASUREMENTS,
        means=_round_to_significant_digits(means),
        directions=tuple(_round_to_significant_digits(row) for row in directions),
        limit=limit,
        chosen_on=chosen_on,
        flagged_share=FLAGGED_SHARE,
    )


def _round_to_significant_digits(values: Floats) -> tuple[float, ...]:
    return tuple(float(f"{value:.{DIGITS}g}") for value in values)
