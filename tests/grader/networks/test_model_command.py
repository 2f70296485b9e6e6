"""``drdeploy model``."""

import json
import re

import pytest
from tiny_training import paint_eyes, tiny_network
from typer.testing import CliRunner

from drdeploy.cli import model_compare
from drdeploy.cli.model import app
from drdeploy.errors import InvalidInput
from drdeploy.grader.artifacts import verify_archive
from drdeploy.grader.networks import export


def run(*arguments):
    """Standard output of a command; its errors are raised."""
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False).stdout


def test_the_list_names_every_network_with_its_parameters():
    rows = json.loads(run("list", "--json"))
    counts = {row["architecture"]: row["parameters"] for row in rows}
    assert len(rows) == len(counts) == 27
    assert counts["MobileNet"] == 3_377_221


def test_the_list_says_what_each_network_wants_to_see():
    by_name = {row["architecture"]: row for row in json.loads(run("list", "--json"))}
    assert by_name["VGG19"]["channel_order"] == "bgr"
    assert by_name["DenseNet121"]["std"] == [0.229, 0.224, 0.225]
    assert by_name["EfficientNetB5"]["preprocessing"] == "in-graph"
    lines = {line.split()[0]: line for line in run("list").splitlines()[2:]}
    assert set(lines) == set(by_name)
    assert "28,792,956" in lines["EfficientNetB5"]
    assert "network scales" in lines["EfficientNetB5"]


def test_export_writes_the_format_asked_for_and_says_what_the_weights_are(tiny, tmp_path):
    arguments = ["export", "mobilenet", "--out", str(tmp_path), "--format", "onnx", "--json"]
    (row,) = json.loads(run(*arguments))
    assert row["weights"] == "random"
    assert "mean nothing" in row["notes"]
    assert [path.name for path in tmp_path.iterdir()] == ["mobilenet-fp32-onnx.tar.gz"]
    assert verify_archive(tmp_path / "mobilenet-fp32-onnx.tar.gz").model_format == "onnx"


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="saved_model, onnx"):
        run("export", "mobilenet", "--format", "pickle", "--out", str(tmp_path))


@pytest.fixture
def compare(tmp_path, monkeypatch):
    """Run `model compare` on painted eyes; every network is a tiny one."""
    monkeypatch.setattr(export, "build_network", tiny_network)
    (tmp_path / "eyes").mkdir()
    data = paint_eyes(tmp_path / "eyes")
    shared = ["--data", data, "--folds", 2, "--out", tmp_path / "compare"]
    return lambda *arguments: run("compare", *arguments, *shared)


def test_compare_shows_what_networks_find_and_cost_and_that_random_ones_mean_nothing(compare):
    document = json.loads(compare("vgg19", "mobilenet", "--json"))
    assert "Not a medical device" in document["notice"]
    assert "VGG19, MobileNet: All weights are random" in document["notes"][-1]
    first, second = document["candidates"]
    assert [first["architecture"], second["architecture"]] == ["VGG19", "MobileNet"]
    assert [first["parameters"], second["parameters"]] == [20_107_205, 3_377_221]
    assert [row["kappa_against_best"] for row in (first, second)].count(None) == 1
    assert first["sensitivity_vision_threatening"]["n"] == 12
    assert first["cost_per_million_usd"]["value"] == pytest.approx(
        first["predict_s"]["value"] * 40, rel=0.01
    )
    table = compare("vgg19", "mobilenet")
    assert {"VGG19", "20,107,205", "best"} <= set(table.split())
    for grade in (2, 3):
        assert re.search(rf"network +sensitivity >= {grade} +specificity >= {grade}\s", table)


def test_all_are_the_27_and_each_may_have_weights_of_its_own(tmp_path):
    own = tmp_path / "base.weights.h5"
    candidates = model_compare._make_candidates(["all"], ["imagenet", f"MobileNet={own}"])
    assert len(candidates) == 27
    weights = {candidate.architecture.name: candidate.weights for candidate in candidates}
    assert weights.pop("MobileNet") == own
    assert set(weights.values()) == {"imagenet"}


def test_one_file_of_weights_fills_one_network():
    with pytest.raises(InvalidInput, match=r"cannot be used for several.*ARCHITECTURE=FILE"):
        model_compare._make_candidates(["mobilenet", "vgg19"], ["base.weights.h5"])


def test_weights_for_a_network_that_is_not_compared_are_refused():
    with pytest.raises(InvalidInput, match="'vgg19', but this network is not in the comparison"):
        model_compare._make_candidates(["mobilenet"], ["vgg19=base.weights.h5"])
