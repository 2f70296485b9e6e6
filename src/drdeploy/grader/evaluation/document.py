"""Turn an evaluation into dictionaries for ``--json`` and the model card."""

from __future__ import annotations

import math
from dataclasses import asdict
from functools import reduce
from itertools import zip_longest
from operator import getitem
from typing import TYPE_CHECKING, Any

import numpy as np

from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE, Grade

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.grader.artifacts import Recalibration
    from drdeploy.grader.evaluation.calibration import BinaryCalibration
    from drdeploy.grader.evaluation.comparison import GraderComparison, PairedRate
    from drdeploy.grader.evaluation.evaluation import DecisionQuality, Detection, Evaluation
    from drdeploy.grader.evaluation.graders import Grader, GraderEvaluation, MatrixCell
    from drdeploy.grader.evaluation.patients import PatientEvaluation
    from drdeploy.grader.evaluation.predictions import GradedSet
    from drdeploy.grader.evaluation.risk_at_coverage import RiskAtCoverage
    from drdeploy.grader.evaluation.second_reader import SecondReader
    from drdeploy.grader.evaluation.subgroups import Subgroup
    from drdeploy.grader.evaluation.unlike_training import FlagQuality
    from drdeploy.statistics.estimate import Estimate

DIGITS = 6


def build_evaluation_document(evaluation: Evaluation, graded: GradedSet) -> dict[str, Any]:
    """Return every result of an evaluation, with its interval, sample size and method."""
    return {
        "notice": RESEARCH_USE_NOTICE,
        "n": evaluation.n,
        "groups": {"unit": graded.group_unit or None, "n": evaluation.groups},
        "n_per_grade": {str(int(grade)): int(evaluation.confusion[grade].sum()) for grade in Grade},
        "kappa": estimate_as_dict(evaluation.kappa),
        "accuracy": estimate_as_dict(evaluation.accuracy),
        "grade_sensitivity": {
            str(int(grade)): estimate_as_dict(estimate)
            for grade, estimate in evaluation.grade_sensitivity.items()
        },
        "referable": _build_detection_document(evaluation.referable),
        "vision_threatening": _build_detection_document(evaluation.vision_threatening),
        "ece": estimate_as_dict(evaluation.ece),
        "brier": estimate_as_dict(evaluation.brier),
        "ungradable": {
            **estimate_as_dict(evaluation.ungradable),
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


def build_comparison_document(comparison: GraderComparison, graded: GradedSet) -> dict[str, Any]:
    """Return the differences of two graders, and every photograph with different grades."""
    return {
        "n": comparison.n,
        "kappa_change": estimate_as_dict(comparison.kappa),
        "sensitivity_change": {
            name: _build_paired_rate_document(comparison.sensitivity[grade])
            for name, grade in _DISEASES.items()
        },
        "specificity_change": {
            name: _build_paired_rate_document(comparison.specificity[grade])
            for name, grade in _DISEASES.items()
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


def build_json_document(cells: Sequence[MatrixCell]) -> dict[str, Any]:
    """Return the document for ``--json``; several evaluations are arranged as a matrix."""
    documents = []
    for cell in cells:
        document = _build_grader_evaluation_document(cell.evaluated)
        if cell.paired is not None and cell.against is not None:
            document["comparison"] = {
                "first": cell.paired.reference.name,
                "second": cell.paired.other.name,
                "left_out": cell.paired.left_out,
                **build_comparison_document(cell.paired.comparison, cell.paired.graded),
            }
            document["against"] = _build_grader_evaluation_document(cell.against)
        documents.append(document)
    return documents[0] if len(documents) == 1 else _build_matrix_document(documents)


def _build_grader_evaluation_document(evaluated: GraderEvaluation) -> dict[str, Any]:
    test_set = evaluated.test_set
    return {
        "grader": _build_grader_document(evaluated.grader),
        "data": {
            "name": test_set.name,
            "source": test_set.source,
            "split": test_set.split,
            "set_aside": [
                {"file": one.name, "reason": one.reason, "cause": one.cause}
                for one in test_set.set_aside
            ],
            "known_to_grader": None if evaluated.known is None else asdict(evaluated.known),
        },
        "notes": [*evaluated.notes, *test_set.notes],
        **build_evaluation_document(evaluated.evaluation, evaluated.graded),
        **build_details_document(evaluated),
    }


def _build_matrix_document(cells: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return all evaluations, and their main results by grader and by set of photographs."""
    rows = list(dict.fromkeys(cell["grader"]["name"] for cell in cells))
    columns = list(dict.fromkeys(cell["data"]["name"] for cell in cells))
    at = {(cell["grader"]["name"], cell["data"]["name"]): cell for cell in cells}

    def make_matrix_of_values(*path: str) -> list[list[Any]]:
        return [[reduce(getitem, path, at[row, column]) for column in columns] for row in rows]

    return {
        "notice": RESEARCH_USE_NOTICE,
        "matrix": {
            "rows": rows,
            "columns": columns,
            "n": make_matrix_of_values("n"),
            "kappa": make_matrix_of_values("kappa"),
            **{
                f"{disease}_{name}": make_matrix_of_values(disease, name)
                for disease in _DISEASES
                for name in ("auroc", "sensitivity", "specificity")
            },
        },
        "evaluations": list(cells),
    }


def _build_grader_document(grader: Grader) -> dict[str, Any]:
    known: dict[str, Any] = {"name": grader.name, "source": grader.source}
    manifest = grader.manifest
    if manifest is not None:
        known |= {
            "architecture": manifest.architecture,
            "precision": manifest.precision,
            "weights": manifest.weights,
            "trained_on": manifest.provenance.dataset,
            "recalibrated": _build_recalibration_document(manifest.recalibration),
            "prevalence": None
            if manifest.prevalence is None
            else {"share": manifest.prevalence.prevalence, "how": manifest.prevalence.how},
        }
    thresholds = grader.grade_thresholds
    return known | {
        "grade_thresholds": None if thresholds is None else list(thresholds),
        "thresholds_chosen_on": ""
        if grader.clinical_thresholds is None
        else grader.clinical_thresholds.chosen_on,
    }


def _build_recalibration_document(found: Recalibration | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "adapted_on": found.adapted_on,
        "photographs": found.photographs,
        "prevalence": found.prevalence,
        "is_prevalence_stated": found.is_prevalence_stated,
    }


_DISEASES = {"referable": Grade.MODERATE, "vision_threatening": Grade.SEVERE}
_NAMES_OF_DISEASES = {grade: name for name, grade in _DISEASES.items()}


def estimate_as_dict(estimate: Estimate) -> dict[str, Any]:
    """Return an estimate as a dictionary.

    If the value or its interval is missing, ``reason`` says why.
    """
    shown: dict[str, Any] = {
        "value": _round_or_none(estimate.value),
        "low": _round_or_none(estimate.low),
        "high": _round_or_none(estimate.high),
        "n": estimate.n,
        "method": estimate.method,
    }
    return shown | ({"reason": estimate.reason} if estimate.reason else {})


def _build_detection_document(detection: Detection) -> dict[str, Any]:
    return {
        "at_or_above": int(detection.at_or_above),
        "positives": detection.positives,
        "auroc": estimate_as_dict(detection.auroc),
        "sensitivity": estimate_as_dict(detection.sensitivity),
        "specificity": estimate_as_dict(detection.specificity),
        "prevalence": _round_or_none(detection.prevalence),
        "ppv": estimate_as_dict(detection.ppv),
        "npv": estimate_as_dict(detection.npv),
        "ungradable_referred": _build_rates_document(
            (detection.sensitivity_referring, detection.specificity_referring)
        ),
        "operating_points": {
            one.point.name: {
                "threshold": one.point.threshold,
                "sensitivity": estimate_as_dict(one.sensitivity),
                "specificity": estimate_as_dict(one.specificity),
                "ppv": estimate_as_dict(one.ppv),
                "npv": estimate_as_dict(one.npv),
                "ungradable_referred": _build_rates_document(
                    (one.sensitivity_referring, one.specificity_referring)
                ),
            }
            for one in detection.operating_points
        },
        "calibration": _build_calibration_document(detection.calibration),
    }


def _build_calibration_document(found: BinaryCalibration) -> dict[str, Any]:
    return {
        "expected": _round_or_none(found.expected),
        "observed_over_expected": estimate_as_dict(found.observed_over_expected),
        "intercept": estimate_as_dict(found.intercept),
        "slope": estimate_as_dict(found.slope),
    }


def describe_photograph_and_group_counts(n: int, groups: int, unit: str) -> str:
    """Return a string such as ``120 photographs of 40 patients``."""
    photographs = f"{n:,} photograph{'s' * (n != 1)}"
    if not unit:
        return f"{photographs}, patients not known"
    return f"{photographs} of {groups:,} {name_group_unit(unit, groups)}"


def name_group_unit(unit: str, count: int) -> str:
    """Return what the groups are, in the singular or plural, for example ``patients``."""
    names = {
        "patient": ("patient", "patients"),
        "session": ("capture session", "capture sessions"),
    }
    return names.get(unit, ("patient or session", "patients or sessions"))[count != 1]


def build_details_document(evaluated: GraderEvaluation) -> dict[str, Any]:
    """Return the results in :class:`EvaluationDetails` and the reporting checklist for JSON."""
    from drdeploy.grader.evaluation.checklist import fill_reporting_checklist

    details = evaluated.details
    patients, second = details.patients, details.second_reader
    return {
        "flow": asdict(details.flow),
        "calibration_after_adjustment": [
            {
                "prevalence": one.adjusted.how,
                "shares": {
                    str(int(grade)): _round_or_none(share)
                    for grade, share in one.adjusted.shares.at_or_above.items()
                },
                **{
                    _NAMES_OF_DISEASES[grade]: _build_calibration_document(found)
                    for grade, found in one.calibration.items()
                },
            }
            for one in details.adjustments
        ],
        "decision_curves": {
            _NAMES_OF_DISEASES[grade]: [
                {
                    "threshold": one.threshold,
                    "net_benefit": estimate_as_dict(one.grader),
                    "refer_all": estimate_as_dict(one.refer_all),
                }
                for one in found
            ]
            for grade, found in details.net_benefits.items()
        },
        "risk_coverage": [
            {
                "at_least": one.at_least,
                **_build_coverage_document(one),
                "high_sensitivity": None if other is None else _build_coverage_document(other),
            }
            for one, other in zip_longest(details.risks, details.high_sensitivity_risks)
        ],
        "unlike_training": None if details.flag is None else _build_flag_document(details.flag),
        "patients": None if patients is None else _build_patients_document(patients),
        "subgroups": {
            column: [_build_subgroup_document(one) for one in found]
            for column, found in details.subgroups.items()
        },
        "second_reader": None if second is None else _build_second_reader_document(second),
        "checklist": [asdict(item) for item in fill_reporting_checklist(evaluated)],
    }


def _build_decision_document(found: DecisionQuality) -> dict[str, Any]:
    return {
        "risk": estimate_as_dict(found.risk),
        "sensitivity": estimate_as_dict(found.sensitivity),
        "specificity": estimate_as_dict(found.specificity),
    }


def _build_coverage_document(found: RiskAtCoverage) -> dict[str, Any]:
    return {
        "coverage": _round_or_none(found.coverage),
        **_build_decision_document(found.quality),
    }


def _build_flag_document(found: FlagQuality) -> dict[str, Any]:
    def build_both_sides(
        flagged: DecisionQuality | None, unflagged: DecisionQuality | None
    ) -> dict[str, Any] | None:
        if flagged is None or unflagged is None:
            return None
        return {
            f"{name}_{side}": value
            for side, quality in (("flagged", flagged), ("unflagged", unflagged))
            for name, value in _build_decision_document(quality).items()
        }

    return {
        "flagged": estimate_as_dict(found.flagged),
        "kappa_flagged": estimate_as_dict(found.kappa_flagged),
        "kappa_unflagged": estimate_as_dict(found.kappa_unflagged),
        **(build_both_sides(found.grade_flagged, found.grade_unflagged) or {}),
        "high_sensitivity": build_both_sides(
            found.high_sensitivity_flagged, found.high_sensitivity_unflagged
        ),
    }


def _build_patients_document(found: PatientEvaluation) -> dict[str, Any]:
    evaluation = found.evaluation
    return {
        "unit": found.unit,
        "given": found.n,
        "n": evaluation.n,
        "partly_graded": found.partly_graded,
        "n_per_grade": {str(int(grade)): int(evaluation.confusion[grade].sum()) for grade in Grade},
        "kappa": estimate_as_dict(evaluation.kappa),
        **{
            _NAMES_OF_DISEASES[detection.at_or_above]: _build_detection_of_patients_document(
                detection, found
            )
            for detection in (evaluation.referable, evaluation.vision_threatening)
        },
    }


def _build_detection_of_patients_document(
    detection: Detection, found: PatientEvaluation
) -> dict[str, Any]:
    document = _build_detection_document(detection)
    del document["calibration"]
    document["ungradable_referred"] = _build_rates_document(found.referring[detection.at_or_above])
    for name, point in document["operating_points"].items():
        rates = found.referring_by_point[name, int(detection.at_or_above)]
        point["ungradable_referred"] = _build_rates_document(rates)
    return document


def _build_rates_document(rates: tuple[Estimate, Estimate]) -> dict[str, Any]:
    sensitivity, specificity = map(estimate_as_dict, rates)
    return {"sensitivity": sensitivity, "specificity": specificity}


def _build_subgroup_document(found: Subgroup) -> dict[str, Any]:
    evaluation = found.evaluation
    return {
        "value": found.value,
        "given": found.given,
        "n": evaluation.n,
        "groups": evaluation.groups,
        "kappa": estimate_as_dict(evaluation.kappa),
        "ungradable": estimate_as_dict(evaluation.ungradable),
        **{
            _NAMES_OF_DISEASES[detection.at_or_above]: _build_detection_document(detection)
            for detection in (evaluation.referable, evaluation.vision_threatening)
        },
    }


def _build_second_reader_document(found: SecondReader) -> dict[str, Any]:
    def build_rates_at_both_grades(
        decisions: dict[Grade, tuple[Estimate, Estimate]],
    ) -> dict[str, Any]:
        return {
            _NAMES_OF_DISEASES[grade]: _build_rates_document(rates)
            for grade, rates in decisions.items()
        }

    return {
        "column": found.column,
        "n": found.n,
        "without_grade": found.without_grade,
        "kappa": estimate_as_dict(found.kappa),
        "grader_kappa": estimate_as_dict(found.grader_kappa),
        "grader_kappa_with_second": estimate_as_dict(found.grader_kappa_with_second),
        "decisions": build_rates_at_both_grades(found.decisions),
        "grader_decisions": build_rates_at_both_grades(found.grader_decisions),
        "grader_high_sensitivity": build_rates_at_both_grades(found.grader_high_sensitivity),
    }


def _build_paired_rate_document(rate: PairedRate) -> dict[str, Any]:
    return {
        **estimate_as_dict(rate.difference),
        "lower_bound_95": _round_or_none(rate.lower_bound),
        "gained": rate.gained,
        "lost": rate.lost,
        "mcnemar_p": _round_or_none(rate.p_value),
    }


def _round_or_none(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return float(np.round(value, DIGITS))
