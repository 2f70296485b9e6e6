"""``drdeploy grade``: grade photographs on this machine, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer
from rich.progress import Progress

from drdeploy.cli.console import JsonOption, err, print_json
from drdeploy.cli.grade_rows import (
    Order,
    Row,
    as_document,
    grade_one,
    in_order,
    print_table,
    write_csv,
)
from drdeploy.errors import InvalidInput
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE
from drdeploy.grader.runtimes.protocol import RuntimeName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.grader.inference import InferenceService

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff"})
"""What is taken from a folder.  A file that is named is tried whatever it is called."""


def grade(
    images: Annotated[
        list[Path], typer.Argument(help="Photographs, and folders that hold photographs.")
    ],
    *,
    artifact: Annotated[
        Path | None,
        typer.Option(
            "--artifact",
            "-a",
            help="A model.tar.gz, or its extracted folder; without, the grader in the box.",
        ),
    ] = None,
    runtime: Annotated[
        RuntimeName | None, typer.Option(help="The one that fits the model's format by default.")
    ] = None,
    sort: Annotated[
        str, typer.Option(help="input, or severity: the eyes to look at first come first.")
    ] = "input",
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Write the rows to this CSV file as well.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Grade photographs on this machine.

    Every input has a row. A photograph too poor to grade says why and needs a human; a file
    that is no photograph at all makes the exit status 1.  For research use. Not a medical
    device.
    """
    check_writable(csv_file)
    order = _order(sort)
    service = _load(artifact, runtime)
    manifest = service.classifier.artifact.manifest
    if order == "severity" and not manifest.is_icdr:
        raise InvalidInput(
            "Only the grades of an ICDR grader have a severity",
            where="--sort",
            remedy="Leave --sort out",
        )
    rows = in_order(with_progress(service, find_images(images)), order)
    if as_json:
        print_json(as_document(rows, manifest.classes))
    else:
        print_table(rows, order)
    if csv_file is not None:  # last: what cannot be written has been shown
        write_csv(csv_file, rows, manifest.classes)
    failed = sum(bool(row.error) for row in rows)
    refused = sum(row.gradable is False for row in rows)
    err.print(
        f"{len(rows) - failed - refused} graded, {refused} need a human, {failed} failed. "
        f"{RESEARCH_USE_NOTICE}"
    )
    if failed:
        raise typer.Exit(1)


def _order(name: str) -> Order:
    if name not in get_args(Order):
        raise InvalidInput(
            f"Rows cannot be sorted by '{name}'",
            where="--sort",
            remedy=f"Choose from {', '.join(get_args(Order))}",
        )
    return cast("Order", name)


def _load(artifact: Path | None, runtime: RuntimeName | None) -> InferenceService:
    from drdeploy.grader.box import box_artifact
    from drdeploy.grader.inference import InferenceService

    model = artifact or box_artifact()
    if not model.exists():
        raise InvalidInput("There is no such artifact", where=str(model))
    return InferenceService.load(model, runtime=runtime)


def find_images(inputs: Sequence[Path]) -> list[Path]:
    """The named files, and below each folder every file that has an image's suffix."""
    found: list[Path] = []
    for path in inputs:
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(
            file
            for file in path.rglob("*")
            if file.suffix.lower() in IMAGE_SUFFIXES and not file.is_dir()
        )
        found += inside or [path]  # an empty folder has a row of its own
    return list(dict.fromkeys(found))


def with_progress(service: InferenceService, paths: Sequence[Path]) -> list[Row]:
    """A row for every path; progress goes to standard error."""
    with Progress(console=err, transient=True) as progress:
        return [grade_one(service, path) for path in progress.track(paths, description="grading")]


def check_writable(path: Path | None) -> None:
    """Say so before an hour of grading, not after it."""
    if path is not None and not path.parent.is_dir():
        raise InvalidInput("There is no such folder", where=str(path.parent))
