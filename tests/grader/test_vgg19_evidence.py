"""The comparison of VGG19 with MobileNet follows from the predictions and times in the evidence."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from drdeploy.grader.evaluation.predictions import GradedSet

ROOT = Path(__file__).resolve().parents[2]
EVIDENCE = ROOT / "evidence"


@pytest.fixture(scope="module")
def metrics():
    return json.loads((EVIDENCE / "vgg19-idrid" / "metrics.json").read_text())


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(ROOT / "scripts")
        yield runpy.run_path(str(ROOT / "scripts" / "evaluate_vgg19.py"))
        sys.modules.pop("make_model", None)


def test_every_figure_follows_from_predictions_thresholds_and_times(script, metrics):
    assert script["build_document"]() == metrics, "run scripts/evaluate_vgg19.py --table"


def test_the_explanation_shows_the_table(script, metrics):
    page = (ROOT / "docs" / "explanation.md").read_text()
    assert script["write_table"](metrics) in page, "run scripts/evaluate_vgg19.py --table"


@pytest.mark.parametrize("network", ["mobilenet", "vgg19"])
def test_scikit_learn_computes_the_same_figures(script, metrics, network):
    from sklearn.metrics import cohen_kappa_score, roc_auc_score

    answers = script["read_answers_out_of_fold"]()[network]
    or_worse = answers.probabilities[:, ::-1].cumsum(axis=1)[:, ::-1]
    grades = (or_worse[:, 1:] >= 0.5).sum(axis=1)
    said = metrics["out_of_fold"][network]
    kappa = cohen_kappa_score(answers.labels, grades, weights="quadratic")
    assert said["kappa"]["value"] == pytest.approx(kappa, abs=1e-6)
    for grade in (2, 3):
        ill, found = answers.labels >= grade, said[f"grade_{grade}"]
        area = roc_auc_score(ill, or_worse[:, grade])
        assert found["auroc"]["value"] == pytest.approx(area, abs=1e-6)
        flagged = grades >= grade
        assert found["sensitivity"]["value"] == pytest.approx(flagged[ill].mean(), abs=1e-6)
        assert found["specificity"]["value"] == pytest.approx((~flagged[~ill]).mean(), abs=1e-6)


def test_no_session_is_in_two_folds_and_the_labels_are_those_of_mobilenet():
    graded = GradedSet.read_csv(
        EVIDENCE / "vgg19-idrid" / "oof-fp32.csv", columns={"fold": "the test"}
    )
    folds = graded.columns["fold"]
    assert set("012") <= set(folds) <= set("01234")
    for session in np.unique(graded.groups):
        assert len(set(folds[graded.groups == session])) == 1
    other = GradedSet.read_csv(EVIDENCE / "mobilenet-idrid" / "oof-fp32.csv")
    labels = dict(zip(other.files, other.labels, strict=True))
    assert [labels[file] for file in graded.files] == graded.labels.tolist()
