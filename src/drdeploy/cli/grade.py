"""``drdeploy grade``: grade photographs on this machine, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from drdeploy.cli.console import err, print_json, print_line
from drdeploy.cli.grade_rows import Order, as_document, grade_one, in_order, print_table, write_csv
from drdeploy.cli.options import ArtifactOption, CsvOption, JsonOption, RuntimeOption
from drdeploy.errors import InvalidInput
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE

if TYPE_CHECKING:
    from collections.abc import Sequence

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff"})
"""What is taken from a folder.  A file that is named is tried whatever it is called."""


def grade(
    images: Annotated[
        list[Path], typer.Argument(help="Photographs, and folders that hold photographs.")
    ],
    *,
    artifact: ArtifactOption = None,
    runtime: RuntimeOption = None,
    sort: Annotated[
        Order, typer.Option(help="`severity` puts the eyes that an ophthalmologist must see first.")
    ] = "input",
    csv_file: CsvOption = None,
    as_json: JsonOption = False,
) -> None:
    """Grade photographs on this machine.

    Every file has a row. A photograph that is too poor to grade needs a human, and the reason is
    given. A file that is not a photograph makes the exit status 1.

    For research use. Not a medical device.
    """
    from drdeploy.grader.box import box_artifact
    from drdeploy.grader.inference import InferenceService

    if csv_file is not None and not csv_file.parent.is_dir():  # before an hour of grading
        raise InvalidInput("There is no such folder", where=str(csv_file.parent))
    model = artifact or box_artifact()
    if not model.exists():
        raise InvalidInput("There is no such artifact", where=str(model))
    service = InferenceService.load(model, runtime=runtime)
    manifest = service.classifier.artifact.manifest
    if sort == "severity" and not manifest.is_icdr:
        raise InvalidInput(
            "This model does not grade retinopathy, so its answers have no severity",
            where="--sort",
            remedy="Leave --sort out",
        )
    with Progress(console=err, transient=True) as progress:
        paths = progress.track(find_images(images), description="grading")
        rows = in_order([grade_one(service, path) for path in paths], sort)
    if as_json:
        print_json(as_document(rows, manifest.classes))
    else:
        print_table(rows, sort)
    if csv_file is not None:  # last: what cannot be written has been shown
        write_csv(csv_file, rows, manifest.classes)
    failed = sum(bool(row.error) for row in rows)
    refused = sum(row.gradable is False for row in rows)
    print_line(
        f"{len(rows) - failed - refused} graded, {refused} need a human, {failed} failed. "
        f"{RESEARCH_USE_NOTICE}",
        to=err,
    )
    if failed:
        raise typer.Exit(1)


def find_images(inputs: Sequence[Path]) -> list[Path]:
    """Return the files that are named, and in each folder every file with an image's suffix."""
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
        found += inside or [path]  # a folder without images has a row that says so
    return list(dict.fromkeys(found))
