"""The page on photographs in other frames follows from its rows, and meets what is promised."""

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
    return runpy.run_path(str(ROOT / "scripts/evaluate_framing.py"))


@pytest.fixture(scope="module")
def copies(script):
    return script["read_rows"](script["COPIES"])


def test_the_page_follows_from_the_rows(script, copies):
    written = script["write_page"](copies, script["read_rows"](script["NO_EYES"]))
    assert written == script["PAGE"].read_text(), "run scripts/evaluate_framing.py"


def test_there_is_a_copy_of_every_photograph_in_every_frame(script, copies):
    kinds = [kind.name for kind in script["list_kinds"]()]
    assert len(kinds) == len(set(kinds)) > 200
    photographs = set(copies["file"])
    assert len(photographs) == 84
    found = sorted(zip(copies["file"], copies["kind"], strict=True))
    assert found == sorted((name, kind) for name in photographs for kind in ["unaltered", *kinds])


@pytest.mark.parametrize("photographs", ["0", "1"], ids=["that were used", "held back"])
@pytest.mark.parametrize("is_held_back", [False, True], ids=["used", "held back"])
def test_few_copies_of_any_kind_are_refused(script, copies, photographs, is_held_back):
    kinds = [one.name for one in script["list_kinds"]() if one.is_held_back == is_held_back]
    here = np.isin(copies["kind"], kinds) & (copies["is_held_back"] == photographs)
    assert (copies["refused"][here] != "").mean() <= script["MOST_REFUSED"]


def test_few_held_back_photographs_are_refused_in_each_kind_of_frame(script, copies):
    for kind in script["list_kinds"]():
        here = (copies["kind"] == kind.name) & (copies["is_held_back"] == "1")
        assert here.sum() > 70
        assert (copies["refused"][here] != "").mean() <= script["MOST_REFUSED"], kind.name


def test_no_rule_was_chosen_on_a_session_that_counts_as_held_back(copies):
    held_back = set(copies["group"][copies["is_held_back"] == "1"])
    used = set(copies["group"][copies["is_held_back"] == "0"])
    assert len(used) == 6
    assert not held_back & used


@pytest.mark.shared
def test_the_rows_follow_from_the_photographs(script, copies, shared):
    """One photograph in its first ten frames."""
    dataset = load_dataset(shared / "data/idrid_512", names=OWN_NAMES)
    name = copies["file"][0]
    [at] = [at for at, one in enumerate(dataset.photographs) if one.name == name]
    service = InferenceService.load(box_artifact("int8"))
    kinds = script["list_kinds"]()[:10]
    again = list(script["grade_copies"](service, dataset.select_by_index([at]), kinds))
    for row, number in zip(again, np.flatnonzero(copies["file"] == name), strict=False):
        for column in ("kind", "refused", "flagged"):
            assert str(row[column]) == copies[column][number]
        assert row["input_difference"] == pytest.approx(
            float(copies["input_difference"][number]), abs=0.02
        )
