"""``drdeploy names``: show which name each photograph has in results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from drdeploy.cli.console import Column, Table, print_json, print_note
from drdeploy.cli.grade import select_photographs
from drdeploy.cli.options import JsonOption
from drdeploy.files import sha256_of_file
from drdeploy.photograph_names import PhotographNames


def names(
    images: Annotated[
        list[Path], typer.Argument(help="Photographs, and folders that hold photographs.")
    ],
    *,
    as_json: JsonOption = False,
) -> None:
    """Show which name each photograph has in results.

    In results, a photograph's name is a keyed hash of its content. The key is stored on this
    machine in ~/.local/state/drdeploy, or in the file that DRDEPLOY_NAMES_KEY names. A different
    key gives different names.
    """
    naming = PhotographNames.with_user_key()
    selection = select_photographs(images)
    found = [
        {"name": _name_photograph(path, naming), "file": str(path)} for path in selection.paths
    ]
    if as_json:
        print_json({"photographs": found})
    else:
        table = Table([Column("name"), Column.of_names("file")])
        for one in found:
            table.add_row(one["name"], one["file"])
        table.print()
    for note in selection.write_notes_on_left_out_files(show_paths=True):
        print_note(note)
    print_note("this list shows which patient a result belongs to: keep it with the photographs")


def _name_photograph(path: Path, naming: PhotographNames) -> str:
    try:
        return naming.name_of_photograph(path, str(path), sha256_of_file(path))
    except OSError:
        return naming.name_of_photograph(path, str(path))
