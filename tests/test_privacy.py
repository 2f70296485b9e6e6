"""Files are called after patients, and nothing that a command writes or prints says so.

Each command gets a folder whose photographs, sessions and subfolders have patients' names.  What
may say a name is what the user typed, and everything under `--names`.
"""

import csv
import json

import pytest
from labelled_folders import write_photograph, write_table
from tiny_models import described, onnx_artifact, tiny_onnx
from tiny_training import paint_eyes, tiny_network
from typer.testing import CliRunner

from drdeploy.cli.app import build_app
from drdeploy.grader.artifacts import pack_archive
from drdeploy.grader.networks import export
from drdeploy.grader.training import train as train_module

PATIENT = "Mueller"
EYE = "Mueller_Hans_1961-03-04_{}.jpg"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Twelve eyes of patients, with copies in conflict, and what cannot be used."""
    folder = tmp_path_factory.mktemp("clinic")
    rows = []
    for at in range(12):
        file = EYE.format(f"{at}_OD") if at % 2 else f"Mueller_Ida/{EYE.format(at)}"
        write_photograph(folder / file, at)
        rows.append((file, at % 5, "train" if at % 3 else "test", f"Mueller {at // 2}"))
    for name, seed, grade in (("copy", 3, 3), ("conflict", 4, 1)):
        write_photograph(folder / EYE.format(name), seed)
        rows.append((EYE.format(name), grade, "test", "Mueller 9"))
    (folder / EYE.format("text")).write_text("no photograph")
    write_photograph(folder / "Mueller_Ida" / EYE.format("unlisted"), 77)
    write_photograph(folder / EYE.format("shifted"), 78)
    rows += [
        (EYE.format("text"), 4, "test", "Mueller 8"),
        (EYE.format("gone"), 0, "test", "Mueller 8"),
        (EYE.format("shifted"), "Mueller, Hans", "test", "Mueller 8"),
    ]
    write_table(folder / "labels.csv", ("file", "icdr_grade", "split", "patient"), *rows)
    return folder


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    archive = folder / "tiny-fp32.tar.gz"
    pack_archive(tiny_onnx(folder), archive, described("tiny", weights="trained"))
    return archive


@pytest.fixture
def work(tmp_path, monkeypatch):
    """An empty working folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def run(*words):
    """Everything that the command printed."""
    result = CliRunner().invoke(build_app(), [*map(str, words)])
    if result.exception and not isinstance(result.exception, SystemExit):
        return f"{result.output}{result.exception}"
    return result.output


def holding(folder, text=PATIENT):
    """The files of a folder that hold the text, in their content or their name."""
    return [
        file
        for file in folder.rglob("*")
        if text in str(file.relative_to(folder))
        or (file.is_file() and text.encode() in file.read_bytes())
    ]


COMMANDS = {
    "grade": ["grade", "{data}", "-a", "{artifact}", "--csv", "grades.csv"],
    "grade as JSON": ["grade", "{data}", "-a", "{artifact}", "--json", "--sort", "severity"],
    "dataset inspect": ["dataset", "inspect", "{data}", "--out", "pictures"],
    "dataset inspect as JSON": ["dataset", "inspect", "{data}", "--json"],
    "model evaluate": ["model", "evaluate", "{artifact}", "--data", "{data}", "--split", "all",
                       "--against", "{other}", "--out", "evaluation"],
    "model evaluate as JSON": ["model", "evaluate", "{artifact}", "--data", "{data}", "--json"],
    "model quantize": ["model", "quantize", "{artifact}", "--calibration", "{data}",
                       "--validation", "{data}", "--out", "small.tar.gz", "--force"],
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_no_result_says_a_patient_s_name_unless_it_is_asked_to(
    data, artifact, work, tmp_path, command
):
    other = onnx_artifact(tmp_path / "other")
    words = [word.format(data=data, artifact=artifact, other=other) for word in COMMANDS[command]]
    printed = run(*words)
    assert "drdeploy names" in printed
    assert PATIENT not in printed
    assert holding(work) == []
    has_hashed = "photo-" in printed or holding(work, "photo-")
    named = run(*words, "--names")
    assert "drdeploy names" not in named
    if command != "model quantize":  # this one changes no grade, so it lists no photograph
        assert has_hashed
        assert PATIENT in named or holding(work)


def test_predictions_with_names_are_evaluated_without(data, artifact, work):
    run("model", "evaluate", artifact, "--data", data, "--out", "named", "--names")
    assert PATIENT in (work / "named" / "predictions.csv").read_text()
    printed = run("model", "evaluate", "--oof", "named/predictions.csv", "--out", "again", "--json")
    assert PATIENT not in printed
    assert holding(work / "again") == []
    printed = run("model", "evaluate", "--oof", "named/predictions.csv", "--json", "--names")
    assert PATIENT in printed


def test_a_table_with_a_name_in_the_place_of_a_grade_is_refused_without_it(work):
    write_table(
        work / "oof.csv", ("file", "icdr_grade", "p0", "p1", "p2", "p3", "p4"),
        ("a.jpg", "Mueller", 1, 0, 0, 0, 0),
    )  # fmt: skip
    assert "row 1: The text of the cell is not an ICDR grade" in run(
        "model", "evaluate", "--oof", "oof.csv"
    )


def test_one_photograph_has_one_name_in_every_result_and_it_can_be_found(data, artifact, work):
    file = data / EYE.format("5_OD")
    found = {one["file"]: one["name"] for one in json.loads(
        CliRunner().invoke(build_app(), ["names", str(data), "--json"]).stdout
    )["photographs"]}  # fmt: skip
    name = found[str(file)]
    assert found[str(data / EYE.format("copy"))] == found[str(data / EYE.format("3_OD"))]
    assert name in run("names", file)
    assert name in run("grade", file, "-a", artifact)
    run("model", "evaluate", artifact, "--data", data, "--split", "all", "--out", "evaluation")
    rows = list(csv.DictReader((work / "evaluation" / "predictions.csv").open()))
    assert name in {row["file"] for row in rows}
    assert {row["file"] for row in rows} <= set(found.values())
    assert all(row["group"].startswith("group-") for row in rows)


def test_who_named_a_file_is_told_which_one_failed(artifact, work):
    result = CliRunner().invoke(build_app(), ["grade", "Mueller.jpg", "-a", str(artifact)])
    assert PATIENT not in result.stdout
    assert "Mueller.jpg: There is no such file or folder." in str(result.exception)


# ---- training -----------------------------------------------------------------------------


@pytest.fixture
def painted(tmp_path):
    """Eyes of patients to train on, one of them a copy."""
    folder = tmp_path / "clinic"
    folder.mkdir()
    with (paint_eyes(folder) / "labels.csv").open() as table:
        header, *rows = csv.reader(table)
    named = [(f"Mueller_{file}", grade, f"Mueller {session}") for file, grade, session in rows]
    for file, *_ in rows:
        (folder / file).rename(folder / f"Mueller_{file}")
    (folder / "Mueller_copy.jpg").write_bytes((folder / "Mueller_1.jpg").read_bytes())
    write_table(folder / "labels.csv", header, *named, ("Mueller_copy.jpg", 1, "Mueller x"))
    return folder


@pytest.mark.parametrize("own", [(), ("--names",)], ids=["hashed", "named"])
def test_training_and_comparing_keep_no_patient_s_name(painted, work, monkeypatch, own):
    monkeypatch.setattr(export, "build_network", tiny_network)
    monkeypatch.setattr(train_module, "build_network", tiny_network)
    monkeypatch.setattr(train_module, "export_network_as_archives", lambda *_, **__: {})
    monkeypatch.setattr(train_module, "export_network_as_keras_file", lambda _, file, **__: file)
    printed = run(
        *("model", "train", "MobileNet", "--data", painted, "--weights", "random", "--size", 48),
        *("--epochs", 1, "--folds", 2, "--out", "run", *own),
    )
    printed += run(
        "model", "compare", "MobileNet", "--data", painted, "--folds", 2, "--out", "compare", *own
    )
    assert (work / "run" / "metrics.json").is_file()
    assert list((work / "compare").rglob("*.csv"))
    assert (PATIENT in printed) == bool(own)
    assert bool(holding(work)) == bool(own)
