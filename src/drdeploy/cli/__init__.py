"""The command line, ``drdeploy NOUN VERB``, with one or more files for the commands of each noun.

``drdeploy serve`` starts the model server without importing the other commands, because every
import would make a cold start slower.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from drdeploy.errors import INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Sequence


def main() -> None:
    """Run the command line with the arguments of this process."""
    try:
        _run_command_line(sys.argv[1:])
    except KeyboardInterrupt:
        # Ctrl-C came during the imports. A command that is already running prints a message of its
        # own.
        sys.stderr.write("interrupted\n")
        raise SystemExit(INTERRUPTED) from None


def _run_command_line(words: Sequence[str]) -> None:
    if words[:1] == ["serve"] and "--help" not in words:
        raise SystemExit(_run_server_without_typer(words))

    from drdeploy.cli.app import build_app
    from drdeploy.cli.console import print_errors_and_exit
    from drdeploy.cli.extras import check_extras_and_system_of_command
    from drdeploy.hosting.serving.settings import refuse_unknown_variables

    with print_errors_and_exit():
        _refuse_empty_words(words)
        refuse_unknown_variables(os.environ)
        check_extras_and_system_of_command(words)
        build_app()()


def _refuse_empty_words(words: Sequence[str]) -> None:
    """Refuse an empty argument, which is nearly always a shell variable without a value.

    As a path, an empty argument would mean the current folder.

    Raises:
        InvalidInput: An argument, or the value of an option, is empty.
    """
    from drdeploy.errors import InvalidInput

    for place, word in enumerate(words):
        option, separator, value = word.partition("=")  # a value may end with "=" itself
        is_empty_option = word.startswith("--") and bool(separator) and not value
        if not word or is_empty_option:
            before = words[place - 1] if place else ""
            where = option or (before if before.startswith("-") else f"argument {place + 1}")
            raise InvalidInput(
                "The value is empty",
                where=where,
                remedy="Check that every shell variable in the command has a value",
            )


def _run_server_without_typer(words: Sequence[str]) -> int:
    from drdeploy.cli.extras import check_extras_and_system_of_command
    from drdeploy.errors import DrdeployError

    try:
        _refuse_empty_words(words)
        check_extras_and_system_of_command(words)
    except DrdeployError as error:
        sys.stderr.write(f"error ({error.code}): {error}\n")
        return error.exit_status

    from drdeploy.hosting.serving.supervisor import main as serve

    return serve(words[1:])
