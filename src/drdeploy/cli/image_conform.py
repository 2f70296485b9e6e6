"""``drdeploy image conform``: check any image against the hosting contract."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from drdeploy.cli.console import err, out, print_json
from drdeploy.cli.options import JsonOption
from drdeploy.errors import DrdeployError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drdeploy.hosting.conformance import Clause, ClauseFinding, ProbePhotograph

CANNOT_RUN = 2
COLOURS = {"pass": "green", "fail": "bold red", "skip": "yellow", "not_applicable": "dim"}
SHORT = {"not_applicable": "n/a"}


def conform(  # noqa: PLR0917 - typer passes by name
    image: Annotated[str, typer.Argument(help="Name and tag of any image that the engine holds.")],
    artifact: Annotated[
        Path, typer.Option("--artifact", "-a", help="A model.tar.gz that the image can load.")
    ],
    photograph: Annotated[
        Path | None,
        typer.Option("--image", help="A body that it can answer; none: a painted photograph."),
    ] = None,
    content_type: Annotated[
        str, typer.Option(help="Of that body; else told from the file's name.")
    ] = "",
    memory_mb: Annotated[int, typer.Option(help="Memory of each container.", min=64)] = 2048,
    cpus: Annotated[float, typer.Option(help="CPU limit of each container.", min=0.1)] = 1.0,
    only: Annotated[
        list[str] | None, typer.Option(help="Judge this clause alone; may be repeated.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check any image against the whole hosting contract, clause by clause.

    The exit status is 1 if a clause that must be kept is failed, and 2 if the check cannot run.
    docs/reference/conformance.md lists the clauses.
    """
    with _cannot_run(), _terminable(), err.status("starting") as status:
        from drdeploy.hosting.conformance import check_conformance

        body = _photograph(photograph, content_type)

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
            end=_ignore if as_json else _print,
        )
    if as_json:
        print_json(report.document())
    else:
        out.print(report.summary, highlight=False, soft_wrap=True)
    if not report.conforms:
        raise typer.Exit(1)


def _photograph(path: Path | None, content_type: str) -> ProbePhotograph:
    from drdeploy.hosting.conformance import ProbePhotograph

    if path is None:
        return ProbePhotograph.synthetic()
    try:
        return ProbePhotograph.read(path, content_type)
    except OSError as error:
        raise InvalidInput(f"It cannot be read: {error.strerror}", where=str(path)) from error


def _print(finding: ClauseFinding) -> None:
    outcome, clause = str(finding.verdict.outcome), finding.clause
    told = f"[{COLOURS[outcome]}]{SHORT.get(outcome, outcome):4}[/]"
    line = f"{told}  {clause.severity:8}  {clause.id:24}  {escape(finding.verdict.evidence)}"
    out.print(line, highlight=False, soft_wrap=True)


def _ignore(finding: ClauseFinding) -> None:
    del finding


@contextmanager
def _cannot_run() -> Iterator[None]:
    """Any error means that there is no verdict; status 1 is one."""
    try:
        yield
    except DrdeployError as error:
        error.exit_status = CANNOT_RUN
        raise


@contextmanager
def _terminable() -> Iterator[None]:
    """Unwind on SIGTERM as on Control-C, so that no container stays behind; 1 is a verdict."""
    before = {number: signal.signal(number, _end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, frame: object) -> None:
    del frame
    sys.exit(128 + number)
