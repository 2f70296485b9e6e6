"""Read a table of labels, and find its columns of photographs, grades, patients and splits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from drdeploy.errors import InvalidInput
from drdeploy.grader.datasets.grade_names import parse_grade, read_whole_number
from drdeploy.grader.datasets.matching import PhotographIndex
from drdeploy.grader.datasets.tables import (
    TextTable,
    is_missing_value,
    read_table,
    read_table_text,
    read_two_columns_without_header,
    simplify_column_name,
)
from drdeploy.grader.photograph_files import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FILE_COLUMNS: Final = (
    "file", "filename", "filepath", "imagepath", "imgpath", "path", "imagefile", "image",
    "imagename", "img", "imgname", "imageid", "imgid", "idcode", "photograph", "photo", "id",
)  # fmt: skip
"""Accepted names of the column with the photographs; earlier names take precedence."""
GRADE_COLUMNS: Final = (
    "icdrgrade", "icdr", "dricdr", "finalicdr", "drgrade", "retinopathygrade",
    "adjudicateddrgrade", "drlevel", "level", "diagnosis", "grade",
    "lefteyedrlevel", "righteyedrlevel", "severity",
)  # fmt: skip
"""Accepted names of the column with the grades; earlier names take precedence."""
LESS_SURE_GRADE_COLUMNS: Final = ("label", "labels", "class", "target", "stage", "category")
"""Further accepted names of the column with the grades. They are tried only if the table has none
of the columns in :data:`GRADE_COLUMNS`.
"""
PATIENT_COLUMNS: Final = (
    "patient", "patientid", "patientnumber", "patientno", "patientcode",
    "subject", "subjectid", "participant", "participantid", "person", "personid", "pid",
)  # fmt: skip
GROUP_COLUMNS: Final = (
    "sessiongroup", "group", *PATIENT_COLUMNS, "examid", "studyid", "session", "sessionid",
)  # fmt: skip
"""Accepted names of columns with capture sessions or patients; the first filled cell of a row
counts."""
SPLIT_COLUMNS: Final = ("split", "subset", "partition")
SPLIT_NAMES: Final = {"train": "train", "training": "train", "test": "test", "testing": "test"}
"""How tables may name the split for training and the split for the evaluation, in lower case."""
GRADABLE_COLUMNS: Final = ("gradable", "isgradable", "adjudicatedgradable")

_OWN_COLUMNS: Final = ("file", "icdrgrade", "sessiongroup", "group", "patient")
_NO: Final = frozenset({"0", "0.0", "0,0", "false", "no", "n"})
_ONE_EYE: Final = re.compile(r"(\d+)_(?:left|right)")


@dataclass(frozen=True)
class ListedPhotograph:
    """A labelled photograph that a table or folder lists and that has not been checked yet.

    An empty string means that the value is unknown.

    Attributes:
        file: Path at which the photograph should be.
        grade: The label as the table or folder writes it.
        image_id: Name of the photograph in the data set.
        split: ``train``, ``test`` or the name of another split.
        group: Capture session or patient.
        sha256: SHA-256 of the original file that this file was made from.
        ungradable: Why the data set gives no grade for the photograph; empty if it gives one.
        cells: The photograph's row in the table, as pairs of column name and content. An evaluation
            can use these cells to form subgroups, for example by camera.
    """

    file: Path
    grade: str
    image_id: str = ""
    split: str = ""
    group: str = ""
    sha256: str = ""
    ungradable: str = ""
    cells: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Listing:
    """All photographs that a layout's tables or folders list, in a fixed order.

    Attributes:
        entries: The photographs, split by split.
        notes: Sentences about what was assumed, and about what was not read.
        group_unit: What a group is: ``patient``, ``session``, or ``group`` if the table does not
            say; empty if no groups are known.
    """

    entries: tuple[ListedPhotograph, ...]
    notes: tuple[str, ...] = ()
    group_unit: str = ""

    def __add__(self, other: Listing) -> Listing:
        units = {unit for unit in (self.group_unit, other.group_unit) if unit}
        return Listing(
            self.entries + other.entries,
            self.notes + other.notes,
            units.pop() if len(units) == 1 else "group" if units else "",
        )


@dataclass(frozen=True)
class LabelFormat:
    """How to read a table of labels.

    Attributes:
        folder: The folder that the photographs' names are relative to; None means the table's
            folder.
        split: The split of the photographs for which the table names no split.
        names_files: Whether the table gives file names with suffixes. Published tables often give
            names without a suffix.
        is_published: Whether the table has the columns of a known, published data set.
        file_column: The name of the column with the photographs. If empty, the column has one of
            the names in ``FILE_COLUMNS``.
        ungradable: The grade that means "ungradable"; empty if there is none.
    """

    folder: Path | None = None
    split: str = ""
    names_files: bool = True
    is_published: bool = False
    file_column: str = ""
    ungradable: str = ""


OWN_FORMAT: Final = LabelFormat()


def is_label_table(table: Path) -> bool:
    """Return whether a file is a table of labels that :func:`read_label_table` can read."""
    try:
        return _read_labels_with_or_without_header(table) is not None
    except InvalidInput:
        return False


def explain_unreadable_table(table: Path) -> str:
    """Return why a file cannot be read as a table; empty if it can be read, whatever it holds."""
    try:
        _read_labels_with_or_without_header(table)
    except InvalidInput as err:
        return err.what
    return ""


def read_label_table(table: Path, form: LabelFormat = OWN_FORMAT) -> Listing:
    """Read a table with a column of photographs and a column of grades.

    Raises:
        AmbiguousPhotograph: A name fits several photographs.
        InvalidInput: The table lacks the column of photographs or of grades, its columns of grades
            contradict each other, or its grades are not those of the ICDR scale.
    """
    opened = _read_labels_with_or_without_header(table)
    if opened is None:
        raise make_missing_columns_error(table)
    columns = _LabelColumns.find_in_table(opened, form)
    named = [row for row in opened.rows if columns.read_file_name(row)]
    index = PhotographIndex(
        form.folder or table.parent, split=form.split, has_suffixes=form.names_files
    )
    files = index.find_files_of_names([columns.read_file_name(row) for row in named])
    groups = [columns.read_first_filled_cell(row, columns.groups) for row in named]
    group_unit = columns.group_unit if any(groups) else ""
    notes = [*opened.notes, *columns.notes]
    if not any(groups) and (
        patients := _derive_patients_from_eye_names([columns.read_file_name(row) for row in named])
    ):
        groups, group_unit = patients, "patient"
        notes.append("Photographs named N_left and N_right count as photographs of patient N.")
    if any(groups) and not all(groups):
        notes.append(
            f"{table.name}: rows without a {group_unit}: {groups.count(''):,}. Each of these "
            f"photographs counts as a {group_unit} of its own."
        )
    splits = [columns.read_first_filled_cell(row, columns.splits) or form.split for row in named]
    notes += _write_notes_on_renamed_splits(splits)
    entries = tuple(
        ListedPhotograph(
            file=file,
            grade=columns.read_grade(row),
            image_id=columns.read_first_filled_cell(row, columns.image_ids) or file.stem,
            split=_standardise_split_name(split),
            group=group,
            sha256=columns.read_first_filled_cell(row, columns.sha256).lower(),
            ungradable=columns.explain_why_ungradable(row, form.ungradable),
            cells=tuple(zip(opened.header, row, strict=False)),
        )
        for row, file, group, split in zip(named, files, groups, splits, strict=True)
    )
    if not form.ungradable:
        _require_grades_from_zero(table, [one.grade for one in entries])
    if len(named) < len(opened.rows):
        count = len(opened.rows) - len(named)
        notes.append(f"{table.name}: rows that name no photograph were skipped: {count:,}.")
    return Listing(
        entries,
        (*notes, *_write_note_on_grades_in_words(entries), *index.notes_on_differing_names),
        group_unit,
    )


def make_missing_columns_error(table: Path) -> InvalidInput:
    """Make the error for a table that is not a table of labels, or that cannot be read at all."""
    try:
        read_table_text(table)
    except InvalidInput as err:
        return err
    if is_label_table(table):
        return InvalidInput(
            "A table whose name contains 'submission' is not taken for a table of labels",
            where=str(table),
            remedy="If it holds labels, give the path of the table instead of the folder's path",
        )
    return InvalidInput(
        "The table needs a column of photographs and a column of grades",
        where=str(table),
        remedy="Name the two columns `file` and `icdr_grade`",
    )


def _read_labels_with_or_without_header(table: Path) -> TextTable | None:
    return read_table(table, _is_header_of_label_table) or read_two_columns_without_header(
        table, _is_photograph_with_grade
    )


def _is_header_of_label_table(cells: Sequence[str]) -> bool:
    names = {simplify_column_name(cell) for cell in cells}
    grades = names & {*GRADE_COLUMNS, *LESS_SURE_GRADE_COLUMNS}
    return bool(grades and names & {*FILE_COLUMNS})


def _is_photograph_with_grade(name: str, grade: str) -> bool:
    """Return whether a row has a photograph and a grade from 0 to 5.

    The grade 5 is accepted because the data set DDR uses it for ungradable photographs.
    """
    return name.lower().endswith(tuple(SUFFIXES)) and bool(re.fullmatch(r"[0-5]", grade))


@dataclass(frozen=True)
class _LabelColumns:
    """The positions of a table's columns, counted from 0."""

    files: tuple[int, ...]
    grades: tuple[int, ...]
    groups: tuple[int, ...]
    splits: tuple[int, ...]
    image_ids: tuple[int, ...]
    sha256: tuple[int, ...]
    gradable: tuple[int, ...]
    notes: tuple[str, ...]
    group_unit: str = ""

    @classmethod
    def find_in_table(cls, table: TextTable, form: LabelFormat) -> _LabelColumns:
        """Find the columns of a table by their names.

        Raises:
            InvalidInput: Several columns of grades contradict each other.
        """
        if not table.header:
            note = (
                "The columns were read as photograph and grade, because there are no column names "
                f"in {table.path.name}."
            )
            return cls((0,), (1,), (), (), (), (), (), () if form.is_published else (note,))
        names = [simplify_column_name(name) for name in table.header]

        def find_positions(*wanted: str) -> tuple[int, ...]:
            return tuple(at for name in wanted for at, own in enumerate(names) if own == name)

        if "ophthalmologicdepartment" in names:
            raise InvalidInput(
                "The table has the grades 0 to 3 of Messidor, which are not ICDR grades",
                where=str(table.path),
                remedy="Use the ICDR grades that were published for Messidor-2",
            )
        files = find_positions(*([form.file_column] if form.file_column else FILE_COLUMNS))
        grades = (
            find_positions("icdrgrade")
            or find_positions(*GRADE_COLUMNS)
            or find_positions(*LESS_SURE_GRADE_COLUMNS)
        )
        _require_agreeing_grades(table, grades)
        groups = find_positions(*GROUP_COLUMNS)
        used = (files[0], *grades, *groups)
        note = (
            f"{table.path.name}: photographs are in the column {table.header[files[0]]}, grades in "
            f"{' and '.join(table.header[place] for place in grades)}"
            + (f", patients in {table.header[groups[0]]}" if groups else "")
            + "."
        )
        is_own = form.is_published or all(names[place] in _OWN_COLUMNS for place in used)
        return cls(
            files=files,
            grades=grades,
            groups=groups,
            splits=find_positions(*SPLIT_COLUMNS),
            image_ids=find_positions("imageid"),
            sha256=find_positions("sourcesha256"),
            gradable=find_positions(*GRADABLE_COLUMNS),
            notes=() if is_own else (note,),
            group_unit=_find_unit_of_group_column(names[groups[0]]) if groups else "",
        )

    def read_file_name(self, row: Sequence[str]) -> str:
        return row[self.files[0]]

    def read_grade(self, row: Sequence[str]) -> str:
        return next((row[at] for at in self.grades if not is_missing_value(row[at])), "")

    @staticmethod
    def read_first_filled_cell(row: Sequence[str], places: Sequence[int]) -> str:
        filled = (row[place] for place in places if not is_missing_value(row[place]))
        return next(filled, "")

    def explain_why_ungradable(self, row: Sequence[str], grade_of_none: str) -> str:
        if self.read_first_filled_cell(row, self.gradable).lower() in _NO:
            return "the data set calls it ungradable"
        if grade_of_none and self.read_grade(row) == grade_of_none:
            return f"the data set calls it ungradable (grade {grade_of_none})"
        return "" if self.read_grade(row) else "the table gives no grade"


def _find_unit_of_group_column(name: str) -> str:
    if name in PATIENT_COLUMNS:
        return "patient"
    return "group" if name == "group" else "session"


def _require_agreeing_grades(table: TextTable, places: Sequence[int]) -> None:
    """Check that, in every row, the columns of grades have the same grade."""
    for row in table.rows:
        grades = {parse_grade(row[place]) for place in places if not is_missing_value(row[place])}
        if len(grades) > 1:
            names = " and ".join(table.header[place] for place in places)
            raise InvalidInput(
                f"The table has several columns of grades, which contradict each other: {names}",
                where=str(table.path),
                remedy="Find out which column is correct, and rename it to `icdr_grade`",
            )


def _require_grades_from_zero(table: Path, grades: Sequence[str]) -> None:
    """Refuse grades from 1 to 5; as ICDR grades (0 to 4), they would all be one too high."""
    numbers = {read_whole_number(grade) for grade in grades}
    if {1, 5} <= numbers and 0 not in numbers:
        raise InvalidInput(
            "The table has grades from 1 to 5 and no grade 0, but ICDR grades go from 0 to 4",
            where=str(table),
            remedy="Write ICDR grades into the table, where 0 means no retinopathy",
        )


def _standardise_split_name(name: str) -> str:
    """Return ``train`` or ``test`` for any common spelling of the two; any other name unchanged."""
    return SPLIT_NAMES.get(name.lower(), name)


def _write_notes_on_renamed_splits(splits: Sequence[str]) -> list[str]:
    renamed = {name: _standardise_split_name(name) for name in splits}
    return [
        f"The split '{name}' is read as '{standard}'."
        for name, standard in renamed.items()
        if name != standard
    ]


def _derive_patients_from_eye_names(names: Sequence[str]) -> list[str]:
    """Return each photograph's patient if all names look like ``17_left``; else an empty list."""
    stems = [re.sub(r"\.\w+$", "", re.split(r"[\\/]", name)[-1]) for name in names]
    matches = [_ONE_EYE.fullmatch(stem) for stem in stems]
    patients = [match[1] for match in matches if match]
    return patients if len(patients) == len(names) else []


def _write_note_on_grades_in_words(entries: Sequence[ListedPhotograph]) -> tuple[str, ...]:
    for one in entries:
        grade = parse_grade(one.grade)
        if grade is not None and read_whole_number(one.grade) is None:
            return (f"Grades in words were read as numbers: '{one.grade}' as {grade:d}.",)
    return ()
