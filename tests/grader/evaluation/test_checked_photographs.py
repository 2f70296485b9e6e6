"""The page on refused and flagged photographs follows from its rows."""

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
    return runpy.run_path(str(ROOT / "scripts/evaluate_checks.py"))


def test_the_page_follows_from_the_rows(script):
    assert script["write_page"]() == script["PAGE"].read_text(), "run scripts/evaluate_checks.py"


def test_at_most_four_percent_of_real_photographs_are_refused(script):
    rows = script["read_rows"](script["REFUSALS"])
    for kind in ("IDRiD at 512 x 512", "camera resolution"):
        assert (rows["refused"][rows["kind"] == kind] != "").mean() <= 0.04
    cameras = script["read_rows"](script["CAMERAS"])
    for data_set in script["OTHER_CAMERAS"]:
        assert (cameras["refused"][cameras["data_set"] == data_set] != "").mean() <= 0.04


def test_what_the_page_says_of_other_cameras_follows_from_the_rows(script):
    rows = script["read_rows"](script["CAMERAS"])
    assert set(rows["refused"]) == {""}
    is_flagged, is_referable = rows["flagged"] == "1", rows["referable"] == "1"
    drive, chase = (rows["data_set"] == name for name in ("DRIVE", "CHASE_DB1"))
    assert is_flagged[drive].mean() > 0.5
    assert is_flagged[chase].mean() == pytest.approx(1 / 3, abs=0.02)
    assert is_flagged[drive & is_referable].all()
    assert is_referable[chase & is_flagged].mean() == pytest.approx(
        is_referable[chase & ~is_flagged].mean(), abs=0.05
    )


def test_each_training_photograph_is_left_out_once(script):
    rows = script["read_rows"](script["GROUPS"])
    assert len(set(rows["file"])) == rows["file"].size == 405
    assert len(set(rows["appearance"])) == script["APPEARANCES"]


@pytest.mark.shared
def test_the_rows_follow_from_the_photographs(script, shared):
    """The first photograph, graded again in each of its states."""
    rows = script["read_rows"](script["COPIES"])
    dataset = load_dataset(shared / "data/idrid_512", names=OWN_NAMES)
    [first] = [at for at, one in enumerate(dataset.photographs) if one.name == rows["file"][0]]
    service = InferenceService.load(box_artifact("int8"))
    again = list(script["list_copies"](service, dataset.select_by_index([first])))
    here = rows["file"] == rows["file"][0]
    assert here.sum() == len(again) == len(script["FOR_FLAGS"])
    for name in ("kind", "refused", "flagged"):
        np.testing.assert_array_equal(rows[name][here], [str(row[name]) for row in again])
