"""``drdeploy grade``: the same model without a server."""

import csv
import json
import shutil

import pytest
from PIL import Image, ImageFilter
from rich.console import Console
from tiny_models import onnx_artifact
from typer import Typer
from typer.testing import CliRunner

from drdeploy.cli.grade import grade
from drdeploy.cli.grade_rows import Row, in_order, print_table
from drdeploy.errors import InvalidInput
from drdeploy.grader.artifacts import pack
from drdeploy.grader.fundus.gradability_limits import GradabilityLimits


@pytest.fixture
def run():
    app = Typer()
    app.command()(grade)
    return lambda *arguments: CliRunner().invoke(app, [str(each) for each in arguments])


@pytest.fixture
def folder(tmp_path, photo):
    (tmp_path / "eyes" / "left").mkdir(parents=True)
    (tmp_path / "eyes" / "a.jpg").write_bytes(photo)
    (tmp_path / "eyes" / "left" / "b.JPG").write_bytes(photo)
    (tmp_path / "eyes" / "notes.txt").write_text("not a photograph")
    return tmp_path / "eyes"


def test_folders_are_searched_and_every_photograph_has_a_row(run, folder, model_dir):
    result = run(folder, "--artifact", model_dir, "--json")
    document = json.loads(result.stdout)
    assert [row["image"] for row in document["results"]] == [
        str(folder / "a.jpg"),
        str(folder / "left" / "b.JPG"),
    ]
    assert all(0 <= row["grade"] <= 4 for row in document["results"])
    assert document["notice"] == "For research use. Not a medical device."
    assert result.exit_code == 0


def test_the_table_of_grades_holds_no_formula(run, tmp_path, folder, model_dir, monkeypatch):
    shutil.copy(folder / "a.jpg", tmp_path / "=1+1.jpg")
    monkeypatch.chdir(tmp_path)
    run("./=1+1.jpg", "--artifact", model_dir, "--csv", "grades.csv")
    (row,) = csv.DictReader((tmp_path / "grades.csv").open())
    assert row["image"] == "'=1+1.jpg"
    assert float(row["decode_s"]) > 0


def test_what_cannot_be_graded_has_a_row_with_the_reason_and_the_status_says_so(
    run, folder, model_dir, tmp_path
):
    table = tmp_path / "grades.csv"
    result = run(
        *(folder / "a.jpg", folder / "notes.txt", folder / "missing.jpg"),
        *("--artifact", model_dir, "--csv", table),
    )
    rows = list(csv.DictReader(table.open()))
    assert [bool(row["grade"]) for row in rows] == [True, False, False]
    assert [row["error"] for row in rows[1:]] == [
        "The body is not a JPEG, PNG or TIFF; send one of these.",
        "No such file or directory.",
    ]
    assert result.exit_code == 1


def test_a_packed_artifact_is_accepted_too(run, folder, model_dir):
    archive = model_dir.parent / "model.tar.gz"
    result = run(folder / "a.jpg", "--artifact", archive)
    assert result.exit_code == 0
    assert "For research use. Not a medical device." in result.output


def test_a_long_name_is_shortened_in_the_middle_on_a_narrow_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("drdeploy.cli.console.out", Console(width=80))
    names = [f"photographs/{'IDRiD_029_' * 8}{side}.jpg" for side in ("left", "right")]
    graded = {"grade": 2, "label": "Moderate NPDR", "referable": True, "probabilities": (1.0,)}
    print_table([Row(name, **graded) for name in names])
    header, _, *rows = capsys.readouterr().out.splitlines()
    assert header.startswith("photograph")
    assert [row.split()[0][-9:] for row in rows] == ["_left.jpg", "right.jpg"]
    assert all(len(row) <= 80 and row.startswith("IDRiD_029_") and "…" in row for row in rows)


def test_a_name_is_shown_whole_where_no_terminal_shows_it(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    name = f"photographs/{'IDRiD_029_' * 8}left.jpg"
    print_table([Row(name, grade=2, label="Moderate NPDR", referable=True, probabilities=(1.0,))])
    assert name.removeprefix("photographs/") in capsys.readouterr().out


def test_a_link_that_leads_nowhere_has_a_row(run, folder, model_dir):
    (folder / "c.jpg").symlink_to("nowhere")
    result = run(folder, "--artifact", model_dir, "--json")
    rows = json.loads(result.stdout)["results"]
    assert [row["error"] for row in rows] == ["", "No such file or directory.", ""]
    assert result.exit_code == 1


def test_rows_that_cannot_be_written_to_a_file_are_shown_first(run, folder, model_dir):
    result = run(folder, "--artifact", model_dir, "--csv", "/dev/full")
    assert isinstance(result.exception, OSError)
    assert "a.jpg" in result.output


def test_a_missing_artifact_is_bad_input(run, folder, tmp_path):
    result = run(folder, "--artifact", tmp_path / "none.tar.gz")
    assert isinstance(result.exception, InvalidInput)
    assert str(result.exception).startswith(str(tmp_path / "none.tar.gz"))


def row(name, *, severe=None, referable=0.0, **fields):
    graded = {} if severe is None else {"probabilities": (1.0,), "grade": 0}
    return Row(
        name,
        probability_vision_threatening=severe,
        probability_referable=referable,
        **graded,
        **fields,
    )


def test_the_most_severe_comes_first_and_what_needs_a_human_stands_apart():
    rows = [
        row("broken.jpg", error="The file cannot be read."),
        row("mild.jpg", severe=0.1, referable=0.3),
        row("dark.jpg", gradable=False, ungradable_reason="too_dark"),
        row("severe.jpg", severe=0.9),
        row("b.jpg", severe=0.1, referable=0.2),
        row("a.jpg", severe=0.1, referable=0.2),
    ]
    assert [one.image for one in in_order(rows, "severity")] == [
        *("severe.jpg", "mild.jpg", "a.jpg", "b.jpg"),
        "dark.jpg",
        "broken.jpg",
    ]
    assert in_order(rows, "input") == rows


def test_an_ungradable_photograph_is_a_row_with_its_reason_and_no_failure(
    run, tmp_path, model_dir, photo
):
    folder = tmp_path / "strict"
    pack(
        model_dir / "model.onnx",
        folder / "model.tar.gz",
        name="strict",
        gradability=GradabilityLimits(),
    )
    (tmp_path / "a.jpg").write_bytes(photo)
    result = run(tmp_path / "a.jpg", "--artifact", folder / "model.tar.gz", "--json")
    (found,) = json.loads(result.stdout)["results"]
    assert result.exit_code == 0
    assert found["gradable"] is False
    assert found["ungradable_reason"]
    assert found["grade"] is found["referable"] is None
    shown = run(tmp_path / "a.jpg", "--artifact", folder / "model.tar.gz", "--sort", "severity")
    assert "1 need a human" in shown.output


def test_an_unknown_order_is_refused(run, folder, model_dir):
    result = run(folder, "--artifact", model_dir, "--sort", "age")
    assert result.exit_code == 2
    assert "severity" in result.output


def test_animals_have_no_severity(run, folder, tmp_path):
    animals = onnx_artifact(tmp_path / "animals", classes=("cat", "dog", "horse"))
    result = run(folder, "--artifact", animals, "--sort", "severity")
    assert isinstance(result.exception, InvalidInput)
    assert "severity" in str(result.exception)


def test_the_grader_in_the_box_is_the_default_and_ungradable_eyes_are_apart(run, shared, tmp_path):
    eyes = sorted((shared / "data/idrid_512/test").glob("*.jpg"))[:4]
    with Image.open(eyes[0]) as eye:
        eye.filter(ImageFilter.GaussianBlur(12)).save(tmp_path / "blurred.jpg")
    result = run(tmp_path / "blurred.jpg", *eyes, "--sort", "severity", "--json")
    rows = json.loads(result.stdout)["results"]
    assert result.exit_code == 0
    assert rows[-1]["ungradable_reason"] == "too_blurred"
    assert rows[-1]["referable"] is rows[-1]["probability_vision_threatening"] is None
    severities = [row["probability_vision_threatening"] for row in rows[:-1]]
    assert severities == sorted(severities, reverse=True)
    assert all(row["gradable"] for row in rows[:-1])
    assert set(rows[0]["screening"]) == {"referable", "vision_threatening"}
