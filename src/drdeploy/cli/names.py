"""``drdeploy names``: show which name each photograph has in results."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drdeploy.cli.console import Column, Table, err, print_json, print_note
from drdeploy.cli.grade import select_photographs
from drdeploy.cli.options import (
    EndpointUrlOption,
    JsonOption,
    refuse_options_without_effect,
)
from drdeploy.clinic.archive_grading.sources import (
    is_address_or_manifest,
    open_photograph_source,
    read_photograph_from_s3,
)
from drdeploy.errors import (
    InvalidInput,
    RequestRefused,
    turn_import_error_into_missing_extra,
)
from drdeploy.files import sha256_of_bytes
from drdeploy.grader.photograph_files import LeftOutSummary, read_photograph_bytes
from drdeploy.photograph_names import PhotographNames

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

READS = 10
"""How many objects are read from S3 at once: an S3 client keeps this many connections."""


def names(
    context: typer.Context,
    photographs: Annotated[
        list[str],
        typer.Argument(
            help="Photographs, folders that hold photographs, s3:// prefixes, and SageMaker "
            "manifests."
        ),
    ],
    *,
    by_address: Annotated[
        bool,
        typer.Option(
            "--by-address",
            help="Hash the s3:// address of each photograph instead of its content. Results of "
            "Batch Transform on photographs in S3 have these names.",
        ),
    ] = False,
    endpoint_url: EndpointUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show which name each photograph has in results.

    In results, a photograph's name is a keyed hash of its content. The key is stored on this
    machine in ~/.local/state/drdeploy, or in the file that DRDEPLOY_NAMES_KEY names. A different
    key gives different names. To name a photograph in S3 by its content, the command must read it.
    """
    naming = PhotographNames.with_user_key()
    local = [Path(one) for one in photographs if not is_address_or_manifest(one)]
    if by_address and local:
        raise InvalidInput(
            "--by-address names photographs in S3, but this one is a file or folder of this "
            "machine",
            where=str(local[0]),
            remedy="Leave --by-address out, or give s3:// prefixes and manifests",
        )
    if len(local) == len(photographs):
        refuse_options_without_effect(
            context,
            ["endpoint_url"],
            why="on photographs of this machine",
            remedy="give s3:// prefixes and manifests",
        )
    found, notes = _name_local_photographs(local, naming) if local else ([], [])
    in_s3 = [one for one in photographs if is_address_or_manifest(one)]
    if in_s3:
        from drdeploy.hosting.sagemaker import find_endpoint_url

        s3 = _PhotographsInS3(naming, find_endpoint_url("s3", endpoint_url), by_address)
        for one in in_s3:
            with err.status("Reading the photographs"):
                more, more_notes = s3.name_photographs(one)
            found += more
            notes += more_notes
    if as_json:
        print_json({"photographs": found})
    else:
        table = Table([Column("name"), Column.of_names("file")])
        for row in found:
            table.add_row(row["name"], row["file"])
        table.print()
    for note in notes:
        print_note(note)
    print_note("this list shows which patient a result belongs to: keep it with the photographs")


_Named = tuple[list[dict[str, str]], list[str]]
"""Names with their files, and notes on files that were left out."""


def _name_local_photographs(paths: list[Path], naming: PhotographNames) -> _Named:
    selection = select_photographs(paths)
    found = [
        {"name": _name_photograph(path, naming), "file": str(path)} for path in selection.paths
    ]
    return found, selection.write_notes_on_left_out_files(show_paths=True)


def _name_photograph(path: Path, naming: PhotographNames) -> str:
    try:
        digest = sha256_of_bytes(read_photograph_bytes(path))
    except (OSError, RequestRefused):  # also a file too large to be graded
        digest = ""
    return naming.name_of_photograph(path, str(path), digest)


@dataclass(frozen=True)
class _PhotographsInS3:
    """Names the photographs below S3 prefixes, and those that manifests list."""

    naming: PhotographNames
    s3_url: str | None
    by_address: bool

    def name_photographs(self, source: str) -> _Named:
        """Return the names of the photographs of a source, as ``archive grade`` gives them.

        Raises:
            InvalidInput: The source does not exist, is malformed, or holds no photograph.
            EndpointError: S3 does not allow the photographs to be listed or read.
            MissingExtra: The package that reads S3 is not installed.
        """
        left_out = LeftOutSummary()
        archive = open_photograph_source(source, self._open_s3)
        listed = archive.iterate_photographs(left_out.add_left_out_file)
        found = list(self._iterate_names(one.place for one in listed))
        notes = left_out.write_sentences(show_paths=True)
        if not found:
            raise InvalidInput(
                "; ".join(["There is no photograph", *notes]),
                where=source,
                remedy="Give an s3:// prefix or a manifest of JPEG, PNG, TIFF or DICOM files",
            )
        return found, notes

    def _iterate_names(self, places: Iterable[str]) -> Iterator[dict[str, str]]:
        if self.by_address:
            for place in places:
                yield {"name": self.naming.name_of_s3_object(place), "file": place}
            return
        s3 = self._open_s3()

        def name_by_content(place: str) -> dict[str, str]:
            try:
                digest = sha256_of_bytes(read_photograph_from_s3(s3, place))
            except (FileNotFoundError, RequestRefused):
                digest = ""
            return {"name": self.naming.name_of_s3_object(place, digest), "file": place}

        with ThreadPoolExecutor(READS) as pool:
            yield from pool.map(name_by_content, places)

    def _open_s3(self) -> Any:
        with turn_import_error_into_missing_extra("cloud", "Reading S3"):
            from drdeploy.hosting.sagemaker import make_boto3_client

            return make_boto3_client("s3", self.s3_url)
