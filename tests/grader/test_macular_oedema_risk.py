"""The second head's figures follow from its predictions, and stand apart from the grade."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "evidence" / "macular-oedema-risk"


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


def test_the_explanation_shows_the_figures_of_the_second_head():
    metrics = json.loads((FOLDER / "metrics.json").read_text())
    page = (ROOT / "docs" / "explanation.md").read_text()
    section = page.split("## Risk of macular oedema: a second head", 1)[1].split("\n## ", 1)[0]
    heads = [metrics[name] for name in ("any_hard_exudates", "hard_exudates_near_the_fovea")]

    def cell(figure, form="{:.2f}"):
        sign = "+" if form == "{:.3f}" else ""
        value, low, high = (form.format(figure[at]) for at in ("value", "low", "high"))
        return f"{sign}{value} ({low} to {high})"

    rows = [
        [cell(head["test"]["auroc"]) for head in heads],
        [cell(head["auroc_of_grader_test"]) for head in heads],
        [cell(head["auroc_less_grader_test"], "{:.3f}") for head in heads],
        [cell(head["test"]["sensitivity"]) for head in heads],
        [cell(head["test"]["specificity"]) for head in heads],
        [cell(head["test"]["observed_over_expected"]) for head in heads],
    ]
    table = [line.split(" | ", 1)[1] for line in section.splitlines() if line.startswith("| ")]
    assert table[1:] == [f"{one} | {two} |" for one, two in rows]
    for head, label in zip(heads, ("any hard", "within one disc"), strict=True):
        assert f"n = {head['test']['positives']} of {metrics['test']['n']}" in table[0]
        assert label in table[0]
        assert head["auroc_less_grader_test"]["low"] < 0 < head["auroc_less_grader_test"]["high"]
        for name in ("auroc", "sensitivity", "specificity"):
            assert f"{head['out_of_fold'][name]['value']:.2f}" in section
    assert "For research use. Not a medical device." in section
