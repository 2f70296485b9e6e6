"""What a grade is, how a classifier's answer is read, and how good a grader is.

Needs NumPy alone.  A server takes :class:`Grade` and :class:`Prediction`; whoever judges a
grader takes :mod:`~drdeploy.grading.evaluation` (all figures of one, with intervals) and
:mod:`~drdeploy.grading.comparison` (two on the same photographs).
"""

from drdeploy.grading.grade import ICDR_CLASSES, Grade
from drdeploy.grading.prediction import Prediction

__all__ = ["ICDR_CLASSES", "Grade", "Prediction"]
