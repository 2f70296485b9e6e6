"""Adjust a grader's probabilities to a place where disease is rarer or more frequent.

A grader's probabilities are right only if each grade is as frequent as among the photographs on
which the grader was calibrated. At a place where disease is rarer, the probabilities of disease are
too high. The user states the prevalence at the new place, or it is estimated from the probabilities
alone. The probability of each grade is then multiplied by the ratio of the grade's new share to its
old share, and the products are divided by their sum. This assumes that photographs of one grade
look the same in both populations (Saerens, Latinne and Decaestecker, Neural Computation 2002,
14:21-41). The old shares come from the manifest: its operating points say how many photographs had
grade 2 or worse, and grade 3 or worse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from drdeploy.grader.grading.grade import Grade
from drdeploy.statistics.estimate import Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.arrays import Floats
    from drdeploy.grader.artifacts import Clinical, Recalibration

STEPS = 10_000
TOLERANCE = 1e-9
RESAMPLES = 200


@dataclass(frozen=True)
class DiseaseShares:
    """The shares of photographs below grade 2, at grade 2, and at grade 3 or 4; they sum to 1."""

    below: float
    moderate: float
    severe: float

    @property
    def at_or_above(self) -> dict[Grade, float]:
        """The share of grade 2 or worse, and the share of grade 3 or worse."""
        return {Grade.MODERATE: self.moderate + self.severe, Grade.SEVERE: self.severe}

    def as_array(self) -> Floats:
        """Return the three shares, in shape ``(3,)``."""
        return np.array([self.below, self.moderate, self.severe])


@dataclass(frozen=True, eq=False)
class AdjustedProbabilities:
    """Probabilities after an adjustment of the prevalence.

    Attributes:
        how: ``stated`` by the user, or ``estimated`` from the probabilities alone.
        shares: The shares to which the probabilities are adjusted.
        or_worse: P(grade >= 2) and P(grade >= 3), each in shape ``(n,)``.
    """

    how: Literal["stated", "estimated"]
    shares: DiseaseShares
    or_worse: dict[Grade, Floats]


def find_shares_during_calibration(
    clinical: Clinical | None, recalibration: Recalibration | None = None
) -> DiseaseShares | None:
    """Return the shares of grades that a grader's probabilities assume; None if unknown.

    The shares are counted on the photographs on which the thresholds were chosen. If the user
    stated a prevalence when the grader was recalibrated, the shares follow from this prevalence.
    """
    counts: dict[int, tuple[int, int]] = {}
    for point in () if clinical is None else clinical.operating_points:
        ill, well = point.sensitivity.n, point.specificity.n
        counts[point.at_or_above] = (ill, ill + well)
    if set(counts) != {2, 3} or counts[2][1] != counts[3][1]:
        return None
    (moderate, n), (severe, _) = counts[2], counts[3]
    if not 0 < severe < moderate < n:
        return None
    if recalibration is not None and recalibration.is_prevalence_stated:
        # Grades 2 to 4 were moved by one factor, so their shares among the diseased stay.
        return make_shares_for_prevalence(recalibration.prevalence, severe / moderate)
    return DiseaseShares(1 - moderate / n, (moderate - severe) / n, severe / n)


def make_shares_for_prevalence(prevalence: float, severe_among_diseased: float) -> DiseaseShares:
    """Return the shares of grades that follow from a stated prevalence.

    Args:
        prevalence: The share of grade 2 or worse among all photographs.
        severe_among_diseased: The share of grade 3 or 4 among photographs of grade 2 or worse.
    """
    severe = prevalence * severe_among_diseased
    return DiseaseShares(1 - prevalence, prevalence - severe, severe)


def compute_weights_to_match_shares(
    labels: NDArray[np.intp], shares: DiseaseShares
) -> Floats | None:
    """Return a weight for each photograph; with the weights, the grades have the given shares.

    The weights have a mean of 1. Return None if no photograph is below grade 2, none is of grade 2,
    or none is of grade 3 or 4.
    """
    of_class = (labels >= Grade.MODERATE).astype(np.intp) + (labels >= Grade.SEVERE)
    counts = np.bincount(of_class, minlength=3)
    if not counts.all():
        return None
    weights: Floats = (shares.as_array() / (counts / labels.size))[of_class]
    return weights


def estimate_disease_shares(or_worse: Floats, before: DiseaseShares) -> DiseaseShares:
    """Estimate the shares of disease from probabilities alone (expectation-maximisation).

    Args:
        or_worse: P(grade >= g) for each grade g, shape ``(n, 5)``, of at least one photograph.
        before: The shares that the probabilities assume.
    """
    given = _split_into_three_classes(or_worse)
    shares = before.as_array()
    for _ in range(STEPS):
        after = _multiply_and_normalise(given, shares / before.as_array()).mean(axis=0)
        change = float(np.abs(after - shares).max())
        shares = after
        if change < TOLERANCE:
            break
    return DiseaseShares(*map(float, shares))


def estimate_prevalence(or_worse: Floats, before: DiseaseShares, *, seed: int = 0) -> Estimate:
    """Estimate the share of grade 2 or worse from probabilities alone, with a bootstrap interval.

    The interval says how precisely these photographs determine the share. It does not say whether
    the assumption holds that photographs of one grade look the same in both populations.

    Args:
        or_worse: P(grade >= g) for each grade g, shape ``(n, 5)``, of at least two photographs.
        before: The shares that the probabilities assume.
        seed: Seed for drawing the resamples.
    """
    random = np.random.default_rng(seed)
    n = len(or_worse)
    drawn = [
        estimate_disease_shares(or_worse[random.integers(n, size=n)], before)
        for _ in range(RESAMPLES)
    ]
    shares = [one.at_or_above[Grade.MODERATE] for one in drawn]
    value = estimate_disease_shares(or_worse, before).at_or_above[Grade.MODERATE]
    low, high = np.quantile(shares, [0.025, 0.975])
    return Estimate(value, float(low), float(high), n, "bootstrap of photographs")


def adjust_probabilities_to_shares(
    or_worse: Floats,
    before: DiseaseShares,
    after: DiseaseShares,
    how: Literal["stated", "estimated"],
) -> AdjustedProbabilities:
    """Adjust probabilities that assume the shares ``before`` to the shares ``after``."""
    adjusted = _multiply_and_normalise(
        _split_into_three_classes(or_worse), after.as_array() / before.as_array()
    )
    return AdjustedProbabilities(
        how,
        after,
        {Grade.MODERATE: adjusted[:, 1] + adjusted[:, 2], Grade.SEVERE: adjusted[:, 2]},
    )


def _split_into_three_classes(or_worse: Floats) -> Floats:
    moderate, severe = or_worse[:, Grade.MODERATE], or_worse[:, Grade.SEVERE]
    return np.stack([1 - moderate, moderate - severe, severe], axis=1).clip(0, 1)


def _multiply_and_normalise(given: Floats, ratio: Floats) -> Floats:
    products = given * ratio
    adjusted: Floats = products / products.sum(axis=1, keepdims=True)
    return adjusted
