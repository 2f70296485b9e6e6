"""Small data sets of every layout."""

import pytest
from labelled_folders import write_photograph, write_table

from drdeploy.grader.datasets import load_dataset
from drdeploy.photograph_names import OWN_NAMES


@pytest.fixture
def labelled(tmp_path):
    """Make a data set from ``(seed, grade, split, group)``, the layout labels.csv."""

    def make(*rows):
        lines = []
        for at, (seed, grade, split, group) in enumerate(rows):
            write_photograph(tmp_path / f"{at}.jpg", seed)
            lines.append((f"{at}.jpg", grade, split, group))
        write_table(tmp_path / "labels.csv", ("file", "icdr_grade", "split", "group"), *lines)
        return load_dataset(tmp_path, names=OWN_NAMES)

    return make


@pytest.fixture
def aptos(tmp_path):
    """Three labelled photographs and a test part without labels."""
    write_table(tmp_path / "train.csv", ("id_code", "diagnosis"), ("aa", 2), ("bb", 0), ("cc", 4))
    write_table(tmp_path / "test.csv", ("id_code",), ("dd",), ("ee",))
    for seed, name in enumerate(("aa", "bb", "cc")):
        write_photograph(tmp_path / "train_images" / f"{name}.png", seed, "PNG")
    return tmp_path


@pytest.fixture
def idrid(tmp_path):
    """IDRiD's own folders and tables, with their trailing spaces and empty columns."""
    header = ("Image name", "Retinopathy grade", "Risk of macular edema ", *[""] * 9)
    parts = {
        "a. IDRiD_Disease Grading_Training Labels.csv": ("a. Training Set", (3, 0, 1)),
        "b. IDRiD_Disease Grading_Testing Labels.csv": ("b. Testing Set", (4, 2)),
    }
    seed = 0
    for table, (folder, grades) in parts.items():
        names = [f"IDRiD_{at:03}" for at in range(1, len(grades) + 1)]
        rows = [(name, grade, 0, *[""] * 9) for name, grade in zip(names, grades, strict=True)]
        write_table(tmp_path / "2. Groundtruths" / table, header, *rows, [""] * 12)
        for name in names:
            seed += 1
            write_photograph(tmp_path / "1. Original Images" / folder / f"{name}.jpg", seed)
    return tmp_path
