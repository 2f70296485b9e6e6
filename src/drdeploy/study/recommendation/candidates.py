"""Networks side by side: how well each grades, how fast it predicts, and what that costs."""

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
    from drdeploy.grader.evaluation.predictions import GradedSet
    from drdeploy.grader.training.compare import ComparedNetwork, NetworkMeasurement
    from drdeploy.statistics.estimate import Estimate
    from drdeploy.study.recommendation.cost import SecondPrice


@dataclass(frozen=True)
class CandidateSummary:
    """What was measured of one network.

    Attributes:
        measured: Size, weights and times of single predictions.
        evaluation: How well its out-of-fold predictions agree with the labels, the most probable
            grade counting.
        kappa_gain: Its kappa minus the highest one's, paired on the same photographs; None for
            the candidate with the highest kappa.
        predict_s: Median time of a single prediction.
        cost_per_million_usd: Cost of a million predictions, without anything else that a request
            takes.
    """

    measured: NetworkMeasurement
    evaluation: Evaluation
    kappa_gain: Estimate | None
    predict_s: Estimate
    cost_per_million_usd: Estimate


def summarise(
    candidates: Sequence[ComparedNetwork], price: SecondPrice, *, seed: int = 0
) -> tuple[CandidateSummary, ...]:
    """Evaluate, time and price networks.

    Args:
        candidates: At least one network, all on the same photographs in the same order.
        price: What a second of the endpoint costs that they would run on.
        seed: Seed of the bootstrap.
    """
    graded = [candidate.out_of_fold for candidate in candidates]
    evaluations = [
        evaluate_probabilities(one.labels, one.probabilities, groups=one.groups, seed=seed)
        for one in graded
    ]
    kappas = [evaluation.kappa.value for evaluation in evaluations]
    best = kappas.index(max(kappas, key=lambda kappa: -1.0 if kappa is None else kappa))
    return tuple(
        CandidateSummary(
            measured=candidate.measured,
            evaluation=evaluations[at],
            kappa_gain=None if at == best else _gain(graded[best], graded[at], seed),
            predict_s=median(candidate.measured.predict_s),
            cost_per_million_usd=median(candidate.measured.predict_s).scaled(
                price.usd_per_second * MILLION
            ),
        )
        for at, candidate in enumerate(candidates)
    )


def document_of(summary: CandidateSummary) -> dict[str, Any]:
    """A network's figures as plain values, each with its interval."""
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


def _gain(best: GradedSet, other: GradedSet, seed: int) -> Estimate:
    grades = [grades_of(graded.probabilities, None) for graded in (best, other)]
    return compare(best.labels, *grades, groups=best.groups, seed=seed).kappa
