"""``drdeploy grade``: the same model without a server."""

import csv
import json

import pytest
from rich.console import Console
from typer import Typer
from typer.testing import CliRunner

from drdeploy.cli.grade import Row, grade, print_table
from drdeploy.errors import InvalidInput


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
        "The body is no JPEG, PNG or TIFF; send one of these.",
        "No such file or directory.",
    ]
    assert result.exit_code == 1


def test_a_packed_artifact_is_accepted_too(run, folder, model_dir):
    archive = model_dir.parent / "model.tar.gz"
    result = run(folder / "a.jpg", "--artifact", archive)
    assert result.exit_code == 0
    assert "For research use. Not a medical device." in result.output


def test_a_long_name_is_shown_whole_on_a_narrow_terminal(capsys, monkeypatch):
    monkeypatch.setattr("drdeploy.cli.grade.out", Console(width=80))
    name = f"photographs/{'IDRiD_029_' * 8}left.jpg"
    print_table([Row(name, grade=2, label="Moderate NPDR", referable=True, probabilities=(1.0,))])
    cells = [
        line.split("│")[1].strip() for line in capsys.readouterr().out.splitlines() if "│" in line
    ]
    assert "".join(cells) == name


def test_a_link_that_leads_nowhere_has_a_row(run, folder, model_dir):
    (folder / "c.jpg").symlink_to("nowhere")
    result = run(folder, "--artifact", model_dir, "--json")
    rows = json.loads(result.stdout)["results"]
    assert [row["error"] for row in rows] == ["", "No such file or directory.", ""]
    assert result.exit_code == 1


def test_rows_that_cannot_be_written_to_a_file_are_shown_first(run, folder, model_dir, tmp_path):
    result = run(folder, "--artifact", model_dir, "--csv", tmp_path)
    assert isinstance(result.exception, IsADirectoryError)
    assert "a.jpg" in result.output


def test_a_missing_artifact_is_bad_input(run, folder, tmp_path):
    result = run(folder, "--artifact", tmp_path / "none.tar.gz")
    assert isinstance(result.exception, InvalidInput)
