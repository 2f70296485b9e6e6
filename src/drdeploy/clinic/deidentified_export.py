"""Write a clinic's photographs, grades and decisions without data that identify patients."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from drdeploy.clinic.deidentification import (
    Deidentifier,
    deidentify_photographs,
    has_writing_in_pixels,
)
from drdeploy.errors import ClinicError, InvalidInput, RequestRefused, format_count
from drdeploy.files import escape_formula_in_csv_cell, write_file_atomically
from drdeploy.grader.dicom.photographs import DicomFile
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from drdeploy.clinic.deidentification import DeidentifiedPhotograph
    from drdeploy.clinic.records import ClinicRecords
    from drdeploy.clinic.records.records import RecordedStudy
    from drdeploy.clinic.records.worklist import ReferralDecision

ExportFormat = Literal["dicom", "jpeg"]

EYE_COLUMNS = (
    "patient", "study", "study_date", "outcome", "eye", "photographs", "gradable_photographs",
    "grade", "label", "eye_outcome", "marks", "decision", "decided_outcome", "decided_grade",
)  # fmt: skip
PHOTOGRAPH_COLUMNS = ("photograph", "file", "patient", "study", "study_date", "eye")

README = """\
Photographs, grades and decisions of a clinic, without names, numbers and birth dates.

eyes.csv         one row per eye: the grade of its worst gradable photograph, the outcome, and what
                 a person decided about the patient
photographs.csv  one row per photograph: its file, patient, study and eye
photographs/     the photographs

Patients, studies and photographs are named by keyed hashes. Every date of a patient is moved back
by the same number of days, from 1 to 3650; the number is computed from the key and the patient.
A person who has the key and the original photographs can tell which patient each photograph belongs
to.

The pixels were not searched for text, such as a name. A photograph was left out if its DICOM file
says that it has text in its pixels. Look at the photographs before you pass them on. A person who
has another photograph of the same eye can recognise the eye by its vessels.

{notice}
"""


@dataclass
class ExportCounts:
    """What an export wrote, and how many files it left out.

    Attributes:
        patients: Keyed hashes of the patients whose studies were written.
        studies: Number of studies.
        photographs: Number of photographs.
        with_writing: Files left out because they declare that there is text in the pixels.
        undecodable: Files left out because they cannot be read or decoded.
    """

    patients: set[str] = field(default_factory=set)
    studies: int = 0
    photographs: int = 0
    with_writing: int = 0
    undecodable: int = 0

    @property
    def description(self) -> str:
        """The counts in words, without a patient's data."""
        return (
            f"{format_count(self.photographs, 'photograph')}, "
            f"{format_count(self.studies, 'study', 'studies')}, "
            f"{format_count(len(self.patients), 'patient')}"
        )


def check_export_folder(folder: Path) -> None:
    """Check that nothing would be overwritten, and that the export can get the folder's name.

    Raises:
        InvalidInput: The folder is not empty, or is the root of a disk.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        what = "The folder is not empty" if folder.is_dir() else "The path is a file"
        raise InvalidInput(
            f"{what}, and an export overwrites nothing",
            where=str(folder),
            remedy="Choose a new or an empty folder",
        )
    if folder.is_mount():
        raise InvalidInput(
            "A disk is mounted at this folder, so no other folder can take its place",
            where=str(folder),
            remedy=f"Choose a new folder on the disk, for example {folder / 'export'}",
        )


class DeidentifiedExport:
    """Writes the studies of a clinic into a folder, one after the other.

    ::

        counts = DeidentifiedExport(records, folder, "dicom").write_studies(studies)
    """

    def __init__(self, records: ClinicRecords, folder: Path, file_format: ExportFormat) -> None:
        self._records = records
        self._folder = folder
        self._format = file_format
        self._to = Deidentifier(records.names)
        self._counts = ExportCounts()
        self._eyes: list[dict[str, Any]] = []
        self._photographs: list[dict[str, Any]] = []

    def write_studies(
        self,
        studies: list[RecordedStudy],
        on_study: Callable[[], None] = lambda: None,
    ) -> ExportCounts:
        """Write the photographs, then the tables, and then an entry in the audit log.

        Args:
            studies: The studies.
            on_study: Called after each study.
        """
        decisions = {one.number: one.decision for one in self._records.worklist.list_studies()}
        for study in studies:
            self._write_study(study, decisions.get(study.number))
            on_study()
        self._write_table("eyes.csv", EYE_COLUMNS, self._eyes)
        self._write_table("photographs.csv", PHOTOGRAPH_COLUMNS, self._photographs)
        write_file_atomically(
            self._folder / "README.txt", README.format(notice=RESEARCH_USE_NOTICE)
        )
        self._records.record_export_in_audit_log(self._counts.description)
        return self._counts

    def _write_study(self, study: RecordedStudy, decision: ReferralDecision | None) -> None:
        patient = self._records.names.name_of_table_entry("group", study.patient)
        about = {
            "patient": patient,
            "study": self._records.name_of_study(study.patient, study.study_uid),
        }
        days: list[str] = []
        for sha256 in study.photographs:
            for row, day in self._write_file(sha256, study, about):
                self._photographs.append({**about, **row, "study_date": day})
                days.append(day)
        self._counts.patients.add(patient)
        self._counts.studies += 1
        known_days = sorted(filter(None, days))
        for eye, found in study.eyes.items():
            self._eyes.append({
                **about,
                "study_date": known_days[0] if known_days else "",
                "outcome": study.outcome,
                "eye": eye,
                "photographs": found.get("photographs"),
                "gradable_photographs": found.get("gradable"),
                "grade": found.get("grade"),
                "label": found.get("label"),
                "eye_outcome": found.get("outcome"),
                "marks": ", ".join(found.get("marks") or ()),
                **_describe_decision(decision, eye),
            })  # fmt: skip

    def _write_file(
        self, sha256: str, study: RecordedStudy, about: dict[str, str]
    ) -> Iterator[tuple[dict[str, Any], str]]:
        try:
            file = DicomFile.open(self._records.store.read_file(sha256))
            if has_writing_in_pixels(file):
                self._counts.with_writing += 1
                return
            for photograph in deidentify_photographs(file):
                yield self._write_photograph(photograph, file, sha256, study, about)
        except (RequestRefused, ClinicError):
            self._counts.undecodable += 1

    def _write_photograph(
        self,
        photograph: DeidentifiedPhotograph,
        file: DicomFile,
        sha256: str,
        study: RecordedStudy,
        about: dict[str, str],
    ) -> tuple[dict[str, Any], str]:
        name = self._records.names.name_of_photograph(self._folder, "", sha256)
        if photograph.frame_number > 1:
            name += f"-frame-{photograph.frame_number}"
        day = self._to.shift_day(str(file.dataset.get("StudyDate") or ""), study.patient)
        if self._format == "jpeg":
            path, content = f"photographs/{name}.jpg", photograph.encode_jpeg()
        else:
            path = f"photographs/{name}.dcm"
            content = photograph.encode_dicom(
                file, self._to, patient=study.patient, name=about["patient"]
            )
        write_file_atomically(self._folder / path, content)
        self._counts.photographs += 1
        shown = f"{day[:4]}-{day[4:6]}-{day[6:]}" if day else ""
        return {"photograph": name, "file": path, "eye": photograph.eye or ""}, shown

    def _write_table(self, name: str, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
        stream = io.StringIO(newline="")
        writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            cells = {key: "" if one is None else one for key, one in row.items()}
            writer.writerow({key: escape_formula_in_csv_cell(one) for key, one in cells.items()})
        write_file_atomically(self._folder / name, stream.getvalue())


def _describe_decision(decision: ReferralDecision | None, eye: str) -> dict[str, Any]:
    """Return a decision without the reason and the name, which could identify people."""
    if decision is None:
        return {}
    grade = decision.grades.get(eye, "")
    return {
        "decision": decision.kind,
        "decided_outcome": decision.outcome,
        "decided_grade": "ungradable" if grade is None else grade,
    }
