"""``drdeploy clinic pull``: fetch photographs from an archive."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from datetime import datetime
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from drdeploy.cli.console import err, print_line, print_note
from drdeploy.cli.options import DatabaseOption, refuse_options_without_effect
from drdeploy.errors import ClinicError, InvalidInput, RequestRefused, format_count
from drdeploy.files import delete_abandoned_temporary_files, write_file_atomically
from drdeploy.units import GIB

if TYPE_CHECKING:
    from drdeploy.clinic.dicomweb_retrieval import ArchivedFile
    from drdeploy.clinic.records import ClinicRecords

_Day = datetime | None


def pull(
    context: typer.Context,
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL",
            help="Base address of the DICOMweb service of an archive.",
            show_default=False,
        ),
    ],
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder for the DICOM files, which name the patients.", file_okay=False
        ),
    ],
    *,
    since: Annotated[
        _Day, typer.Option(formats=["%Y-%m-%d"], help="First day of the studies.")
    ] = None,
    until: Annotated[
        _Day, typer.Option(formats=["%Y-%m-%d"], help="Last day of the studies.")
    ] = None,
    station: Annotated[
        str, typer.Option(help="Station name of the camera; by default, every camera.")
    ] = "",
    worklist: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="File with a patient's number in each line; only photographs of these patients "
            "are fetched.",
        ),
    ] = None,
    modality: Annotated[
        str, typer.Option(help="Modality of the series: OP is ophthalmic photography.")
    ] = "OP",
    limit: Annotated[
        int,
        typer.Option(
            min=1,
            help="Largest number of files to fetch, including those that are there already.",
        ),
    ] = 10_000,
    records: Annotated[
        Path | None,
        typer.Option(
            file_okay=False,
            help=(
                "Put the photographs into the clinic's records in this folder, where `clinic "
                "serve` or `clinic listen` grades them. The folder is made if it does not "
                "exist."
            ),
        ),
    ] = None,
    database: DatabaseOption = None,
) -> None:
    """Fetch photographs from a clinic's image archive.

    The photographs are written into a folder. With `--records`, they go into the clinic's records
    instead, and so into the worklist. Only files that the records refuse are then written into the
    folder. Studies that were erased from the records are not added again. A file that is already in
    the folder or in the records is not fetched again, so an interrupted command continues where it
    stopped. The command ends when the disk has less than 1 GiB of free space. Files are named by a
    hash. The exit status is 1 if a file cannot be fetched or added to the records, or if the
    archive has more files than --limit.
    """
    from drdeploy.clinic.dicomweb_retrieval import (
        PhotographQuery,
        list_archived_files,
        read_patients,
    )
    from drdeploy.clinic.http_exchange import check_server_url

    if records is None:
        refuse_options_without_effect(
            context, ["database"], why="without --records", remedy="add --records"
        )
    check_server_url(url, option="URL")
    if since is not None and until is not None and since > until:
        raise InvalidInput(
            "The first day is after the last day",
            where="--since, --until",
            remedy="Give an earlier day with --since, or a later one with --until",
        )
    query = PhotographQuery(
        first=None if since is None else since.date(),
        last=None if until is None else until.date(),
        station=station,
        modality=modality,
    )
    patients = [""] if worklist is None else read_patients(worklist)
    folder.mkdir(parents=True, exist_ok=True)
    delete_abandoned_temporary_files(folder)
    # Without a list, the query has an empty patient number, which stands for every patient.
    listed = (list_archived_files(url, replace(query, patient=one)) for one in patients)
    with err.status("Asking the archive for its photographs"):
        found = list(islice(chain.from_iterable(listed), limit + 1))
    opened = None if records is None else _open_records(records, database)
    counts: Counter[str] = Counter()
    with Progress(console=err, transient=True) as progress:
        for one in progress.track(found[:limit], description="fetching"):
            problem = _pull_file(url, one, folder / one.file_name, opened, counts)
            if problem:
                counts["failed"] += 1
                print_line(f"{one.file_name}: {problem}", style="red", to=err)
    print_line(
        f"{format_count(counts['fetched'], 'file')} fetched{'' if opened else f' into {folder}'}, "
        f"{counts['there']} there already, {counts['failed']} failed.",
        to=err,
    )
    if opened is not None:
        print_line(f"New in the records: {format_count(counts['new'], 'photograph')}.", to=err)
        if counts["erased"]:
            print_note(
                "photographs that are not added again, because their studies were erased from the "
                f"records: {counts['erased']}"
            )
        opened.close()
    missing = {*patients} - {one.patient for one in found} if worklist is not None else ()
    if missing and len(found) <= limit:
        print_note(
            f"for {format_count(len(missing), 'patient')} in {worklist}, the archive lists no "
            "photograph"
        )
    if len(found) > limit:
        print_note(
            f"the archive has more than {limit} files for this query; raise --limit, or ask for "
            "fewer days with --since and --until"
        )
    if counts["failed"] or len(found) > limit:
        raise typer.Exit(1)


def _pull_file(
    url: str,
    archived: ArchivedFile,
    file: Path,
    records: ClinicRecords | None,
    counts: Counter[str],
) -> str:
    """Fetch a file if it is missing, and put it into the records, if possible, or into the folder.

    Returns:
        The problem with the file, as a sentence; empty if there is none.
    """
    from drdeploy.clinic.dicomweb_retrieval import fetch_archived_file, find_wrong_patient

    if records is not None and records.has_photograph(archived.instance):
        counts["there"] += 1
        return ""
    if is_there := file.exists():
        there = file.read_bytes()
        content: bytes | str = find_wrong_patient(archived, there) or there
        counts["there"] += 1
    else:
        _refuse_full_disk(file.parent)
        content = fetch_archived_file(url, archived)
        counts["fetched"] += isinstance(content, bytes)
    if isinstance(content, str):
        return content
    problem = "" if records is None else _add_to_records(records, content, counts)
    # A photograph that the records hold is not written to the folder too: an erasure would not
    # delete that copy.
    if not is_there and (records is None or problem):
        write_file_atomically(file, content)
    return problem


def _open_records(folder: Path, database: str | None) -> ClinicRecords:
    from drdeploy.clinic.records import ClinicRecords
    from drdeploy.photograph_names import PhotographNames

    os.umask(0o077)
    names = PhotographNames.with_user_key()
    return ClinicRecords.open(folder, names=names, database=database, who="clinic pull")


def _add_to_records(records: ClinicRecords, content: bytes, counts: Counter[str]) -> str:
    """Add a photograph; return why it cannot be added, or an empty text."""
    from drdeploy.clinic.page.photographs import DetailsMissing, StudyErased, receive_photograph

    try:
        counts["new"] += receive_photograph(records, content, may_be_erased=False)
    except StudyErased:
        counts["erased"] += 1
    except DetailsMissing:
        return "The file does not say which eye it shows."
    except RequestRefused as error:
        return error.sentence
    return ""


def _refuse_full_disk(folder: Path) -> None:
    from drdeploy.clinic.disk_space import FREE_BYTES_MIN, is_disk_too_full_for_photograph

    if is_disk_too_full_for_photograph(folder):
        raise ClinicError(
            f"The disk has less than {FREE_BYTES_MIN / GIB:g} GiB of free space",
            where=str(folder),
            remedy="Free some space, and run the same command again: it continues where it stopped",
        )
