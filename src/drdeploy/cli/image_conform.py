"""``drdeploy image conform``: check any image against the hosting contract."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from drdeploy.cli.console import err, print_json, print_line
from drdeploy.cli.options import JsonOption
from drdeploy.errors import DrdeployError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drdeploy.hosting.conformance import Clause, ClauseFinding

CANNOT_RUN = 2
STYLES = {"pass": "", "fail": "bold red", "skip": "yellow", "not_applicable": "dim"}
SHORT = {"not_applicable": "n/a"}


def conform(  # noqa: PLR0917 - typer passes by name
    image: Annotated[str, typer.Argument(help="Name and tag of an image in the container engine.")],
    artifact: Annotated[
        Path, typer.Option("--artifact", "-a", help="A model.tar.gz that the image can load.")
    ],
    photograph: Annotated[
        Path | None,
        typer.Option(
            "--image",
            help="A request body that the image can answer. By default, a synthetic photograph.",
        ),
    ] = None,
    content_type: Annotated[
        str, typer.Option(help="Content type of --image. By default, its name decides.")
    ] = "",
    memory_mb: Annotated[int, typer.Option(help="Memory of each container, in MB.", min=64)] = 2048,
    cpus: Annotated[float, typer.Option(help="CPU limit of each container.", min=0.1)] = 1.0,
    only: Annotated[
        list[str] | None, typer.Option(help="Check this clause only. Repeatable.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check any image against SageMaker's hosting contract.

    Each clause is checked on containers of the image. The exit status is 1 if the image fails a
    clause that it must keep, and 2 if the check cannot run. docs/reference/conformance.md lists
    the clauses.
    """
    with _cannot_run(), _terminable(), err.status("starting") as status:
        from drdeploy.hosting.conformance import ProbePhotograph, check_conformance

        try:
            body = ProbePhotograph.read(photograph, content_type) if photograph else None
        except OSError as error:
            what = f"The file cannot be read: {error.strerror}"
            raise InvalidInput(what, where=str(photograph)) from error

        def begin(clause: Clause) -> None:
            status.update(escape(clause.title))

        report = check_conformance(
            image,
            artifact,
            photograph=body,
            memory_mb=memory_mb,
            cpus=cpus,
            only=only or (),
            begin=begin,
            end=(lambda _: None) if as_json else _print,
        )
    if as_json:
        print_json(report.document())
    else:
        print_line(report.summary)
    if not report.conforms:
        raise typer.Exit(1)


def _print(finding: ClauseFinding) -> None:
    outcome, clause = str(finding.verdict.outcome), finding.clause
    print_line(
        f"{SHORT.get(outcome, outcome):4}  {clause.severity:8}  {clause.id:24}  "
        f"{finding.verdict.evidence}",
        style=STYLES[outcome],
        hang=6,
    )


@contextmanager
def _cannot_run() -> Iterator[None]:
    """Give every error status 2: status 1 is a verdict."""
    try:
        yield
    except DrdeployError as error:
        error.exit_status = CANNOT_RUN
        raise


@contextmanager
def _terminable() -> Iterator[None]:
    """Unwind on SIGTERM as on Ctrl-C, so that no container is left behind."""
    before = {
        number: signal.signal(number, lambda number, _: sys.exit(128 + number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
