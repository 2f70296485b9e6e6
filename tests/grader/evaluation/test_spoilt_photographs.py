"""The page on spoilt photographs follows from its rows, and the rows from the photographs."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from drdeploy.grader.box import box_artifact
from drdeploy.grader.datasets import load_dataset
from drdeploy.grader.inference import InferenceService
from drdeploy.photograph_names import OWN_NAMES

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(ROOT / "scripts/evaluate_gradability.py"))


def test_the_page_follows_from_the_rows(script):
    written = script["write_page"](script["read_rows"]())
    assert written == script["PAGE"].read_text(), "run scripts/evaluate_gradability.py"


def test_every_photograph_is_spoilt_in_every_way(script):
    rows = script["read_rows"]()
    strengths = [(flaw.name, one) for flaw in script["FLAWS"] for one in flaw.strengths]
    assert len(strengths) == 32
    photographs = set(rows["file"])
    assert len(photographs) == 84
    found = zip(rows["file"], rows["flaw"], rows["strength"], strict=True)
    assert sorted(found) == sorted(
        (name, *one) for name in photographs for one in [("none", 0.0), *strengths]
    )


@pytest.mark.shared
def test_the_rows_follow_from_the_photographs(script, shared):
    """The first photograph, graded again in each of its 33 states."""
    rows = script["read_rows"]()
    dataset = load_dataset(shared / "data/idrid_512", names=OWN_NAMES)
    [first] = [at for at, one in enumerate(dataset.photographs) if one.name == rows["file"][0]]
    service = InferenceService.load(box_artifact("int8"))
    again = script["grade_spoilt_photographs"](service, dataset.select_by_index([first]))
    here = rows["file"] == rows["file"][0]
    assert here.sum() == len(again)
    for name in ("flaw", "strength", "refused", "is_unlike_training", "referred", "is_changed"):
        np.testing.assert_array_equal(rows[name][here], [row[name] for row in again])
