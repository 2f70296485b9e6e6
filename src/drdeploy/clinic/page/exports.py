"""Export the worklist as CSV, and a study as FHIR and as PDF, with a person's decision."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from drdeploy.clinic.page.translations import translate_page_text
from drdeploy.clinic.patients import EYES
from drdeploy.clinic.pdf_report import build_pdf_page, make_paragraph, make_table
from drdeploy.errors import turn_import_error_into_missing_extra
from drdeploy.files import encode_json_document, escape_formula_in_csv_cell, parse_json
from drdeploy.grader.grading.grade import ICDR_CLASSES, RESEARCH_USE_NOTICE

with turn_import_error_into_missing_extra("clinic", "A PDF report"):
    from reportlab.lib import colors
    from reportlab.lib.styles import ParagraphStyle, getSampleStyleSheet
    from reportlab.lib.units import mm
    from reportlab.platypus import Paragraph, Spacer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from drdeploy.clinic.records.worklist import ListedStudy

_COLUMNS = (
    "patient", "issuer", "received_at", "state", "suggested_outcome", "outcome",
    *(f"{eye}_{what}" for eye in EYES for what in ("grade", "label", "marks", "person_grade")),
    "decision", "decided_by", "decided_at", "reason", "notice",
)  # fmt: skip


def make_csv_of_studies(studies: Iterable[ListedStudy]) -> bytes:
    """Return studies as CSV in UTF-8, with one row per study."""
    stream = io.StringIO()
    table = csv.DictWriter(stream, _COLUMNS, lineterminator="\r\n")
    table.writeheader()
    for study in studies:
        row = _make_csv_row(study)
        table.writerow({name: escape_formula_in_csv_cell(value) for name, value in row.items()})
    # Spreadsheets recognise UTF-8 only by this byte order mark.
    return stream.getvalue().encode("utf-8-sig")


def _make_csv_row(study: ListedStudy) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(_COLUMNS, "")
    row |= {
        "patient": study.patient,
        "issuer": study.issuer,
        "received_at": _format_utc(study.received_s),
        "state": study.state,
        "suggested_outcome": study.outcome,
        "outcome": study.final_outcome,
        "reason": study.reason,
        "notice": RESEARCH_USE_NOTICE,
    }
    for eye, found in study.eyes.items():
        row |= {
            f"{eye}_grade": "" if found["grade"] is None else found["grade"],
            f"{eye}_label": found["label"],
            f"{eye}_marks": "; ".join([*found["marks"], *found["ungradable_reasons"]]),
        }
    if study.decision is not None:
        row |= {
            "decision": study.decision.kind,
            "decided_by": study.decision.who,
            "decided_at": _format_utc(study.decision.decided_s),
            "reason": study.decision.reason,
        }
        for eye, grade in study.decision.grades.items():
            row[f"{eye}_person_grade"] = "ungradable" if grade is None else grade
    return row


def _format_utc(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="seconds")


def make_fhir_bundle_with_decision(bundle: bytes, study: ListedStudy) -> bytes:
    """Return the bundle of a study; its conclusion says what a person decided."""
    document = parse_json(bundle)
    decision = study.decision
    if decision is not None:
        for entry in document["entry"]:
            resource = entry["resource"]
            if resource["resourceType"] == "DiagnosticReport":
                own = "".join(
                    f", {eye} eye {'ungradable' if grade is None else f'grade {grade}'}"
                    for eye, grade in decision.grades.items()
                )
                sentence = f"{decision.who} decided ({decision.kind}): {decision.outcome}{own}."
                reason = f" Reason: {decision.reason}" if decision.reason else ""
                resource["conclusion"] += f" {sentence}{reason}"
    return encode_json_document(document).encode()


def make_pdf_page_of_study(study: ListedStudy, language: str) -> bytes:
    """Return a one-page PDF about a study, in a language of the worklist page."""

    def translate_text(text: str) -> str:
        return translate_page_text(text, language)

    styles = getSampleStyleSheet()
    notice = ParagraphStyle("notice", styles["Normal"], textColor=colors.darkred, fontSize=12)
    title = translate_text("Severity of diabetic retinopathy")
    parts: list[Any] = [
        Paragraph(title, styles["Title"]),
        Paragraph(translate_text(RESEARCH_USE_NOTICE), notice),
        Spacer(1, 6 * mm),
        make_table(
            [
                [translate_text("Patient's number"), study.patient or translate_text("no number")],
                *([[translate_text("Issuer of the number"), study.issuer]] if study.issuer else []),
                [translate_text("Received"), _format_utc(study.received_s)],
                [translate_text("Suggested"), translate_text(study.outcome)],
                *_describe_decision(study, translate_text),
            ],
            (0.3, 0.7),
        ),
        Spacer(1, 6 * mm),
        make_table(
            [
                [
                    translate_text("Eye"),
                    translate_text("Grade"),
                    translate_text("Probabilities"),
                    translate_text("Look again"),
                ],
                *(
                    _describe_eye(eye, study.eyes[eye], translate_text)
                    for eye in EYES
                    if eye in study.eyes
                ),
            ],
            (0.15, 0.2, 0.35, 0.3),
        ),
        Spacer(1, 6 * mm),
        make_paragraph(translate_text("The grade does not cover macular oedema.")),
    ]
    return build_pdf_page(parts, title)


def _describe_decision(study: ListedStudy, say: Callable[[str], str]) -> list[list[str]]:
    decision = study.decision
    if decision is None:
        return [[say("Decision"), say("nobody has decided yet")]]
    own = [
        f"{say(f'{eye} eye')}: {say('ungradable') if grade is None else say(ICDR_CLASSES[grade])}"
        for eye, grade in decision.grades.items()
    ]
    what = f"{say(decision.kind)}: {say(decision.outcome)}"
    return [
        [say("Decision"), "\n".join([what, *own])],
        [say("Decided by"), f"{decision.who}, {_format_utc(decision.decided_s)}"],
        *([[say("Reason"), decision.reason]] if decision.reason else []),
    ]


def _describe_eye(eye: str, found: Mapping[str, Any], say: Callable[[str], str]) -> list[str]:
    doubts = [say(text) for text in (*found["marks"], *found["ungradable_reasons"])]
    if not found["photographs"]:
        return [say(f"{eye} eye"), say("no photograph"), "", ""]
    if found["grade"] is None:
        return [say(f"{eye} eye"), say("ungradable"), "", "\n".join(doubts)]
    shares = "\n".join(
        f"{say(name)}: {share:.2f}"
        for name, share in zip(ICDR_CLASSES, found.get("probabilities") or (), strict=False)
    )
    return [
        say(f"{eye} eye"), f"{found['grade']} {say(found['label'])}", shares, "\n".join(doubts),
    ]  # fmt: skip
