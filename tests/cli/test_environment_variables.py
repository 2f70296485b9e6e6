"""A misspelt environment variable is refused by every command, and by the server."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("words", [["names"], ["study", "list"], ["serve"]])
def test_a_misspelt_variable_is_refused(words, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "drdeploy", *words],
        env={**os.environ, "DRDEPLOY_CONCURENCY": "2"},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    said = done.stdout + done.stderr
    assert "drdeploy has no environment variable DRDEPLOY_CONCURENCY" in said
    assert "rename it to DRDEPLOY_CONCURRENCY" in said
    assert "Traceback" not in said
