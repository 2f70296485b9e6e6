"""``drdeploy grade``: grade photographs on this machine, and print one row per file."""

from __future__ import annotations

import importlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.progress import Progress

from drdeploy.cli.console import (
    Column,
    Table,
    err,
    print_json,
    print_line,
    print_note,
    print_note_on_photograph_names,
    print_note_on_quantization,
    print_note_on_unused_artifact_files,
    shorten_paths_to_common_folder,
)
from drdeploy.cli.options import (
    GIVE_ARTIFACT,
    ArtifactOption,
    CsvOption,
    JsonOption,
    NamesOption,
    RuntimeOption,
    refuse_to_overwrite_inputs,
    require_folder_of_output,
)
from drdeploy.clinic.graded_rows import (
    NO_PHOTOGRAPH,
    GradedRow,
    grade_file,
    write_rows_as_csv,
)
from drdeploy.errors import InvalidInput
from drdeploy.grader.fundus.familiarity import SENTENCE as UNLIKE_TRAINING
from drdeploy.grader.fundus.gradability import SENTENCES
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE
from drdeploy.grader.photograph_files import (
    is_dicom_file,
    search_folder_for_photographs,
    write_sentences_on_left_out_files,
)
from drdeploy.photograph_names import PhotographNames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.grader.photograph_files import LeftOut

Order = Literal["input", "severity"]


def grade(
    images: Annotated[
        list[Path], typer.Argument(help="Photographs, and folders that hold photographs.")
    ],
    *,
    artifact: ArtifactOption = None,
    runtime: RuntimeOption = None,
    sort: Annotated[
        Order, typer.Option(help="Order of the rows; `severity` lists the most urgent eyes first.")
    ] = "input",
    csv_file: CsvOption = None,
    names: NamesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Grade photographs on this machine.

    The result has one row for every JPEG, PNG, TIFF and DICOM file in a folder, and for every file
    that you name. A DICOM file with several frames has a row for each frame. Reading DICOM files
    needs the extra `clinic`. If a photograph is too poor to grade, the row gives the reason, and a
    human must look at the photograph. A note says how many files in a folder were left out. The
    exit status is 1 if a file is damaged or is not a photograph, if a folder holds pictures in
    other formats, or if a folder holds files that cannot be opened.

    For research use. Not a medical device.
    """
    from drdeploy.grader.box import box_artifact
    from drdeploy.grader.inference import InferenceService

    model = artifact or box_artifact()
    if not model.exists():
        raise InvalidInput("The artifact does not exist", where=str(model), remedy=GIVE_ARTIFACT)
    naming = PhotographNames.choose_file_names_or_hashes(own=names)
    selection = select_photographs(images)
    if csv_file is not None:  # now, not after an hour of grading
        require_folder_of_output("--csv", csv_file, described="CSV file")
        refuse_to_overwrite_inputs("--csv", csv_file, (*selection.paths, model))
    _check_extra_of_dicom_files(selection.paths)
    service = InferenceService.load(model, runtime=runtime)
    manifest = service.manifest
    print_note_on_unused_artifact_files(service.classifier.artifact.unused)
    print_note_on_quantization(manifest)
    if sort == "severity" and not manifest.is_icdr:
        raise InvalidInput(
            "Only the grades of a retinopathy model can be sorted by severity",
            where="--sort",
            remedy="Leave --sort out",
        )
    paths = selection.paths
    with Progress(console=err, transient=True) as progress:
        tracked = progress.track(paths, description="grading")
        found = [(path, row) for path in tracked for row in grade_file(service, path, naming)]
    rows = sort_rows_by_order([row for _, row in found], sort)
    if as_json:
        results = [asdict(row) for row in rows]
        print_json({
            "notice": RESEARCH_USE_NOTICE,
            "classes": manifest.classes,
            "results": results,
            "notes": selection.write_notes_on_left_out_files(show_paths=names),
        })  # fmt: skip
    else:
        print_rows_as_table(rows, sort, is_icdr=manifest.is_icdr)
    if csv_file is not None:  # last, after the rows are shown
        write_rows_as_csv(csv_file, rows, manifest.classes)
    failed = sum(bool(row.error) for row in rows)
    refused = sum(row.gradable is False for row in rows)
    print_line(
        f"{len(rows) - failed - refused} graded, {refused} for a human to look at, "
        f"{failed} failed. {RESEARCH_USE_NOTICE}",
        to=err,
    )
    for path, row in found:
        if row.error and path in images:  # the user named this file
            print_line(f"{path}: {row.error}", to=err)
    for note in selection.write_notes_on_left_out_files(show_paths=names):
        print_note(note)
    print_note_on_photograph_names(own=names)
    if failed or any(one.may_be_missed_photograph for one in selection.left_out):
        raise typer.Exit(1)


def _check_extra_of_dicom_files(paths: Sequence[Path]) -> None:
    """Check that the extra for DICOM files is installed, so that grading does not fail later.

    Raises:
        MissingExtra: There is a DICOM file, and the extra that reads it is not installed.
    """
    if any(map(is_dicom_file, paths)):
        importlib.import_module("drdeploy.grader.dicom.photographs")


@dataclass(frozen=True)
class PhotographSelection:
    """The photographs that the user named, directly or by their folder.

    Attributes:
        paths: The photographs, each once, in the order of the arguments. A folder that holds no
            photograph, and a path that does not exist, are also in this list. Grading them gives an
            error row.
        left_out: The files and subfolders of the named folders that are not graded.
        repeated: How many photographs were named more than once.
    """

    paths: tuple[Path, ...]
    left_out: tuple[LeftOut, ...]
    repeated: int = 0

    def write_notes_on_left_out_files(
        self, *, show_paths: bool, how_to_show: str = "--names"
    ) -> list[str]:
        """Return notes on files that were left out; the notes do not end with full stops.

        Args:
            show_paths: Whether the notes may name the files.
            how_to_show: What shows the names of the files: an option, or a command in backticks.
        """
        sentences = write_sentences_on_left_out_files(self.left_out, show_paths=show_paths)
        if not show_paths and any(one.may_be_missed_photograph for one in self.left_out):
            sentences.append(f"{how_to_show} shows which files were left out")
        if self.repeated:
            sentences.append(
                f"photographs named more than once, and graded only once: {self.repeated:,}"
            )
        return sentences


def select_photographs(inputs: Sequence[Path]) -> PhotographSelection:
    """Return the named files, and the photographs in each named folder.

    Raises:
        InvalidInput: None of the files and folders exists, or the folders hold no photograph.
    """
    paths: dict[str, Path] = {}
    left_out: dict[Path, LeftOut] = {}
    reasons: list[str] = []
    repeated = 0
    for path in inputs:
        inside: tuple[Path, ...] = (path,)
        if os.path.isdir(path):  # noqa: PTH112 - never raises
            found = search_folder_for_photographs(path, with_dicom=True)
            left_out |= {one.path: one for one in found.left_out}
            inside = found.photographs or (path,)
            if not found.photographs:
                reasons.append(_write_no_photograph_sentence(path, found.left_out))
        elif not os.path.lexists(path):
            reasons.append(f"{path}: {_MISSING}")
        for file in inside:
            repeated += paths.setdefault(os.path.abspath(file), file) is not file  # noqa: PTH100 - links stay
    if len(reasons) == len(inputs):
        raise InvalidInput(
            " ".join(dict.fromkeys(reasons)),
            remedy="Give a photograph, or a folder with photographs",
        )
    return PhotographSelection(tuple(paths.values()), tuple(left_out.values()), repeated)


_MISSING = "There is no such file or folder."


def _write_no_photograph_sentence(folder: Path, left_out: Sequence[LeftOut]) -> str:
    counted = write_sentences_on_left_out_files(left_out)
    return f"{folder}: {NO_PHOTOGRAPH}{': ' if counted else ''}{'; '.join(counted)}."


def sort_rows_by_order(rows: Sequence[GradedRow], order: Order) -> list[GradedRow]:
    """Return the rows in their original order, or the most severe first.

    The most severe rows are those with the highest P(grade >= 3). If two rows have the same P(grade
    >= 3), P(grade >= 2) decides, and then the name. Photographs that could not be graded come after
    the graded ones.
    """
    if order == "input":
        return list(rows)
    return sorted(
        rows,
        key=lambda row: (
            row.order_in_sorted_table,
            -(row.probability_vision_threatening or 0.0),
            -(row.probability_referable or 0.0),
            row.image,
        ),
    )


def print_rows_as_table(
    rows: Sequence[GradedRow], order: Order = "input", *, is_icdr: bool = True
) -> None:
    """Print the rows as a table; below it, say why some photographs have no grade.

    For a classifier that is not an ICDR grader, the table shows the most probable class.
    """
    columns = _GRADE_COLUMNS if is_icdr else _CLASS_COLUMNS
    table = Table([Column.of_names("photograph"), *columns])
    files = shorten_paths_to_common_folder([row.image for row in rows])
    section = rows[0].order_in_sorted_table if rows else 0
    for row, file in zip(rows, files, strict=True):
        if order == "severity" and row.order_in_sorted_table != section:
            table.add_separator_line()
        section = row.order_in_sorted_table
        cells = _cells_of_graded_row(row) if is_icdr else _cells_of_classified_row(row)
        table.add_row(file, *cells, style=_STYLES[row.order_in_sorted_table])
    table.print()
    for rule in dict.fromkeys(row.referable_rule for row in rows if row.referable_rule):
        print_line(f"referable: {rule}")
    for assumed in {row.at_prevalence.prevalence for row in rows if row.at_prevalence}:
        print_line(
            f"P(>=2) and P(>=3) are computed at a prevalence of {assumed:.1%} of grade >= 2, which "
            "the artifact states. The grade and the decisions do not use this prevalence."
        )
    for row, file in zip(rows, files, strict=True):
        if row.order_in_sorted_table:
            reason = row.ungradable_reason
            why = f"{SENTENCES[reason]}." if reason else row.error
            print_line(f"{file}: {why}", style=_STYLES[row.order_in_sorted_table])
        if row.unlike_training:
            print_line(f"{file}: {UNLIKE_TRAINING}.", style="yellow")
        if row.note:
            print_line(f"{file}: {row.note}")


_STYLES = ("", "yellow", "red")
"""The styles of graded rows, of rows that need a human, and of files that failed."""


_GRADE_COLUMNS = (
    Column.of_numbers("grade"),
    Column.of_sentences("label"),
    Column("referable"),
    Column.of_numbers("P(>=2)"),
    Column.of_numbers("P(>=3)"),
)
_CLASS_COLUMNS = (Column.of_sentences("class"), Column.of_numbers("probability"))


def _cells_of_graded_row(row: GradedRow) -> tuple[str, ...]:
    if row.order_in_sorted_table:
        return ("-", _describe_missing_answer(row), "-", "-", "-")
    shown = row if row.at_prevalence is None else row.at_prevalence
    return (
        str(row.grade),
        row.label,
        "yes" if row.referable else "no",
        _format_share(shown.probability_referable),
        _format_share(shown.probability_vision_threatening),
    )


def _cells_of_classified_row(row: GradedRow) -> tuple[str, ...]:
    if row.order_in_sorted_table:
        return (_describe_missing_answer(row), "-")
    return (row.label, _format_share(max(row.probabilities)))


def _describe_missing_answer(row: GradedRow) -> str:
    return "failed" if row.error else "needs a human"


def _format_share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
