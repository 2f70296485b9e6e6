"""A photograph is used once, and not at all where its grades contradict each other."""

from labelled_folders import write_photograph, write_table

from drdeploy.grader.datasets import find_copied_photographs, load_dataset, set_copies_aside
from drdeploy.photograph_names import OWN_NAMES


def names(dataset):
    return [one.file.name for one in dataset.photographs]


def reasons(dataset):
    return {one.file.name: one.reason for one in dataset.set_aside}


def test_the_real_photographs_have_six_pairs_three_of_them_in_conflict(shared):
    dataset = load_dataset(shared / "data" / "idrid_512", names=OWN_NAMES)
    copies = find_copied_photographs(dataset)
    pairs = {tuple(one.name[:-4] for one in pair.photographs) for pair in copies}
    conflicting = {
        pair.photographs[0].image_id[-3:] for pair in copies if pair.has_conflicting_grades
    }
    assert pairs == {
        ("test/IDRiD_064", "train/IDRiD_118"),
        ("train/IDRiD_021", "train/IDRiD_391"),
        ("train/IDRiD_028", "train/IDRiD_327"),
        ("train/IDRiD_045", "train/IDRiD_333"),
        ("train/IDRiD_073", "train/IDRiD_375"),
        ("train/IDRiD_079", "train/IDRiD_279"),
    }
    assert conflicting == {"064", "021", "028"}


def test_the_real_photographs_lose_both_of_each_conflict_and_one_of_each_other_pair(shared):
    dataset = set_copies_aside(load_dataset(shared / "data" / "idrid_512"))
    assert len(dataset.select_split("train")) == 413 - 1 - 2 - 2 - 3
    assert len(dataset.select_split("test")) == 103 - 1
    assert len(dataset.set_aside) == 9
    assert find_copied_photographs(dataset) == ()


def test_the_first_of_agreeing_copies_is_kept(labelled):
    dataset = set_copies_aside(labelled((7, 2, "", "a"), (8, 2, "", "b"), (7, 2, "", "a")))
    assert names(dataset) == ["0.jpg", "1.jpg"]
    assert reasons(dataset) == {"2.jpg": "copy of 0.jpg"}


def test_no_copy_is_kept_where_the_grades_differ(labelled):
    dataset = set_copies_aside(labelled((7, 1, "", "a"), (7, 2, "", "a"), (8, 0, "", "b")))
    assert names(dataset) == ["2.jpg"]
    assert reasons(dataset)["0.jpg"] == (
        "this photograph and its copies have different grades (0.jpg: 1, 1.jpg: 2)"
    )


def test_of_copies_in_both_splits_training_loses_its_own(labelled):
    dataset = set_copies_aside(
        labelled((7, 2, "train", "a"), (7, 2, "val", "a"), (7, 2, "test", "a"))
    )
    assert [one.split for one in dataset.photographs] == ["test"]
    assert reasons(dataset) == {"0.jpg": "copy of 2.jpg", "1.jpg": "copy of 2.jpg"}


def test_a_file_that_is_listed_twice_is_used_once(tmp_path):
    write_photograph(tmp_path / "a.jpg", 1)
    write_table(tmp_path / "labels.csv", ("file", "icdr_grade"), ("a.jpg", 0), ("a.jpg", 0))
    dataset = set_copies_aside(load_dataset(tmp_path))
    assert (len(dataset), len(dataset.set_aside)) == (1, 1)


def test_copies_of_one_content_have_one_name_and_the_reason_does_not_repeat_it(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        write_photograph(tmp_path / name, 1)
    write_table(tmp_path / "labels.csv", ("file", "icdr_grade"), ("a.jpg", 0), ("b.jpg", 0))
    dataset = set_copies_aside(load_dataset(tmp_path))
    (kept,), (copy,) = dataset.photographs, dataset.set_aside
    assert kept.name == copy.name
    assert copy.reason == "copy of a file with the same content"
