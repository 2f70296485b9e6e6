"""``drdeploy clinic triage``: patients, the most pressing first, named by hashes."""

import json
import os
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import numpy as np
import pytest
from dicom_files import EYE, PATIENT, as_bytes, encapsulate, make_dataset
from PIL import Image
from typer.testing import CliRunner

if os.environ.get("CI") != "true":  # CI has it
    pytest.importorskip("pydicom", reason="needs the extra clinic")

from pydicom import uid

from drdeploy.cli.clinic import app


@pytest.fixture
def folder(tmp_path):
    """A healthy patient, one with proliferative retinopathy, and a file with scrambled pixels."""
    worst = EYE.with_name("IDRiD_001_grade4.jpg")
    for number, (patient, photograph) in enumerate([("11", EYE), ("22", worst)]):
        study = uid.generate_uid()
        with Image.open(photograph) as image:
            rows, columns = image.height, image.width
        for side in "LR":
            dataset = make_dataset(
                np.zeros((1, 1, 3), np.uint8), photometric="YBR_FULL_422", PatientID=patient,
                ImageLaterality=side, StudyInstanceUID=study, Rows=rows, Columns=columns,
            )  # fmt: skip
            wrapped = encapsulate(dataset, [photograph.read_bytes()], uid.JPEGBaseline8Bit)
            (tmp_path / f"{PATIENT}{number}{side}.dcm").write_bytes(as_bytes(wrapped))
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, ["triage", *map(str, arguments)])


def test_patients_are_listed_by_urgency_without_their_names(folder, tmp_path):
    out = tmp_path / "fhir"
    result = run(folder, "--json", "--fhir", out)
    document = json.loads(result.stdout)
    first, second = document["patients"]
    assert first["outcome"] == "urgent"
    assert first["eyes"]["left"]["grade"] >= 3
    assert second["eyes"]["right"]["grade"] == 0
    assert document["notice"] == "For research use. Not a medical device."
    assert result.exit_code == 0
    assert {file.stem for file in out.iterdir()} == {first["study"], second["study"]}
    said = result.output + "".join(file.name for file in out.iterdir())
    assert not any(part in said for part in (*PATIENT.split("^"), '"11"', '"22"'))


def test_scrambled_pixels_are_an_ungradable_eye_and_the_patient_is_referred(folder):
    sound = folder / f"{PATIENT}0L.dcm"
    broken = sound.read_bytes()
    place = broken.index(b"\xff\xd8\xff")
    sound.write_bytes(broken[:place] + bytes(3) + broken[place + 3 :])
    result = run(*sorted(folder.glob(f"{PATIENT}0*")), "--json")
    (patient,) = json.loads(result.stdout)["patients"]
    assert patient["outcome"] == "refer"
    assert patient["eyes"]["left"]["grade"] is None
    assert "scramble pixels" in patient["eyes"]["left"]["ungradable_reasons"][0]


def test_a_file_that_does_not_say_which_eye_it_shows_asks(folder):
    from pydicom import dcmread

    file = folder / f"{PATIENT}0L.dcm"
    dataset = dcmread(file)
    del dataset.ImageLaterality
    dataset.save_as(file)
    refused = run(file)
    assert "--eye left or --eye right" in refused.output.replace("\n", " ")
    assert refused.exit_code == 1
    assert run(file, "--eye", "left").exit_code == 0


@pytest.mark.parametrize("name", ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"])
def test_a_file_to_which_no_result_can_refer_is_refused(name, folder):
    from pydicom import dcmread

    file = folder / f"{PATIENT}0L.dcm"
    dataset = dcmread(file)
    dataset[name].value = "1.2.x"
    dataset.save_as(file)
    refused = run(file)
    assert name in refused.output
    assert refused.exit_code == 1


def test_two_patients_with_one_study_identifier_are_two_bundles(folder, tmp_path):
    from pydicom import dcmread

    for file in folder.glob("*L.dcm"):
        dataset = dcmread(file)
        dataset.StudyInstanceUID = "1.2.3"
        dataset.save_as(file)
    assert run(*folder.glob("*L.dcm"), "--fhir", tmp_path / "fhir").exit_code == 0
    assert len([*(tmp_path / "fhir").iterdir()]) == 2


def test_a_copy_counts_once_and_another_photograph_of_the_same_name_is_refused(folder):
    from pydicom import dcmread

    file = folder / f"{PATIENT}0L.dcm"
    shutil.copyfile(file, folder / "copy.dcm")
    other = dcmread(folder / f"{PATIENT}1L.dcm")
    other.SOPInstanceUID = dcmread(file).SOPInstanceUID
    other.file_meta.MediaStorageSOPInstanceUID = other.SOPInstanceUID
    other.save_as(folder / f"{PATIENT}1L.dcm")
    result = run(folder, "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [one["error"] for one in document["failed"]] == [
        "Another photograph has the same SOP Instance UID."
    ]
    assert "copies of photographs, which count only once: 1" in document["notes"]
    eyes = [patient["eyes"] for patient in document["patients"]]
    assert sum(one[side]["photographs"] for one in eyes for side in ("left", "right")) == 3


class OneBundleRefused(BaseHTTPRequestHandler):
    """A FHIR server that refuses the first bundle that it gets."""

    got: ClassVar[list[bytes]] = []

    def do_POST(self):
        self.got.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(422 if len(self.got) == 1 else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def test_a_bundle_that_is_refused_does_not_keep_the_others_back(folder):
    with ThreadingHTTPServer(("127.0.0.1", 0), OneBundleRefused) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        result = run(folder, "--json", "--post", f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    first, _ = json.loads(result.stdout)["patients"]
    assert result.exit_code == 1
    assert len(OneBundleRefused.got) == 2
    refused = f"{first['study']}: The FHIR server refuses a bundle with status 422."
    assert refused in " ".join(result.stderr.split())
