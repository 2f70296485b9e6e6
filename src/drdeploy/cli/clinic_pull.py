"""``drdeploy clinic pull``: fetch photographs from an archive."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from drdeploy.cli.console import err, print_line, print_note
from drdeploy.errors import ClinicError, InvalidInput
from drdeploy.files import delete_abandoned_temporary_files, write_file_atomically

_Day = datetime | None


def pull(
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
    modality: Annotated[
        str, typer.Option(help="Modality of the series: OP is ophthalmic photography.")
    ] = "OP",
    limit: Annotated[
        int, typer.Option(min=1, help="The largest number of files in the folder from this query.")
    ] = 10_000,
) -> None:
    """Fetch photographs from an archive into a folder.

    A file that is in the folder is not fetched again, so that an interrupted pull continues
    where it was. It ends when the disk has less than 1 GiB of free space. Files are named by a
    hash. The exit status is 1 if a file cannot be fetched, or if the archive has more files than
    the limit.
    """
    from drdeploy.clinic.retrieval import (
        PhotographQuery,
        fetch_archived_file,
        list_archived_files,
    )
    from drdeploy.clinic.server import check_server_url

    check_server_url(url, option="URL")
    if since is not None and until is not None and since > until:
        raise InvalidInput("The first day is after the last day", where="--since")
    query = PhotographQuery(
        first=None if since is None else since.date(),
        last=None if until is None else until.date(),
        station=station,
        modality=modality,
    )
    folder.mkdir(parents=True, exist_ok=True)
    delete_abandoned_temporary_files(folder)
    found = list(islice(list_archived_files(url, query), limit + 1))
    wanted = [one for one in found[:limit] if not (folder / one.file_name).exists()]
    failures = 0
    with Progress(console=err, transient=True) as progress:
        for one in progress.track(wanted, description="fetching"):
            _refuse_full_disk(folder)
            content = fetch_archived_file(url, one)
            if isinstance(content, str):
                failures += 1
                print_line(f"{one.file_name}: {content}", style="red", to=err)
            else:
                write_file_atomically(folder / one.file_name, content)
    print_line(
        f"{len(wanted) - failures} files fetched into {folder}, "
        f"{len(found[:limit]) - len(wanted)} were there already, {failures} failed.",
        to=err,
    )
    if len(found) > limit:
        print_note(f"the archive has more than {limit} files for this query; see --limit")
    if failures or len(found) > limit:
        raise typer.Exit(1)


def _refuse_full_disk(folder: Path) -> None:
    from drdeploy.clinic.disk_space import FREE_BYTES_MIN, is_disk_full

    if is_disk_full(folder):
        raise ClinicError(
            f"The disk has less than {FREE_BYTES_MIN / 1024**3:g} GiB of free space",
            where=str(folder),
            remedy="Free some space, and run the same command again: it continues where it stopped",
        )
