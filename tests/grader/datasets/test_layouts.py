"""Every layout is found and read, and nothing of it is lost silently."""

import hashlib
import os
import shutil
from unicodedata import normalize

import pytest
from labelled_folders import write_photograph, write_table

from drdeploy.errors import InvalidInput
from drdeploy.grader.datasets import load_dataset
from drdeploy.grader.grading import Grade
from drdeploy.photograph_names import OWN_NAMES


def grades_by_id(dataset):
    return {one.image_id: int(one.grade) for one in dataset.photographs}


def reasons(dataset):
    return {one.file.name: one.reason for one in dataset.set_aside}


def test_the_real_photographs_have_the_counts_that_their_readme_gives(shared):
    dataset = load_dataset(shared / "data" / "idrid_512")
    assert dataset.layout == "labels.csv"
    assert list(dataset.select_split("train").count_per_grade().values()) == [134, 20, 136, 74, 49]
    assert list(dataset.select_split("test").count_per_grade().values()) == [34, 5, 32, 19, 13]
    assert dataset.set_aside == dataset.notes == ()


def test_a_table_of_files_and_grades_is_enough(tmp_path):
    write_photograph(tmp_path / "eyes" / "left.jpg", 1)
    write_table(tmp_path / "labels.csv", (" file", "icdr_grade "), (" eyes/left.jpg ", " 3 "))
    (one,) = load_dataset(tmp_path).photographs
    content = hashlib.sha256((tmp_path / "eyes" / "left.jpg").read_bytes()).hexdigest()
    assert (one.image_id, one.grade, one.split) == ("left", Grade.SEVERE, None)
    assert one.sha256 == one.group == content


def test_hashes_and_groups_of_a_table_are_believed(tmp_path):
    header = ("file", "icdr_grade", "patient", "source_sha256")
    write_photograph(tmp_path / "a.jpg", 1)
    write_photograph(tmp_path / "b.jpg", 2)
    write_table(tmp_path / "labels.csv", header, ("a.jpg", 0, "p1", "AB12"), ("b.jpg", 0, "", ""))
    first, second = load_dataset(tmp_path).photographs
    assert (first.group, first.sha256) == ("p1", "ab12")
    assert second.group == second.sha256


def test_a_grade_that_went_through_a_column_of_floats_is_read(tmp_path):
    write_photograph(tmp_path / "a.jpg", 1)
    write_table(tmp_path / "labels.csv", ("file", "icdr_grade"), ("a.jpg", "2.0"))
    assert load_dataset(tmp_path).photographs[0].grade is Grade.MODERATE


def test_what_cannot_be_used_is_set_aside_with_its_reason(tmp_path):
    write_photograph(tmp_path / "good.jpg", 1)
    write_photograph(tmp_path / "five.jpg", 2)
    (tmp_path / "text.jpg").write_text("no photograph")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    rows = [("good.jpg", 0), ("five.jpg", 5), ("gone.jpg", 1), ("text.jpg", 1)]
    rows += [("empty.jpg", 1), ("folder.jpg", 1)]
    write_table(tmp_path / "labels.csv", ("file", "icdr_grade"), *rows)
    dataset = load_dataset(tmp_path)
    assert [one.image_id for one in dataset.photographs] == ["good"]
    why = reasons(dataset)
    assert why["five.jpg"] == "'5' is not an ICDR grade from 0 to 4"
    assert why["gone.jpg"] == "the file is missing"
    assert "not a JPEG, PNG or TIFF" in why["text.jpg"]
    assert why["empty.jpg"] == "the file is empty"
    assert "Is a directory" in why["folder.jpg"]


def test_a_table_that_names_a_device_or_a_pipe_does_not_keep_its_reader(tmp_path):
    write_photograph(tmp_path / "a.jpg", 1)
    os.mkfifo(tmp_path / "pipe.jpg")
    rows = [("a.jpg", 0), ("/dev/zero", 0), ("pipe.jpg", 0), ("a\0.jpg", 0), ("n" * 300, 0)]
    write_table(tmp_path / "labels.csv", ("file", "icdr_grade"), *rows)
    aside = reasons(load_dataset(tmp_path))
    assert "not a regular file" in aside["zero"]
    assert "not a regular file" in aside["pipe.jpg"]
    assert len(aside) == 4


def test_photographs_that_no_table_names_are_noted(tmp_path):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        write_photograph(tmp_path / "eyes" / name, 1)
    write_table(tmp_path / "labels.csv", ("file", "icdr_grade"), ("eyes/a.jpg", 0))
    (note,) = load_dataset(tmp_path, names=OWN_NAMES).notes
    assert note == "Photographs without a label were skipped in eyes: 2."
    (note,) = load_dataset(tmp_path).notes
    assert note == "Photographs without a label were skipped in a folder of the data set: 2."


def test_aptos_is_read_and_its_unlabelled_part_is_noted(aptos):
    dataset = load_dataset(aptos)
    assert dataset.layout == "aptos2019"
    assert grades_by_id(dataset) == {"aa": 2, "bb": 0, "cc": 4}
    assert dataset.splits == ("train",)
    assert dataset.notes == ("test.csv has no labels; its 2 rows are not read.",)


def test_a_labelled_test_part_of_aptos_is_read(aptos):
    write_table(aptos / "test.csv", ("id_code", "diagnosis"), ("dd", 1))
    write_photograph(aptos / "test_images" / "dd.png", 9, "PNG")
    assert grades_by_id(load_dataset(aptos).select_split("test")) == {"dd": 1}


def test_a_photograph_that_aptos_lists_but_lacks_is_set_aside(aptos):
    (aptos / "train_images" / "bb.png").unlink()
    assert reasons(load_dataset(aptos)) == {"bb": "the file is missing"}


@pytest.mark.parametrize(
    "inner", ["", "gaussian_filtered_images", "gaussian_filtered_images/gaussian_filtered_images"]
)
def test_folders_of_grades_are_found_however_deep_they_were_unpacked(tmp_path, inner):
    names = ("No_DR", "Mild", "Moderate", "Severe", "Proliferate_DR")
    for seed, name in enumerate(names):
        write_photograph(tmp_path / inner / name / f"{name}.png", seed, "PNG")
    # The copy that is distributed has APTOS's table beside the folders, without its images.
    write_table(tmp_path / "train.csv", ("id_code", "diagnosis"), ("Mild", 1))
    dataset = load_dataset(tmp_path)
    assert dataset.layout == "grade-folders"
    assert grades_by_id(dataset) == {name: grade for grade, name in enumerate(names)}
    assert dataset.splits == dataset.notes == ()


def test_a_grade_without_a_folder_is_noted(tmp_path):
    write_photograph(tmp_path / "No_DR" / "a.png", 1, "PNG")
    assert "There is no folder for grade 3." in load_dataset(tmp_path).notes


def test_idrid_is_read_as_it_is_distributed(idrid):
    dataset = load_dataset(idrid)
    assert dataset.layout == "idrid"
    assert dataset.select_split("train").grades.tolist() == [3, 0, 1]
    assert dataset.select_split("test").grades.tolist() == [4, 2]
    assert dataset.set_aside == dataset.notes == ()


def test_the_same_name_in_both_parts_of_idrid_is_two_photographs(idrid):
    ids = [one.image_id for one in load_dataset(idrid).photographs]
    assert "train/IDRiD_001" in ids
    assert "test/IDRiD_001" in ids
    assert len(set(ids)) == len(ids)


def test_idrid_is_found_beside_its_other_parts(idrid, tmp_path_factory):
    whole = tmp_path_factory.mktemp("idrid")
    shutil.copytree(idrid, whole / "B. Disease Grading")
    write_table(whole / "A. Localization" / "2. Groundtruths" / "centres.csv", ("Image No",))
    assert len(load_dataset(whole)) == 5


def test_idrid_without_one_of_its_tables_says_so(idrid):
    (idrid / "2. Groundtruths" / "b. IDRiD_Disease Grading_Testing Labels.csv").unlink()
    dataset = load_dataset(idrid)
    assert dataset.splits == ("train",)
    assert "the photographs of 'test' are not read" in dataset.notes[0]


def test_a_folder_of_no_layout_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(InvalidInput, match=r"labels\.csv.*train_images.*No_DR.*Groundtruths"):
        load_dataset(tmp_path)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="folder of the data set does not exist"):
        load_dataset(tmp_path / "nowhere")


def test_a_table_without_its_column_is_refused(tmp_path):
    write_table(tmp_path / "labels.csv", ("file", "note"), ("a.jpg", 0))
    why = r"labels\.csv: The table needs a column of photographs and a column of grades.*icdr_grade"
    with pytest.raises(InvalidInput, match=why):
        load_dataset(tmp_path)


def test_a_table_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "labels.csv").write_bytes(b"file,icdr_grade\n\xff\xfe\x00")
    with pytest.raises(InvalidInput, match="not CSV in UTF-8"):
        load_dataset(tmp_path)


def test_a_data_set_without_any_usable_photograph_says_why(tmp_path):
    write_table(tmp_path / "labels.csv", ("file", "icdr_grade"), ("a.jpg", 0))
    missing = r"no usable photograph, for example a\.jpg: the file is missing"
    with pytest.raises(InvalidInput, match=missing):
        load_dataset(tmp_path, names=OWN_NAMES)


@pytest.mark.parametrize("name", ["there\0/b.jpg", "nowhere/b.jpg", f"{'a' * 300}/b.jpg"])
def test_a_folder_that_cannot_exist_is_a_row_and_no_note(tmp_path, name):
    write_photograph(tmp_path / "a.jpg", 1)
    write_table(tmp_path / "labels.csv", ("file", "icdr_grade"), ("a.jpg", 0), (name, 1))
    dataset = load_dataset(tmp_path)
    assert (len(dataset), len(dataset.set_aside), dataset.notes) == (1, 1, ())


def test_an_unknown_split_is_answered_with_the_known_ones(idrid):
    with pytest.raises(InvalidInput, match=r"no split 'valid'. The splits are: test, train"):
        load_dataset(idrid).select_split("valid")


def test_photographs_in_folders_within_a_folder_of_a_grade_are_read(tmp_path):
    for seed, name in enumerate(("No_DR", "Mild", "Moderate", "Severe", "Proliferate_DR")):
        write_photograph(tmp_path / name / "clinic" / f"{name}.jfif", seed)
    (tmp_path / "No_DR" / "a.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "No_DR" / "._b.jpg").touch()
    dataset = load_dataset(tmp_path)
    assert list(dataset.count_per_grade().values()) == [1] * 5
    assert dataset.notes == (
        "1 hidden file or folder (its name begins with a full stop) is left out.",
        "1 file is left out, in the format HEIC: convert it to JPEG, PNG or TIFF.",
    )


def test_pictures_beside_labelled_photographs_that_are_not_read_are_noted(tmp_path):
    write_photograph(tmp_path / "eyes" / "a.jpg", 1)
    write_photograph(tmp_path / "eyes" / "more" / "b.jfif", 2)
    (tmp_path / "eyes" / "c.heic").write_bytes(b"\0\0\0\x18ftypheic")
    write_table(tmp_path / "labels.csv", ("file", "icdr_grade"), ("eyes/a.jpg", 0))
    heic = "1 file is left out, in the format HEIC: convert it to JPEG, PNG or TIFF"
    assert load_dataset(tmp_path, names=OWN_NAMES).notes == (
        "Photographs without a label were skipped in eyes/more: 1.",
        f"{heic} ({tmp_path}/eyes/c.heic).",
    )


@pytest.mark.parametrize(("in_table", "on_disk"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_an_umlaut_may_be_spelt_in_two_ways(tmp_path, aptos, in_table, on_disk):
    name = "M\u00fcller"
    write_photograph(tmp_path / "own" / f"{normalize(on_disk, name)}.jpg", 1)
    row = (f"{normalize(in_table, name)}.jpg", 3)
    write_table(tmp_path / "own" / "labels.csv", ("file", "icdr_grade"), row)
    assert load_dataset(tmp_path / "own").set_aside == ()
    write_photograph(aptos / "train_images" / f"{normalize(on_disk, name)}.png", 9, "PNG")
    write_table(aptos / "train.csv", ("id_code", "diagnosis"), (normalize(in_table, name), 2))
    assert load_dataset(aptos).set_aside == ()


def test_a_picture_is_no_data_set(tmp_path):
    write_photograph(tmp_path / "a.jpg", 1)
    with pytest.raises(InvalidInput, match=r"a picture, not a data set.*`drdeploy grade`"):
        load_dataset(tmp_path / "a.jpg")
