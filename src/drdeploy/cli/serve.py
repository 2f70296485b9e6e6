"""``drdeploy serve --help``.  Without ``--help`` it is answered before typer is imported."""

from __future__ import annotations

import textwrap

import typer

from drdeploy.hosting.serving.supervisor import help_text, main

WIDTH = 76
"""click indents the help of a command by two of 80 columns."""


def serve() -> None:
    """Serve a model: SageMaker's GET /ping and POST /invocations."""
    raise typer.Exit(main())


def _as_help(text: str) -> str:
    paragraphs = [
        "\n".join(
            textwrap.fill(line, WIDTH, subsequent_indent=" " * 8) for line in one.splitlines()
        )
        for one in text.split("\n\n")
    ]
    # \b keeps click from joining the lines of a paragraph.
    return "\n\n".join(f"\b\n{paragraph}" for paragraph in paragraphs)


serve.__doc__ = _as_help(help_text())
