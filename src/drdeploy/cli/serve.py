"""The help text of ``drdeploy serve``.

The server itself starts without this module, because importing typer would slow down its start.
"""

from __future__ import annotations

import textwrap

import typer

from drdeploy.hosting.serving.supervisor import main, make_help_text

WIDTH = 76
"""How many characters a line of the help text may have, so that it fits into 80 columns between
click's margins.
"""


def serve() -> None:
    """Answer GET /ping and POST /invocations, as SageMaker requires."""
    raise typer.Exit(main())


def _make_help_on_settings() -> str:
    """Return the server's help on its settings, with line breaks that click keeps."""
    _, _, text = make_help_text().partition("\n\n")
    lines = [textwrap.fill(line, WIDTH, subsequent_indent=" " * 8) for line in text.splitlines()]
    # \b keeps click from joining the lines of a paragraph.
    return "\b\n" + "\n".join(lines).replace("\n\n", "\n\n\b\n")


serve.__doc__ = f"{serve.__doc__}\n\n{_make_help_on_settings()}"
