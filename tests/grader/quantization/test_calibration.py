"""A quantized grader is judged by decisions whose thresholds were chosen on other photographs."""

from types import SimpleNamespace

import numpy as np
import pytest

from drdeploy.grader.artifacts import Clinical
from drdeploy.grader.datasets import Fold
from drdeploy.grader.evaluation.predictions import GradedSet
from drdeploy.grader.quantization import calibration
from drdeploy.grader.quantization.calibration import calibrate_quantized_grader

PHOTOGRAPHS = 250
ORIGINAL = Clinical(chosen_on="nothing", grade_thresholds=(0.5, 0.5, 0.5, 0.5))
RANDOM = np.random.default_rng(2)
LABELS = RANDOM.integers(0, 5, PHOTOGRAPHS)
PLACES = np.arange(PHOTOGRAPHS)
NUMBERS = PLACES % 5
FOLDS = tuple(Fold(np.flatnonzero(at != NUMBERS), np.flatnonzero(at == NUMBERS)) for at in range(5))


@pytest.fixture
def decide(monkeypatch):
    monkeypatch.setattr(calibration, "split_into_grouped_folds", lambda *_, **__: FOLDS)

    def of(labels, reasons=("",) * PHOTOGRAPHS):
        centre = LABELS + np.random.default_rng(3).normal(0, 1.2, PHOTOGRAPHS)
        shares = np.exp(-((np.arange(5) - centre[:, None]) ** 2))
        shares /= shares.sum(axis=1, keepdims=True)
        shares[[bool(reason) for reason in reasons]] = np.nan
        files = tuple(map(str, PLACES))
        graded = GradedSet(files, PLACES.astype(str), labels, shares, tuple(reasons))
        return calibrate_quantized_grader(ORIGINAL, graded, SimpleNamespace(name="eyes"))

    return of


def test_the_labels_of_a_fold_do_not_change_the_decisions_on_it(decide):
    before = decide(LABELS)
    others = LABELS.copy()
    others[FOLDS[0].validation] = 4 - LABELS[FOLDS[0].validation]
    after = decide(others)
    assert len(before.flags) == len(before.clinical.operating_points) == 4
    elsewhere = []
    for point, flagged in before.flags.items():
        here = FOLDS[0].validation
        assert np.array_equal(flagged[here], after.flags[point][here])
        elsewhere.append(np.array_equal(flagged, after.flags[point]))
    assert not all(elsewhere)


def test_a_photograph_without_a_grade_is_not_flagged(decide):
    reasons = ["too dark" if at % 10 == 0 else "" for at in range(PHOTOGRAPHS)]
    flags = decide(LABELS, reasons).flags
    assert not any(flagged[::10].any() for flagged in flags.values())
    assert all(flagged.any() for flagged in flags.values())
