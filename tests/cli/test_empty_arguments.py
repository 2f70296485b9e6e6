"""An empty argument is refused by every command."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("words", "where"),
    [
        (["grade", ""], "argument 2"),
        (["grade", "eye.jpg", "--artifact", ""], "--artifact"),
        (["study", "run", "quick", "--out="], "--out"),
        (["serve", "--port="], "--port"),
    ],
)
def test_an_empty_value_is_refused_by_its_place(words, where, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "drdeploy", *words],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert f"{where}: The value is empty. Check that every shell variable" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_value_that_ends_with_an_equals_sign_is_not_empty(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "drdeploy", "grade", "eye.jpg", "--artifact=name="],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "The value is empty" not in done.stderr
    assert "name=" in done.stderr
