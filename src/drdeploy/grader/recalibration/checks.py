"""Refuse photographs on which a grader cannot be recalibrated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drdeploy.errors import InvalidInput, format_count
from drdeploy.grader.evaluation.training_photographs import find_training_photographs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from drdeploy.grader.artifacts import ModelManifest
    from drdeploy.grader.datasets import Dataset

FEWEST_PHOTOGRAPHS = 50
"""The smallest number of photographs with which a grader can be recalibrated.

In simulations on out-of-fold predictions of the packaged grader, recalibration with fewer
photographs made the probabilities worse as often as better.
"""
FEWEST_ON_EACH_SIDE = 10
"""To choose a threshold at a grade, at least this many photographs must be below the grade, and at
least this many must have the grade or a worse one.
"""
FEWEST_GROUPS = 20
"""The smallest number of patients with which a grader can be recalibrated. Many photographs of a
few patients say little about other patients.
"""
MOST_NAMED = 3


def refuse_training_photographs(
    manifest: ModelManifest, photographs: Dataset, whole: Dataset
) -> None:
    """Refuse photographs that the grader was trained on, if the manifest identifies them.

    On the photographs that it was trained on, a network makes almost no errors. The recalibrated
    grader would therefore seem better than it is.

    Raises:
        InvalidInput: A photograph is a copy of a training photograph.
    """
    known = find_training_photographs(manifest, photographs, whole)
    if not known:
        return
    named = ", ".join(photographs.photographs[at].name for at in known[:MOST_NAMED])
    more = f" and {len(known) - MOST_NAMED} more" if len(known) > MOST_NAMED else ""
    raise InvalidInput(
        f"The grader was trained on {len(known)} of the {len(photographs)} photographs "
        f"({named}{more}), so these say nothing about new eyes",
        where=str(whole.folder),
        remedy="Use photographs of your own clinic, or choose another split with --split",
    )


def refuse_too_few_photographs(
    labels: NDArray[np.intp], groups: NDArray[np.str_], *, knows_groups: bool, where: str
) -> None:
    """Refuse a set of photographs that is too small to choose a temperature and thresholds.

    Args:
        labels: Shape ``(n,)``, 0 to 4.
        groups: The patient or session of each photograph, shape ``(n,)``.
        knows_groups: Whether the data set says which photographs belong to one patient or session.
            If it does not, the number of patients is not checked.
        where: The path of the folder, which the error shows.

    Raises:
        InvalidInput: There are too few photographs or too few patients. This error is also raised
            if, for grade 2 or 3, too few photographs are below the grade, or too few have the grade
            or a worse one.
    """
    n, group_count = len(labels), len(set(groups))
    if n < FEWEST_PHOTOGRAPHS:
        raise InvalidInput(
            f"{format_count(n, 'photograph')} can be used, but recalibration needs at least "
            f"{FEWEST_PHOTOGRAPHS}",
            where=where,
            remedy="Let an ophthalmologist grade more photographs of this camera",
        )
    if knows_groups and group_count < FEWEST_GROUPS:
        raise InvalidInput(
            f"The photographs are of {format_count(group_count, 'patient')}, but recalibration "
            f"needs at least {FEWEST_GROUPS}. Several photographs of one patient say little more "
            "than one photograph, because they resemble each other",
            where=where,
            remedy="Add graded photographs of other patients",
        )
    for grade in (2, 3):
        at_or_above = int((labels >= grade).sum())
        for count, side in (
            (at_or_above, f"grade {grade} or worse"),
            (n - at_or_above, f"a grade below {grade}"),
        ):
            if count < FEWEST_ON_EACH_SIDE:
                have = "has" if count == 1 else "have"
                raise InvalidInput(
                    f"Only {count} of the {n} photographs {have} {side}, but a threshold at grade "
                    f"{grade} needs at least {FEWEST_ON_EACH_SIDE} such photographs",
                    where=where,
                    remedy=(
                        "Add more such photographs, with their grades. If the share of grade 2 or "
                        "worse then differs from the share among your patients, state the latter "
                        "with --prevalence"
                    ),
                )
