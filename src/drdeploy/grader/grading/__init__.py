"""What a grade is, how a classifier's answer is read, and how good a grader is.

Needs NumPy alone.  A server takes :class:`Grade` and :class:`Prediction`; whoever judges a
grader takes :mod:`~drdeploy.grader.evaluation.evaluation` (all figures of one, with intervals) and
:mod:`~drdeploy.grader.evaluation.comparison` (two on the same photographs).
"""

from drdeploy.grader.grading.grade import ICDR_CLASSES, Grade
from drdeploy.grader.grading.prediction import Prediction

__all__ = ["ICDR_CLASSES", "Grade", "Prediction"]
