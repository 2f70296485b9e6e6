"""A row for every file of ``drdeploy grade``: its grade, or why it has none."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from drdeploy.cli.console import Column, Table, print_line, relative_names
from drdeploy.errors import PredictionFailed, RequestRefused
from drdeploy.files import safe_cell
from drdeploy.grader.fundus.gradability import SENTENCES
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE, Grade
from drdeploy.hosting.serving.answer import screening

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from drdeploy.grader.fundus.gradability import Reason
    from drdeploy.grader.inference import Inference, InferenceService

Order = Literal["input", "severity"]


@dataclass(frozen=True)
class Row:
    """What was found in one file.

    Attributes:
        gradable: None where that was not checked, or the file could not be read.
        ungradable_reason: Why there is no grade, as a word for programs.  Such an eye needs a
            human: nothing says that it is healthy.
        probability_referable: P(grade >= 2); only from an ICDR grader.
        probability_vision_threatening: P(grade >= 3); only from an ICDR grader.
        screening: Which operating points flag the eye.
        error: Why the file could not be used at all.
    """

    image: str
    gradable: bool | None = None
    ungradable_reason: Reason | Literal[""] = ""
    grade: int | None = None
    label: str = ""
    referable: bool | None = None
    probability_referable: float | None = None
    probability_vision_threatening: float | None = None
    screening: dict[str, dict[str, bool]] | None = None
    probabilities: tuple[float, ...] = ()
    decode_s: float | None = None
    transform_s: float | None = None
    predict_s: float | None = None
    error: str = ""

    @property
    def section(self) -> int:
        """Place of the row in a sorted table: 0 is graded, 1 needs a human, 2 failed."""
        if self.error:
            return 2
        return 0 if self.probabilities else 1


def grade_one(service: InferenceService, path: Path) -> Row:
    """Grade one file.  A file that cannot be graded is a row too, with the reason."""
    try:
        inference = service.infer([path.read_bytes()])[0]
    except IsADirectoryError:
        return Row(str(path), error="The folder holds no JPEG, PNG or TIFF.")
    except OSError as error:
        return Row(str(path), error=f"{error.strerror or 'The file cannot be read'}.")
    except (RequestRefused, PredictionFailed) as error:
        return Row(str(path), error=error.sentence)
    return _row(service, path, inference)


def _row(service: InferenceService, path: Path, inference: Inference) -> Row:
    timed = Row(
        str(path),
        decode_s=inference.decode_s,
        transform_s=inference.transform_s,
        predict_s=inference.predict_s,
    )
    prediction = inference.prediction
    if prediction is None:
        return replace(timed, gradable=False, ungradable_reason=inference.ungradable or "")
    grade = prediction.grade
    if grade is None:
        referable = threatening = None
    else:
        referable = prediction.probability_at_or_above(Grade.MODERATE)
        threatening = prediction.probability_at_or_above(Grade.SEVERE)
    return replace(
        timed,
        gradable=True if inference.is_assessed else None,
        grade=None if grade is None else int(grade),
        label=prediction.label,
        referable=None if grade is None else grade.is_referable,
        probability_referable=referable,
        probability_vision_threatening=threatening,
        screening=screening(prediction, service.manifest) or None,
        probabilities=tuple(prediction.probabilities.tolist()),
    )


def in_order(rows: Sequence[Row], order: Order) -> list[Row]:
    """Return the rows as they came, or the most severe first.

    By P(grade >= 3), then P(grade >= 2), then the name.  Photographs that could not be graded
    come after the graded ones, never among the healthy.
    """
    if order == "input":
        return list(rows)
    return sorted(
        rows,
        key=lambda row: (
            row.section,
            -(row.probability_vision_threatening or 0.0),
            -(row.probability_referable or 0.0),
            row.image,
        ),
    )


def as_document(rows: Sequence[Row], classes: tuple[str, ...]) -> dict[str, Any]:
    """Return the rows as one JSON document."""
    return {
        "notice": RESEARCH_USE_NOTICE,
        "classes": classes,
        "results": [asdict(row) for row in rows],
    }


def print_table(rows: Sequence[Row], order: Order = "input") -> None:
    """Print the rows as a table, and below it why some have no grade."""
    table = Table(
        [
            Column.name("photograph"),
            Column.number("grade"),
            Column.sentence("label"),
            Column("referable"),
            Column.number("P(>=2)"),
            Column.number("P(>=3)"),
        ]
    )
    files = relative_names([row.image for row in rows])
    section = rows[0].section if rows else 0
    for row, file in zip(rows, files, strict=True):
        if order == "severity" and row.section != section:
            table.add_line()
        section = row.section
        table.add(file, *_cells(row), style=_STYLES[row.section])
    table.print()
    for row, file in zip(rows, files, strict=True):
        if row.section:
            reason = row.ungradable_reason
            why = f"{SENTENCES[reason]}." if reason else row.error
            print_line(f"{file}: {why}", style=_STYLES[row.section])


_STYLES = ("", "yellow", "red")
"""Of graded rows, of those that need a human, and of files that failed."""


def _cells(row: Row) -> tuple[str, ...]:
    if row.section:
        return ("-", "failed" if row.error else "needs a human", "-", "-", "-")
    if row.grade is None:
        return ("-", row.label, "-", f"{max(row.probabilities):.3f}", "-")
    return (
        str(row.grade),
        row.label,
        "yes" if row.referable else "no",
        _share(row.probability_referable),
        _share(row.probability_vision_threatening),
    )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def write_csv(path: Path, rows: Sequence[Row], classes: tuple[str, ...]) -> None:
    """Write a line for each file, with a column ``p_CLASS`` for the probability of each class."""
    width = max((len(row.probabilities) for row in rows), default=len(classes))
    names = classes or tuple(str(index) for index in range(width))
    flags = sorted({
        (disease, name)
        for row in rows
        for disease, decisions in (row.screening or {}).items()
        for name in decisions
    })  # fmt: skip
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([
            *("image", "gradable", "ungradable_reason", "grade", "label", "referable"),
            *("probability_referable", "probability_vision_threatening", "error"),
            *(safe_cell(f"{disease}_{name}") for disease, name in flags),
            *(f"p_{name}" for name in names),
            *("decode_s", "transform_s", "predict_s", "notice"),
        ])  # fmt: skip
        for row in rows:
            probabilities = row.probabilities or ("",) * len(names)
            screened = row.screening or {}
            cells = (
                *(row.image, _word(row.gradable), row.ungradable_reason, row.grade, row.label),
                *(_word(row.referable), row.probability_referable),
                *(row.probability_vision_threatening, row.error),
                *(_word(screened.get(disease, {}).get(name)) for disease, name in flags),
                *probabilities,
                *(row.decode_s, row.transform_s, row.predict_s, RESEARCH_USE_NOTICE),
            )  # fmt: skip
            writer.writerow(map(safe_cell, cells))


def _word(value: bool | None) -> str:
    return "" if value is None else str(value).lower()
