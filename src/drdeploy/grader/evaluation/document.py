"""Turn an evaluation into plain values: what ``--json`` prints and a model card quotes."""

from __future__ import annotations

import math
from functools import reduce
from operator import getitem
from typing import TYPE_CHECKING, Any

import numpy as np

from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE, Grade

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.grader.evaluation.comparison import GraderComparison, PairedRate
    from drdeploy.grader.evaluation.evaluation import Detection, Evaluation
    from drdeploy.grader.evaluation.graders import Grader, GraderEvaluation, MatrixCell, TestSet
    from drdeploy.grader.evaluation.predictions import GradedSet
    from drdeploy.statistics.estimate import Estimate

DIGITS = 6


def evaluation_document(evaluation: Evaluation, graded: GradedSet) -> dict[str, Any]:
    """Return all figures of an evaluation, each with its value, limits, n and method."""
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
        "brier": figure(evaluation.brier),
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


def comparison_document(comparison: GraderComparison, graded: GradedSet) -> dict[str, Any]:
    """Return the differences of two graders, and every photograph that they grade differently."""
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


def document_of(cells: Sequence[MatrixCell]) -> dict[str, Any]:
    """Return what ``--json`` prints: a single evaluation as it is, several with their matrix.

    Args:
        cells: Every grader on every set of photographs, grader by grader.
    """
    documents = [_cell(cell) for cell in cells]
    return documents[0] if len(documents) == 1 else _matrix(documents)


def _cell(cell: MatrixCell) -> dict[str, Any]:
    document = _evaluated(cell.evaluated)
    if cell.paired is not None and cell.against is not None:
        paired = cell.paired
        document["comparison"] = {
            "first": paired.reference.name,
            "second": paired.other.name,
            "left_out": paired.left_out,
            **comparison_document(paired.comparison, paired.graded),
        }
        document["against"] = _evaluated(cell.against)
    return document


def _evaluated(evaluated: GraderEvaluation) -> dict[str, Any]:
    return {
        "grader": _grader(evaluated.grader),
        "data": _test_set(evaluated.test_set),
        "notes": [*evaluated.notes, *evaluated.test_set.notes],
        **evaluation_document(evaluated.evaluation, evaluated.graded),
    }


def _matrix(cells: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Every evaluation, and a matrix of the main figures."""
    rows = list(dict.fromkeys(cell["grader"]["name"] for cell in cells))
    columns = list(dict.fromkeys(cell["data"]["name"] for cell in cells))
    at = {(cell["grader"]["name"], cell["data"]["name"]): cell for cell in cells}

    def matrix(*path: str) -> list[list[Any]]:
        return [[reduce(getitem, path, at[row, column]) for column in columns] for row in rows]

    return {
        "notice": RESEARCH_USE_NOTICE,
        "matrix": {
            "rows": rows,
            "columns": columns,
            "n": matrix("n"),
            "kappa": matrix("kappa"),
            **{
                f"{disease}_{name}": matrix(disease, name)
                for disease in _DISEASES
                for name in ("auroc", "sensitivity", "specificity")
            },
        },
        "evaluations": list(cells),
    }


def _grader(grader: Grader) -> dict[str, Any]:
    known: dict[str, Any] = {"name": grader.name, "source": grader.source}
    manifest = grader.manifest
    if manifest is not None:
        known |= {
            "architecture": manifest.architecture,
            "precision": manifest.precision,
            "weights": manifest.weights,
            "trained_on": manifest.provenance.dataset,
        }
    clinical = grader.clinical
    thresholds = None if clinical is None else clinical.grade_thresholds
    return known | {
        "grade_thresholds": None if thresholds is None else list(thresholds),
        "thresholds_chosen_on": "" if clinical is None else clinical.chosen_on,
    }


def _test_set(test_set: TestSet) -> dict[str, Any]:
    return {
        "name": test_set.name,
        "source": test_set.source,
        "split": test_set.split,
        "set_aside": [
            {"file": one.file, "reason": one.reason, "cause": one.cause}
            for one in test_set.set_aside
        ],
    }


_DISEASES = {"referable": Grade.MODERATE, "vision_threatening": Grade.SEVERE}


def figure(estimate: Estimate) -> dict[str, Any]:
    """Return an estimate with its interval; ``reason`` says why either is missing."""
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
        "ungradable_referred": {
            "sensitivity": figure(detection.sensitivity_referring),
            "specificity": figure(detection.specificity_referring),
        },
        "operating_points": {
            one.point.name: {
                "threshold": one.point.threshold,
                "sensitivity": figure(one.sensitivity),
                "specificity": figure(one.specificity),
                "ppv": figure(one.ppv),
                "npv": figure(one.npv),
            }
            for one in detection.operating_points
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
