"""An evaluation in one call."""

import csv

import numpy as np
import pytest

from drdeploy.errors import InvalidInput
from drdeploy.grader.evaluation.evaluate import evaluate, read_grader_from_artifact
from drdeploy.grader.grading import Grade
from drdeploy.grader.synthetic.photograph import paint_synthetic_photograph


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """Ten synthetic photographs, two of each grade, half of them of a split `test`."""
    folder = tmp_path_factory.mktemp("labelled")
    rows = [("file", "icdr_grade", "split")]
    for at in range(10):
        grade = Grade(at // 2)
        data = paint_synthetic_photograph(at, grade=grade, width_px=640, height_px=480)
        (folder / f"{at}.jpg").write_bytes(data)
        rows.append((f"{at}.jpg", int(grade), "train" if at % 2 else "test"))
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder


def test_the_grader_in_the_box_is_evaluated_on_the_test_split(labelled):
    found = evaluate(str(labelled))
    assert found.grader.name.startswith("mobilenet-idrid")
    assert found.test_set.split == "test"
    assert found.graded.labels.tolist() == [0, 1, 2, 3, 4]


def test_the_split_and_the_seed_are_the_caller_s(labelled):
    found, again = (evaluate(labelled, split="all", seed=7) for _ in range(2))
    assert len(found.graded) == 10
    assert found.evaluation.kappa == again.evaluation.kappa
    assert np.array_equal(found.graded.probabilities, again.graded.probabilities)


def test_a_missing_artifact_is_named(labelled):
    with pytest.raises(InvalidInput, match="nowhere"):
        evaluate(labelled, "nowhere.tar.gz")
    with pytest.raises(InvalidInput, match="nowhere"):
        read_grader_from_artifact("nowhere")
