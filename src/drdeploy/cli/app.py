"""List the nouns and the commands without a noun, and build the command line from their files."""

from __future__ import annotations

import importlib
from typing import Annotated

import typer

from drdeploy.version import VERSION

NOUNS: dict[str, str] = {
    "model": "Train, evaluate and convert graders.",
    "dataset": "Look at labelled photographs.",
    "archive": "Grade millions of photographs on a machine or a cluster.",
    "clinic": "Fetch and grade patients' photographs, and say who is referred.",
    "artifact": "Pack, inspect and verify a model.tar.gz.",
    "image": "Build, check and measure container images.",
    "local": "Run a SageMaker-compatible service on this machine.",
    "endpoint": "Deploy, list, invoke and delete endpoints.",
    "batch": "Grade photographs with Batch Transform.",
    "study": "Plan, run and follow a study.",
    "prices": "Show and update the price sheet, and price a Terraform plan.",
}
"""The nouns of ``drdeploy NOUN VERB``, each with its help. The verbs of NOUN are in
``drdeploy.cli.NOUN.app``.
"""

COMMANDS = ("capacity", "grade", "names", "recommend", "report", "reproduce", "serve")
"""Commands without a noun. The command NAME is the function ``drdeploy.cli.NAME.NAME``."""


def build_app() -> typer.Typer:
    """Build the command line from the files of this package."""
    app = typer.Typer(
        name="drdeploy",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # boxes leave too little room for the help
        help="Decide how to host a diabetic-retinopathy grader: measure every way of hosting, "
        "price it, and choose. For research use; not a medical device.",
    )
    app.callback()(_handle_root_options)
    for noun, help_text in NOUNS.items():
        app.add_typer(
            importlib.import_module(f"drdeploy.cli.{noun}").app, name=noun, help=help_text
        )
    for name in COMMANDS:
        app.command(name)(getattr(importlib.import_module(f"drdeploy.cli.{name}"), name))
    return app


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"drdeploy {VERSION}")
        raise typer.Exit


def _handle_root_options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and stop."
        ),
    ] = False,
) -> None:
    del version
