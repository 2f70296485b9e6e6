"""Write the grades of a study as a one-page PDF inside a DICOM object."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from drdeploy.clinic.dicom_results import (
    ResultIdentifiers,
    copy_patient_and_study_attributes,
    describe_grader_as_device,
    format_probabilities,
    make_dicom_file_meta,
    write_dates_of_result,
)
from drdeploy.errors import escape_control_characters, turn_import_error_into_missing_extra
from drdeploy.grader.dicom.opening import refuse_damaged_file
from drdeploy.grader.grading.grade import ICDR_CLASSES, RESEARCH_USE_NOTICE
from drdeploy.version import VERSION

with turn_import_error_into_missing_extra("clinic", "A PDF report"):
    import pydicom
    from reportlab.lib import colors
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.styles import ParagraphStyle, getSampleStyleSheet
    from reportlab.lib.units import mm
    from reportlab.platypus import (
        KeepInFrame,
        Paragraph,
        SimpleDocTemplate,
        Spacer,
        Table,
        TableStyle,
    )

if TYPE_CHECKING:
    from datetime import datetime

    from drdeploy.clinic.patients import GradedEye, GradedStudy
    from drdeploy.grader.artifacts import ModelArtifact

SERIES_NUMBER = 9002
TITLE = "Severity of diabetic retinopathy: preliminary report, not verified"
_ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
_MARGIN = 20 * mm
_WIDTH, _HEIGHT = A4[0] - 2 * _MARGIN, A4[1] - 2 * _MARGIN
_GRID = TableStyle([
    ("GRID", (0, 0), (-1, -1), 0.5, colors.grey), ("VALIGN", (0, 0), (-1, -1), "TOP"),
])  # fmt: skip


def make_pdf_report(
    study: GradedStudy, artifact: ModelArtifact, *, issued: datetime
) -> pydicom.Dataset:
    """Return a DICOM object that contains the one-page PDF of a study (PS3.3, A.45.1).

    Args:
        study: The graded study.
        artifact: The grader.
        issued: When the report was made, with its time zone.

    Raises:
        UnreadableImage: The photographs' data elements are damaged.
    """
    identifiers = ResultIdentifiers.from_graded_study(study, artifact)
    page = draw_pdf_page_of_study(study, artifact)
    report = pydicom.Dataset()
    report.SOPClassUID = _ENCAPSULATED_PDF
    report.SOPInstanceUID = identifiers.make_uid("PDF")
    report.SeriesInstanceUID = identifiers.make_uid("series of the PDF")
    report.Modality, report.SeriesNumber, report.InstanceNumber = "DOC", SERIES_NUMBER, 1
    report.SeriesDescription = "Severity of diabetic retinopathy, preliminary, for research use"
    for keyword, value in describe_grader_as_device(artifact).items():
        setattr(report, keyword, value)
    report.ConversionType = "WSD"
    report.AcquisitionDateTime = ""
    report.BurnedInAnnotation = "YES"
    report.VerificationFlag = "UNVERIFIED"
    report.SourceInstanceSequence = _list_source_photographs(study)
    report.DocumentTitle = f"{TITLE}. {RESEARCH_USE_NOTICE}"
    report.ConceptNameCodeSequence = []
    report.MIMETypeOfEncapsulatedDocument = "application/pdf"
    report.EncapsulatedDocumentLength = len(page)
    report.EncapsulatedDocument = page + bytes(len(page) % 2)
    copy_patient_and_study_attributes(study.dataset, report)
    write_dates_of_result(report, issued)
    report.file_meta = make_dicom_file_meta(report)
    return report


def _list_source_photographs(study: GradedStudy) -> list[pydicom.Dataset]:
    sources: dict[str, pydicom.Dataset] = {}
    for one in (one for eye in study.eyes for one in eye.photographs):
        item = pydicom.Dataset()
        item.ReferencedSOPClassUID = str(one.dataset.SOPClassUID)
        item.ReferencedSOPInstanceUID = str(one.dataset.SOPInstanceUID)
        sources.setdefault(item.ReferencedSOPInstanceUID, item)
    return list(sources.values())


def draw_pdf_page_of_study(study: GradedStudy, artifact: ModelArtifact) -> bytes:
    """Return the one-page PDF about a study. The same grades always give the same bytes.

    The page names the patient by number and date of birth, if the photographs state them. A
    character that the page's font lacks is shown as an escape.

    Raises:
        UnreadableImage: The photographs' data elements are damaged.
    """
    styles = getSampleStyleSheet()
    notice = ParagraphStyle("notice", styles["Normal"], textColor=colors.darkred, fontSize=12)
    parts = [
        Paragraph(TITLE, styles["Title"]),
        Paragraph(RESEARCH_USE_NOTICE, notice),
        Spacer(1, 6 * mm),
        make_table(_describe_patient(study.dataset), (0.3, 0.7)),
        Spacer(1, 6 * mm),
        Paragraph(f"Suggested: {study.outcome}", styles["Heading2"]),
        make_table([_HEAD, *(_describe_eye(eye) for eye in study.eyes)], (0.12, 0.2, 0.36, 0.32)),
        Spacer(1, 6 * mm),
        make_paragraph(
            f"Graded by {artifact.manifest.name}, drdeploy {VERSION}, model "
            f"sha256:{artifact.digest}. An eye has the grade of its worst gradable photograph. "
            "The grade does not cover macular oedema."
        ),
    ]
    return build_pdf_page(parts, TITLE)


def build_pdf_page(parts: list[Any], title: str) -> bytes:
    """Return a PDF with the given parts on one page; parts that are too large are shrunk."""
    stream = io.BytesIO()
    document = SimpleDocTemplate(
        stream, pagesize=A4, title=title, author="drdeploy", invariant=1,
        leftMargin=_MARGIN, rightMargin=_MARGIN, topMargin=_MARGIN, bottomMargin=_MARGIN,
    )  # fmt: skip
    # The frame inside the margins has a padding of 6 points.
    document.build([KeepInFrame(_WIDTH - 12, _HEIGHT - 12, parts, mode="shrink")])
    return stream.getvalue()


_HEAD = ["Eye", "Grade", "Probabilities of the worst photograph", "Photographs and doubts"]


def _describe_patient(dataset: pydicom.Dataset) -> list[list[str]]:
    with refuse_damaged_file():
        values = {
            "Patient's number": dataset.get("PatientID"),
            "Issuer of the number": dataset.get("IssuerOfPatientID"),
            "Date of birth": dataset.get("PatientBirthDate"),
            "Date of the study": dataset.get("StudyDate"),
            "Accession number": dataset.get("AccessionNumber"),
        }
        return [[name, str(value or "") or "not given"] for name, value in values.items()]


def _describe_eye(eye: GradedEye) -> list[str]:
    worst = eye.worst_prediction
    if not eye.photographs:
        return [eye.eye, "", "", "\n".join(eye.reasons_to_look_again)]
    gradable = sum(one.prediction is not None for one in eye.photographs)
    doubts = "\n".join(
        [f"{gradable} of {len(eye.photographs)} gradable", *eye.reasons_to_look_again]
    )
    if worst is None:
        return [eye.eye, "ungradable", "", doubts]
    shares = format_probabilities(worst.probabilities).split()
    listed = "\n".join(f"{name}: {share}" for name, share in zip(ICDR_CLASSES, shares, strict=True))
    return [eye.eye, f"{worst.index} {worst.label}", listed, doubts]


def make_table(rows: list[list[str]], widths: tuple[float, ...]) -> Table:
    """Return a table of texts; each column gets its share of the page's width."""
    cells = [[make_paragraph(text) for text in row] for row in rows]
    return Table(cells, colWidths=[share * (_WIDTH - 12) for share in widths], style=_GRID)


def make_paragraph(text: str) -> Paragraph:
    """Return a paragraph of plain text that keeps the line breaks of the text."""
    return Paragraph(
        "<br/>".join(escape(_replace_characters_not_in_font(line)) for line in text.split("\n")),
        getSampleStyleSheet()["Normal"],
    )


def _replace_characters_not_in_font(text: str) -> str:
    """Replace each character that the font does not have with an escape sequence.

    The font has only the characters of Latin-1.
    """
    return escape_control_characters(text).encode("latin-1", "backslashreplace").decode("latin-1")
