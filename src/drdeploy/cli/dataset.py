"""``drdeploy dataset``: inspect a folder of labelled photographs before training on it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drdeploy.cli.console import (
    Column,
    Table,
    err,
    print_json,
    print_line,
    print_note,
    print_note_on_photograph_names,
    print_notice,
)
from drdeploy.cli.options import JsonOption, NamesOption
from drdeploy.photograph_names import PhotographNames
from drdeploy.units import KB

if TYPE_CHECKING:
    from drdeploy.grader.datasets import CopiedPhotograph, Dataset, DatasetInspection
    from drdeploy.grader.datasets.inspection import SizeRange

app = typer.Typer(no_args_is_help=True)

SHOWN = 10
"""How many lines of a list the terminal shows; ``--json`` prints the whole list."""


@app.command()
def inspect(
    folder: Annotated[
        Path,
        typer.Argument(
            help="A folder with labelled photographs, for example with labels.csv, with a "
            "subfolder for each grade, or with the files of a published data set; or a table of "
            "labels."
        ),
    ],
    *,
    pictures: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Folder for two pictures: one shows photographs of each grade, the other counts "
            "them.",
            file_okay=False,
        ),
    ] = None,
    names: NamesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show the grades, splits, copies and unusable files of a data set.

    Every photograph is decoded once. For research use. Not a medical device.
    """
    from rich.progress import track

    from drdeploy.grader.datasets import inspect_dataset, load_dataset

    with err.status("Reading the photographs"):
        dataset = load_dataset(folder, names=PhotographNames.choose_file_names_or_hashes(own=names))
    inspection = inspect_dataset(
        dataset,
        lambda decoded: track(decoded, "decoding", total=len(dataset), console=err, transient=True),
    )
    files: tuple[Path, ...] = ()
    if pictures is not None:
        from drdeploy.grader.datasets.pictures import write_dataset_pictures

        with err.status("Drawing"):
            files = write_dataset_pictures(inspection.usable, pictures)
    if as_json:
        print_json(_convert_inspection_to_json(inspection, files))
    else:
        _print_inspection(inspection, files)
    print_note_on_photograph_names(own=names)


# ---- as JSON ------------------------------------------------------------------------------


def _convert_inspection_to_json(
    inspection: DatasetInspection, pictures: tuple[Path, ...]
) -> dict[str, Any]:
    from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE

    dataset = inspection.dataset
    return {
        "notice": RESEARCH_USE_NOTICE,
        "name": dataset.name,
        "folder": str(dataset.folder),
        "layout": dataset.layout,
        **_count_photographs_per_grade(dataset),
        "splits": {
            split: _count_photographs_per_grade(dataset.select_split(split))
            for split in dataset.splits
        },
        "usable": _count_photographs_per_grade(inspection.usable),
        "duplicates": len(inspection.copies),
        "conflicts": len(inspection.conflicting_copies),
        "copies": [
            {
                "files": [one.name for one in copies.photographs],
                "grades": [int(one.grade) for one in copies.photographs],
                "conflict": copies.has_conflicting_grades,
            }
            for copies in inspection.copies
        ],
        "missing": len(inspection.photographs_set_aside_for("missing")),
        "unreadable": len(inspection.photographs_set_aside_for("unreadable")),
        "without_grade": len(inspection.photographs_set_aside_for("grade")),
        "set_aside": [
            {"file": one.name, "reason": one.reason, "cause": one.cause}
            for one in inspection.usable.set_aside
        ],
        "groups": {
            "known": dataset.knows_groups,
            "n": len(set(dataset.groups)),
            "across_splits": sorted(
                {one.group_name for one in dataset.photographs if one.group in inspection.leaking}
            ),
        },
        "sizes": {
            "width_px": asdict(inspection.width_px),
            "height_px": asdict(inspection.height_px),
            "size_bytes": asdict(inspection.size_bytes),
        },
        "notes": dataset.notes,
        "pictures": [str(file) for file in pictures],
    }


def _count_photographs_per_grade(dataset: Dataset) -> dict[str, Any]:
    grades = {f"{grade:d}": count for grade, count in dataset.count_per_grade().items()}
    return {"n": len(dataset), "grades": grades}


# ---- on the terminal ----------------------------------------------------------------------


def _print_inspection(inspection: DatasetInspection, pictures: tuple[Path, ...]) -> None:
    dataset = inspection.dataset
    print_line(f"{dataset.name}: layout {dataset.layout}", style="bold")
    _print_photographs_per_grade(inspection)
    for finding in _list_findings_of_inspection(inspection):
        print_line(finding, indent=2)
    _print_shortened_list(
        "copies", [_describe_copied_photographs(copies) for copies in inspection.copies]
    )
    unusable = inspection.photographs_set_aside_for("missing", "unreadable", "grade")
    _print_shortened_list("not usable", [f"{one.name}: {one.reason}" for one in unusable])
    for note in dataset.notes:
        print_note(note)
    for picture in pictures:
        print_line(f"wrote {picture}")
    print_notice()


def _print_photographs_per_grade(inspection: DatasetInspection) -> None:
    from drdeploy.grader.grading import Grade

    dataset = inspection.dataset
    parts = {split: dataset.select_split(split) for split in dataset.splits}
    counted = [*parts.values(), dataset, inspection.usable]
    titles = (*parts, "all", "usable", "of usable")
    table = Table([Column.of_numbers("grade"), Column(""), *map(Column.of_numbers, titles)])
    for grade in Grade:
        counts = [part.count_per_grade()[grade] for part in counted]
        share = f"{counts[-1] / len(inspection.usable):.1%}"
        table.add_row(f"{grade:d}", grade.label, *(f"{count:,}" for count in counts), share)
    table.add_separator_line()
    table.add_row("", "all", *(f"{len(part):,}" for part in counted), "100.0%")
    table.print()


def _list_findings_of_inspection(inspection: DatasetInspection) -> tuple[str, ...]:
    missing, unreadable, without_grade = (
        f"{len(inspection.photographs_set_aside_for(cause)):,}"
        for cause in ("missing", "unreadable", "grade")
    )
    width, height = map(_format_size_range, (inspection.width_px, inspection.height_px))
    return (
        f"usable photographs (readable, graded, copies left out): {len(inspection.usable):,}",
        f"files missing: {missing}, unreadable: {unreadable}, without a grade: {without_grade}",
        (
            f"photographs with copies: {len(inspection.copies):,} "
            f"(with conflicting grades: {len(inspection.conflicting_copies):,})"
        ),
        _describe_patient_groups(inspection),
        f"{width} x {height} pixels, {inspection.size_bytes.median / KB:,.0f} kB (median)",
    )


def _describe_patient_groups(inspection: DatasetInspection) -> str:
    dataset = inspection.dataset
    if not dataset.knows_groups:
        return (
            "Sessions and patients are not known: photographs of one patient may be in several "
            "splits"
        )
    groups = f"sessions or patients: {len(set(dataset.groups)):,}"
    if not dataset.splits:
        return groups
    return f"{groups} (in more than one split: {len(inspection.leaking):,})"


def _format_size_range(spread: SizeRange) -> str:
    if spread.smallest == spread.largest:
        return f"{spread.median}"
    return f"{spread.smallest}-{spread.largest} (median {spread.median})"


def _describe_copied_photographs(copies: CopiedPhotograph) -> str:
    """Return the copies with their grades, for example ``a.jpg: 2, b.jpg: 3  CONFLICT``."""
    files = ", ".join(f"{one.name}: {one.grade:d}" for one in copies.photographs)
    return f"{files}  CONFLICT" if copies.has_conflicting_grades else files


def _print_shortened_list(title: str, lines: list[str]) -> None:
    if not lines:
        return
    print_line(f"{title}:")
    for line in lines[:SHOWN]:
        print_line(line, indent=2)
    if len(lines) > SHOWN:
        print_line(f"and {len(lines) - SHOWN:,} more (--json lists all)", indent=2)
