"""Networks side by side: evaluated, compared in pairs, priced."""

import numpy as np
import pytest

from drdeploy.grader.evaluation.predictions import GradedSet
from drdeploy.grader.training.compare import ComparedNetwork, NetworkMeasurement
from drdeploy.hosting.sagemaker import PriceSheet
from drdeploy.study.recommendation.candidates import (
    convert_candidate_to_json,
    evaluate_and_price_candidates,
)
from drdeploy.study.recommendation.inference_cost import look_up_price_per_second

PRICE = look_up_price_per_second("serverless", 2048, "", PriceSheet.load())
LABELS = np.tile(np.arange(5), 12)


def candidate(name, wrong, predict_s=(0.02,) * 10):
    """One that errs by a grade on the first ``wrong`` photographs."""
    answers = LABELS.copy()
    answers[:wrong] = (answers[:wrong] + 1) % 5
    measured = NetworkMeasurement(
        architecture=name,
        parameters=1_000,
        weights="random",
        weights_source="keras",
        preprocessing="tf",
        artifact_size_bytes=4_000,
        predict_s=predict_s,
        threads=2,
        tool_version="0",
    )
    graded = GradedSet(
        files=tuple(f"{at}.jpg" for at in range(60)),
        groups=np.array([str(at) for at in range(60)]),
        labels=LABELS,
        probabilities=np.eye(5)[answers] * 0.9 + 0.02,
        reasons=("",) * 60,
    )
    return ComparedNetwork(measured, graded)


def test_the_others_are_compared_with_the_best_in_pairs():
    worse, best = evaluate_and_price_candidates(
        [candidate("worse", 20), candidate("best", 5)], PRICE
    )
    assert best.kappa_gain is None
    expected = worse.evaluation.kappa.value - best.evaluation.kappa.value
    assert worse.kappa_gain.value == pytest.approx(expected)
    assert worse.kappa_gain.high < 0


def test_equals_are_not_shown_to_differ():
    _, other = evaluate_and_price_candidates([candidate("one", 10), candidate("other", 10)], PRICE)
    assert other.kappa_gain.value == 0
    assert not other.kappa_gain.interval_excludes(0)


def test_a_million_predictions_cost_their_median_time_at_the_endpoint_s_price():
    (only,) = evaluate_and_price_candidates(
        [candidate("one", 5, predict_s=(0.01, 0.02, 0.09) * 5)], PRICE
    )
    assert only.predict_s.value == 0.02
    assert only.cost_per_million_usd.value == pytest.approx(0.02 * 4e-5 * 1e6)
    assert only.cost_per_million_usd.high == pytest.approx(only.predict_s.high * 4e-5 * 1e6)


def test_the_document_has_every_figure_with_its_interval():
    document = convert_candidate_to_json(
        evaluate_and_price_candidates([candidate("one", 20)], PRICE)[0]
    )
    assert (document["architecture"], document["weights"]) == ("one", "random")
    for name in ("kappa", "sensitivity_referable", "sensitivity_vision_threatening", "predict_s"):
        assert document[name]["low"] <= document[name]["value"] <= document[name]["high"]
