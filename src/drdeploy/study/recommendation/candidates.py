"""Networks side by side: what each costs and what it finds, from what was measured of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drdeploy.grader.evaluation.comparison import compare
from drdeploy.grader.evaluation.document import figure
from drdeploy.grader.evaluation.evaluation import evaluate_probabilities
from drdeploy.grader.grading.prediction import grades_of
from drdeploy.statistics.percentiles import median
from drdeploy.study.recommendation.cost import MILLION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.grader.evaluation.evaluation import Evaluation
    from drdeploy.grader.training.compare import ComparedNetwork, NetworkMeasurement
    from drdeploy.statistics.estimate import Estimate
    from drdeploy.study.recommendation.cost import SecondPrice


@dataclass(frozen=True)
class CandidateSummary:
    """One candidate.

    Attributes:
        evaluation: Of its out-of-fold predictions, the most probable grade answered.
        kappa_gain: Its kappa minus the highest one's, paired on the same photographs; None for
            the candidate with the highest kappa.
        predict_s: Median time of a single prediction.
        cost_per_million_usd: Of the predictions alone.
    """

    measured: NetworkMeasurement
    evaluation: Evaluation
    kappa_gain: Estimate | None
    predict_s: Estimate
    cost_per_million_usd: Estimate


def summarise(
    candidates: Sequence[ComparedNetwork], price: SecondPrice, *, seed: int = 0
) -> tuple[CandidateSummary, ...]:
    """Evaluate, time and price candidates.

    Args:
        candidates: At least one; all on the same photographs in the same order.
        price: What a second of the endpoint costs that they would run on.
        seed: Of the bootstrap.
    """
    evaluations = [_evaluate(candidate, seed) for candidate in candidates]
    kappas = [evaluation.kappa.value for evaluation in evaluations]
    best = kappas.index(max(kappas, key=lambda kappa: -1.0 if kappa is None else kappa))
    return tuple(
        CandidateSummary(
            measured=candidate.measured,
            evaluation=evaluations[at],
            kappa_gain=None if at == best else _gain(candidates[best], candidate, seed),
            predict_s=median(candidate.measured.predict_s),
            cost_per_million_usd=median(candidate.measured.predict_s).scaled(
                price.usd_per_second * MILLION
            ),
        )
        for at, candidate in enumerate(candidates)
    )


def document_of(summary: CandidateSummary) -> dict[str, Any]:
    """A candidate as plain values."""
    evaluation, measured = summary.evaluation, summary.measured
    gain = summary.kappa_gain
    return {
        "architecture": measured.architecture,
        "parameters": measured.parameters,
        "weights": measured.weights,
        "weights_source": measured.weights_source,
        "artifact_size_bytes": measured.artifact_size_bytes,
        "kappa": figure(evaluation.kappa),
        "kappa_against_best": None if gain is None else figure(gain),
        "accuracy": figure(evaluation.accuracy),
        "auroc_referable": figure(evaluation.referable.auroc),
        "sensitivity_referable": figure(evaluation.referable.sensitivity),
        "specificity_referable": figure(evaluation.referable.specificity),
        "auroc_vision_threatening": figure(evaluation.vision_threatening.auroc),
        "sensitivity_vision_threatening": figure(evaluation.vision_threatening.sensitivity),
        "specificity_vision_threatening": figure(evaluation.vision_threatening.specificity),
        "predict_s": figure(summary.predict_s),
        "threads": measured.threads,
        "cost_per_million_usd": figure(summary.cost_per_million_usd),
    }


def _evaluate(candidate: ComparedNetwork, seed: int) -> Evaluation:
    graded = candidate.out_of_fold
    return evaluate_probabilities(
        graded.labels, graded.probabilities, groups=graded.groups, seed=seed
    )


def _gain(best: ComparedNetwork, other: ComparedNetwork, seed: int) -> Estimate:
    grades = [grades_of(one.out_of_fold.probabilities, None) for one in (best, other)]
    graded = best.out_of_fold
    return compare(graded.labels, *grades, groups=graded.groups, seed=seed).kappa
