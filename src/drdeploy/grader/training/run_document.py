"""Turn a finished training run into plain values: what ``--json`` prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from drdeploy.grader.datasets import grouped_folds
from drdeploy.grader.datasets.dataset import name_within
from drdeploy.grader.evaluation.document import evaluation_document, figure
from drdeploy.grader.evaluation.evaluation import evaluate_graded
from drdeploy.grader.training.cross_fitting import cross_fit

if TYPE_CHECKING:
    from drdeploy.grader.datasets import Dataset
    from drdeploy.grader.training.cross_fitting import CrossFitted
    from drdeploy.grader.training.train import TrainedGrader


def run_document(trained: TrainedGrader) -> dict[str, Any]:
    """Return the out-of-fold figures, what they were computed on, and the files that were made."""
    plan, graded = trained.plan, trained.out_of_fold
    evaluation = evaluate_graded(graded, trained.clinical)
    folds = grouped_folds(plan.dataset, plan.folds, seed=plan.seed)
    return {
        "architecture": plan.architecture.name,
        "evaluated_on": trained.clinical.chosen_on,
        **evaluation_document(evaluation, graded),
        "cross_fitted": _cross_fitted(cross_fit(graded, folds)),
        "temperature": trained.clinical.temperature,
        "set_aside": set_aside(plan.dataset),
        "archives": {name: str(path) for name, path in trained.archives.items()},
        "keras_file": str(trained.keras_file),
    }


def set_aside(dataset: Dataset) -> list[dict[str, str]]:
    """Return the photographs that were not trained on, and why."""
    return [
        {"file": name_within(dataset.folder, Path(one.file)), "reason": one.reason}
        for one in dataset.set_aside
    ]


def _cross_fitted(found: CrossFitted) -> dict[str, Any]:
    return {
        "kappa": figure(found.kappa),
        "ece": figure(found.ece),
        "operating_points": [
            {
                "name": point.name,
                "at_or_above": point.at_or_above,
                "sensitivity": figure(point.sensitivity),
                "specificity": figure(point.specificity),
            }
            for point in found.points
        ],
    }
