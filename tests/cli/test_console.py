"""Tables and sentences on a terminal, and the same in a pipe."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from typer.main import get_command
from typer.testing import CliRunner

from drdeploy.cli import console
from drdeploy.cli.app import build_app
from drdeploy.cli.console import (
    Column,
    Table,
    print_facts,
    print_line,
    shorten_paths_to_common_folder,
)
from drdeploy.errors import UnknownPrice
from drdeploy.grader.box import box_artifact

EXAMPLE = next((Path(__file__).parents[2] / "examples" / "photographs").glob("*.jpg"))
LONG = "photographs/of/a/camera/IDRiD_029_grade0_left.jpg"


@pytest.fixture
def terminal(monkeypatch, capsys):
    """Set the width of a terminal, and read what was printed on it; no width is a pipe."""

    def printed():
        return capsys.readouterr().out.splitlines()

    def of_width(width):
        monkeypatch.delenv("COLUMNS", raising=False)
        if width:
            monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(console, "out", Console(width=width))
        return printed

    return of_width


def table():
    made = Table([Column.of_names("file"), Column.of_numbers("grade"), Column.of_sentences("note")])
    made.add_row(LONG, "3", "a sentence that is too long for what is left of the line")
    made.add_row("b.jpg", "10", "short")
    return made


def test_a_row_is_one_line_and_fits(terminal):
    printed = terminal(60)
    table().print()
    header, rule, first, second = printed()
    assert header.split() == ["file", "grade", "note"]
    assert set(rule) == {"─"}
    assert max(map(len, (header, rule, first, second))) <= 60
    assert second.index("10") + 1 == first.index("3")


def test_a_name_loses_its_middle_and_a_sentence_its_end(terminal):
    printed = terminal(60)
    table().print()
    shown = printed()[2]
    name, sentence = shown.split("  ")[0], shown.split("  ")[-1]
    assert name.startswith("photographs")
    assert name.endswith(".jpg")
    assert "…" in name
    assert sentence.startswith("a sentence that")
    assert sentence.endswith("…")


def test_a_pipe_gets_every_name_whole(terminal):
    printed = terminal(None)
    table().print()
    print_line("a sentence that goes on " * 10)
    shown = printed()
    assert LONG in shown[2]
    assert len(shown) == 5


def test_numbers_are_never_shortened(terminal):
    printed = terminal(20)
    made = Table([Column.of_names("f"), Column.of_numbers("n")])
    made.add_row(LONG, "1234567890123")
    made.print()
    assert printed()[2].endswith("1234567890123")


def test_a_sentence_is_wrapped_between_words_and_indented(terminal):
    printed = terminal(40)
    print_line(f"The page is at {LONG}", indent=2)
    lines = printed()
    assert lines[0].startswith("  The page")
    assert all(line.startswith("    ") for line in lines[1:])
    assert LONG in " ".join(lines)


def test_values_are_aligned(terminal):
    printed = terminal(40)
    print_facts([("kappa", "0.7"), ("sensitivity", "one two three four five six seven eight")])
    lines = printed()
    assert {line.index(word) for line, word in zip(lines, ("0.7", "one"), strict=False)} == {15}
    assert lines[2].startswith(" " * 15)


def test_names_are_relative_to_the_folder_that_all_files_are_in():
    assert shorten_paths_to_common_folder(["a/b/x.jpg", "a/b/y.jpg"]) == ["x.jpg", "y.jpg"]
    assert shorten_paths_to_common_folder(["a/b/x.jpg", "a/c/y.jpg"]) == ["b/x.jpg", "c/y.jpg"]
    assert shorten_paths_to_common_folder(["/a/x.jpg", "b/y.jpg"]) == ["/a/x.jpg", "b/y.jpg"]
    assert shorten_paths_to_common_folder(["x.jpg"]) == ["x.jpg"]
    assert shorten_paths_to_common_folder([]) == []


def commands():
    """Every command as words: ``[]``, ``["image"]``, ``["image", "build"]``, ..."""
    found = [[]]
    for noun, command in get_command(build_app()).commands.items():
        found.append([noun])
        found += [[noun, verb] for verb in getattr(command, "commands", {})]
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_the_help_of_a_command_fits_80_columns(words):
    shown = CliRunner().invoke(build_app(), [*words, "--help"], terminal_width=80).output
    assert [line for line in shown.splitlines() if len(line) > 80] == []
    commands = shown.partition("Commands:")[2].splitlines()
    assert [line for line in commands if line.endswith("...")] == [], "say it in fewer words"


@pytest.mark.parametrize("width", [None, 80])
def test_a_name_with_escape_sequences_is_shown_and_not_obeyed(terminal, width):
    printed = terminal(width)
    name = "\x1b[2J\x1b]8;;evil\x07a.jpg"
    shown = Table([Column.of_names("image"), Column.of_numbers("grade")])
    shown.add_row(name, "3")
    shown.print()
    print_line(f"Graded {name}")
    print_facts([("image", name)])
    text = "\n".join(printed())
    assert "\x1b" not in text
    assert text.count(r"\x1b[2J\x1b]8;;evil\x07a.jpg") == 3


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "on device. Free space on the disk or repair the disk",
        ),
        (OSError(errno.EROFS, "Read-only file system", "a.csv"), "a.csv: Read-only file system."),
        (PermissionError(errno.EACCES, "Permission denied", "a.csv"), "a.csv: Permission denied."),
    ],
)
def test_what_a_disk_refuses_is_a_sentence(capsys, error, sentence):
    with pytest.raises(SystemExit) as end, console.print_errors_and_exit():
        raise error
    assert end.value.code == 1
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [UnknownPrice("No price"), OSError(errno.ENOSPC, "No space left on device")],
    ids=["drdeploy", "disk"],
)
def test_what_was_added_to_an_error_on_its_way_is_printed(capsys, error):
    """For example the resources that a deployment has left, and that cost money."""
    error.add_note("These resources exist now: bucket a")
    with pytest.raises(SystemExit), console.print_errors_and_exit():
        raise error
    assert "These resources exist now: bucket a" in capsys.readouterr().err


def test_an_interruption_while_the_command_is_imported_is_a_word():
    # The first import of the command's own modules is where Ctrl-C arrives.
    program = (
        "import builtins, sys, drdeploy.cli\n"
        "ordinary = builtins.__import__\n"
        "def interrupted(name, *more):\n"
        "    if name == 'drdeploy.cli.app': raise KeyboardInterrupt\n"
        "    return ordinary(name, *more)\n"
        "builtins.__import__ = interrupted\n"
        "sys.argv = ['drdeploy', 'study', 'run', 'quick']\n"
        "drdeploy.cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"interrupted\n")


def test_grading_with_a_refused_quantized_model_says_so():
    said = {}
    for precision in ("fp32", "int8"):
        words = ["grade", str(EXAMPLE), "--artifact", str(box_artifact(precision))]
        found = CliRunner().invoke(build_app(), words)
        assert found.exit_code == 0, found.output
        said[precision] = " ".join(found.stderr.split())
    assert "was refused as a replacement for the fp32 model" in said["int8"]
    assert "specificity at the high-sensitivity point" in said["int8"]
    assert "refused" not in said["fp32"]
