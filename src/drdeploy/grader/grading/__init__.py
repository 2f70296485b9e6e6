"""Grades of diabetic retinopathy, and the rules that turn predictions into grades.

The only library that this package needs is NumPy.
"""

from drdeploy.grader.grading.grade import ICDR_CLASSES, RESEARCH_USE_NOTICE, Grade
from drdeploy.grader.grading.prediction import (
    Prediction,
    grades_from_probabilities,
    probability_of_grade_or_worse,
)

__all__ = [
    "ICDR_CLASSES",
    "RESEARCH_USE_NOTICE",
    "Grade",
    "Prediction",
    "grades_from_probabilities",
    "probability_of_grade_or_worse",
]
