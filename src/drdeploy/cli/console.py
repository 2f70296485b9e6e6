"""What every command shares: where output goes, ``--json``, errors as sentences."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from drdeploy.errors import DrdeployError

if TYPE_CHECKING:
    from collections.abc import Iterator

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON on standard output.")
]

out = Console()
err = Console(stderr=True)
"""Progress, notes and errors.  Standard output carries results alone."""


def print_json(value: Any) -> None:
    """Print one JSON document to standard output, never wrapped or coloured."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def print_line(text: str) -> None:
    """Print text to standard output as it is: never wrapped, coloured or read as markup."""
    out.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def friendly_errors() -> Iterator[None]:
    """Turn an error that a user can meet into one message and its exit status.

    These are a :class:`DrdeployError`, and a file that the system does not let us use.
    """
    try:
        yield
    except DrdeployError as error:
        _print_error(error.code, str(error))
        raise SystemExit(error.exit_status) from None
    except OSError as error:
        if not error.filename:
            raise
        _print_error(type(error).__name__, f"{error.filename}: {error.strerror}.")
        raise SystemExit(1) from None


def _print_error(code: str, sentence: str) -> None:
    err.print(f"[bold red]error[/] ({code}): ", end="")
    err.print(sentence, markup=False, highlight=False, soft_wrap=True)
