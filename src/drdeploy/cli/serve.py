"""``drdeploy serve --help``.  Without ``--help`` it is answered before typer is imported."""

from __future__ import annotations

import textwrap

import typer

from drdeploy.hosting.serving.supervisor import help_text, main

WIDTH = 76
"""click indents the help of a command by two of 80 columns."""


def serve() -> None:
    """Answer GET /ping and POST /invocations, as SageMaker asks."""
    raise typer.Exit(main())


def _settings() -> str:
    """Return the server's own help on its settings, laid out for click."""
    _, _, text = help_text().partition("\n\n")
    lines = [textwrap.fill(line, WIDTH, subsequent_indent=" " * 8) for line in text.splitlines()]
    # \b keeps click from joining the lines of a paragraph.
    return "\b\n" + "\n".join(lines).replace("\n\n", "\n\n\b\n")


serve.__doc__ = f"{serve.__doc__}\n\n{_settings()}"
