"""``drdeploy serve --help``.  Without ``--help`` it is answered before typer is imported."""

from __future__ import annotations

import typer

from drdeploy.hosting.serving.supervisor import help_text, main


def serve() -> None:
    """Serve a model: SageMaker's GET /ping and POST /invocations."""
    raise typer.Exit(main())


serve.__doc__ = "\b\n" + help_text()
