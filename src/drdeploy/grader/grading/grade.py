"""The International Clinical Diabetic Retinopathy (ICDR) severity scale."""

from __future__ import annotations

from enum import IntEnum

DEFAULT_MIN_SPECIFICITY = 0.5
"""The specificity that a decision should have, if the user states no other. A grader that flags
every photograph finds every diseased one, but saves no work. With this specificity, a grader clears
at least half of the photographs that are not diseased."""
RESEARCH_USE_NOTICE = "For research use. Not a medical device."
"""This notice appears wherever a grade is shown."""


class Grade(IntEnum):
    """The ICDR severity of one eye (Wilkinson et al., Ophthalmology 2003, 110:1677-1682)."""

    NO_DR = 0
    MILD = 1
    MODERATE = 2
    SEVERE = 3
    PDR = 4

    @property
    def label(self) -> str:
        """The name of the grade on the scale, for example ``Moderate NPDR``."""
        return _LABELS[self]

    @property
    def is_referable(self) -> bool:
        """Whether the grade is moderate or worse, so that an ophthalmologist should see the eye."""
        return self >= Grade.MODERATE

    @property
    def is_vision_threatening(self) -> bool:
        """Whether the grade is severe or proliferative; the grade does not cover macular oedema."""
        return self >= Grade.SEVERE


_LABELS = {
    Grade.NO_DR: "No DR",
    Grade.MILD: "Mild NPDR",
    Grade.MODERATE: "Moderate NPDR",
    Grade.SEVERE: "Severe NPDR",
    Grade.PDR: "Proliferative DR",
}

ICDR_CLASSES: tuple[str, ...] = tuple(grade.label for grade in Grade)
"""Class names in the order of the grades.

A classifier with exactly these classes is an ICDR grader.
"""
