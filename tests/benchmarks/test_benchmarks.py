"""The benchmarks run.  What they find is theirs to judge, on a quiet machine."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks"

SMOKE = {
    "runtimes": (["--models", "mobilenet"], {"model", "measured", "runtime", "value"}),
    "cpu_limits": ([], {"model", "measured", "runtime", "value"}),
    "photograph_to_grade": ([], {"measured", "way", "value"}),
    "servers": (["--only", "lean", "mosec"], {"server", "p50_ms", "per_s", "failures"}),
    "server_overhead": ([], {"way", "whole_ms", "model_ms"}),
    "soak": ([], {"phase", "at_s", "memory_mb"}),
    "cold_start": (["--only", "minimal"], {"image", "memory_mb", "total_s", "load_s"}),
}


@pytest.mark.parametrize("name", SMOKE)
def test_a_benchmark_measures_and_leaves_a_page(name, tmp_path):
    more, columns = SMOKE[name]
    command = [sys.executable, str(FOLDER / f"{name}.py"), "--smoke", "--out", str(tmp_path)]
    done = subprocess.run(
        [*command, *more], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with (tmp_path / f"{name}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert columns <= set(rows[0])
    page = (tmp_path / f"{name}.md").read_text()
    assert "Research use, not a medical device." in page
    if name != "soak":
        assert "| --- |" in page


def test_every_benchmark_has_a_smoke_test_and_explains_itself():
    names = {path.stem for path in FOLDER.glob("*.py")}
    assert set(SMOKE) <= names
    for name in names:
        assert (FOLDER / f"{name}.py").read_text().startswith('"""')


@pytest.fixture(scope="module")
def harness():
    sys.path.insert(0, str(FOLDER))
    try:
        yield __import__("harness.rounds", fromlist=["rounds"])
    finally:
        sys.path.remove(str(FOLDER))


def test_rounds_are_interleaved_and_their_order_changes(harness):
    asked = []
    measured = {name: lambda name=name: asked.append(name) or len(asked) for name in "abc"}
    values = harness.interleaved(measured, rounds=6)
    rounds = [tuple(asked[at : at + 3]) for at in range(0, 18, 3)]
    assert all(set(one) == set("abc") for one in rounds)
    assert len(set(rounds)) > 1
    assert [asked[place - 1] for place in values["a"]] == ["a"] * 6


def test_a_ratio_is_formed_within_its_round(harness):
    # A machine that is slow in half of the rounds slows both: the ratio does not see it.
    disturbed = np.array([1, 1, 1, 1, 10, 10, 10, 10])
    estimate = harness.ratio(2 * disturbed, disturbed)
    assert estimate.value == estimate.low == estimate.high == pytest.approx(2)


def test_operations_are_counted_as_the_literature_counts_them(harness, tmp_path):
    del harness  # puts the folder on the path
    from drdeploy.grader.artifacts import extract
    from drdeploy.grader.box import FOLDER as BOX
    from drdeploy.grader.box import NAME
    from harness.models import count_flop

    graph = extract(BOX / f"{NAME}-fp32.tar.gz", tmp_path / "model").entry_path
    # 568 million multiplications with additions (Howard et al., 2017), less the classes' layer.
    assert count_flop(graph) == pytest.approx(2 * 568e6, rel=0.01)
