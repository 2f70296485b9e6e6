"""A command writes over no file that it reads."""

import pytest
from typer.testing import CliRunner

from drdeploy.cli.app import build_app
from drdeploy.errors import InvalidInput

RECOMMEND = ("recommend", "{folder}", "--requests", 100)


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("grade", "{file}", "--csv", "{file}"), "--csv"),
        (("grade", "{folder}", "--csv", "{file}"), "--csv"),
        (("archive", "grade", "{manifest}", "--out", "{manifest}"), "--out"),
        (("batch", "run", "{file}", "--endpoint-url", "http://127.0.0.1:1", "--csv", "{file}"),
            "--csv"),
        (("artifact", "pack", "{file}", "--out", "{file}"), "--out"),
        (("model", "quantize", "{file}", "--calibration", "x", "--out", "{file}"), "--out"),
        (("report", "{folder}", "--out", "{measurements}"), "--out"),
        (("report", "{measurements}", "--out", "{measurements}"), "--out"),
        ((*RECOMMEND, "--page", "{measurements}"), "--page"),
        (("recommend", "x", "--trace", "{file}", "--tfvars", "{file}"), "--tfvars"),
        ((*RECOMMEND, "--page", "{environment}"), "--page"),
        (("recommend", "thesis-2023", "--requests", 100, "--stack", "{folder}", "--page",
            "{measurements}"), "--page"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else value,
)  # fmt: skip
def test_an_input_is_not_overwritten(tmp_path, words, option):
    files = {
        "file": tmp_path / "eye.jpg",
        "manifest": tmp_path / "all.manifest",
        "measurements": tmp_path / "measurements.csv",
        "environment": tmp_path / "environment.json",
    }
    for path in files.values():
        path.write_bytes(b"kept")
    said = [str(word).format(folder=tmp_path, **files) for word in words]
    result = CliRunner().invoke(build_app(), said)
    assert isinstance(result.exception, InvalidInput), result.output
    assert f"{option} would overwrite a file that the command reads" in str(result.exception)
    assert {path.read_bytes() for path in files.values()} == {b"kept"}


def test_a_page_and_variables_are_two_files(tmp_path):
    both = str(tmp_path / "x")
    words = ["recommend", "thesis-2023", "--requests", "100", "--page", both, "--tfvars", both]
    result = CliRunner().invoke(build_app(), words)
    assert "--page and --tfvars name the same file" in str(result.exception)
