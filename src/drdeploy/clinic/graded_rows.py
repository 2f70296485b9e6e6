"""Make one row for each photograph, with its grade or the reason why it has no grade.

``drdeploy grade``, Batch Transform and the grading of archives all make their rows here. Their
tables therefore have the same columns, and give the same reasons in the same words.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec
import numpy as np

from drdeploy.errors import EmptyBody, PredictionFailed, RequestRefused
from drdeploy.files import escape_formula_in_csv_cell, parse_json, sha256_of_bytes
from drdeploy.grader.fundus.formats.foreign import FOREIGN_SUFFIXES, is_dicom
from drdeploy.grader.fundus.gradability import Reason  # noqa: TC001  msgspec reads it
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE, Grade
from drdeploy.grader.photograph_files import find_content_type_of_photograph, read_photograph_bytes
from drdeploy.hosting.serving.answer import (
    DISEASES,
    ProbabilitiesAtPrevalence,
    adjust_to_prevalence,
    decide_referral,
    find_screening_flags,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from drdeploy.grader.inference import Inference, InferenceService
    from drdeploy.photograph_names import PhotographNames

CLASSES_MAX = 1000
"""An answer with more classes than this is refused, because its table would need a column for each
class."""
FOREIGN_ANSWER = "The answer is not a grade from a drdeploy container."
NO_PHOTOGRAPH = "The folder holds no JPEG, PNG, TIFF or DICOM file"


@dataclass(frozen=True)
class GradedRow:
    """The result of grading one photograph, or the reason why there is none.

    Attributes:
        gradable: Whether the photograph can be graded. None if this was not checked, or if the file
            was unreadable.
        ungradable_reason: A short code that says why the photograph cannot be graded. A human must
            then look at the photograph, because the eye may be diseased.
        unlike_training: Whether the photograph differs so much from the training photographs that
            the grade may be wrong. None if the model has no rule that decides this.
        referable: Whether the eye should be referred; None if the model does not grade by the ICDR
            scale.
        referable_rule: The rule that sets ``referable``, with its sensitivity and specificity.
        probability_referable: P(grade >= 2), if the grader grades by the ICDR scale.
        probability_vision_threatening: P(grade >= 3), if the grader grades by the ICDR scale.
        screening: For each disease and operating point, whether the eye is flagged.
        error: Why the file could not be read or graded; empty otherwise.
        note: Remarks on the file for the person who reads the results.
        laterality: The eye that a DICOM file names.
        at_prevalence: The probabilities at the prevalence where the grader is used, if the model's
            manifest has such a prevalence.
    """

    image: str
    gradable: bool | None = None
    ungradable_reason: Reason | Literal[""] = ""
    grade: int | None = None
    label: str = ""
    referable: bool | None = None
    referable_rule: str = ""
    probability_referable: float | None = None
    probability_vision_threatening: float | None = None
    screening: dict[str, dict[str, bool]] | None = None
    probabilities: tuple[float, ...] = ()
    decode_s: float | None = None
    transform_s: float | None = None
    predict_s: float | None = None
    error: str = ""
    note: str = ""
    unlike_training: bool | None = None
    laterality: Literal["left", "right", ""] = ""
    at_prevalence: ProbabilitiesAtPrevalence | None = None

    @property
    def order_in_sorted_table(self) -> int:
        """A sorting key: 0 for graded rows, 1 for rows that need a human, 2 for failed rows."""
        if self.error:
            return 2
        return 0 if self.probabilities else 1


def grade_file(service: InferenceService, path: Path, names: PhotographNames) -> list[GradedRow]:
    """Grade the photographs in a file.

    A photograph that cannot be graded gets a row that says why.
    """
    try:
        data = read_photograph_bytes(path)
    except RequestRefused as error:
        return [GradedRow(names.name_of_photograph(path, str(path)), error=error.sentence)]
    except OSError as error:
        name = names.name_of_photograph(path, str(path))
        if isinstance(error, IsADirectoryError):
            return [GradedRow(name, error=f"{NO_PHOTOGRAPH}.")]
        return [GradedRow(name, error=f"{error.strerror or 'The file cannot be read'}.")]
    name = names.name_of_photograph(path, str(path), sha256_of_bytes(data))
    return grade_file_content(service, name, data, suffix=path.suffix)


def grade_file_content(
    service: InferenceService, name: str, data: bytes, *, suffix: str
) -> list[GradedRow]:
    """Grade the photographs in the content of a file.

    Args:
        service: The grader.
        name: The name of the file in the result. If the file has several frames, the number of the
            frame is added to it.
        data: The content.
        suffix: The suffix of the file. A file with the suffix of a DICOM file is read as DICOM,
            unless its content is a JPEG, PNG or TIFF.
    """
    is_dicom_suffix = FOREIGN_SUFFIXES.get(suffix.lower()) == "DICOM"
    if data and (is_dicom(data) or (is_dicom_suffix and not find_content_type_of_photograph(data))):
        return list(_grade_dicom_file(service, name, data))
    return [_grade_photograph(service, name, data)]


def _grade_dicom_file(service: InferenceService, name: str, data: bytes) -> Iterator[GradedRow]:
    """Grade each frame of a DICOM file.

    A frame that cannot be decoded gets a row with an error, and so do the frames after it, which
    are not read. If the first frame cannot be decoded, there is one row for the whole file.
    """
    from drdeploy.clinic.patients import describe_unread_frame
    from drdeploy.grader.dicom.photographs import DicomFile

    number = 0
    try:
        file = DicomFile.open(data)
        is_only = file.pixels.frames == 1
        for photograph in file.decode_photographs():
            number = photograph.frame_number
            frame_name = name if is_only else f"{name} frame {number}"
            row = _grade_photograph(service, frame_name, photograph.data)
            note = " ".join(filter(None, (row.note, photograph.note)))
            yield replace(row, laterality=file.laterality, note=note)
    except RequestRefused as error:
        yield GradedRow(f"{name} frame {number + 1}" if number else name, error=error.sentence)
        unread = describe_unread_frame(number + 1)
        for later in range(number + 2, file.pixels.frames + 1) if number else ():
            yield GradedRow(f"{name} frame {later}", error=unread)


def _grade_photograph(service: InferenceService, name: str, photograph: bytes) -> GradedRow:
    try:
        inference = service.infer([photograph])[0]
    except EmptyBody:
        return GradedRow(name, error="The file is empty.")
    except (RequestRefused, PredictionFailed) as error:
        return GradedRow(name, error=error.sentence)
    return _make_row_of_inference(service, name, inference)


def _make_row_of_inference(service: InferenceService, name: str, inference: Inference) -> GradedRow:
    timed = GradedRow(
        name,
        decode_s=inference.decode_s,
        transform_s=inference.transform_s,
        predict_s=inference.predict_s,
        note=inference.note,
    )
    prediction = inference.prediction
    if prediction is None:
        return replace(timed, gradable=False, ungradable_reason=inference.ungradable or "")
    grade = prediction.grade
    if grade is None:
        moderate = threatening = None
    else:
        moderate = prediction.probability_at_or_above(Grade.MODERATE)
        threatening = prediction.probability_at_or_above(Grade.SEVERE)
    referral = decide_referral(prediction, service.manifest)
    return replace(
        timed,
        gradable=True if inference.is_assessed else None,
        unlike_training=inference.is_unlike_training,
        grade=None if grade is None else int(grade),
        label=prediction.label,
        referable=None if referral is None else referral.referable,
        referable_rule="" if referral is None else referral.rule,
        probability_referable=moderate,
        probability_vision_threatening=threatening,
        screening=find_screening_flags(prediction, service.manifest) or None,
        probabilities=tuple(prediction.probabilities.tolist()),
        at_prevalence=adjust_to_prevalence(prediction, service.manifest),
    )


def make_row_of_answer(name: str, body: bytes) -> GradedRow:
    """Make a row from the answer that drdeploy's server gave for one photograph.

    For any other answer, for example from a container that is not drdeploy's, the row has an error.
    """
    try:
        answer: Any = parse_json(body)
        if isinstance(answer, dict) and "predictions" in answer:
            made = msgspec.to_builtins(_make_row_of_grade(name, answer))
            row = msgspec.convert(made, GradedRow)
            if _is_row_possible(row):
                return row
    except (ValueError, TypeError, AttributeError, LookupError, OverflowError):
        pass
    return GradedRow(name, error=FOREIGN_ANSWER)


def _make_row_of_grade(name: str, answer: dict[str, Any]) -> GradedRow:
    """Make a row from an answer.

    The members of the answer are not checked, so a value in the row may have any type.
    """
    (shares,) = answer["predictions"]
    grade = answer.get("grade")
    timing = answer.get("timing") or {}
    return GradedRow(
        name,
        gradable=answer.get("gradable"),
        ungradable_reason=answer.get("ungradable_reason", ""),
        grade=grade,
        label=answer.get("label", ""),
        referable=answer.get("referable"),
        referable_rule=answer.get("referable_rule", ""),
        probability_referable=None
        if grade is None
        else _compute_probability_of_grade_or_worse(shares, Grade.MODERATE),
        probability_vision_threatening=(
            None if grade is None else _compute_probability_of_grade_or_worse(shares, Grade.SEVERE)
        ),
        screening=answer.get("screening"),
        probabilities=() if shares is None or answer.get("gradable") is False else tuple(shares),
        decode_s=timing.get("decode_s"),
        transform_s=timing.get("transform_s"),
        predict_s=timing.get("predict_s"),
        note=answer.get("note", ""),
        unlike_training=answer.get("unlike_training"),
        at_prevalence=answer.get("at_prevalence"),
    )


def _is_row_possible(row: GradedRow) -> bool:
    """Return whether a drdeploy container can have given the answer of a row."""
    return (
        (0 < len(row.probabilities) <= CLASSES_MAX or row.gradable is False)
        and all(map(math.isfinite, row.probabilities))
        and (row.grade is None or row.grade in set(Grade))
    )


def _compute_probability_of_grade_or_worse(shares: list[float], grade: Grade) -> float:
    """Return P(grade >= ``grade``), exactly as ``Prediction`` computes it.

    ``Prediction`` uses float32 for the network's probabilities, and float64 if they were adjusted.
    The answer does not say which type was used. It was float32 if float32 can hold all
    probabilities without rounding.
    """
    wide = np.asarray(shares, dtype=np.float64)
    narrow = wide.astype(np.float32)
    return float((narrow if np.array_equal(wide, narrow) else wide)[int(grade) :].sum())


_PREVALENCE_COLUMNS = (
    "prevalence",
    "probability_referable_at_prevalence",
    "probability_vision_threatening_at_prevalence",
)


def _list_cells_at_prevalence(found: ProbabilitiesAtPrevalence | None) -> tuple[float | None, ...]:
    if found is None:
        return (None, None, None)
    return (
        found.prevalence,
        found.probability_referable,
        found.probability_vision_threatening,
    )


class RowColumns(NamedTuple):
    """The columns of a table of rows.

    Attributes:
        flags: Pairs of a disease and an operating point's name. Each pair has a column that says
            whether the eye is flagged.
        classes: The names of the classes, or their numbers.
        has_prevalence: Whether there are columns for the probabilities at a prevalence.
    """

    flags: tuple[tuple[str, str], ...]
    classes: tuple[str, ...]
    has_prevalence: bool = False

    @property
    def column_names(self) -> list[str]:
        """The names of the columns, in their order."""
        return [
            *("image", "gradable", "ungradable_reason", "grade", "label", "referable"),
            *("probability_referable", "probability_vision_threatening", "error"),
            *(f"{disease}_{name}" for disease, name in self.flags),
            *(f"p_{name}" for name in self.classes),
            *("decode_s", "transform_s", "predict_s", "referable_rule"),
            *("note", "laterality", "unlike_training"),
            *(_PREVALENCE_COLUMNS if self.has_prevalence else ()),
            "notice",
        ]

    def list_cells(self, row: GradedRow) -> list[Any]:
        """Return the cells of a row, in the order of the columns.

        A cell without a value is None.
        """
        screened: Mapping[str, Mapping[str, bool]] = row.screening or {}
        return [
            *(row.image, row.gradable, row.ungradable_reason, row.grade, row.label, row.referable),
            *(row.probability_referable, row.probability_vision_threatening, row.error),
            *(screened.get(disease, {}).get(name) for disease, name in self.flags),
            *row.probabilities,
            *((None,) * (len(self.classes) - len(row.probabilities))),
            *(row.decode_s, row.transform_s, row.predict_s, row.referable_rule),
            *(row.note, row.laterality, row.unlike_training),
            *(_list_cells_at_prevalence(row.at_prevalence) if self.has_prevalence else ()),
            RESEARCH_USE_NOTICE,
        ]


def list_columns_of_model(service: InferenceService) -> RowColumns:
    """Return the columns of a loaded model, before it has graded anything."""
    manifest = service.manifest
    points = () if manifest.clinical is None else manifest.clinical.operating_points
    flags = sorted({(DISEASES[point.at_or_above], point.name) for point in points})
    classes = manifest.classes
    if not classes:
        shape = (1, manifest.transform.height_px, manifest.transform.width_px, 3)
        prediction = service.classifier.predict(np.zeros(shape, dtype=np.float32))[0]
        classes = tuple(map(str, range(len(prediction.probabilities))))
    return RowColumns(tuple(flags), classes, has_prevalence=manifest.prevalence is not None)


def write_rows_as_csv(path: Path, rows: Sequence[GradedRow], classes: tuple[str, ...]) -> None:
    """Write a line for each row, with a column ``p_CLASS`` for the probability of each class."""
    width = max((len(row.probabilities) for row in rows), default=len(classes))
    flags = sorted({
        (disease, name)
        for row in rows
        for disease, decisions in (row.screening or {}).items()
        for name in decisions
    })  # fmt: skip
    columns = RowColumns(
        tuple(flags),
        classes or tuple(map(str, range(width))),
        has_prevalence=any(row.at_prevalence is not None for row in rows),
    )
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(map(escape_formula_in_csv_cell, columns.column_names))
        for row in rows:
            cells = map(_format_cell_for_csv, columns.list_cells(row))
            writer.writerow(map(escape_formula_in_csv_cell, cells))


def _format_cell_for_csv(cell: object) -> object:
    if cell is None:
        return ""
    return str(cell).lower() if isinstance(cell, bool) else cell
