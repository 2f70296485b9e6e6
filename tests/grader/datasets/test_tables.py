"""Tables as other programs write them, and what they call photographs, grades and patients."""

import unicodedata

import pytest
from labelled_folders import write_photograph

from drdeploy.errors import InvalidInput
from drdeploy.grader.datasets import load_dataset, set_copies_aside
from drdeploy.grader.datasets.columns import find_column, group_by_patient_column
from drdeploy.grader.datasets.grade_names import parse_grade
from drdeploy.photograph_names import OWN_NAMES

WIDE = "file,icdr_grade" + "," * 100_000 + "\n"
TABLE = "file,icdr_grade\na.jpg,2\nb.jpg,0\n"


def write(folder, files, **tables):
    """Write photographs, and tables by their names without suffix."""
    for seed, name in enumerate(files):
        write_photograph(folder / name, seed, "PNG" if name.endswith(".png") else "JPEG")
    for name, content in tables.items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / f"{name}.csv").write_bytes(data)


def load(folder):
    return load_dataset(folder, names=OWN_NAMES)


def grades(dataset):
    return {one.name: int(one.grade) for one in dataset.photographs}


@pytest.mark.parametrize(
    "table",
    [
        TABLE.replace(",", ";"),
        TABLE.replace(",", "\t"),
        TABLE.replace(",", "|"),
        f"sep=;\r\n{TABLE.replace(',', ';')}",
        f"\n{TABLE}",
        f"\ufeff{TABLE}",
        TABLE.encode("utf-16"),
        TABLE.encode("utf-16-le"),
        TABLE.encode("utf-16-be"),
        TABLE.encode("utf-32"),
        TABLE.replace("file,icdr_grade", "image name (.jpg),DR grade [0-4]"),
        "file,icdr_grade\na.jpg,2.000000000000000000e+00\nb.jpg,0.000000000000000000e+00\n",
        TABLE.replace("\n", "\r"),
        TABLE.replace("\n", ",,\r\n") + ",,,\r\n",
        ",file,icdr_grade\n0,a.jpg,2.0\n1,b.jpg,0.0\n",
        '"file" "icdr_grade"\n"1" "a.jpg" 2\n"2" "b.jpg" 0\n',
        "'file','icdr_grade'\n'a.jpg','2'\n'b.jpg','0'\n",
        "FILE;ICDR-Grade\na.jpg;2,0\nb.jpg;0,0\n",
        ".\\a.jpg,2\n./b.jpg,0\n",
    ],
)
def test_a_table_is_read_however_a_program_wrote_it(tmp_path, table):
    write(tmp_path, ["a.jpg", "b.jpg"], labels=table)
    assert grades(load(tmp_path)) == {"a.jpg": 2, "b.jpg": 0}


def test_what_is_assumed_of_a_table_is_noted(tmp_path):
    table = "# from R\nimage;DR_grade;PatientID\nM\xfcller.jpg;Moderate NPDR;7\n"
    write(tmp_path, ["M\xfcller.jpg"], labels=table.encode("latin-1"))
    dataset = load(tmp_path)
    patients = "patients in PatientID"
    assert [one.group for one in dataset.photographs] == ["7"]
    assert dataset.notes == (
        "Read as Windows-1252, because the encoding is not UTF-8: labels.csv.",
        "labels.csv: lines above the column names were skipped: 1.",
        f"labels.csv: photographs are in the column image, grades in DR_grade, {patients}.",
        "Grades in words were read as numbers: 'Moderate NPDR' as 2.",
    )


@pytest.mark.parametrize(
    ("name", "file", "difference"),
    [
        ("10_left.jpg", "10_left.jpeg", "another suffix 1"),
        ("eye", "eye.jpeg", "no suffix 1"),
        ("IM004832.jpg", "IM004832.JPG", "capital letters 1"),
        ("\\train\\1\\l.jpg", "train/1/l.jpg", "backslashes 1"),
        ("C:\\Users\\x\\eyes\\1\\l.jpg", "1/l.jpg", "backslashes 1, another folder 1"),
        ("eye.jpg", "images/eye.jpg", "another folder 1"),
        ("M\xfcller.jpg", unicodedata.normalize("NFD", "M\xfcller.JPG"), "capital letters 1"),
    ],
)
def test_a_photograph_is_found_by_a_unique_name(tmp_path, name, file, difference):
    write(tmp_path, [file], labels=f"file,icdr_grade,split\n{name},2,test\n")
    dataset = load(tmp_path)
    assert list(grades(dataset).values()) == [2]
    assert dataset.notes[-1].endswith(f"names in the table differ: {difference}.")


@pytest.mark.parametrize("files", [["a.jpg", "a.png"], ["x/a.jpg", "y/a.jpg"], ["A.jpg", "A.JPG"]])
def test_a_name_that_fits_two_photographs_is_refused_with_both(tmp_path, files):
    write(tmp_path, files, labels="file,icdr_grade\na,2\n")
    with pytest.raises(InvalidInput, match=f"fits several photographs: {'|'.join(files)}") as err:
        load(tmp_path)
    assert all(file in str(err.value) for file in files)
    with pytest.raises(InvalidInput, match=r"photo-\w+ and photo-\w+.*--names"):
        load_dataset(tmp_path)


def test_a_row_never_takes_the_photograph_of_another(tmp_path):
    rows = "1/left.jpg,2\n2/left.jpg,4\n9/a.png,0\n9/a.jpg,1\n"
    write(tmp_path, ["1/left.jpg", "9/a.jpg"], labels=f"file,icdr_grade\n{rows}")
    dataset = load(tmp_path)
    assert grades(dataset) == {"1/left.jpg": 2, "9/a.jpg": 1}
    assert {one.name for one in dataset.set_aside} == {"2/left.jpg", "9/a.png"}
    assert {one.reason for one in dataset.set_aside} == {"the file is missing"}


def test_two_patients_never_share_a_photograph(tmp_path):
    write(
        tmp_path,
        ["left.jpg", "a.jpg"],
        labels="file,icdr_grade\n1/left.jpg,2\n2/left.jpg,2\na.jpg,0\n",
    )
    dataset = load(tmp_path)
    assert grades(dataset) == {"a.jpg": 0}
    assert {one.name for one in dataset.set_aside} == {"1/left.jpg", "2/left.jpg"}


@pytest.mark.parametrize("other", ["images/a.jpg", "A.JPG", "C:\\images\\a.jpg"])
def test_rows_that_name_one_photograph_differently_are_copies(tmp_path, other):
    write(tmp_path, ["images/a.jpg"], labels=f"file,icdr_grade\na.jpg,2\n{other},3\n")
    dataset = load(tmp_path)
    assert [int(one.grade) for one in dataset.photographs] == [2, 3]
    assert len(set_copies_aside(dataset).set_aside) == 2


def test_every_row_and_photograph_that_is_not_used_is_counted(tmp_path):
    rows = "a.jpg,2,1\nb.jpg,,1\nc.jpg,NA,1\nd.jpg,2,0\n,3,1\ngone.jpg,1,1\n"
    files = ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "extra.jpg", "._a.jpg"]
    write(tmp_path, files, labels=f"file,icdr_grade,gradable\n{rows}")
    dataset = load(tmp_path)
    assert grades(dataset) == {"a.jpg": 2}
    assert {one.name: one.reason for one in dataset.set_aside} == {
        "b.jpg": "the table gives no grade",
        "c.jpg": "the table gives no grade",
        "d.jpg": "the data set calls it ungradable",
        "gone.jpg": "the file is missing",
    }
    assert dataset.notes == (
        "labels.csv: rows that name no photograph were skipped: 1.",
        "Photographs without a label were skipped in .: 1.",
        "1 hidden file or folder (its name begins with a full stop) is left out.",
    )


def test_columns_of_grades_that_contradict_each_other_are_refused(tmp_path):
    write(tmp_path, ["a.jpg"], labels="file,level,diagnosis\na.jpg,2,3\n")
    with pytest.raises(InvalidInput, match=r"contradict each other: level and diagnosis"):
        load(tmp_path)
    write(tmp_path, [], labels="file,level,level\na.jpg,2,3\n")
    with pytest.raises(InvalidInput, match=r"contradict each other: level and level"):
        load(tmp_path)
    write(tmp_path, [], labels="file,level,icdr_grade\na.jpg,2,3\n")
    assert grades(load(tmp_path)) == {"a.jpg": 3}


def test_grades_of_messidor_are_not_taken_for_icdr_grades(tmp_path):
    header = "Image name,Ophthalmologic department,Retinopathy grade"
    write(tmp_path, ["a.jpg"], labels=f"{header}\na.jpg,x,3\n")
    with pytest.raises(InvalidInput, match=r"not ICDR grades.*Messidor-2"):
        load(tmp_path)


def test_grades_from_1_to_5_are_refused(tmp_path):
    write(tmp_path, ["a.jpg", "b.jpg"], labels="file,level\na.jpg,1\nb.jpg,5\n")
    with pytest.raises(InvalidInput, match=r"grades from 1 to 5.*0 means no retinopathy"):
        load(tmp_path)
    write(tmp_path, ["c.jpg"], labels="file,level\na.jpg,1\nb.jpg,5\nc.jpg,0\n")
    assert grades(load(tmp_path)) == {"a.jpg": 1, "c.jpg": 0}


def test_grades_that_may_mean_yes_and_no_are_noted(tmp_path):
    files = [f"{number}.jpg" for number in range(20)]
    rows = "".join(f"{name},{int(name < '3')}\n" for name in files)
    write(tmp_path, files, labels=f"file,icdr_grade\n{rows}")
    assert any("All grades are 0 or 1" in note for note in load(tmp_path).notes)
    write(tmp_path, [], labels=f"file,icdr_grade\n{rows}".replace("0.jpg,1", "0.jpg,2"))
    assert load(tmp_path).notes == ()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("trainLabels.csv.zip", b"PK\3\4", "an archive, not a table.*Unpack it"),
        ("labels.csv.gz", b"\x1f\x8b", "an archive, not a table.*Unpack it"),
        ("labels.parquet", b"PAR1", "in this format are not read.*as CSV"),
        ("labels.csv", b"version https://git-lfs.github.com/spec/v1", "Git LFS.*git lfs pull"),
        ("labels.csv", b"<!DOCTYPE html>", "a web page, not a table.*Download the file"),
        ("grades.csv", b"name,score\na.jpg,1\n", "Name the two columns `file` and"),
    ],
)
def test_a_table_that_is_not_read_is_refused_with_the_reason(tmp_path, name, content, reason):
    write_photograph(tmp_path / "a.jpg", 0)
    (tmp_path / name).write_bytes(content)
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(InvalidInput, match=f"{name}: .*{reason}"):
            load(path)


def test_what_windows_writes_into_a_folder_is_not_taken_for_a_table(tmp_path):
    write_photograph(tmp_path / "a.jpg", 0)
    (tmp_path / "Thumbs.db").write_bytes(b"any")
    with pytest.raises(InvalidInput, match="none of the supported layouts"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [("labels.xlsx", b"PK\3\4"), ("labels.csv", b"PK\3\4"), ("grades.xls", b"\xd0\xcf\x11\xe0")],
)
def test_a_spreadsheet_is_refused_with_the_remedy(tmp_path, name, content):
    (tmp_path / name).write_bytes(content.ljust(64, b"\0"))
    with pytest.raises(InvalidInput, match=rf'{name}.*spreadsheet.*Save the table as "CSV UTF-8"'):
        load(tmp_path)


def test_eyepacs_is_read_as_published(tmp_path):
    files = ["train/10_left.jpeg", "train/10_right.jpeg", "test/1_left.jpeg"]
    write(
        tmp_path, files,
        trainLabels="image,level\n10_left,0\n10_right,2\n13_left,1\n",
        retinopathy_solution="image,level,Usage\n1_left,4,Private\n",
        sampleSubmission="image,level\n1_left,0\n",
    )  # fmt: skip
    dataset = load(tmp_path)
    assert dataset.layout == "eyepacs"
    assert dataset.select_split("train").grades.tolist() == [0, 2]
    assert dataset.select_split("test").grades.tolist() == [4]
    assert dataset.groups.tolist().count("10") == 2
    assert len(dataset.set_aside) == 1


def test_deepdrid_is_read_as_published(tmp_path):
    part = tmp_path / "regular_fundus_images" / "regular-fundus-training"
    header = "patient_id,image_id,image_path,left_eye_DR_Level,right_eye_DR_Level,patient_DR_Level"
    path = "\\regular-fundus-training\\1"
    rows = f"1,1_l1,{path}\\1_l1.jpg,0,,3\n1,1_r1,{path}\\1_r1.jpg,,3,\n2,2_l1,x,5,,\n"
    files = ["Images/1/1_l1.jpg", "Images/1/1_r1.jpg", "Images/2/2_l1.jpg"]
    write(part, files, **{"regular-fundus-training": f"{header}\n{rows}"})
    dataset = load(tmp_path)
    assert (dataset.layout, dataset.splits) == ("deepdrid", ("train",))
    assert dataset.grades.tolist() == [0, 3]
    assert dataset.groups.tolist() == ["1", "1"]
    assert [one.reason for one in dataset.set_aside] == [
        "the data set calls it ungradable (grade 5)"
    ]


def test_messidor_2_is_read_as_published(tmp_path):
    header = "image_id,adjudicated_dr_grade,adjudicated_dme,adjudicated_gradable"
    rows = "a.png,2,0,1\nIM1.jpg,,,0\n"
    write(tmp_path, ["IMAGES/a.png", "IMAGES/IM1.JPG"], messidor_data=f"{header}\n{rows}")
    dataset = load(tmp_path)
    assert (dataset.layout, grades(dataset)) == ("messidor2", {"IMAGES/a.png": 2})
    assert [one.cause for one in dataset.set_aside] == ["grade"]


def test_ddr_is_read_as_published(tmp_path):
    root = tmp_path / "DR_grading"
    write(root, ["train/7.jpg", "train/8.jpg", "valid/7.jpg"])
    (root / "train.txt").write_text("7.jpg 0\n8.jpg 5\n")
    (root / "valid.txt").write_text("7.jpg 4\n")
    dataset = load(tmp_path)
    assert (dataset.layout, dataset.splits) == ("ddr", ("train", "valid"))
    assert dataset.grades.tolist() == [0, 4]
    assert "ungradable" in dataset.set_aside[0].reason


def test_a_table_for_each_split_is_read(tmp_path):
    files = ["train_images/x.png", "test_images/x.png"]
    write(tmp_path, files, train_1="id_code,diagnosis\nx,2\n", test="id_code,diagnosis\nx,1\n")
    dataset = load(tmp_path)
    assert dataset.layout == "table"
    assert grades(dataset.select_split("train")) == {"train_images/x.png": 2}
    assert grades(dataset.select_split("test")) == {"test_images/x.png": 1}


def test_two_tables_of_which_either_may_be_meant_are_refused_with_both(tmp_path):
    write(tmp_path, ["a.jpg"], first=TABLE, second=TABLE)
    with pytest.raises(InvalidInput, match=r"first\.csv, second\.csv.*path of the right table"):
        load(tmp_path)
    assert grades(load(tmp_path / "second.csv")) == {"a.jpg": 2}


@pytest.mark.parametrize(
    "names", [("0", "1", "2", "3", "4"), ("No DR", "Mild NPDR", "moderate", "Severe", "PDR")]
)
def test_folders_are_grades_by_number_or_in_words(tmp_path, names):
    for split in ("train", "test"):
        write(tmp_path / split, [f"{name}/deep/{split}.jpg" for name in names] + ["DR/x.jpg"])
    dataset = load(tmp_path)
    assert (dataset.layout, dataset.splits) == ("grade-folders", ("test", "train"))
    assert list(dataset.count_per_grade().values()) == [2] * 5
    assert dataset.notes == tuple(
        f"Photographs without a label were skipped in {split}/DR: 1." for split in ("test", "train")
    )


def test_a_folder_beside_the_grades_is_counted(tmp_path):
    write(tmp_path, ["No_DR/a.jpg", "DR/b.jpg", "DR/c.jpg"])
    why = "Photographs in folders that are not named after a grade were skipped: 2."
    assert why in load(tmp_path).notes


def test_folders_of_patients_are_not_taken_for_grades(tmp_path):
    write(tmp_path, ["0/a.jpg", "1/a.jpg", "17/a.jpg"])
    with pytest.raises(InvalidInput, match="none of the supported layouts"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("text", "grade"),
    [
        ("2", 2), ("2.0", 2), ("2,00", 2), ("02", 2), ("DR2", 2), ("Grade 2", 2), ("2_moderate", 2),
        ("No DR", 0), ("no apparent retinopathy", 0), ("Mild NPDR", 1), ("moderate", 2),
        ("healthy", 0), ("Mild nonproliferative retinopathy", 1), ("severe non-proliferative", 3),
        ("Severe Non-Proliferative Diabetic Retinopathy", 3), ("Proliferate_DR", 4), ("PDR", 4),
        ("5", None), ("-1", None), ("2.5", None), ("R3", None), ("1 - moderate", None), ("", None),
    ],
)  # fmt: skip
def test_a_grade_is_a_number_or_a_name(text, grade):
    assert parse_grade(text) == grade


def test_a_table_whose_cells_would_fill_the_memory_is_refused(tmp_path):
    write(tmp_path, ["a.jpg"], labels=WIDE + "a.jpg,2\n" * 5000)
    with pytest.raises(InvalidInput, match="100,002 columns"):
        load(tmp_path)


def test_a_table_that_is_too_large_is_refused_and_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("drdeploy.grader.datasets.tables.TABLE_BYTES_MAX", 20)
    write(tmp_path, ["a.jpg"], labels=TABLE)
    with pytest.raises(InvalidInput, match="more than 20 bytes"):
        load(tmp_path)


@pytest.mark.parametrize("rows", [1, 60_000])
def test_a_quotation_mark_that_is_not_closed_swallows_no_rows(tmp_path, rows):
    text = 'file,icdr_grade,note\na.jpg,2,"blurred\n' + "b.jpg,0,\n" * rows
    write(tmp_path, ["a.jpg", "b.jpg"], labels=text)
    with pytest.raises(InvalidInput, match=r"quotation mark.*is not closed.*Remove the quotation"):
        load(tmp_path)
    write(tmp_path, [], labels='file,icdr_grade,note\na.jpg,2,"blurred\nat the rim"\nb.jpg,0,\n')
    assert grades(load(tmp_path)) == {"a.jpg": 2, "b.jpg": 0}


def test_a_third_column_without_a_name_is_noted(tmp_path):
    write(tmp_path, ["a.jpg", "b.jpg"], labels="a.jpg,2,patient 1\nb.jpg,0,\n")
    dataset = load(tmp_path)
    assert grades(dataset) == {"a.jpg": 2, "b.jpg": 0}
    why = "labels.csv: values after the last column were skipped. Rows with such values: 1."
    assert why in dataset.notes


@pytest.mark.parametrize("missing", ["NA", "NaN", "", "-", "<NA>"])
def test_words_for_a_missing_value_name_no_patient_no_split_and_no_original(tmp_path, missing):
    header = "file,icdr_grade,patient,split,source_sha256"
    rows = "".join(f"{name}.jpg,2,{missing},{missing},{missing}\n" for name in "ab")
    write(tmp_path, ["a.jpg", "b.jpg", "c.jpg"], labels=f"{header}\n{rows}c.jpg,1,p1,train,\n")
    dataset = load(tmp_path)
    assert len(set(dataset.groups)) == 3
    assert dataset.splits == ("train",)
    assert set_copies_aside(dataset).set_aside == ()
    why = "rows without a patient: 2. Each of these photographs counts as a patient of its own."
    assert f"labels.csv: {why}" in dataset.notes
    with pytest.raises(InvalidInput, match="2 of 3 photographs have no patient"):
        group_by_patient_column(dataset, "patient", OWN_NAMES)


def test_the_splits_for_training_and_for_the_test_may_be_spelt_differently(tmp_path):
    rows = "a.jpg,2,Training\nb.jpg,0,TEST\nc.jpg,1,Validation\n"
    files = ["a.jpg", "b.jpg", "c.jpg"]
    write(tmp_path, files, labels=f"file,icdr_grade,split\n{rows}")
    dataset = load(tmp_path)
    assert dataset.splits == ("Validation", "test", "train")
    assert grades(dataset.select_training_part()) == {"a.jpg": 2}
    assert dataset.notes == (
        "The split 'Training' is read as 'train'.",
        "The split 'TEST' is read as 'test'.",
    )


def test_of_two_columns_that_differ_in_brackets_the_named_one_is_found():
    columns = ("age (years)", "age (group)")
    assert find_column("age (group)", columns, option="--by", where="t.csv") == "age (group)"
    assert find_column("Age", columns, option="--by", where="t.csv") == "age (years)"


def test_a_table_that_cannot_be_read_beside_another_is_noted(tmp_path):
    pointer = b"version https://git-lfs.github.com/spec/v1"
    write(tmp_path, ["train/a.jpg", "train/b.jpg"], train=TABLE, test=pointer)
    dataset = load(tmp_path)
    assert dataset.layout == "table"
    assert "test.csv was skipped. The file is a Git LFS pointer, not a table." in dataset.notes


def test_a_submission_is_no_table_of_labels_and_that_is_said(tmp_path):
    write(tmp_path, ["a.jpg", "b.jpg"], my_submission=TABLE)
    with pytest.raises(InvalidInput, match=r"contains 'submission'.*path of the table"):
        load(tmp_path)
    assert grades(load(tmp_path / "my_submission.csv")) == {"a.jpg": 2, "b.jpg": 0}


def test_photographs_beside_the_folders_of_photographs_are_counted(tmp_path):
    write(tmp_path, ["0/a.jpg", "1/b.jpg", "c.jpg"])
    (tmp_path / "d.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / ".hidden").touch()
    notes = load(tmp_path).notes
    assert "Photographs without a label were skipped in .: 1." in notes
    assert any("in the format HEIC" in note for note in notes)
    assert not any("hidden" in note for note in notes)


def test_folders_of_grades_in_a_folder_that_names_no_split_are_noted(tmp_path):
    write(tmp_path, ["train/0/a.jpg", "train/1/b.jpg", "holdout/0/c.jpg"])
    dataset = load(tmp_path)
    assert dataset.splits == ("train",)
    why = "The folder 'holdout' was skipped, because its name mentions no split."
    assert why in dataset.notes


def test_a_folder_is_not_taken_for_the_photograph_of_the_same_name(tmp_path):
    write(tmp_path, ["3.jpg", "3/4.jpg"], labels="image,level\n3,2\n")
    assert grades(load(tmp_path)) == {"3.jpg": 2}


def test_a_second_table_of_the_same_name_is_noted(tmp_path):
    write(tmp_path, ["a.jpg", "b.jpg"], labels=TABLE)
    (tmp_path / "labels.tsv").write_text("file\ticdr_grade\na.jpg\t4\n")
    dataset = load(tmp_path)
    assert grades(dataset) == {"a.jpg": 2, "b.jpg": 0}
    assert dataset.notes == ("labels.tsv was skipped, because labels.csv is read.",)


def test_the_test_split_is_not_trained_on_where_no_split_is_called_train(tmp_path):
    write(tmp_path, ["a.jpg", "b.jpg"], labels="file,icdr_grade,split\na.jpg,2,\nb.jpg,0,test\n")
    training = load(tmp_path).select_training_part()
    assert grades(training) == {"a.jpg": 2}
    assert any("There is no split 'train'" in note for note in training.notes)
    write(tmp_path, [], labels="file,icdr_grade,split\na.jpg,2,test\nb.jpg,0,test\n")
    assert len(load(tmp_path).select_training_part()) == 2
