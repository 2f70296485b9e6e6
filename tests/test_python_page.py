"""``docs/python.md`` is a notebook: its blocks run in order and print what it shows."""

import contextlib
import doctest
import io
import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "python.md"
BLOCK = re.compile(
    r"(?P<engine><!-- needs a container engine -->\n\n)?"
    r"```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<output>.*?)```)?",
    re.DOTALL,
)
SAME_TEXT = doctest.OutputChecker()


class Block(NamedTuple):
    line: int
    code: str
    output: str
    needs_engine: bool


def blocks():
    text = PAGE.read_text()
    return [
        Block(
            text.count("\n", 0, match.start("code")),
            match["code"],
            match["output"] or "",
            needs_engine=bool(match["engine"]),
        )
        for match in BLOCK.finditer(text)
    ]


def run(block, names):
    """Run a block; its line numbers are those of the page."""
    printed = io.StringIO()
    code = compile("\n" * block.line + block.code, str(PAGE), "exec")
    with contextlib.redirect_stdout(printed):
        exec(code, names)
    shown = printed.getvalue()
    assert SAME_TEXT.check_output(block.output, shown, doctest.ELLIPSIS), (
        f"{PAGE.name}, line {block.line}, prints\n{shown}\nand the page shows\n{block.output}"
    )


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A folder with the examples of a clone, for the blocks to run in."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRDEPLOY_LOCAL_HOME", str(tmp_path / "home"))


@pytest.mark.usefixtures("clone")
def test_the_page_prints_what_it_shows():
    names = {"__name__": "__main__"}
    for block in blocks():
        if not block.needs_engine:
            run(block, names)


@pytest.mark.usefixtures("clone", "lean_image")
@pytest.mark.engine
def test_the_conformance_check_of_the_page_prints_what_it_shows():
    [block] = [one for one in blocks() if one.needs_engine]
    names = {}
    exec("import drdeploy", names)
    run(block, names)


def test_every_python_block_of_the_page_is_run():
    assert PAGE.read_text().count("```python\n") == len(blocks())
