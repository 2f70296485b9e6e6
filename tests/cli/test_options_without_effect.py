"""An option that would have no effect beside the others is refused by its name."""

import pytest
from typer.testing import CliRunner

from drdeploy.cli.app import build_app
from drdeploy.errors import InvalidInput


def refusal(*words):
    result = CliRunner().invoke(build_app(), [*map(str, words)])
    assert isinstance(result.exception, InvalidInput), result.output
    return str(result.exception)


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("recommend", "thesis-2023", "--requests", 100, "--at-grade", 3), "--at-grade"),
        (("study", "run", "quick", "--endpoint-url", "http://127.0.0.1:1", "--isolation",
            "process"), "--isolation"),
        (("study", "run", "quick", "--target", "aws", "--isolation", "process"), "--isolation"),
        (("study", "run", "quick", "--target", "aws", "--endpoint-url", "http://127.0.0.1:1"),
            "--endpoint-url"),
        (("study", "run", "quick", "--kms-key", "arn:aws:kms:us-east-1:1:key/k"), "--kms-key"),
        (("study", "run", "quick", "--keep"), "--keep"),
        (("study", "run", "quick", "--target", "local", "--accept-unknown-prices"),
            "--accept-unknown-prices"),
        (("study", "run", "quick", "--prices", "prices.toml"), "--prices"),
        (("archive", "grade", "x", "--out", "y", "--instance-type", "ml.m5.large"),
            "--instance-type"),
        (("archive", "grade", "x", "--out", "y", "--region", "eu-west-1"), "--region"),
        (("endpoint", "deploy", "eyes", "--target", "local", "--instance-type", "ml.m5.large",
            "--max-concurrency", 3), "--max-concurrency"),
        (("endpoint", "deploy", "eyes", "--target", "local", "--instance-count", 2),
            "--instance-count"),
        (("clinic", "serve", "x", "--endpoint-url", "http://127.0.0.1:1"), "--endpoint-url"),
        (("clinic", "serve", "x", "--region", "eu-west-1"), "--region"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_an_option_that_would_be_ignored_is_refused_before_anything_is_done(words, option):
    said = refusal(*words)
    assert f"{option} would have no effect" in said
    assert "Omit" in said


def test_a_plan_deletes_nothing(tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"rows")
    words = ("archive", "grade", tmp_path, "--out", tmp_path / "t.parquet", "--plan", "--fresh")
    assert "--plan deletes nothing" in refusal(*words)
    assert (tmp_path / "t.parquet").read_bytes() == b"rows"


def test_an_endpoint_that_runs_has_its_own_isolation():
    words = ("capacity", "eyes", "--p95", 1, "--isolation", "process")
    assert "--isolation would have no effect on" in refusal(*words)


def test_processes_are_not_restricted_like_containers():
    words = ("local", "up", "--port", 0, "--isolation", "process", "--strict")
    assert "Processes cannot be restricted like containers" in refusal(*words)


def test_a_folder_of_photographs_that_does_not_exist_is_refused_even_if_all_is_measured(tmp_path):
    """A study whose trials are all measured reads no photographs, and would not notice."""
    words = ["study", "run", "quick", "--images", str(tmp_path / "none"), "--out", str(tmp_path)]
    result = CliRunner().invoke(build_app(), words)
    assert result.exit_code == 2
    assert "--images" in result.output
    assert "does not exist" in result.output
