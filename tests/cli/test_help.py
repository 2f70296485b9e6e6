"""What the help of commands says."""

import pytest
from typer.main import get_command

from drdeploy.cli.app import build_app


def groups_below(command, words=()):
    """Yield each group of commands: the words that name it, and its commands."""
    commands = getattr(command, "commands", None)
    if commands is not None:
        yield words, list(commands)
        for name, below in commands.items():
            yield from groups_below(below, (*words, name))


COMMAND = get_command(build_app())
GROUPS = dict(groups_below(COMMAND))


@pytest.mark.parametrize("words", GROUPS, ids=" ".join)
def test_the_line_about_a_command_fits_a_terminal_of_80_columns(words, monkeypatch, capsys):
    # Not with CliRunner, which makes the page wider than a terminal of 80 columns does.
    monkeypatch.setenv("COLUMNS", "80")
    COMMAND([*words, "--help"], "drdeploy", standalone_mode=False)
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    sentences = {first: rest[-1] for first, *rest in filter(None, lines) if rest}
    assert {name for name in GROUPS[words] if sentences[name].endswith("...")} == set()


def test_groups_inside_groups_are_looked_at():
    assert {(), ("clinic",), ("clinic", "account")} <= GROUPS.keys()
