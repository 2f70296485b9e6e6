"""Grades of diabetic retinopathy, and predictions that become grades.  Needs NumPy alone."""

from drdeploy.grader.grading.grade import ICDR_CLASSES, RESEARCH_USE_NOTICE, Grade
from drdeploy.grader.grading.prediction import Prediction, grades_of, probabilities_or_worse

__all__ = [
    "ICDR_CLASSES",
    "RESEARCH_USE_NOTICE",
    "Grade",
    "Prediction",
    "grades_of",
    "probabilities_or_worse",
]
