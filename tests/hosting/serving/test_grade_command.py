"""``drdeploy grade``: the same model without a server."""

import csv
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from dicom_files import as_bytes, make_dataset
from PIL import Image, ImageFilter
from rich.console import Console
from tiny_models import described, onnx_artifact
from typer import Typer
from typer.testing import CliRunner

from drdeploy.cli.grade import grade, print_rows_as_table, sort_rows_by_order
from drdeploy.clinic.graded_rows import GradedRow
from drdeploy.errors import InvalidInput, MissingExtra
from drdeploy.grader.artifacts import pack_archive
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
    result = run(folder, "--artifact", model_dir, "--json", "--names")
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
    run("./=1+1.jpg", "--artifact", model_dir, "--csv", "grades.csv", "--names")
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
        "The file is not a JPEG, PNG or TIFF; send the photograph as one of these.",
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
    print_rows_as_table([GradedRow(name, **graded) for name in names])
    header, _, *rows = capsys.readouterr().out.splitlines()
    assert header.startswith("photograph")
    assert [row.split()[0][-9:] for row in rows] == ["_left.jpg", "right.jpg"]
    assert all(len(row) <= 80 and row.startswith("IDRiD_029_") and "…" in row for row in rows)


def test_a_name_is_shown_whole_where_no_terminal_shows_it(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    name = f"photographs/{'IDRiD_029_' * 8}left.jpg"
    print_rows_as_table(
        [GradedRow(name, grade=2, label="Moderate NPDR", referable=True, probabilities=(1.0,))]
    )
    assert name.removeprefix("photographs/") in capsys.readouterr().out


def test_the_classes_of_another_classifier_are_not_shown_as_grades(capsys):
    rows = [
        GradedRow("a.jpg", label="cat", probabilities=(0.25, 0.75)),
        GradedRow("b.txt", error="It is no image."),
    ]
    print_rows_as_table(rows, is_icdr=False)
    header, _, first, second, *_ = capsys.readouterr().out.splitlines()
    assert header.split() == ["photograph", "class", "probability"]
    assert first.split() == ["a.jpg", "cat", "0.750"]
    assert second.split() == ["b.txt", "failed", "-"]


def test_a_link_that_leads_nowhere_has_a_row(run, folder, model_dir):
    (folder / "c.jpg").symlink_to("nowhere")
    result = run(folder, "--artifact", model_dir, "--json")
    rows = json.loads(result.stdout)["results"]
    assert [row["error"] for row in rows] == ["", "No such file or directory.", ""]
    assert result.exit_code == 1


def test_rows_that_cannot_be_written_to_a_file_are_shown_first(run, folder, model_dir):
    result = run(folder, "--artifact", model_dir, "--csv", "/dev/full", "--names")
    assert isinstance(result.exception, OSError)
    assert "a.jpg" in result.output


def test_a_missing_artifact_is_bad_input(run, folder, tmp_path):
    result = run(folder, "--artifact", tmp_path / "none.tar.gz")
    assert isinstance(result.exception, InvalidInput)
    assert str(result.exception).startswith(str(tmp_path / "none.tar.gz"))


def row(name, *, severe=None, referable=0.0, **fields):
    graded = {} if severe is None else {"probabilities": (1.0,), "grade": 0}
    return GradedRow(
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
    assert [one.image for one in sort_rows_by_order(rows, "severity")] == [
        *("severe.jpg", "mild.jpg", "a.jpg", "b.jpg"),
        "dark.jpg",
        "broken.jpg",
    ]
    assert sort_rows_by_order(rows, "input") == rows


def test_an_ungradable_photograph_is_a_row_with_its_reason_and_no_failure(
    run, tmp_path, model_dir, photo
):
    folder = tmp_path / "strict"
    said = described("strict", gradability=GradabilityLimits())
    pack_archive(model_dir / "model.onnx", folder / "model.tar.gz", said)
    (tmp_path / "a.jpg").write_bytes(photo)
    result = run(tmp_path / "a.jpg", "--artifact", folder / "model.tar.gz", "--json")
    (found,) = json.loads(result.stdout)["results"]
    assert result.exit_code == 0
    assert found["gradable"] is False
    assert found["ungradable_reason"]
    assert found["grade"] is found["referable"] is None
    shown = run(tmp_path / "a.jpg", "--artifact", folder / "model.tar.gz", "--sort", "severity")
    assert "1 for a human to look at" in shown.output


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


def test_whatever_the_decoder_reads_is_graded_and_everything_else_is_counted(
    run, tmp_path, model_dir, photo
):
    for name in ("a.JPG", "b.jfif", "c.jpe", "without_suffix"):
        (tmp_path / "eyes" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "eyes" / name).write_bytes(photo)
    (tmp_path / "eyes" / "d.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "eyes" / "notes.txt").write_text("none")
    (tmp_path / "eyes" / "._a.JPG").write_bytes(b"\0\5\x16\7")
    (tmp_path / "eyes" / "Thumbs.db").touch()
    result = run(tmp_path / "eyes", "--artifact", model_dir, "--json", "--names")
    document = json.loads(result.stdout)
    assert [row["error"] for row in document["results"]] == [""] * 4
    heic = "1 file is left out, in the format HEIC: convert it to JPEG, PNG or TIFF"
    assert document["notes"] == [
        "1 hidden file or folder (its name begins with a full stop) is left out",
        "1 file that is no picture is left out: .txt",
        f"{heic} ({tmp_path}/eyes/d.heic)",
        "1 file or folder of the operating system is left out: Thumbs.db",
    ]
    assert all(note in result.stderr for note in document["notes"])
    assert result.exit_code == 1  # the eye in d.heic is not graded
    (tmp_path / "eyes" / "d.heic").unlink()
    assert run(tmp_path / "eyes", "--artifact", model_dir).exit_code == 0


def test_without_names_a_note_names_no_file(run, tmp_path, model_dir, photo):
    (tmp_path / "a.jpg").write_bytes(photo)
    (tmp_path / "Mueller.webp").write_bytes(b"RIFF\0\0\0\0WEBP")
    result = run(tmp_path, "--artifact", model_dir)
    assert "1 file is left out, in the format WebP" in result.stderr
    assert "--names shows which" in result.stderr
    assert "Mueller" not in result.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["missing"], "missing: There is no such file or folder."),
        (["empty"], "empty: The folder holds no JPEG, PNG, TIFF or DICOM file."),
        (["texts"], "DICOM file: 1 file that is no picture is left out: .txt."),
        (["missing", "empty"], "file or folder. empty: The folder holds"),
    ],
)
def test_arguments_without_any_photograph_are_bad_input(
    run, tmp_path, monkeypatch, arguments, sentence
):
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").touch()
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert isinstance(result.exception, InvalidInput)
    assert sentence in str(result.exception)


def test_what_is_named_twice_is_graded_once(run, folder, model_dir, monkeypatch):
    monkeypatch.chdir(folder.parent)
    result = run("eyes", folder, "eyes/a.jpg", "--artifact", model_dir, "--json")
    document = json.loads(result.stdout)
    assert len(document["results"]) == 2
    assert document["notes"][-1] == "photographs named more than once, and graded only once: 3"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"M\xfcller.jpg", "M\\udcfcller.jpg"),
        (b"a\x1b[8mb.jpg", "a\\x1b[8mb.jpg"),
        (b"p:eye:left.jpg", "p:eye:left.jpg"),
        ("Mu\u0308ller.jpg".encode(), "Mu\u0308ller.jpg"),
    ],
)
def test_a_name_of_any_bytes_is_in_every_result(
    run, tmp_path, model_dir, photo, monkeypatch, name, shown
):
    monkeypatch.chdir(tmp_path)
    Path(os.fsdecode(name)).write_bytes(photo)
    result = run(".", "--artifact", model_dir, "--csv", "grades.csv", "--names")
    assert shown in result.stdout
    assert "\x1b" not in result.output
    (row,) = csv.DictReader((tmp_path / "grades.csv").open(encoding="utf-8"))
    assert row["image"] == shown
    result = run(".", "--artifact", model_dir, "--json", "--names")
    assert json.loads(result.stdout)["results"][0]["image"] == shown


def test_a_jpeg_without_its_end_marker_is_graded_with_a_note(run, tmp_path, model_dir, photo):
    (tmp_path / "a.jpg").write_bytes(photo[:-2])
    result = run(tmp_path, "--artifact", model_dir, "--json")
    (row,) = json.loads(result.stdout)["results"]
    assert row["note"] == "The JPEG lacks its end marker; its picture is complete."
    assert row["grade"] is not None
    assert result.exit_code == 0


def test_an_empty_file_has_a_row_that_says_so(run, tmp_path, model_dir):
    (tmp_path / "a.jpg").touch()
    result = run(tmp_path, "--artifact", model_dir, "--json")
    (row,) = json.loads(result.stdout)["results"]
    assert row["error"] == "The file is empty."


@pytest.fixture
def dicom(folder):
    if os.environ.get("CI") != "true":
        pytest.importorskip("pydicom", reason="needs the extra clinic")
    pixels = np.asarray(Image.open(folder / "a.jpg"))
    dataset = make_dataset(pixels, NumberOfFrames=2, ImageLaterality="R")
    dataset.PixelData = pixels.tobytes() * 2
    (folder / "IM0001").write_bytes(as_bytes(dataset))
    return folder / "IM0001"


def test_each_frame_of_a_dicom_file_has_a_row_with_the_side_of_the_eye(
    run, folder, dicom, model_dir, tmp_path
):
    result = run(folder, "--artifact", model_dir, "--json", "--names", "--csv", tmp_path / "g.csv")
    rows = json.loads(result.stdout)["results"]
    assert [(row["image"], row["laterality"]) for row in rows[:3]] == [
        (f"{dicom} frame 1", "right"),
        (f"{dicom} frame 2", "right"),
        (str(folder / "a.jpg"), ""),
    ]
    assert [row["laterality"] for row in csv.DictReader((tmp_path / "g.csv").open())][:2] == [
        "right",
        "right",
    ]
    assert result.exit_code == 0


def test_a_dicom_file_that_cannot_be_decoded_has_a_row_with_the_reason(run, dicom, model_dir):
    dicom.write_bytes(dicom.read_bytes()[:-5000])
    no_dicom = dicom.with_name("notes.dcm")
    no_dicom.write_text("not DICOM")
    result = run(dicom, no_dicom, "--artifact", model_dir, "--json")
    first, second = json.loads(result.stdout)["results"]
    assert "fewer pixels than its header says" in first["error"]
    assert "lacks the letters DICM" in second["error"]
    assert result.exit_code == 1


def test_without_the_extra_a_dicom_file_is_refused_before_anything_is_graded(
    run, dicom, model_dir, monkeypatch
):
    for name in [name for name in sys.modules if name.startswith("drdeploy.grader.dicom.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    result = run(dicom, "--artifact", model_dir)
    assert isinstance(result.exception, MissingExtra)
    assert "A DICOM file needs the package pydicom" in str(result.exception)
    assert "[clinic]" in str(result.exception)
