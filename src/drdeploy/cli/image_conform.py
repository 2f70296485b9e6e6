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
from drdeploy.cli.container_engine import find_container_engine_and_print_name
from drdeploy.cli.options import JsonOption, check_option_is_finite
from drdeploy.errors import DrdeployError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drdeploy.hosting.conformance import (
        Clause,
        ClauseFinding,
        ConformanceReport,
        HostingKind,
    )

CANNOT_RUN = 2
STYLES = {"pass": "", "fail": "bold red", "skip": "yellow", "not_applicable": "dim"}
SHORT = {"not_applicable": "n/a"}


def conform(  # noqa: PLR0917 - typer passes by name
    image: Annotated[
        str, typer.Argument(help="Name and tag of a container image in the container engine.")
    ],
    artifact: Annotated[
        Path,
        typer.Option(
            "--artifact", "-a", dir_okay=False, help="A model.tar.gz that the image can load."
        ),
    ],
    photograph: Annotated[
        Path | None,
        typer.Option(
            "--image",
            help=(
                "A photograph that the container must be able to grade; by default, a synthetic "
                "photograph."
            ),
        ),
    ] = None,
    content_type: Annotated[
        str,
        typer.Option(
            help="Content type of --image; by default, the content of the file decides, or else "
            "its name."
        ),
    ] = "",
    memory_mb: Annotated[int, typer.Option(help="Memory of each container, in MB.", min=64)] = 2048,
    cpus: Annotated[
        float,
        typer.Option(help="CPU limit of each container.", min=0.1, callback=check_option_is_finite),
    ] = 1.0,
    only: Annotated[
        list[str] | None, typer.Option(help="Check only this clause of the contract. Repeatable.")
    ] = None,
    hosting: Annotated[
        list[str] | None,
        typer.Option(
            help="Check only for this kind of hosting: real-time, serverless or batch. Repeatable. "
            "By default, check for all three."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check whether SageMaker can host a container image.

    The hosting contract is the list of everything that SageMaker requires of a container. For each
    clause of the contract, the command says whether the image meets it. The last lines say for
    which kinds of hosting the image is fit. The exit status is 1 if the image fails a clause that
    is mandatory for one of the checked kinds of hosting. It is 2 if the check cannot run. The page
    docs/reference/conformance.md lists the clauses.
    """
    with _exit_2_on_error(), _exit_through_cleanup_on_sigterm(), err.status("starting") as status:
        from drdeploy.hosting.conformance import ProbePhotograph, check_conformance

        try:
            body = ProbePhotograph.read_from_file(photograph, content_type) if photograph else None
        except OSError as error:
            what = f"The file cannot be read: {error.strerror}"
            raise InvalidInput(
                what,
                where=str(photograph),
                remedy="Give a photograph that you may read with --image",
            ) from error

        if body is not None and not body.data:
            raise InvalidInput(
                "The file is empty",
                where=str(photograph),
                remedy="Give a photograph that the container must be able to grade with --image",
            )

        def show_title_of_clause(clause: Clause) -> None:
            status.update(escape(clause.title))

        report = check_conformance(
            image,
            artifact,
            photograph=body,
            engine=find_container_engine_and_print_name(),
            memory_mb=memory_mb,
            cpus=cpus,
            only=only or (),
            hosting=hosting or (),
            begin=show_title_of_clause,
            end=(lambda _: None) if as_json else _print_clause_finding,
        )
    if as_json:
        print_json(report.document())
    else:
        print_line(report.summary)
        for kind in report.hosting:
            _print_verdict_on_hosting(report, kind)
    if not report.conforms:
        raise typer.Exit(1)


def _print_clause_finding(finding: ClauseFinding) -> None:
    outcome, clause = str(finding.verdict.outcome), finding.clause
    print_line(
        f"{SHORT.get(outcome, outcome):4}  {clause.highest_severity:8}  {clause.id:24}  "
        f"{finding.verdict.evidence}",
        style=STYLES[outcome],
        hang=6,
    )


def _print_verdict_on_hosting(report: ConformanceReport, kind: HostingKind) -> None:
    """Print whether the image conforms for a kind of hosting, and which clauses it fails."""
    from drdeploy.hosting.conformance import Severity

    failed = report.failed(Severity.MUST, kind)
    advice = report.failed(Severity.SHOULD, kind)
    print_line(
        f"{kind:10}  {'does not conform: ' + ', '.join(failed) if failed else 'conforms'}"
        f"{'; advice: ' + ', '.join(advice) if advice else ''}",
        style=STYLES["fail" if failed else "pass"],
        hang=6,
    )


@contextmanager
def _exit_2_on_error() -> Iterator[None]:
    """Change the exit status of errors to 2, because status 1 means that a clause failed."""
    try:
        yield
    except DrdeployError as error:
        error.exit_status = CANNOT_RUN
        raise


@contextmanager
def _exit_through_cleanup_on_sigterm() -> Iterator[None]:
    """Handle SIGTERM like Ctrl-C, so that no container is left behind."""
    before = {
        number: signal.signal(number, lambda number, _: sys.exit(128 + number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
