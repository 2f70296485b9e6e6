"""An export holds the photographs and the grades, and no byte that says whose they are."""

import csv
import io
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from dicom_files import PATIENT, as_bytes, encapsulate, make_dataset, shrink_eye
from PIL import Image
from required import require
from typer.testing import CliRunner

if os.environ.get("CI") != "true":  # CI has it
    pytest.importorskip("sqlalchemy", reason="needs the extra clinic")

from pydicom import Dataset, dcmread, uid

from drdeploy.cli.clinic import app
from drdeploy.clinic.patients import identify_patient
from drdeploy.clinic.records import ClinicRecords
from drdeploy.photograph_names import PhotographNames

SECRETS = ("Garcia", "Ana", "P-4711", "ISSUER-9", "19610203", "20200103", "SERIAL-77", "Dr^Strange",
           "1.2.752.99")  # fmt: skip
"""Name, number, issuer, birth date, day, camera, physician, and the head of all identifiers."""


def add_metadata(jpeg):
    """The same JPEG with a comment, EXIF, a thumbnail and bytes behind its end."""

    def segment(marker, body):
        return b"\xff" + bytes([marker]) + (len(body) + 2).to_bytes(2) + body

    comment = segment(0xFE, b"Garcia Ana P-4711") + segment(0xE1, b"Exif\0\0Garcia 19610203")
    thumbnail = segment(0xE0, b"JFXX\0\x13Garcia")
    return jpeg[:2] + comment + thumbnail + jpeg[2:-2] + segment(0xED, b"SERIAL-77") + jpeg[-2:]


def make_file(number, side, *, is_jpeg, **fields):
    content, pixels = shrink_eye()
    dataset = make_dataset(
        pixels, photometric="YBR_FULL_422" if is_jpeg else "RGB", ImageLaterality=side,
        PatientName=PATIENT, PatientID="P-4711", IssuerOfPatientID="ISSUER-9",
        PatientBirthDate="19610203", StudyDate="20200103", AcquisitionDateTime="20200103101112",
        DeviceSerialNumber="SERIAL-77", ReferringPhysicianName="Dr^Strange",
        StudyInstanceUID="1.2.752.99.1", SeriesInstanceUID="1.2.752.99.2",
        SOPInstanceUID=f"1.2.752.99.3.{number}", **fields,
    )  # fmt: skip
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    nested = Dataset()
    nested.PatientName, nested.ReferencedSOPInstanceUID = PATIENT, "1.2.752.99.9"
    dataset.SourceImageSequence = [nested]
    dataset.private_block(0x0009, "Garcia", create=True).add_new(1, "LO", "Ana")
    if is_jpeg:
        dataset = encapsulate(dataset, [add_metadata(content)], uid.JPEGBaseline8Bit)
    return dataset


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "records"
    records = ClinicRecords.open(folder, names=PhotographNames.with_user_key())
    for number, (side, is_jpeg, fields) in enumerate([
        ("L", True, {"BurnedInAnnotation": "NO"}), ("R", False, {"BurnedInAnnotation": "NO"}),
        ("R", True, {"BurnedInAnnotation": "YES"}),
    ]):  # fmt: skip
        dataset = make_file(number, side, is_jpeg=is_jpeg, **fields)
        records.add_photograph(
            as_bytes(dataset), patient=identify_patient(dataset),
            study_uid=dataset.StudyInstanceUID, sop_instance_uid=dataset.SOPInstanceUID,
        )  # fmt: skip
    (study,) = records.list_due_studies(float("inf"))
    found = {"photographs": 1, "gradable": 1, "grade": 2, "label": "moderate NPDR",
             "outcome": "refer", "marks": ["low certainty"]}  # fmt: skip
    records.record_grading(
        study, outcome="refer", eyes={"right": found, "left": found}, results={}, destinations=[],
        with_photographs=[],
    )  # fmt: skip
    (listed,) = records.worklist.list_studies()
    records.worklist.record_decision(
        listed, who="Dr^Strange", kind="overrule", outcome="urgent",
        grades={"left": 4, "right": None}, reason="Garcia told me so",
    )  # fmt: skip
    records.close()
    return folder


def export(folder, out, *options):
    return CliRunner().invoke(app, ["export", str(folder), str(out), *options])


def read_table(file):
    return list(csv.DictReader(io.StringIO(file.read_text())))


@pytest.mark.parametrize("kind", ["dicom", "jpeg"])
def test_no_byte_of_an_export_says_whose_it_is(kind, folder, tmp_path):
    out = tmp_path / "out"
    done = export(folder, out, "--format", kind)
    assert done.exit_code == 1, done.output  # one photograph was left out
    said = " ".join(done.output.split())
    assert "the DICOM header says that the pixels contain text: 1 file left out" in said
    files = [one for one in out.rglob("*") if one.is_file()]
    assert len(files) == 2 + 3
    for file in files:
        content = file.read_bytes() + file.name.encode()
        assert not [one for one in SECRETS if one.encode() in content], file
    rows = read_table(out / "photographs.csv")
    assert {row["eye"] for row in rows} == {"left", "right"}
    assert all((out / row["file"]).exists() for row in rows)
    eyes = read_table(out / "eyes.csv")
    assert [(row["eye"], row["grade"], row["marks"]) for row in eyes] == [
        ("right", "2", "low certainty"), ("left", "2", "low certainty")
    ]  # fmt: skip
    assert [(row["decision"], row["decided_outcome"], row["decided_grade"]) for row in eyes] == [
        ("overrule", "urgent", "ungradable"), ("overrule", "urgent", "4")
    ]  # fmt: skip
    assert {row["study_date"] for row in rows + eyes} == {rows[0]["study_date"]}
    assert rows[0]["study_date"] < "2020-01-03"


def test_the_pixels_stay_and_a_second_export_names_everything_alike(folder, tmp_path):
    content, pixels = shrink_eye()
    for out in (tmp_path / "first", tmp_path / "second"):
        export(folder, out)
    for row in read_table(tmp_path / "first" / "photographs.csv"):
        file = tmp_path / "first" / row["file"]
        assert file.read_bytes() == (tmp_path / "second" / row["file"]).read_bytes()
        dataset = dcmread(file)
        assert dataset.PatientIdentityRemoved == "YES"
        if row["eye"] == "right":
            assert dataset.PixelData.rstrip(b"\0") == pixels.tobytes().rstrip(b"\0")
        else:
            (frame,) = uid_frames(dataset)
            with Image.open(io.BytesIO(frame)) as kept, Image.open(io.BytesIO(content)) as source:
                assert kept.tobytes() == source.tobytes()
                assert not kept.getexif()


def uid_frames(dataset):
    from pydicom.encaps import generate_frames

    return list(generate_frames(dataset.PixelData, number_of_frames=1))


def test_dciodvfy_finds_no_error_in_an_exported_photograph(folder, tmp_path):
    require(shutil.which("dciodvfy") is not None, "dciodvfy (Debian's package dicom3tools)")
    export(folder, tmp_path / "out")
    for file in (tmp_path / "out" / "photographs").iterdir():
        found = subprocess.run(["dciodvfy", file], capture_output=True, text=True, check=False)
        said = found.stdout + found.stderr
        assert "OphthalmicPhotography8BitImage" in said
        assert "Error" not in said


@pytest.mark.parametrize("named", [".", "link"])
def test_an_export_goes_to_the_current_folder_and_through_a_link(
    named, folder, tmp_path, monkeypatch
):
    (tmp_path / "out").mkdir()
    if named == "link":
        (tmp_path / "link").symlink_to("out")
    monkeypatch.chdir(tmp_path / "out" if named == "." else tmp_path)
    done = export(folder, named)
    assert done.exit_code == 1, done.output  # one photograph was left out
    assert (tmp_path / "out" / "eyes.csv").exists()


def test_a_folder_where_a_disk_is_mounted_is_refused_before_the_export(
    folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(Path, "is_mount", lambda _: True)
    refused = export(folder, tmp_path / "out")
    assert "A disk is mounted at this folder" in str(refused.exception)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["records"]


def test_nothing_is_overwritten_and_each_export_is_in_the_audit_log(folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert "overwrites nothing" in str(export(folder, tmp_path / "out").exception)
    assert [one.name for one in (tmp_path / "out").iterdir()] == ["notes.txt"]
    records = ClinicRecords.open(folder, names=PhotographNames.with_user_key())
    dataset = make_file(9, "L", is_jpeg=False)
    records.add_photograph(
        as_bytes(dataset), patient=identify_patient(dataset), study_uid="1.2.752.99.1",
        sop_instance_uid="1.2.752.99.3.9",
    )  # fmt: skip
    before, _ = records.verify_audit_log()
    export(folder, tmp_path / "new")
    assert read_table(tmp_path / "new" / "eyes.csv") == []  # it waits to be graded again
    assert records.verify_audit_log()[0] == before + 1
    records.close()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["new", "out", "records"]
