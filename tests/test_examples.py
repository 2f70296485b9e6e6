"""The examples beside the code are what their README says."""

from pathlib import Path

from PIL import Image

from drdeploy.grader.datasets.load import load_dataset
from drdeploy.grader.grading import Grade

PHOTOGRAPHS = Path(__file__).resolve().parent.parent / "examples" / "photographs"


def test_the_example_photographs_show_every_grade_at_least_twice():
    dataset = load_dataset(PHOTOGRAPHS)
    grades = [photograph.grade for photograph in dataset.photographs]
    assert len(grades) == 11
    assert not dataset.set_aside
    assert min(map(grades.count, Grade)) == 2


def test_a_graded_name_agrees_with_the_label():
    for photograph in load_dataset(PHOTOGRAPHS).photographs:
        if photograph.file.stem.startswith("IDRiD"):
            assert photograph.file.stem == f"{photograph.image_id}_grade{photograph.grade:d}"


def test_the_example_photographs_carry_no_metadata():
    for path in PHOTOGRAPHS.glob("*.jpg"):
        with Image.open(path) as picture:
            assert not picture.getexif()
            assert set(picture.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi"}


def test_the_readme_of_the_photographs_names_every_file_and_both_licences():
    readme = (PHOTOGRAPHS / "README.md").read_text()
    assert [path.name for path in PHOTOGRAPHS.glob("*.jpg") if path.name not in readme] == []
    assert "creativecommons.org/licenses/by/4.0" in readme
    assert "creativecommons.org/publicdomain/zero/1.0" in readme
