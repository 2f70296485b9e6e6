"""An independent script computes the figures of a comparison of two graders again.

Nothing in the script uses the package's own statistics. The predictions are those of the packaged
grader in ``evidence``: int8 is compared with fp32 on the photographs of the training.
"""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from independent_statistics import (
    Z_ONE_SIDED,
    Z_TWO_SIDED,
    area,
    calibration_error,
    kappa_of,
    paired_change,
    resampled,
    wilson,
)
from scipy.stats import binomtest
from typer.testing import CliRunner

from drdeploy.cli.app import build_app
from drdeploy.grader.evaluation.document import build_json_document
from drdeploy.grader.evaluation.graders import MatrixCell, evaluate_prediction_table

EVIDENCE = Path(__file__).resolve().parents[3] / "evidence" / "mobilenet-idrid"
TABLES = [EVIDENCE / f"oof-{precision}.csv" for precision in ("fp32", "int8")]
DISEASES = {"referable": 2, "vision_threatening": 3}


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    fp32, int8 = TABLES
    words = ["model", "evaluate", "--oof", int8, "--against", fp32, "--names", "--json"]
    words += ["--out", tmp_path_factory.mktemp("compared")]
    result = CliRunner().invoke(build_app(), [*map(str, words)], catch_exceptions=False)
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def matrix():
    """The matrix of two graders (fp32 and int8) and two sets of photographs (training and test)."""
    cells = []
    for precision in ("fp32", "int8"):
        for part in ("oof", "test"):
            evaluated = evaluate_prediction_table(EVIDENCE / f"{part}-{precision}.csv", None)
            cells.append(
                MatrixCell(
                    replace(
                        evaluated,
                        grader=replace(evaluated.grader, name=precision),
                        test_set=replace(evaluated.test_set, name=part),
                    )
                )
            )
    return build_json_document(cells)["matrix"]


@pytest.fixture(scope="module")
def compared():
    """File names, labels, sessions, and the probabilities and grades of fp32 and of int8."""
    rows = []
    for table in TABLES:
        with table.open(newline="") as file:
            rows.append(list(csv.DictReader(file)))
    files = [row["file"] for row in rows[0]]
    labels = np.array([int(row["icdr_grade"]) for row in rows[0]])
    groups = np.array([row["group"] for row in rows[0]])
    shares = [np.array([[float(row[f"p{at}"]) for at in range(5)] for row in one]) for one in rows]
    # Without an artifact, the answer is the most probable grade.
    return files, labels, groups, shares, [one.argmax(axis=1) for one in shares]


def test_the_change_of_kappa_is_computed_again(document, compared):
    _, labels, groups, _, grades = compared

    def change(at):
        return kappa_of(labels, grades[1])(at) - kappa_of(labels, grades[0])(at)

    said = document["comparison"]["kappa_change"]
    assert said["value"] == pytest.approx(change(np.arange(len(labels))), abs=2e-6)
    limits = resampled(change, groups, (0.025, 0.975))
    assert (said["low"], said["high"]) == pytest.approx(tuple(limits), abs=4e-3)


@pytest.mark.parametrize("disease", DISEASES)
@pytest.mark.parametrize("rate", ["sensitivity", "specificity"])
def test_the_change_of_a_rate_is_computed_again(document, compared, disease, rate):
    _, labels, groups, _, grades = compared
    ill = labels >= DISEASES[disease]
    among = ill if rate == "sensitivity" else ~ill
    before, after = (((one >= DISEASES[disease]) == ill)[among] for one in grades)
    said = document["comparison"][f"{rate}_change"][disease]
    value, low = paired_change(before, after, groups[among], Z_TWO_SIDED)
    _, bound = paired_change(before, after, groups[among], Z_ONE_SIDED)
    against_it, high = paired_change(after, before, groups[among], Z_TWO_SIDED)
    assert value == -against_it
    figures = (said["value"], said["low"], said["high"], said["lower_bound_95"])
    assert figures == pytest.approx((value, low, -high, bound), abs=1e-5)
    gained, lost = (~before & after).sum(), (before & ~after).sum()
    assert (said["gained"], said["lost"], said["n"]) == (gained, lost, among.sum())
    p_value = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert said["mcnemar_p"] == pytest.approx(p_value, abs=2e-6)


def test_the_changed_photographs_are_found_again(document, compared):
    files, labels, _, _, grades = compared
    changed = [
        {
            "file": files[at],
            "icdr_grade": labels[at],
            "first": grades[0][at],
            "second": grades[1][at],
        }
        for at in np.flatnonzero(grades[0] != grades[1])
    ]
    found = document["comparison"]
    assert found["changed"] == changed
    assert found["n"] == len(files)
    missed = (labels >= 3) & (grades[0] >= 3) & (grades[1] < 3)
    assert found["new_misses"] == [files[at] for at in np.flatnonzero(missed)]


@pytest.mark.parametrize(("place", "precision"), [("against", 0), (None, 1)])
def test_the_interval_of_the_calibration_error_is_computed_again(
    document, compared, place, precision
):
    _, labels, groups, shares, _ = compared
    said = (document[place] if place else document)["ece"]
    value, low, high = calibration_error(labels, shares[precision], groups)
    assert said["value"] == pytest.approx(value, abs=2e-6)
    assert (said["low"], said["high"]) == pytest.approx((low, high), abs=0.01)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("part", ["oof", "test"])
def test_a_cell_of_the_matrix_of_graders_is_computed_again(matrix, precision, part):
    with (EVIDENCE / f"{part}-{precision}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    labels = np.array([int(row["icdr_grade"]) for row in rows])
    groups = np.array([row["group"] for row in rows])
    shares = np.array([[float(row[f"p{at}"]) for at in range(5)] for row in rows])
    grades = shares.argmax(axis=1)
    row, column = matrix["rows"].index(precision), matrix["columns"].index(part)
    assert matrix["n"][row][column] == len(rows)
    kappa = kappa_of(labels, grades)(np.arange(len(labels)))
    assert matrix["kappa"][row][column]["value"] == pytest.approx(kappa, abs=2e-6)
    for disease, grade in DISEASES.items():
        ill = labels >= grade
        expected = {
            "auroc": area(ill, shares[:, grade:].sum(axis=1), groups),
            "sensitivity": wilson(grades[ill] >= grade, groups[ill]),
            "specificity": wilson(grades[~ill] < grade, groups[~ill]),
        }
        for name, figures in expected.items():
            said = matrix[f"{disease}_{name}"][row][column]
            assert (said["value"], said["low"], said["high"]) == pytest.approx(figures, abs=2e-5)
