"""Which photographs graders are evaluated on, and which notes limit the figures."""

import msgspec
import numpy as np
import pytest
from labelled_folders import write_photograph, write_table
from tiny_models import onnx_artifact

from drdeploy.errors import InvalidInput
from drdeploy.grader.artifacts import Provenance, open_artifact
from drdeploy.grader.datasets import load_dataset, set_copies_aside
from drdeploy.grader.evaluation.details import EvaluationOptions, compute_evaluation_details
from drdeploy.grader.evaluation.evaluation import evaluate_graded_set
from drdeploy.grader.evaluation.graders import (
    Grader,
    GraderEvaluation,
    TestSet,
    choose_test_photographs,
    collect_notes_on_grader,
    compare_on_common_photographs,
    evaluate_prediction_table,
    find_known_photographs,
    make_names_distinct,
)
from drdeploy.grader.evaluation.predictions import GradedSet
from drdeploy.grader.grading import Grade


@pytest.fixture
def dataset(tmp_path):
    """Two splits that share a session; a copy on each side, one of them contradicting itself."""
    rows = [
        # file, seed, grade, split, session
        ("train/a.jpg", 1, 0, "train", "s1"),
        ("train/b.jpg", 2, 2, "train", "s2"),
        ("train/copy.jpg", 3, 1, "train", "s3"),
        ("train/conflict.jpg", 4, 3, "train", "s4"),
        ("train/gone.jpg", None, 3, "train", "s4"),
        ("test/c.jpg", 5, 3, "test", "s2"),
        ("test/d.jpg", 6, 4, "test", "s5"),
        ("test/copy.jpg", 3, 1, "test", "s3"),
        ("test/conflict.jpg", 4, 2, "test", "s6"),
        ("test/e.jpg", 7, 0, "test", "s7"),
    ]
    for file, seed, *_ in rows:
        if seed is not None:
            write_photograph(tmp_path / file, seed)
    header = ("file", "icdr_grade", "split", "session_group")
    write_table(tmp_path / "labels.csv", header, *[(file, *rest) for file, _, *rest in rows])
    return load_dataset(tmp_path)


def names(choice):
    return [photograph.image_id for photograph in choice.photographs.photographs]


def graded(labels, answers, files=None, reasons=None):
    """Certain answers."""
    n = len(labels)
    return GradedSet(
        files=tuple(files or map(str, range(n))),
        groups=np.array([str(at) for at in range(n)]),
        labels=np.array(labels),
        probabilities=np.eye(5)[answers],
        reasons=tuple(reasons or [""] * n),
    )


def evaluated(name, *args, **kwargs):
    answers = graded(*args, **kwargs)
    found = evaluate_graded_set(answers, None)
    details = compute_evaluation_details(answers, None, EvaluationOptions())
    return GraderEvaluation(Grader(name, name), TestSet("set", "set"), answers, found, details)


def test_the_test_split_is_taken_where_there_is_one(dataset):
    choice = choose_test_photographs(dataset)
    assert choice.test_set.split == "test"
    assert names(choice) == ["c", "d", "copy", "e"]


def test_another_split_or_all_are_taken_where_they_are_named(dataset):
    assert names(choose_test_photographs(dataset, "train")) == ["a", "b"]
    assert choose_test_photographs(dataset, "all").test_set.split == "all"
    assert len(choose_test_photographs(dataset, "all").photographs) == 6
    with pytest.raises(InvalidInput, match="no split 'validation'"):
        choose_test_photographs(dataset, "validation")


def test_what_is_set_aside_of_the_split_is_listed_and_nothing_of_another(dataset):
    (conflict,) = choose_test_photographs(dataset).test_set.set_aside[-1:]
    assert conflict.file == dataset.folder / "test" / "conflict.jpg"
    files = {one.file.name for one in choose_test_photographs(dataset).test_set.set_aside}
    assert files == {"conflict.jpg"}
    training = choose_test_photographs(dataset, "train").test_set.set_aside
    assert {one.file.name for one in training} == {"conflict.jpg", "copy.jpg", "gone.jpg"}


def test_without_the_files_of_the_test_split_nothing_else_is_evaluated(dataset):
    for file in (dataset.folder / "test").iterdir():
        file.unlink()
    dataset = load_dataset(dataset.folder, keep_unreadable=True)
    with pytest.raises(InvalidInput, match=r"split 'test' can be used.*the file is missing"):
        choose_test_photographs(dataset)
    assert names(choose_test_photographs(dataset, "train")) == ["a", "b", "copy", "conflict"]


def test_without_the_files_of_the_training_split_nothing_else_is_trained_on(dataset, tmp_path):
    for file in (dataset.folder / "train").iterdir():
        file.unlink()
    dataset = load_dataset(dataset.folder)
    with pytest.raises(InvalidInput, match=r"split 'train' can be used.*the file is missing"):
        dataset.select_training_part()
    tiny = Grader("tiny", "", open_artifact(onnx_artifact(tmp_path / "tiny")).manifest)
    assert find_known_photographs(tiny, choose_test_photographs(dataset)).trained_on is None


def test_sessions_of_another_split_are_noted_and_can_be_set_aside(dataset):
    (note,) = choose_test_photographs(dataset).test_set.notes
    assert note.startswith("Photographs that share a session or patient with another split: 2 of 4")
    strict = choose_test_photographs(dataset, new_sessions=True)
    assert names(strict) == ["d", "e"]
    reasons = [one.reason for one in strict.test_set.set_aside]
    assert reasons.count("the session or patient is in another split too") == 2
    assert not any("share a session" in note for note in strict.test_set.notes)
    everything = choose_test_photographs(dataset, "all", new_sessions=True)
    assert any("leaves no photograph out" in note for note in everything.test_set.notes)


def test_without_sessions_a_note_says_what_that_does_to_intervals(tmp_path):
    write_photograph(tmp_path / "a.jpg", 1)
    write_table(tmp_path / "labels.csv", ("file", "icdr_grade"), ("a.jpg", 2))
    (note,) = choose_test_photographs(load_dataset(tmp_path)).test_set.notes
    assert "may be too narrow" in note


def test_a_note_says_that_a_grader_was_trained_on_the_photographs(dataset, tmp_path):
    manifest = open_artifact(onnx_artifact(tmp_path / "tiny")).manifest
    digest = set_copies_aside(dataset).select_training_part().digest
    provenance = Provenance(dataset=f"mine, sha256:{digest}")
    tiny = Grader("tiny", "", msgspec.structs.replace(manifest, provenance=provenance))
    known = find_known_photographs(tiny, choose_test_photographs(dataset, "train"))
    notes = collect_notes_on_grader(tiny, known)
    assert any("was trained on 2 of the 2 photographs" in note for note in notes)
    known = find_known_photographs(tiny, choose_test_photographs(dataset))
    assert not any("trained on" in note for note in collect_notes_on_grader(tiny, known))


def test_a_note_says_that_the_weights_are_random(dataset, tmp_path):
    manifest = open_artifact(onnx_artifact(tmp_path / "tiny")).manifest
    tiny = Grader("tiny", "tiny", manifest)
    known = find_known_photographs(tiny, choose_test_photographs(dataset))
    assert known.trained_on is None, "the manifest does not identify the training photographs"
    (note,) = collect_notes_on_grader(tiny, known)
    assert "mean nothing" in note


def test_two_graders_are_compared_on_what_both_graded():
    first = evaluated("old", [0, 3, 4, 2], [0, 3, 4, 2])
    second = evaluated("new", [0, 3, 4, 2], [0, 2, 4, 2], reasons=["too dark", "", "", ""])
    found = compare_on_common_photographs(first, second)
    assert (found.comparison.n, found.left_out) == (3, 1)
    (change,) = found.comparison.changes
    assert found.graded.files[change.position] == "1"
    assert change.is_new_miss
    assert found.comparison.sensitivity[Grade.SEVERE].difference.value == -0.5


def test_two_tables_are_matched_by_their_files_not_by_their_order():
    first = evaluated("old", [0, 3, 4], [0, 3, 4], files=["a", "b", "c"])
    second = evaluated("new", [4, 0, 1], [4, 0, 1], files=["c", "a", "x"])
    found = compare_on_common_photographs(first, second)
    assert found.graded.files == ("a", "c")
    assert found.comparison.changes == ()
    assert found.left_out == 2


def test_graders_with_other_labels_or_nothing_in_common_are_not_compared():
    first = evaluated("old", [0, 3], [0, 3])
    with pytest.raises(InvalidInput, match="different labels for 1"):
        compare_on_common_photographs(first, evaluated("new", [0, 4], [0, 3]))
    with pytest.raises(InvalidInput, match="in common"):
        compare_on_common_photographs(first, evaluated("new", [0, 3], [0, 3], files=["x", "y"]))


def test_a_table_without_an_artifact_is_evaluated_by_its_most_probable_grades(tmp_path):
    path = tmp_path / "run" / "oof.csv"
    graded([0, 3, 4], [0, 3, 3]).write_csv(path)
    found = evaluate_prediction_table(path, None)
    assert found.grader.name == "run/oof.csv"
    assert found.evaluation.accuracy.value == pytest.approx(2 / 3)
    assert "most probable grade" in found.notes[0]


def test_those_of_the_same_name_are_called_by_their_paths():
    named = make_names_distinct([Grader("m", "a/m"), Grader("m", "b/m"), Grader("n", "n")])
    assert [one.name for one in named] == ["a/m", "b/m", "n"]


def test_photographs_of_one_name_are_noted_and_not_matched(tmp_path):
    path = tmp_path / "run" / "oof.csv"
    graded([0, 3, 4], [0, 3, 3], files=["left.jpg", "left.jpg", "b.jpg"]).write_csv(path)
    found = evaluate_prediction_table(path, None)
    assert any("Names that several rows of the table have: 1." in note for note in found.notes)
    other = evaluated("new", [0, 3, 4], [0, 3, 4], files=[*found.graded.files[1:], "x"])
    with pytest.raises(InvalidInput, match=r"oof\.csv: Two rows have the name photo-"):
        compare_on_common_photographs(found, other)


def test_the_column_of_patients_may_also_form_subgroups(tmp_path):
    path = tmp_path / "oof.csv"
    header = "file,icdr_grade,p0,p1,p2,p3,p4,site"
    rows = [f"{at}.jpg,{at % 5},0.2,0.2,0.2,0.2,0.2,s{at % 2}" for at in range(10)]
    path.write_text("\n".join([header, *rows]))
    options = EvaluationOptions(by=("site",))
    found = evaluate_prediction_table(path, None, options=options, patient="site")
    assert [one.value for one in found.details.subgroups["site"]] == ["s0", "s1"]
