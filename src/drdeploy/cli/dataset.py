"""``drdeploy dataset``: what a folder of labelled photographs holds, before training on it."""

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
    print_notice,
)
from drdeploy.cli.options import JsonOption

if TYPE_CHECKING:
    from drdeploy.grader.datasets import CopiedPhotograph, Dataset, DatasetInspection
    from drdeploy.grader.datasets.inspection import SizeRange

app = typer.Typer(no_args_is_help=True)

SHOWN = 10
"""Lines of a list on the terminal; ``--json`` has all."""


@app.callback()
def _noun() -> None:
    """Look at labelled photographs."""


@app.command()
def inspect(
    folder: Annotated[
        Path,
        typer.Argument(
            help="A folder with labels.csv or a folder per grade, or one of APTOS 2019 or IDRiD."
        ),
    ],
    *,
    pictures: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Folder for two pictures: samples of each grade, and how many there are.",
            file_okay=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the grades, splits, copies and unusable files of a data set.

    Every photograph is decoded once. For research use. Not a medical device.
    """
    from rich.progress import track

    from drdeploy.grader.datasets import inspect_dataset, load_dataset

    with err.status("Reading the photographs"):
        dataset = load_dataset(folder)
    inspection = inspect_dataset(
        dataset,
        lambda decoded: track(decoded, "decoding", total=len(dataset), console=err, transient=True),
    )
    files: tuple[Path, ...] = ()
    if pictures is not None:
        from drdeploy.grader.datasets.pictures import draw_pictures

        with err.status("Drawing"):
            files = draw_pictures(inspection.usable, pictures)
    if as_json:
        print_json(_as_document(inspection, files))
    else:
        _print(inspection, files)


# ---- as JSON ------------------------------------------------------------------------------


def _as_document(inspection: DatasetInspection, pictures: tuple[Path, ...]) -> dict[str, Any]:
    from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE

    dataset = inspection.dataset
    return {
        "notice": RESEARCH_USE_NOTICE,
        "name": dataset.name,
        "folder": str(dataset.folder),
        "layout": dataset.layout,
        **_counted(dataset),
        "splits": {split: _counted(dataset.of_split(split)) for split in dataset.splits},
        "usable": _counted(inspection.usable),
        "duplicates": len(inspection.copies),
        "conflicts": len(inspection.conflicts),
        "copies": [
            {
                "files": [dataset.name_of(one) for one in copies.photographs],
                "grades": [int(one.grade) for one in copies.photographs],
                "conflict": copies.is_conflict,
            }
            for copies in inspection.copies
        ],
        "missing": len(inspection.set_aside("missing")),
        "unreadable": len(inspection.set_aside("unreadable")),
        "without_grade": len(inspection.set_aside("grade")),
        "set_aside": [asdict(one) for one in inspection.usable.set_aside],
        "groups": {
            "known": dataset.knows_groups,
            "n": len(set(dataset.groups)),
            "across_splits": list(inspection.leaking),
        },
        "sizes": {
            "width_px": asdict(inspection.width_px),
            "height_px": asdict(inspection.height_px),
            "size_bytes": asdict(inspection.size_bytes),
        },
        "notes": dataset.notes,
        "pictures": [str(file) for file in pictures],
    }


def _counted(dataset: Dataset) -> dict[str, Any]:
    grades = {f"{grade:d}": count for grade, count in dataset.counts().items()}
    return {"n": len(dataset), "grades": grades}


# ---- on the terminal ----------------------------------------------------------------------


def _print(inspection: DatasetInspection, pictures: tuple[Path, ...]) -> None:
    from drdeploy.grader.datasets.dataset import name_within

    dataset = inspection.dataset
    print_line(f"{dataset.name}: layout {dataset.layout}", style="bold")
    _print_grades(inspection)
    for finding in _findings(inspection):
        print_line(finding, indent=2)
    _print_list("copies", [_in_words(dataset, copies) for copies in inspection.copies])
    unusable = inspection.set_aside("missing", "unreadable", "grade")
    _print_list(
        "not usable",
        [f"{name_within(dataset.folder, Path(one.file))}: {one.reason}" for one in unusable],
    )
    for note in dataset.notes:
        print_note(note)
    for picture in pictures:
        print_line(f"wrote {picture}")
    print_notice()


def _print_grades(inspection: DatasetInspection) -> None:
    from drdeploy.grader.grading import Grade

    dataset = inspection.dataset
    parts = {split: dataset.of_split(split) for split in dataset.splits}
    counted = [*parts.values(), dataset, inspection.usable]
    titles = (*parts, "all", "usable", "of usable")
    table = Table([Column.number("grade"), Column(""), *map(Column.number, titles)])
    for grade in Grade:
        counts = [part.counts()[grade] for part in counted]
        share = f"{counts[-1] / len(inspection.usable):.1%}"
        table.add(f"{grade:d}", grade.label, *(f"{count:,}" for count in counts), share)
    table.add_line()
    table.add("", "all", *(f"{len(part):,}" for part in counted), "100.0%")
    table.print()


def _findings(inspection: DatasetInspection) -> tuple[str, ...]:
    missing, unreadable, without_grade = (
        f"{len(inspection.set_aside(cause)):,}" for cause in ("missing", "unreadable", "grade")
    )
    pixels = f"{_range(inspection.width_px)} x {_range(inspection.height_px)} pixels"
    return (
        f"{len(inspection.usable):,} photographs are usable: readable, each once, with one grade",
        f"files missing: {missing}, unreadable: {unreadable}, without a grade: {without_grade}",
        (
            f"photographs with copies: {len(inspection.copies):,}, "
            f"of these with different grades: {len(inspection.conflicts):,}"
        ),
        _groups(inspection),
        f"{pixels}, {inspection.size_bytes.median / 1e3:,.0f} kB (median)",
    )


def _groups(inspection: DatasetInspection) -> str:
    dataset = inspection.dataset
    if not dataset.knows_groups:
        return (
            "Sessions and patients are not known: photographs of one patient may be in several "
            "splits"
        )
    groups = f"{len(set(dataset.groups)):,} sessions or patients"
    if not dataset.splits:
        return groups
    return f"{groups}, {len(inspection.leaking):,} of them in more than one split"


def _range(spread: SizeRange) -> str:
    if spread.smallest == spread.largest:
        return f"{spread.median}"
    return f"{spread.smallest}-{spread.largest} (median {spread.median})"


def _in_words(dataset: Dataset, copies: CopiedPhotograph) -> str:
    """Return ``train/a.jpg: 2, test/b.jpg: 3  CONFLICT``."""
    files = ", ".join(f"{dataset.name_of(one)}: {one.grade:d}" for one in copies.photographs)
    return f"{files}  CONFLICT" if copies.is_conflict else files


def _print_list(title: str, lines: list[str]) -> None:
    if not lines:
        return
    print_line(f"{title}:")
    for line in lines[:SHOWN]:
        print_line(line, indent=2)
    if len(lines) > SHOWN:
        print_line(f"and {len(lines) - SHOWN:,} more (--json lists all)", indent=2)
