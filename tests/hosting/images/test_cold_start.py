"""A cold start is timed stage by stage, and the stages add up to the whole."""

from __future__ import annotations

import csv
import json
from types import SimpleNamespace

import pytest
from tiny_models import saved_model_artifact
from typer.testing import CliRunner

from drdeploy.cli import image_cold_start
from drdeploy.cli.app import build_app
from drdeploy.errors import EngineError, InvalidInput
from drdeploy.grader.artifacts import extract_archive
from drdeploy.grader.box import box_artifact
from drdeploy.grader.synthetic.photograph import paint_synthetic_photograph
from drdeploy.hosting.images.cold_start import (
    STAGES,
    _find_first_events,
    measure_cold_start_stages,
    measure_empty_container_start_s,
)
from drdeploy.hosting.images.import_times import measure_import_times, sum_import_times_by_package

PHOTOGRAPH = paint_synthetic_photograph(1, width_px=224, height_px=224)


@pytest.fixture(scope="module")
def grader(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grader") / "model"
    extract_archive(box_artifact("int8"), folder)
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def minimal_image(ladder_image):
    return ladder_image("minimal")


def test_import_times_are_summed_by_package():
    lines = [
        "import time: self [us] | cumulative | imported package",
        "import time:       100 |        100 |     numpy._core",
        "import time:        50 |        150 |   numpy",
        '{"event":"listening"}',
        "import time:       400 |        550 | drdeploy.hosting.serving",
    ]
    first, second = sum_import_times_by_package(lines)
    assert (first.package, first.modules, first.self_s) == ("drdeploy", 1, 0.0004)
    assert (second.package, second.modules, second.self_s) == ("numpy", 2, 0.00015)


def test_the_events_of_a_cold_start_are_the_first_and_other_lines_do_no_harm():
    log = """{"level": "info"}
{ not JSON
{"event": ["listening"]}
{"event": "listening", "time": "1"}
{"event": "model loaded", "time": "2"}
{"event": "model loaded", "time": "3"}
"""
    events = _find_first_events(log)
    assert {name: event["time"] for name, event in events.items()} == {
        "listening": "1",
        "model loaded": "2",
    }


def cold_start_refusal(monkeypatch, *words):
    """What `image cold-start` says before it needs more of an engine than an image's variables."""
    lean = SimpleNamespace(image_config=lambda image: {"Config": {"Env": None}})
    monkeypatch.setattr(image_cold_start, "find_container_engine_and_print_name", lambda: lean)
    result = CliRunner().invoke(build_app(), ["image", "cold-start", *map(str, words)])
    assert isinstance(result.exception, InvalidInput), result.output
    return str(result.exception)


def test_an_artifact_does_not_replace_another_in_silence(monkeypatch):
    words = ("drdeploy:lean", "-a", box_artifact("int8"), "-a", box_artifact("fp32"))
    assert "Two artifacts have the format onnx" in cold_start_refusal(monkeypatch, *words)


def test_an_artifact_that_no_image_loads_is_refused(monkeypatch, tmp_path):
    other = saved_model_artifact(tmp_path).with_name("model.tar.gz")
    words = ("drdeploy:lean", "-a", box_artifact("int8"), "-a", other)
    said = cold_start_refusal(monkeypatch, *words)
    assert "None of the images loads models in the format saved_model" in said


def test_an_image_is_named_once(monkeypatch):
    """Named twice, it had twice as many cold starts as -n says, in two equal rows."""
    said = cold_start_refusal(monkeypatch, "drdeploy:lean", "drdeploy:lean")
    assert "named twice" in said


@pytest.mark.engine
def test_the_stages_of_a_cold_start_add_up_to_it(engine, minimal_image, grader):
    start = measure_cold_start_stages(
        engine, minimal_image, grader, PHOTOGRAPH, memory_mb=1024, cpus=1
    )
    assert set(start.stages_s) == set(STAGES)
    assert sum(start.stages_s.values()) == pytest.approx(start.total_s, abs=1e-3)
    assert all(seconds > -0.05 for seconds in start.stages_s.values())


@pytest.mark.engine
def test_a_container_that_ends_instead_of_answering_shows_its_log(engine, minimal_image, tmp_path):
    with pytest.raises(EngineError, match="ended") as caught:
        measure_cold_start_stages(
            engine, minimal_image, tmp_path, PHOTOGRAPH, memory_mb=1024, cpus=1
        )
    assert "cannot serve" in str(caught.value)


@pytest.mark.engine
def test_the_imports_are_those_of_the_server(engine, minimal_image, grader):
    imports = measure_import_times(engine, minimal_image, grader, memory_mb=1024, cpus=1)
    packages = {one.package for one in imports}
    assert {"drdeploy", "numpy", "PIL"} <= packages
    assert not {"onnxruntime", "typer", "site"} & packages


@pytest.mark.engine
def test_an_empty_container_starts_and_ends(engine):
    assert (
        measure_empty_container_start_s(engine, "debian:bookworm-slim", memory_mb=128, cpus=1) > 0
    )


@pytest.mark.engine
def test_the_command_writes_stages_as_json_csv_and_plot(minimal_image, tmp_path):
    table, plot = tmp_path / "cold.csv", tmp_path / "cold.svg"
    words = ["image", "cold-start", minimal_image, "-n", "1", "--bandwidth-mbit-s", "1000"]
    result = CliRunner().invoke(
        build_app(), [*words, "--csv", str(table), "--plot", str(plot), "--json"]
    )
    assert result.exit_code == 0, result.output
    (document,) = json.loads(result.stdout)
    assert document["n"] == 1
    assert document["pull_s"] == pytest.approx(document["compressed_bytes"] / 125e6)
    (row,) = csv.DictReader(table.open())
    assert float(row["total_s"]) == pytest.approx(document["total_s"], abs=1e-5)
    assert "<svg" in plot.read_text()


@pytest.mark.engine
def test_an_image_without_an_artifact_of_its_format_is_refused(reduced_image):
    result = CliRunner().invoke(build_app(), ["image", "cold-start", reduced_image])
    assert result.exit_code != 0
    assert "saved_model" in str(result.exception)
