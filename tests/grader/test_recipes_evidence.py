"""The comparison of recipes follows from the predictions in the evidence."""

import csv
import json
import runpy
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
EVIDENCE = ROOT / "evidence" / "recipes"
METRICS = json.loads((EVIDENCE / "metrics.json").read_text())
RECIPES = list(METRICS["out_of_fold"]["recipes"])
SEEDS = METRICS["seeds"]


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(ROOT / "scripts" / "evaluate_recipes.py"))


@pytest.fixture(scope="module")
def photographs():
    with (EVIDENCE / "oof-photographs.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def read_or_worse(part, name, seed):
    """Return P(grade >= k) for k from 1 to 4, in shape (n, 4)."""
    with (EVIDENCE / f"{part}-{name}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = [f"s{seed}_p{grade}_or_worse" for grade in range(1, 5)]
    return np.array([[float(row[column]) for column in columns] for row in rows])


def test_every_figure_follows_from_the_predictions(script):
    assert script["build_document"]() == METRICS, "run scripts/evaluate_recipes.py"


@pytest.mark.parametrize("part", ["out_of_fold", "test"])
def test_the_explanation_shows_the_table(script, part):
    page = (ROOT / "docs" / "explanation.md").read_text()
    assert script["write_table"](METRICS, part) in page, "run scripts/evaluate_recipes.py"


@pytest.mark.parametrize("name", RECIPES)
def test_scikit_learn_computes_the_same_areas_and_scores(script, photographs, name):
    from sklearn.metrics import brier_score_loss, cohen_kappa_score, log_loss, roc_auc_score

    labels = np.array([int(row["icdr_grade"]) for row in photographs])
    numbers = np.array([int(row["fold"]) for row in photographs])
    said = METRICS["out_of_fold"]["recipes"][name]
    for seed in range(SEEDS):
        calibrated = calibrate_each_fold_on_the_others(
            labels, numbers, to_probabilities(read_or_worse("oof", name, seed))
        )
        or_worse = calibrated[:, ::-1].cumsum(axis=1)[:, ::-1]
        grades = (or_worse[:, 1:] >= 0.5).sum(axis=1)
        found = {
            "kappa": cohen_kappa_score(labels, grades, weights="quadratic"),
            "auroc_2": roc_auc_score(labels >= 2, or_worse[:, 2]),
            "brier": brier_score_loss(labels, calibrated, scale_by_half=False),
            "log_loss": log_loss(labels, calibrated),
        }
        for figure, value in found.items():
            assert said[figure]["by_seed"][seed] == pytest.approx(value, abs=2e-6), figure
    for figure in said.values():
        assert figure["value"] == pytest.approx(np.mean(figure["by_seed"]), abs=2e-6)


def to_probabilities(or_worse):
    padded = np.pad(or_worse, [(0, 0), (1, 1)], constant_values=((0, 0), (1, 0)))
    probabilities = np.maximum(-np.diff(padded, axis=1), 1e-6)
    return probabilities / probabilities.sum(axis=1, keepdims=True)


def calibrate_each_fold_on_the_others(labels, numbers, probabilities):
    from drdeploy.grader.training.calibration import apply_temperature, fit_temperature

    calibrated = np.empty_like(probabilities)
    for number in np.unique(numbers):
        others = numbers != number
        temperature = fit_temperature(labels[others], probabilities[others])
        calibrated[~others] = apply_temperature(probabilities[~others], temperature)
    return calibrated


@pytest.mark.parametrize("name", RECIPES[1:])
def test_a_difference_is_the_mean_of_paired_differences(name):
    for part in ("out_of_fold", "test"):
        recipes = METRICS[part]["recipes"]
        for figure, found in recipes[name].items():
            paired = np.subtract(found["by_seed"], recipes[RECIPES[0]][figure]["by_seed"])
            difference = found["less_packaged"]
            assert difference["value"] == pytest.approx(paired.mean(), abs=3e-6)
            assert difference["low"] <= difference["value"] <= difference["high"]
            assert difference["all_recipes_low"] <= difference["low"]
            assert difference["all_recipes_high"] >= difference["high"]


def test_no_session_is_in_two_folds_and_the_labels_are_those_of_the_packaged_grader(photographs):
    fold_of = {}
    for row in photographs:
        assert fold_of.setdefault(row["group"], row["fold"]) == row["fold"]
    with (ROOT / "evidence" / "mobilenet-idrid" / "oof-fp32.csv").open(newline="") as file:
        labels = {row["file"]: row["icdr_grade"] for row in csv.DictReader(file)}
    assert {row["file"]: row["icdr_grade"] for row in photographs} == labels
