"""``drdeploy dataset inspect`` tells what is in a data set and what is wrong with it."""

import json

import numpy as np
import pytest
from image_files import png
from PIL import Image
from typer.testing import CliRunner

from drdeploy.cli.dataset import app
from drdeploy.errors import InvalidInput
from drdeploy.grader.datasets import load_dataset, set_undecodable_aside
from drdeploy.grader.datasets.pictures import draw_class_distribution
from drdeploy.grader.grading import Grade
from drdeploy.grader.synthetic.photograph import paint_synthetic_photograph

PICTURES = ("samples.png", "samples.svg", "class_distribution.png", "class_distribution.svg")


def run(*arguments):
    """Standard output of the command; its errors are raised."""
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False).stdout


def damage(file):
    """A PNG that is in order but for its pixels, which end too early."""
    file.write_bytes(png(120, 80, rows=bytes(1000)))


@pytest.fixture
def painted(tmp_path):
    """Eyes that nobody has, in folders of grades, one of them damaged."""
    names = ("No_DR", "Mild", "Moderate", "Severe", "Proliferate_DR")
    for grade, name in zip(Grade, names, strict=True):
        (tmp_path / name).mkdir()
        for seed in range(2):
            data = paint_synthetic_photograph(seed, grade=grade, width_px=120, height_px=80)
            (tmp_path / name / f"{seed}.jpg").write_bytes(data)
    damage(tmp_path / "Severe" / "1.jpg")
    return tmp_path


def test_the_real_photographs_are_reported_with_their_traps(shared):
    document = json.loads(run(shared / "data" / "idrid_512", "--json"))
    assert (document["layout"], document["n"]) == ("labels.csv", 516)
    train = {"0": 134, "1": 20, "2": 136, "3": 74, "4": 49}
    assert document["splits"]["train"] == {"n": 413, "grades": train}
    assert document["splits"]["test"]["n"] == 103
    assert (document["duplicates"], document["conflicts"], len(document["copies"])) == (6, 3, 6)
    assert len(document["groups"]["across_splits"]) == 19
    assert document["missing"] == document["unreadable"] == document["without_grade"] == 0
    assert document["usable"]["n"] == 507
    assert document["sizes"]["width_px"] == {"smallest": 512, "median": 512, "largest": 512}
    assert "Not a medical device" in document["notice"]


def test_a_photograph_that_does_not_decode_is_found(painted):
    document = json.loads(run(painted, "--names", "--json"))
    (one,) = document["set_aside"]
    assert one["file"] == "Severe/1.jpg"
    assert (one["cause"], document["unreadable"]) == ("unreadable", 1)
    assert document["usable"]["grades"]["3"] == 1
    assert document["n"] == 10


def test_what_does_not_decode_can_be_set_aside(painted):
    dataset = set_undecodable_aside(load_dataset(painted))
    assert len(dataset) == 9
    assert [one.cause for one in dataset.set_aside] == ["unreadable"]


def test_the_terminal_shows_grades_copies_and_what_is_not_usable(labelled, tmp_path):
    dataset = labelled((7, 1, "train", "a"), (7, 2, "test", "a"), (8, 0, "train", "b"))
    (tmp_path / "labels.csv").open("a").write("gone.jpg,3,train,c\n")
    text = run(dataset.folder, "--names")
    assert "0.jpg: 1, 1.jpg: 2  CONFLICT" in text
    assert "gone.jpg: the file is missing" in text
    assert "files missing: 1, unreadable: 0, without a grade: 0" in text
    assert "photographs with copies: 1 (with conflicting grades: 1)" in text
    assert "sessions or patients: 2 (in more than one split: 1)" in text
    assert "Moderate NPDR" in text
    result = CliRunner().invoke(app, [str(dataset.folder)])
    assert "For research use. Not a medical device." in result.stderr


def test_it_says_where_sessions_are_not_known(painted):
    assert "Sessions and patients are not known" in run(painted)


def test_pictures_are_drawn_of_what_is_usable(painted, tmp_path):
    folder = tmp_path / "made" / "pictures"
    document = json.loads(run(painted, "--out", folder, "--json"))
    assert document["pictures"] == [str(folder / name) for name in PICTURES]
    svg = (folder / "class_distribution.svg").read_text()
    assert "n = 9" in svg
    assert "Proliferative DR" in svg
    assert "Not a medical device" in svg
    with Image.open(folder / "samples.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    # Rows of photographs: orange eyes, two in each row but one in that of the damaged file.
    orange = (pixels[..., 0] - pixels[..., 2]) > 60
    height = len(orange) // 5
    share = [orange[at * height : (at + 1) * height].mean() for at in range(5)]
    assert share[3] < 0.75 * min(share[:3])


def test_photographs_without_a_split_are_in_the_bars(labelled):
    dataset = labelled((1, 0, "train", "a"), (2, 0, "test", "b"), (3, 4, "", "c"))
    (axes,) = draw_class_distribution(dataset).axes
    assert sum(bar.get_height() for bar in axes.patches) == 3


def test_the_same_data_set_gives_the_same_pictures(painted, tmp_path):
    for name in ("first", "second"):
        run(painted, "--out", tmp_path / name)
    for name in PICTURES:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_a_data_set_of_which_nothing_decodes_is_refused(painted):
    for file in painted.rglob("*.jpg"):
        damage(file)
    with pytest.raises(InvalidInput, match="No photograph of the data set can be decoded"):
        run(painted, "--json")
