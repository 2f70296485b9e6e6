"""Turn a finished training run into a dictionary for ``--json``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drdeploy.grader.datasets import split_into_grouped_folds
from drdeploy.grader.evaluation.document import build_evaluation_document
from drdeploy.grader.evaluation.evaluation import evaluate_graded_set
from drdeploy.grader.training.calibration import evaluate_cross_fitted_choices

if TYPE_CHECKING:
    from drdeploy.grader.datasets import Dataset
    from drdeploy.grader.training.train import TrainedGrader


def build_training_run_document(trained: TrainedGrader) -> dict[str, Any]:
    """Return the out-of-fold results, the unused photographs, and the written files."""
    plan, graded = trained.plan, trained.out_of_fold
    evaluation = evaluate_graded_set(graded, trained.clinical)
    folds = split_into_grouped_folds(plan.dataset, plan.folds, seed=plan.seed)
    return {
        "architecture": plan.architecture.name,
        "evaluated_on": trained.clinical.chosen_on,
        **build_evaluation_document(evaluation, graded),
        "cross_fitted": evaluate_cross_fitted_choices(graded, folds),
        "temperature": trained.clinical.temperature,
        "set_aside": list_photographs_set_aside(plan.dataset),
        "archives": {name: str(path) for name, path in trained.archives.items()},
        "keras_file": str(trained.keras_file),
    }


def list_photographs_set_aside(dataset: Dataset) -> list[dict[str, str]]:
    """Return the photographs that were not used in training, with the reasons."""
    return [{"file": one.name, "reason": one.reason} for one in dataset.set_aside]
