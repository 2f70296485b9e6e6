"""Every benchmark runs, in the small; what it finds needs a quiet machine, and is not tested."""

import csv
import importlib
import os
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
from photographs import photograph
from tiny_models import onnx_artifact

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks"

WRITES = {
    "runtimes": (["--models", "mobilenet"], {"model", "measured", "runtime", "value"}),
    "cpu_limits": ([], {"model", "measured", "runtime", "value"}),
    "photograph_to_grade": ([], {"measured", "way", "value"}),
    "servers": (["--only", "lean", "mosec"], {"server", "p50_ms", "per_s", "failures"}),
    "server_overhead": ([], {"way", "whole_ms", "model_ms"}),
    "soak": ([], {"phase", "at_s", "memory_mb"}),
    "batch_transform": ([], {"at_s", "photographs", "service_mb", "instance_mb"}),
    "asynchronous_queue": ([], {"at_s", "backlog_metric", "without_result_after", "instances"}),
    "idle_endpoints": ([], {"source", "endpoints", "service_percent", "total_percent"}),
    "archive": (["--only", "rates", "kills"], {"part", "way", "round", "value"}),
    "identical_answers": ([], {"way", "photograph", "is_same"}),
    "clinic": ([], {"at_s", "sent", "graded", "memory_mb", "page_memory_mb", "answer_s"}),
    "cold_start": (["--only", "minimal"], {"image", "memory_mb", "total_s", "load_s"}),
}
"""Benchmarks that leave a page and a CSV file: more arguments, and columns of the file."""

PRINTS = {
    "gpu": r"^Nothing was measured, because no GPU can be used: .*\. Use the image drdeploy:cuda",
    "capacity": r"drdeploy: .* requests a second at p95 .*\nLoadGen: .* requests a second",
    "capacity_of_service": r"drdeploy capacity: .* a second at p95 .*\n(open loop at .*\n){2}",
    "instructions": r"^(Nothing was measured, because Valgrind is missing|million "
    r"instructions of an interpreter: [1-9]\d*\.\d\n)",
    "interval_coverage": r"p95 +n = 100\n(sigma .* \d+\.\d[ *]\n){8}",
    "slow_clients": r"classic, a process, beside slow clients: \d+ x 200; p50 .* p95 .* max",
    "simulation_speed": r"serverless, nothing: [\d,]+ arrivals(.*\n)+instances, batch: "
    r"(.*\n)+instances with a GPU, batch: .*\nslowest: ",
    "simulation_against_service": r"tiny-fp32-lean-2048mb-open-loop \| 20 \| .*\n\d of 1 trials",
}
"""Benchmarks that print: what stands in their output."""


def run_smoke(name, *arguments):
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{name}.py"), "--smoke", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", WRITES)
def test_a_benchmark_measures_and_leaves_a_page(name, tmp_path):
    more, columns = WRITES[name]
    run_smoke(name, "--out", str(tmp_path), *more)
    # A benchmark of several parts leaves a page for each.
    parts = [f"{name}_{part}" for part in more[1:]] if name == "archive" else [name]
    for part in parts:
        with (tmp_path / f"{part}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert columns <= set(rows[0])
        page = (tmp_path / f"{part}.md").read_text()
        assert "Research use, not a medical device." in page
        if name != "soak":
            assert "| --- |" in page


@pytest.mark.parametrize("name", sorted(PRINTS.keys() - {"simulation_against_service"}))
def test_a_benchmark_prints_what_it_measured(name):
    assert re.search(PRINTS[name], run_smoke(name))


OPEN_LOOP = """
title = "A few requests at a steady rate"
[local]
idle_s = 1.0
[models.tiny]
artifact = "tiny/model.tar.gz"
[images.lean]
tag = "drdeploy:lean"
profile = "lean"
[[trials]]
models = ["tiny"]
images = ["lean"]
endpoints = [{ kind = "serverless", memory_mb = 2048 }]
scenarios = [
  { kind = "warm", n = 10, interval_s = 0.05 },
  { kind = "cold", n = 2, interval_s = 1.5 },
  { kind = "open-loop", n = 20, rate_per_s = 10 },
]
"""


def test_the_simulation_is_compared_with_what_a_study_measured(tmp_path):
    onnx_artifact(tmp_path / "tiny")
    (tmp_path / "photographs").mkdir()
    (tmp_path / "photographs/1.jpg").write_bytes(photograph(seed=1))
    (tmp_path / "study.toml").write_text(OPEN_LOOP)
    command = [sys.executable, "-c", "from drdeploy.cli import main; main()", "study", "run"]
    options = ["--isolation", "process", "--images", "photographs", "--out", "results"]
    subprocess.run([*command, "study.toml", *options], cwd=tmp_path, check=True, timeout=300)
    output = run_smoke("simulation_against_service", str(tmp_path / "results"))
    assert re.search(PRINTS["simulation_against_service"], output), output


def test_every_benchmark_has_a_smoke_test_and_explains_itself():
    names = {path.stem for path in FOLDER.glob("*.py")}
    assert names == {*WRITES, *PRINTS}
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


def make_page(name, monkeypatch, folder):
    """Run a benchmark that measures nothing, and return the pages that it writes."""
    benchmark = importlib.import_module(name)
    nothing = {
        "archive": {
            "PARTS": {
                part: (title, text, lambda *_: None)
                for part, (title, text, _) in getattr(benchmark, "PARTS", {}).items()
            }
        },
        "soak": {"running": lambda *_: nullcontext(MagicMock()), "soak": lambda *_: None},
        "identical_answers": {
            "compare": lambda *_: None,
            "choose_photographs": lambda _: [],
            **dict.fromkeys(
                ("ask_server", "run_grade", "run_archive_grade", "run_batch_transform"),
                lambda *_: {},
            ),
        },
    }
    for what, replacement in nothing[name].items():
        monkeypatch.setattr(benchmark, what, replacement)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--quick", "--out", str(folder)])
    assert benchmark.main() == 0
    return {
        path.stem: re.search(r"The benchmark ran in ([^.]*)\.", path.read_text())[1]
        for path in folder.glob("*.md")
    }


@pytest.mark.parametrize(
    ("name", "rounds"),
    [
        (
            "archive",
            {
                "archive_rates": "3 interleaved rounds",
                "archive_nodes": "3 interleaved rounds",
                "archive_kills": "one round",
                "archive_memory": "one round",
            },
        ),
        ("soak", {"soak": "one round"}),
        ("identical_answers", {"identical_answers": "one round"}),
    ],
)
def test_a_page_says_in_how_many_rounds_its_benchmark_ran(
    harness, name, rounds, monkeypatch, tmp_path
):
    del harness  # puts the folder on the path
    assert make_page(name, monkeypatch, tmp_path) == rounds


def test_a_ratio_is_formed_within_its_round(harness):
    # A machine that is slow in half of the rounds slows both: the ratio does not see it.
    disturbed = np.array([1, 1, 1, 1, 10, 10, 10, 10])
    estimate = harness.ratio(2 * disturbed, disturbed)
    assert estimate.value == estimate.low == estimate.high == pytest.approx(2)


def test_operations_are_counted_as_the_literature_counts_them(harness, tmp_path):
    del harness  # puts the folder on the path
    from drdeploy.grader.artifacts import extract_archive
    from drdeploy.grader.box import FOLDER as BOX
    from drdeploy.grader.box import NAME
    from harness.models import count_flop

    graph = extract_archive(BOX / f"{NAME}-fp32.tar.gz", tmp_path / "model").entry_path
    # 568 million multiplications with additions (Howard et al., 2017), less the classes' layer.
    assert count_flop(graph) == pytest.approx(2 * 568e6, rel=0.01)
