"""Predictions of labelled photographs, and their table."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from labelled_folders import write_photograph, write_table
from tiny_models import onnx_artifact

from drdeploy.errors import InvalidInput
from drdeploy.grader.datasets import load_dataset
from drdeploy.grader.evaluation.predictions import GradedSet, predict_dataset
from drdeploy.grader.inference import InferenceService
from drdeploy.photograph_names import OWN_NAMES

TABLE = "file,icdr_grade,p0,p1,p2,p3,p4\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    return InferenceService.load(onnx_artifact(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """Three photographs, and a text that is called one."""
    folder = tmp_path_factory.mktemp("labelled")
    rows = [(f"{at}.jpg", grade, f"s{at}") for at, grade in enumerate((0, 2, 4, 3))]
    for at in range(3):
        write_photograph(folder / f"{at}.jpg", at)
    (folder / "3.jpg").write_text("no photograph")
    write_table(folder / "labels.csv", ("file", "icdr_grade", "session_group"), *rows)
    return load_dataset(folder, keep_unreadable=True, names=OWN_NAMES)


def test_photographs_are_graded_as_a_server_would(service, labelled):
    found = predict_dataset(service, labelled)
    assert found.files == ("0.jpg", "1.jpg", "2.jpg", "3.jpg")
    assert found.labels.tolist() == [0, 2, 4, 3]
    assert found.groups.tolist() == ["s0", "s1", "s2", "s3"]
    served = service.infer([labelled.photographs[1].file.read_bytes()])[0].prediction
    assert found.probabilities[1] == pytest.approx(served.probabilities)


def test_what_cannot_be_read_is_a_row_with_its_reason(service, labelled):
    found = predict_dataset(service, labelled)
    assert found.is_gradable.tolist() == [True, True, True, False]
    assert "not a JPEG, PNG or TIFF" in found.reasons[3]
    assert np.isnan(found.probabilities[3]).all()


def test_progress_is_shown_for_every_file(service, labelled):
    graded = []

    def track(files):
        for file in files:
            graded.append(file.name)
            yield file

    predict_dataset(service, labelled, track=track)
    assert graded == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]


def test_a_classifier_of_something_else_is_refused(tmp_path, labelled):
    flowers = InferenceService.load(onnx_artifact(tmp_path, classes=("rose", "tulip")))
    with pytest.raises(InvalidInput, match="Only an ICDR grader"):
        predict_dataset(flowers, labelled)


def test_a_table_that_was_written_is_read_back(service, labelled, tmp_path):
    written = predict_dataset(service, labelled)
    written.write_csv(tmp_path / "run" / "predictions.csv")
    read = GradedSet.read_csv(tmp_path / "run" / "predictions.csv")
    assert (read.files, read.reasons) == (written.files, written.reasons)
    assert read.labels.tolist() == written.labels.tolist()
    assert read.groups.tolist() == written.groups.tolist()
    assert read.probabilities == pytest.approx(written.probabilities, abs=1e-8, nan_ok=True)


def test_file_names_are_no_formulas_in_the_table(service, labelled, tmp_path):
    graded = predict_dataset(service, labelled)
    files = ("=HYPERLINK(1)", "-1+1.jpg", *graded.files[2:])
    path = tmp_path / "predictions.csv"
    replace(graded, files=files).write_csv(path)
    assert [row["file"][:2] for row in csv.DictReader(path.open())][:2] == ["'=", "'-"]
    assert GradedSet.read_csv(path).files == files


def test_files_labels_and_probabilities_are_enough(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(f"{TABLE}a.jpg,2,0.1,0.1,0.6,0.1,0.1\nb.jpg,0,1,0,0,0,0\n")
    read = GradedSet.read_csv(path)
    assert read.groups.tolist() == ["a.jpg", "b.jpg"]
    assert read.is_gradable.all()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("file,icdr_grade\na.jpg,0\n", "no column 'p0'"),
        (TABLE, "is empty"),
        (f"{TABLE}a.jpg,7,1,0,0,0,0\n", r"row 1: '7' is not an ICDR grade"),
        (f"{TABLE}a.jpg,1,1,0,0,0,0\nb.jpg,1,1,x,0,0,0\n", "row 2: A value in the columns"),
        (f"{TABLE}a.jpg,1,,,,,\n", "row 1: A value in the columns"),
        (f"{TABLE}a.jpg,1,0.9,0.9,0,0,0\n", "row 1: The values p0 to p4 are not probabilities"),
        (f"{TABLE}a.jpg,1,2,-1,0,0,0\n", "row 1: The values p0 to p4 are not probabilities"),
        (f"{TABLE}a.jpg,1,nan,1,0,0,0\n", "row 1: The values p0 to p4 are not probabilities"),
        (f"{TABLE}a.jpg,1,1\n", "row 1: A value in the columns"),
    ],
)
def test_a_table_that_holds_no_predictions_says_where(tmp_path, text, complaint):
    path = tmp_path / "wrong.csv"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=complaint):
        GradedSet.read_csv(path)


def test_a_table_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(InvalidInput, match="predictions does not exist"):
        GradedSet.read_csv(tmp_path / "oof.csv")


@pytest.mark.parametrize("word", ["true", "True", "TRUE", "1", "yes", ""])
def test_a_photograph_has_a_grade_however_a_program_writes_it(tmp_path, word):
    path = tmp_path / "theirs.csv"
    header = TABLE.replace("icdr_grade", "icdr_grade,Gradable")
    path.write_text(f"{header}a.jpg,2,{word},0,0,1,0,0\nb.jpg,0,False,,,,,\n")
    assert GradedSet.read_csv(path).is_gradable.tolist() == [True, False]


def test_a_word_that_is_neither_yes_nor_no_is_refused(tmp_path):
    path = tmp_path / "theirs.csv"
    header = TABLE.replace("icdr_grade", "icdr_grade,gradable")
    path.write_text(f"{header}a.jpg,2,maybe,0,0,1,0,0\n")
    with pytest.raises(InvalidInput, match=r"row 1: The text of the cell.*neither true nor false"):
        GradedSet.read_csv(path)


def test_the_column_of_groups_may_have_capital_letters_and_missing_values(tmp_path):
    path = tmp_path / "theirs.csv"
    header = TABLE.replace("icdr_grade", "icdr_grade,Group")
    rows = "".join(f"{at}.jpg,2,{group},0,0,1,0,0\n" for at, group in enumerate(("g", "g", "NA")))
    path.write_text(header + rows)
    read = GradedSet.read_csv(path)
    assert read.groups.tolist() == ["g", "g", "2.jpg"]
    assert read.group_unit == "group"


def test_a_column_that_is_needed_and_occurs_twice_is_refused(tmp_path):
    path = tmp_path / "theirs.csv"
    path.write_text(TABLE.replace("p4", "p4,P4") + "a.jpg,2,0,0,1,0,0,0\n")
    with pytest.raises(InvalidInput, match="2 columns 'p4'"):
        GradedSet.read_csv(path)


def test_photographs_of_unknown_patients_are_not_read_back_as_patients(service, tmp_path):
    write_photograph(tmp_path / "a.jpg", 1)
    write_table(tmp_path / "labels.csv", ("file", "icdr_grade"), ("a.jpg", 2))
    written = predict_dataset(service, load_dataset(tmp_path))
    written.write_csv(tmp_path / "predictions.csv")
    assert GradedSet.read_csv(tmp_path / "predictions.csv").group_unit == written.group_unit == ""
