"""What a grade is, and how a classifier's answer is read.  Needs NumPy alone."""

from drdeploy.grading.grade import ICDR_CLASSES, Grade
from drdeploy.grading.prediction import Prediction

__all__ = ["ICDR_CLASSES", "Grade", "Prediction"]
