"""Write the reference pages of ``docs/reference`` from the code; a test keeps them in step."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from typer.cli import get_docs_for_click
from typer.main import get_command

from drdeploy.cli.app import build_app

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "reference"
NOTE = "<!-- Written by scripts/write_reference.py (`make docs`); do not edit. -->\n\n"


def command_line() -> str:
    """Help of every command, as Markdown."""
    command = get_command(build_app())
    context = command.make_context("drdeploy", [], resilient_parsing=True)
    return NOTE + get_docs_for_click(obj=command, ctx=context, name="drdeploy")


def measurement_columns() -> str:
    """The columns of ``measurements.csv``."""
    from drdeploy.study.measurements.measurement import Measurement

    names = [f"`{field.name}`" for field in dataclasses.fields(Measurement)]
    text = (Measurement.__doc__ or "").strip()
    columns = f"Columns, in order: {', '.join(names)}."
    return f"{NOTE}# measurements.csv\n\n{columns}\n\n```text\n{text}\n```\n"


def contract_clauses() -> str:
    """The clauses of ``drdeploy image conform``."""
    from drdeploy.hosting.conformance import CLAUSES, Severity

    intro = (
        "# Clauses of the hosting contract\n\n"
        "`drdeploy image conform` judges them in this order. An image that fails one that it "
        f"`{Severity.MUST}` keep does not conform (exit status 1); one that it "
        f"`{Severity.SHOULD}` keep costs its clients or operators something; the rest is for "
        "information. Practice is what AWS writes nowhere: learned from containers that failed."
        "\n\n| clause | severity | it says | source |\n|---|---|---|---|\n"
    )
    rows = (f"| `{one.id}` | {one.severity} | {one.title} | {one.source} |\n" for one in CLAUSES)
    return NOTE + intro + "".join(rows)


PAGES = {
    "command-line.md": command_line,
    "conformance.md": contract_clauses,
    "measurements.md": measurement_columns,
}


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, write in PAGES.items():
        (FOLDER / name).write_text(write())
        sys.stdout.write(f"wrote docs/reference/{name}\n")
