"""A command that needs a file and is given a folder says so in a sentence, and the other way round.

Nothing is measured, graded or uploaded before.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from drdeploy.errors import InvalidInput
from drdeploy.grader.box import box_artifact
from drdeploy.grader.evaluation.predictions import GradedSet
from drdeploy.grader.training.recipe import read_recipe_or_preset

ROOT = Path(__file__).parents[2]
EXAMPLE = next((ROOT / "examples" / "photographs").glob("*.jpg"))
ROWS = ROOT / "examples" / "decision"

A_FOLDER = "folder' is a directory"
A_FILE = "file' is a file"


@pytest.fixture
def place(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("a text")
    shutil.copy(EXAMPLE, tmp_path / "eye.jpg")
    return tmp_path


def run(folder, *words):
    """Return the exit status of a command, and what it writes to standard error, in one line."""
    done = subprocess.run(
        [sys.executable, "-m", "drdeploy", *words],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return done.returncode, " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["prices", "plan", "folder"],
         "folder: The plan cannot be read: Is a directory. Give a file with the output of `"),
        (["prices", "plan", "absent"], "absent: The plan cannot be read: No such file"),
        (["prices", "update", "--out", "folder"], A_FOLDER),
        (["report", str(ROWS), "--out", "folder"], A_FOLDER),
        (["recommend", str(ROWS), "--requests", "9", "--page", "file/page.html"],
         "file: File exists. Give another path"),
        (["reproduce", "file"], A_FILE),
        (["reproduce", "--out", "file"], A_FILE),
        (["study", "plan", "folder"], "The study 'folder' is a folder, not a TOML file"),
        (["study", "run", "quick", "--out", "file"], A_FILE),
        (["study", "run", "quick", "--weights", "absent"], "'absent' does not exist"),
        (["study", "status", "quick", "--out", "file"], A_FILE),
        (["model", "train", "mobilenet", "--data", "folder", "--out", "file"], A_FILE),
        (["model", "compare", "mobilenet", "vgg19", "--data", "folder", "--out", "file"], A_FILE),
        (["model", "evaluate", "--data", "folder", "--out", "file"], A_FILE),
        (
            ["model", "quantize", "folder", "--calibration", "folder"],
            "folder: The path leads to a folder, not to a file. Give a model.tar.gz",
        ),
        (
            ["artifact", "set-prevalence", str(box_artifact()), "--prevalence", "0.1", "--out",
             "folder"],
            A_FOLDER,
        ),
        (
            ["artifact", "set-prevalence", str(box_artifact()), "--prevalence", "estimate",
             "--data", "file"],
            "file: The path leads to a file, not to a folder. Give a folder",
        ),
        (["grade", "eye.jpg", "--csv", "file/x.csv"],
         "file: The path leads to a file, not to a folder. Make the folder"),
        (["batch", "run", "eye.jpg", "--csv", "file/x.csv"],
         "file: The path leads to a file, not to a folder. Make the folder"),
        (["archive", "grade", "folder", "--out", "file/x.parquet"],
         "file: The path leads to a file, not to a folder. Make the folder"),
        (["capacity", "drdeploy:lean", "--p95", "1", "--artifact", "folder"], A_FOLDER),
        (["capacity", "drdeploy:lean", "--p95", "1", "--payload", "file=1"],
         "file: The path leads to a file, not to a folder. Give"),
        (["endpoint", "deploy", "e", "--memory-mb", "2048", "--artifact", "folder"], A_FOLDER),
        (["image", "conform", "lean", "--artifact", "folder"], A_FOLDER),
        (["image", "cold-start", "lean", "--artifact", "folder"], A_FOLDER),
    ],
    ids=lambda value: " ".join(value[:3]) if isinstance(value, list) else "",
)  # fmt: skip
def test_a_path_of_the_wrong_kind_is_named_in_a_sentence(place, words, sentence):
    status, text = run(place, *words)
    assert status
    assert sentence in re.sub(r"[│╭╮╰╯─]+ ?", "", text)


@pytest.mark.parametrize(
    "read",
    [
        lambda folder: read_recipe_or_preset(file=folder),
        GradedSet.read_csv,
    ],
    ids=["recipe", "predictions"],
)
def test_a_folder_in_place_of_a_file_is_not_called_absent(tmp_path, read):
    with pytest.raises(InvalidInput, match="The path leads to a folder, not to a file"):
        read(tmp_path)
    with pytest.raises(InvalidInput, match="does not exist"):
        read(tmp_path / "absent")
