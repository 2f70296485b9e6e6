"""Compare networks by quality, speed and cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drdeploy.grader.evaluation.comparison import compare_grades
from drdeploy.grader.evaluation.document import estimate_as_dict
from drdeploy.grader.evaluation.evaluation import evaluate_probabilities
from drdeploy.grader.grading.prediction import grades_from_probabilities
from drdeploy.statistics.percentiles import estimate_median
from drdeploy.units import MILLION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.grader.evaluation.evaluation import Evaluation
    from drdeploy.grader.evaluation.predictions import GradedSet
    from drdeploy.grader.training.compare import ComparedNetwork, NetworkMeasurement
    from drdeploy.statistics.estimate import Estimate
    from drdeploy.study.recommendation.inference_cost import SecondPrice


@dataclass(frozen=True)
class CandidateSummary:
    """The quality, speed and cost of one network.

    Attributes:
        measured: The network's size, weights and times of single predictions.
        evaluation: The agreement of the predicted grades with the labels. The predicted grade is
            the most probable one, and each photograph was graded by a network that was trained
            without this photograph.
        kappa_gain: The network's kappa minus the highest kappa of all networks; it is never above
            0. Both networks graded the same photographs, and the interval takes this into account.
            None for the network with the highest kappa.
        predict_s: The median time of a single prediction.
        cost_per_million_usd: The cost of a million predictions, without decoding and the other
            steps of a request.
    """

    measured: NetworkMeasurement
    evaluation: Evaluation
    kappa_gain: Estimate | None
    predict_s: Estimate
    cost_per_million_usd: Estimate


def evaluate_and_price_candidates(
    candidates: Sequence[ComparedNetwork], price: SecondPrice, *, seed: int = 0
) -> tuple[CandidateSummary, ...]:
    """Evaluate, time and price networks that graded the same photographs in the same order.

    Args:
        candidates: The networks, at least one.
        price: The price of a second of the endpoint that the networks would run on.
        seed: The seed of the bootstrap.
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
            kappa_gain=None
            if at == best
            else _compute_kappa_difference_from_best(graded[best], graded[at], seed),
            predict_s=estimate_median(candidate.measured.predict_s),
            cost_per_million_usd=estimate_median(candidate.measured.predict_s).multiplied_by(
                price.usd_per_second * MILLION
            ),
        )
        for at, candidate in enumerate(candidates)
    )


def convert_candidate_to_json(summary: CandidateSummary) -> dict[str, Any]:
    """Return a network's results as plain values for JSON, each with its interval."""
    evaluation, measured = summary.evaluation, summary.measured
    gain = summary.kappa_gain
    return {
        "architecture": measured.architecture,
        "parameters": measured.parameters,
        "weights": measured.weights,
        "weights_source": measured.weights_source,
        "artifact_size_bytes": measured.artifact_size_bytes,
        "kappa": estimate_as_dict(evaluation.kappa),
        "kappa_against_best": None if gain is None else estimate_as_dict(gain),
        "accuracy": estimate_as_dict(evaluation.accuracy),
        "auroc_referable": estimate_as_dict(evaluation.referable.auroc),
        "sensitivity_referable": estimate_as_dict(evaluation.referable.sensitivity),
        "specificity_referable": estimate_as_dict(evaluation.referable.specificity),
        "auroc_vision_threatening": estimate_as_dict(evaluation.vision_threatening.auroc),
        "sensitivity_vision_threatening": estimate_as_dict(
            evaluation.vision_threatening.sensitivity
        ),
        "specificity_vision_threatening": estimate_as_dict(
            evaluation.vision_threatening.specificity
        ),
        "predict_s": estimate_as_dict(summary.predict_s),
        "threads": measured.threads,
        "cost_per_million_usd": estimate_as_dict(summary.cost_per_million_usd),
    }


def _compute_kappa_difference_from_best(best: GradedSet, other: GradedSet, seed: int) -> Estimate:
    grades = [grades_from_probabilities(graded.probabilities, None) for graded in (best, other)]
    return compare_grades(best.labels, *grades, groups=best.groups, seed=seed).kappa
