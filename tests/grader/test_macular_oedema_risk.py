"""The second head's figures follow from its predictions, and stand apart from the grade."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "evidence" / "macular-oedema-risk"


def test_the_figures_of_the_second_head_follow_from_its_predictions():
    from sklearn.metrics import roc_auc_score

    metrics = json.loads((FOLDER / "metrics.json").read_text())
    with (FOLDER / "test.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    risk = np.array([int(row["risk"]) for row in rows])
    assert metrics["test"] == {"n": len(rows), "sessions": len({row["group"] for row in rows})}
    for name, least in (("any_hard_exudates", 1), ("hard_exudates_near_the_fovea", 2)):
        ill, said = risk >= least, metrics[name]
        chances = np.array([float(row[name]) for row in rows])
        grader = np.array([float(row["grader_p2"]) for row in rows])
        area = roc_auc_score(ill, chances)
        flagged = chances >= said["threshold"]
        assert said["test"]["auroc"]["value"] == pytest.approx(area, abs=1e-6)
        assert said["test"]["sensitivity"]["value"] == pytest.approx(flagged[ill].mean(), abs=1e-6)
        assert said["test"]["specificity"]["value"] == pytest.approx(
            (~flagged[~ill]).mean(), abs=1e-6
        )
        assert said["auroc_less_grader_test"]["value"] == pytest.approx(
            area - roc_auc_score(ill, grader), abs=1e-6
        )
