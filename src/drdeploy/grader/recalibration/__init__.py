"""Adapt a grader to a clinic's own camera and patients, without training its network again.

:mod:`~drdeploy.grader.recalibration.checks` refuses photographs that are unsuitable or too few.
:mod:`~drdeploy.grader.recalibration.fit` finds the temperature, the weights of the grades and the
thresholds. :mod:`~drdeploy.grader.recalibration.gains` compares the grader before and after.
:mod:`~drdeploy.grader.recalibration.recalibrate` writes the new artifact.
:mod:`~drdeploy.grader.recalibration.prevalence` adjusts the probabilities to another prevalence
without graded photographs.
"""

from drdeploy.grader.recalibration.prevalence import PrevalenceOutcome, set_prevalence
from drdeploy.grader.recalibration.recalibrate import RecalibrationOutcome, recalibrate

__all__ = ["PrevalenceOutcome", "RecalibrationOutcome", "recalibrate", "set_prevalence"]
