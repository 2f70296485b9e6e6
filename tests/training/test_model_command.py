"""``drdeploy model``."""

import json

import pytest
from typer.testing import CliRunner

from drdeploy.artifacts import verify
from drdeploy.cli.model import app
from drdeploy.errors import InvalidInput


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
    lines = {line.split()[0]: line for line in run("list").splitlines()[1:]}
    assert set(lines) == set(by_name)
    assert "28,792,956" in lines["EfficientNetB5"]
    assert "scaled inside" in lines["EfficientNetB5"]


def test_export_writes_the_format_asked_for_and_says_what_the_weights_are(tiny, tmp_path):
    arguments = ["export", "mobilenet", "--out", str(tmp_path), "--format", "onnx", "--json"]
    (row,) = json.loads(run(*arguments))
    assert row["weights"] == "random"
    assert "mean nothing" in row["notes"]
    assert [path.name for path in tmp_path.iterdir()] == ["mobilenet-fp32-onnx.tar.gz"]
    assert verify(tmp_path / "mobilenet-fp32-onnx.tar.gz").model_format == "onnx"


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="saved_model, onnx"):
        run("export", "mobilenet", "--format", "pickle", "--out", str(tmp_path))
