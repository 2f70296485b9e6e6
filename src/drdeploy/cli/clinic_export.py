"""``drdeploy clinic export``: write photographs and grades without the patients' identities."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.progress import Progress

from drdeploy.cli.clinic_records import open_records
from drdeploy.cli.console import err, print_line, print_note
from drdeploy.cli.options import DatabaseOption, RecordsArgument
from drdeploy.errors import format_count


def export_deidentified(
    records: RecordsArgument,
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="New or empty folder for the export.", show_default=False
        ),
    ],
    *,
    file_format: Annotated[
        Literal["dicom", "jpeg"],
        typer.Option("--format", help="Write photographs as DICOM files, or as JPEG files."),
    ] = "dicom",
    database: DatabaseOption = None,
) -> None:
    """Export photographs, grades and decisions without identities.

    Each DICOM file is written anew, and keeps only a few data elements, chosen by the basic profile
    of DICOM PS3.15. JPEG files have no metadata. Two tables name patients, studies and photographs
    by keyed hashes. Each date is moved by a secret number of days, which is the same for all dates
    of a patient. The command does not search the pixels for text, such as a name: look at the
    photographs before you pass them on. The export is recorded in the audit log. The exit status is
    1 if a photograph is left out.

    For research use. Not a medical device.
    """
    from drdeploy.clinic.deidentified_export import DeidentifiedExport, check_export_folder

    folder = folder.resolve()  # a link or "." could not be replaced at the end
    check_export_folder(folder)
    opened = open_records(records, database)
    studies = opened.load_studies_with_photographs()
    folder.parent.mkdir(parents=True, exist_ok=True)
    # The export is written to a temporary folder and renamed at the end, so that an incomplete
    # export never has the given name.
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        with Progress(console=err, transient=True) as progress:
            task = progress.add_task("exporting", total=len(studies))
            export = DeidentifiedExport(opened, draft, file_format)
            counts = export.write_studies(studies, lambda: progress.advance(task))
        draft.replace(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        opened.close()
    print_line(f"{counts.description} written into {folder}.")
    print_note(
        "the pixels were not searched for text, such as a name; look at the photographs before "
        "you pass them on"
    )
    for count, why in (
        (counts.with_writing, "the DICOM header says that the pixels contain text"),
        (counts.undecodable, "the content cannot be read or decoded"),
    ):
        if count:
            print_note(f"{why}: {format_count(count, 'file')} left out")
    if counts.with_writing or counts.undecodable:
        raise typer.Exit(1)
