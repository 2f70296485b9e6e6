"""The results of a study are a structured report and a page in the study, readable by others."""

import dataclasses
import io
import os
import shutil
import subprocess
from datetime import UTC, datetime

import numpy as np
import pytest
from dicom_files import EYE, PATIENT, as_bytes, encapsulate, make_dataset
from PIL import Image
from required import require
from typer.testing import CliRunner

if os.environ.get("CI") != "true":  # CI has it
    pytest.importorskip("highdicom", reason="needs the extra clinic")

from pydicom import dcmread, uid

from drdeploy.cli.clinic import app
from drdeploy.clinic.dicom_results import encode_result
from drdeploy.clinic.patients import GradedPhotograph, group_by_study
from drdeploy.clinic.pdf_report import draw_pdf_page_of_study, make_pdf_report
from drdeploy.clinic.referral_rules import ReferralRules
from drdeploy.clinic.structured_report import make_structured_report
from drdeploy.grader.artifacts import open_artifact
from drdeploy.grader.box import box_artifact
from drdeploy.grader.grading import Prediction
from drdeploy.grader.grading.grade import ICDR_CLASSES, RESEARCH_USE_NOTICE

ISSUED = datetime(2026, 11, 28, 14, 0, tzinfo=UTC)
JAPANESE = "Yamada^Tarou=山田^太郎=やまだ^たろう"
KEPT = ("StudyInstanceUID", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex",
        "StudyID", "AccessionNumber")  # fmt: skip


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """The photographs of a study: a graded right eye, and a left eye that is scrambled."""
    folder = tmp_path_factory.mktemp("photographs")
    worst = EYE.with_name("IDRiD_001_grade4.jpg")
    with Image.open(worst) as image:
        rows, columns = image.height, image.width
    study = uid.generate_uid()
    for side in "LR":
        dataset = make_dataset(
            np.zeros((1, 1, 3), np.uint8), photometric="YBR_FULL_422", ImageLaterality=side,
            StudyInstanceUID=study, Rows=rows, Columns=columns, PatientBirthDate="19600229",
            SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName=JAPANESE, PatientSex="F",
            IssuerOfPatientID="North", StudyID="S1", AccessionNumber="A7", StudyDate="20261128",
            StudyTime="1015",
        )  # fmt: skip
        data = as_bytes(encapsulate(dataset, [worst.read_bytes()], uid.JPEGBaseline8Bit))
        if side == "L":
            data = data.replace(b"\xff\xd8\xff", bytes(3))
        (folder / f"{side}.dcm").write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def results(photographs, tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    run = ["triage", str(photographs), "--sr", str(out / "sr"), "--pdf", str(out / "pdf")]
    outcome = CliRunner().invoke(app, run)
    assert outcome.exit_code == 0, outcome.output
    first = {file: file.read_bytes() for file in out.rglob("*.dcm")}
    again = CliRunner().invoke(app, run)
    assert again.exit_code == 0
    assert {file: file.read_bytes() for file in out.rglob("*.dcm")} == first
    return {file.parent.name: file for file in first}


@pytest.mark.parametrize("kind", ["sr", "pdf"])
def test_a_result_keeps_the_patient_and_the_study(kind, photographs, results):
    source, result = dcmread(photographs / "R.dcm"), dcmread(results[kind])
    assert {name: result[name].value for name in KEPT} == {
        name: source[name].value for name in KEPT
    }
    assert str(result.PatientName) == JAPANESE
    assert result.SeriesInstanceUID != source.SeriesInstanceUID
    assert result.VerificationFlag == "UNVERIFIED"
    assert PATIENT not in results[kind].name


@pytest.mark.parametrize(
    ("kind", "seen"), [("sr", "Comprehensive3DSR"), ("pdf", "EncapsulatedPDF")]
)
def test_dciodvfy_finds_no_error(kind, seen, results):
    require(shutil.which("dciodvfy") is not None, "dciodvfy (Debian's package dicom3tools)")
    found = subprocess.run(["dciodvfy", results[kind]], capture_output=True, text=True, check=False)
    said = found.stdout + found.stderr
    assert seen in said
    assert "Error" not in said


def test_dsrdump_reads_the_report(results):
    require(shutil.which("dsrdump") is not None, "dsrdump (Debian's package dcmtk)")
    read = subprocess.run(
        ["dsrdump", "+Pl", results["sr"]], capture_output=True, text=True, check=True
    ).stdout
    for line in (
        "PRELIMINARY", "UNVERIFIED", 'severity, right eye")=(LA186',
        '(UNGRADABLE,99DRDEPLOY,"Ungradable")', '"Suggested outcome")="urgent"',
        RESEARCH_USE_NOTICE, "scramble pixels",
    ):  # fmt: skip
        assert line in read


def test_the_page_is_one_pdf_with_the_notice_beside_it(results):
    page = dcmread(results["pdf"])
    assert page.EncapsulatedDocument.startswith(b"%PDF-")
    assert b"/Count 1" in page.EncapsulatedDocument
    assert RESEARCH_USE_NOTICE in page.DocumentTitle
    assert page.EncapsulatedDocumentLength <= len(page.EncapsulatedDocument)
    assert len(page.SourceInstanceSequence) == 2


def make_study(**fields):
    artifact = open_artifact(box_artifact())
    fields = {"StudyInstanceUID": "1.2.4"} | fields
    answer = Prediction(np.eye(5, dtype=np.float32)[2], ICDR_CLASSES)
    found = [
        GradedPhotograph(make_dataset(np.zeros((2, 2), np.uint8), **fields), 1, eye, *answered)
        for eye in ("left", "right")
        for answered in [(answer, ""), *((None, f"It is <b>too {n}.") for n in range(60))]
    ]
    (study,) = group_by_study(found, ReferralRules.load(), artifact.manifest)
    return study, artifact


def test_a_hostile_patient_number_and_many_doubts_still_give_one_page():
    study, artifact = make_study(
        PatientID="</para><b>" + "Ω\x1b" * 300, StudyInstanceUID="1.2", StudyDate="x"
    )
    page = draw_pdf_page_of_study(study, artifact)
    assert b"/Count 1" in page
    assert draw_pdf_page_of_study(study, artifact) == page


@pytest.mark.parametrize("fields", [
    {"PatientSex": "female", "PatientBirthDate": "in 1960", "PatientID": "7" * 80},
    {"StudyDate": "yesterday", "StudyTime": "noon", "AccessionNumber": "A" * 30},
    {"PatientID": "", "PatientName": "", "StudyInstanceUID": "1.2.3"},
])  # fmt: skip
def test_values_against_the_standard_are_kept_and_no_message_quotes_them(fields, capfd, recwarn):
    study, artifact = make_study(**fields)
    for make in (make_structured_report, make_pdf_report):
        result = dcmread(io.BytesIO(encode_result(make(study, artifact, issued=ISSUED))))
        assert {name: result[name].value or "" for name in fields} == fields
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")


def test_another_answer_is_another_result_and_the_same_is_the_same():
    study, artifact = make_study(StudyInstanceUID="1.2.3")
    again = dataclasses.replace(study)
    other = dataclasses.replace(study, outcome="urgent")
    first, second, third = (
        make_structured_report(one, artifact, issued=ISSUED) for one in (study, again, other)
    )
    assert encode_result(first) == encode_result(second)
    assert first.SOPInstanceUID != third.SOPInstanceUID
