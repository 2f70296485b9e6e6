"""An evaluation as a document of plain values: what ``--json`` prints and a model card quotes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from drdeploy.grading.evaluation import evaluate
from drdeploy.grading.grade import RESEARCH_USE_NOTICE, Grade
from drdeploy.training.operating_points import decision_rules

if TYPE_CHECKING:
    from drdeploy.artifacts import Clinical
    from drdeploy.estimate import Estimate
    from drdeploy.grading.comparison import Comparison, PairedRate
    from drdeploy.grading.evaluation import Detection, Evaluation
    from drdeploy.training.predictions import GradedSet

DIGITS = 6


def evaluate_graded(
    graded: GradedSet,
    clinical: Clinical | None,
    *,
    prevalence: float | None = None,
    seed: int = 0,
) -> Evaluation:
    """Evaluate predictions with the thresholds that the manifest locks in."""
    return evaluate(
        graded.labels,
        graded.probabilities,
        grade_thresholds=None if clinical is None else clinical.grade_thresholds,
        groups=graded.groups,
        is_gradable=graded.is_gradable,
        rules=decision_rules(clinical),
        prevalence=prevalence,
        seed=seed,
    )


def evaluation_document(evaluation: Evaluation, graded: GradedSet) -> dict[str, Any]:
    """All figures of an evaluation, each as value, limits, n and method."""
    return {
        "notice": RESEARCH_USE_NOTICE,
        "n": evaluation.n,
        "n_per_grade": {str(int(grade)): int(evaluation.confusion[grade].sum()) for grade in Grade},
        "kappa": figure(evaluation.kappa),
        "accuracy": figure(evaluation.accuracy),
        "grade_sensitivity": {
            str(int(grade)): figure(estimate)
            for grade, estimate in evaluation.grade_sensitivity.items()
        },
        "referable": _detection(evaluation.referable),
        "vision_threatening": _detection(evaluation.vision_threatening),
        "ece": figure(evaluation.ece),
        "ungradable": {
            **figure(evaluation.ungradable),
            "files": [
                {"file": file, "reason": reason}
                for file, reason in zip(graded.files, graded.reasons, strict=True)
                if reason
            ],
        },
        "confusion": evaluation.confusion.tolist(),
        "severe_graded_0": [
            {"file": graded.files[at], "icdr_grade": int(graded.labels[at])}
            for at in evaluation.missed
        ],
    }


def comparison_document(comparison: Comparison, graded: GradedSet) -> dict[str, Any]:
    """The second grader against the first, on the photographs that both graded."""
    return {
        "n": comparison.n,
        "kappa_change": figure(comparison.kappa),
        "sensitivity_change": {
            name: _paired(comparison.sensitivity[grade]) for name, grade in _DISEASES.items()
        },
        "specificity_change": {
            name: _paired(comparison.specificity[grade]) for name, grade in _DISEASES.items()
        },
        "changed": [
            {
                "file": graded.files[change.position],
                "icdr_grade": int(change.label),
                "first": int(change.first),
                "second": int(change.second),
            }
            for change in comparison.changes
        ],
        "new_misses": [graded.files[change.position] for change in comparison.new_misses],
    }


_DISEASES = {"referable": Grade.MODERATE, "vision_threatening": Grade.SEVERE}


def figure(estimate: Estimate) -> dict[str, Any]:
    """A figure with its interval; ``reason`` where a part of it cannot be told."""
    shown: dict[str, Any] = {
        "value": _rounded(estimate.value),
        "low": _rounded(estimate.low),
        "high": _rounded(estimate.high),
        "n": estimate.n,
        "method": estimate.method,
    }
    return shown | ({"reason": estimate.reason} if estimate.reason else {})


def _detection(detection: Detection) -> dict[str, Any]:
    return {
        "at_or_above": int(detection.at_or_above),
        "positives": detection.positives,
        "auroc": figure(detection.auroc),
        "sensitivity": figure(detection.sensitivity),
        "specificity": figure(detection.specificity),
        "prevalence": detection.prevalence,
        "ppv": figure(detection.ppv),
        "npv": figure(detection.npv),
        "operating_points": {
            decision.rule.name: {
                "threshold": decision.rule.threshold,
                "sensitivity": figure(decision.sensitivity),
                "specificity": figure(decision.specificity),
            }
            for decision in detection.decisions
        },
    }


def _paired(rate: PairedRate) -> dict[str, Any]:
    return {
        **figure(rate.difference),
        "lower_bound_95": _rounded(rate.lower_bound),
        "gained": rate.gained,
        "lost": rate.lost,
        "mcnemar_p": _rounded(rate.p_value),
    }


def _rounded(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return float(np.round(value, DIGITS))
