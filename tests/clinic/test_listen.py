"""Photographs come from dcmtk, results reach Orthanc, and a kill loses nothing."""

import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager

import numpy as np
import pytest
from dicom_files import EYE, PATIENT, as_bytes, encapsulate, make_dataset
from orthanc import run_orthanc
from PIL import Image
from required import require

if os.environ.get("CI") != "true":  # CI has it
    pytest.importorskip("pynetdicom", reason="needs the extra clinic")

from pydicom import dcmread, uid

from drdeploy.clinic.records import ClinicRecords
from drdeploy.photograph_names import PhotographNames

STORESCU, FINDSCU = (
    shutil.which(name, path="/usr/bin:/usr/local/bin") or "" for name in ("storescu", "findscu")
)
"""Of dcmtk: pynetdicom has programs of the same names, in the environment of the tests."""

WORST = EYE.with_name("IDRiD_001_grade4.jpg")


def write_study(folder, photograph=EYE, **fields):
    """Both eyes of a patient; return the files and the study's identifier."""
    study = uid.generate_uid()
    with Image.open(photograph) as image:
        rows, columns = image.height, image.width
    files = []
    for side in "LR":
        dataset = make_dataset(
            np.zeros((1, 1, 3), np.uint8), photometric="YBR_FULL_422", Rows=rows, Columns=columns,
            ImageLaterality=side, StudyInstanceUID=study, **fields,
        )  # fmt: skip
        wrapped = encapsulate(dataset, [photograph.read_bytes()], uid.JPEGBaseline8Bit)
        files.append(folder / f"{study}{side}.dcm")
        files[-1].write_bytes(as_bytes(wrapped))
    return files, study


class Listener:
    def __init__(self, process, log):
        self.process = process
        self.log = log
        ready = process.stdout.readline().decode()
        self.port = re.search(r":(\d+)$", ready.strip())[1]

    def store(self, *files, options=()):
        """What dcmtk's ``storescu`` says; it ends with an error if a photograph is refused."""
        command = [STORESCU, "-xy", "-aec", "DRDEPLOY", *options, "127.0.0.1", self.port]
        return subprocess.run(
            [*command, *map(str, files)], capture_output=True, text=True, check=False, timeout=120
        )


@contextmanager
def listening(folder, *options):
    command = [sys.executable, "-m", "drdeploy", "clinic", "listen", folder, "--port", "0"]
    command += ["--quiet-s", "1", "--until-stdin-closes", *options]
    log = folder.with_suffix(".log")
    with log.open("ab") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        )
    try:
        yield Listener(process, log)
    finally:
        process.stdin.close()
        process.wait(90)
        process.stdout.close()


def list_studies(folder):
    records = ClinicRecords.open(folder, names=PhotographNames.with_user_key())
    try:
        return records.list_studies()
    finally:
        records.close()


def wait_for(folder, count, is_done):
    """Wait until so many studies are done."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = list_studies(folder)
        if sum(map(is_done, found)) == count:
            return found
        time.sleep(0.3)
    pytest.fail(f"{found}\n{folder.with_suffix('.log').read_text()}")


def has_arrived(study):
    """Two photographs, a report and a page have arrived."""
    return study["state"] == "graded" and study["deliveries"] == {"delivered": 4}


@pytest.fixture(scope="module", autouse=True)
def dcmtk():
    require(
        bool(STORESCU and FINDSCU and shutil.which("dsrdump")), "dcmtk (Debian's package dcmtk)"
    )


def list_series(archive, study):
    """The modalities that a workstation finds in a study."""
    title, _, address = archive.peer.partition("@")
    keys = ("QueryRetrieveLevel=SERIES", f"StudyInstanceUID={study}", "Modality")
    asked = subprocess.run(
        [FINDSCU, "-v", "-S", "-aec", title, *(word for key in keys for word in ("-k", key)),
         *address.split(":")],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    answers = asked.stderr + asked.stdout
    return sorted({*re.findall(r"\(0008,0060\) CS \[(\w+) *\]", answers)})


def test_a_camera_sends_and_an_archive_gets_photographs_report_and_page(tmp_path):
    files, study = write_study(tmp_path, WORST, PatientID="11")
    (tmp_path / "orthanc").mkdir()
    records = tmp_path / "records"
    with run_orthanc(tmp_path / "orthanc") as archive:
        with listening(records, "--send", archive.peer) as listener:
            lock = ClinicRecords.open(records, names=PhotographNames(b"k")).make_grading_lock()
            assert not lock.acquire()  # `clinic serve` shows, and does not grade
            for _ in range(2):  # a camera may send everything again
                assert listener.store(*files).returncode == 0
                (found,) = wait_for(records, 1, has_arrived)
        kinds = archive.list_classes(study)
        assert {kind: len(one) for kind, one in kinds.items()} == {"OP": 2, "SR": 1, "DOC": 1}
        assert list_series(archive, study) == ["DOC", "OP", "SR"]
        report = kinds["SR"][0]
        (number,) = [
            one
            for one in archive.get("/instances")
            if archive.get(f"/instances/{one}/simplified-tags")["SOPInstanceUID"] == report
        ]
        content = archive.read(f"/instances/{number}/file")
    assert found["outcome"] == "urgent"
    assert found["eyes"]["left"]["grade"] >= 3
    shown = tmp_path / "report.dcm"
    shown.write_bytes(content)
    dumped = subprocess.run(["dsrdump", shown], capture_output=True, text=True, check=True).stdout
    assert "research use" in dumped.lower()
    audit = [sys.executable, "-m", "drdeploy", "clinic", "audit", records, "--json"]
    counted = json.loads(subprocess.run(audit, capture_output=True, check=True).stdout)
    assert counted["entries"] >= 2 + 1 + 4
    said = listener.log.read_text()
    assert not any(part in said for part in (*PATIENT.split("^"), study, '"11"'))


def test_an_archive_that_does_not_answer_gets_everything_later(tmp_path):
    files, study = write_study(tmp_path)
    (tmp_path / "orthanc").mkdir()
    records = tmp_path / "records"
    with run_orthanc(tmp_path / "orthanc") as archive:
        stow = archive.dicomweb
    with listening(records, "--stow", stow) as listener:
        assert listener.store(*files).returncode == 0
        wait_for(records, 1, lambda one: one["deliveries"] == {"queued": 4})
        deadline = time.monotonic() + 60
        while "The exchange with the archive failed" not in listener.log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.1)
    port = int(stow.rsplit(":", 1)[1].split("/")[0])
    with run_orthanc(tmp_path / "orthanc", port=port) as archive, listening(records):
        wait_for(records, 1, has_arrived)
        assert len(archive.list_classes(study)["SR"]) == 1


def test_after_a_start_a_study_waits_for_the_rest_that_the_camera_could_not_send(tmp_path):
    (left, right), _ = write_study(tmp_path)
    records = tmp_path / "records"
    with listening(records, "--quiet-s", "1000") as listener:
        assert listener.store(left).returncode == 0
    for photographs in (1, 2):
        # As if the program had been down for an hour: the study has been quiet for long enough.
        with closing(sqlite3.connect(records / "records.sqlite")) as database, database:
            database.execute("UPDATE studies SET last_received_s = last_received_s - 3600")
        with listening(records, "--quiet-s", "1000") as listener:
            (found,) = list_studies(records)
            assert (found["state"], found["photographs"]) == ("waiting", photographs)
            assert listener.store(right).returncode == 0
    (found,) = list_studies(records)
    assert (found["state"], found["photographs"]) == ("waiting", 2)
    with listening(records, "--quiet-s", "1") as listener:
        (found,) = wait_for(records, 1, lambda one: one["state"] == "graded")
        assert found["photographs"] == 2
        assert listener.log.read_text().count(found["study"]) == 1  # graded once


def test_what_cannot_be_used_is_refused_at_once_and_the_listener_lives(tmp_path):
    (left, right), _ = write_study(tmp_path)
    dataset = dcmread(right)
    del dataset.ImageLaterality
    dataset.save_as(right)
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(left.read_bytes()[:-200_000])
    with listening(tmp_path / "records", "--caller", "CAMERA") as listener:
        stranger = listener.store(left)
        assert stranger.returncode != 0
        assert "Rejected" in stranger.stderr
        known = ("-aet", "CAMERA")
        assert "which eye" in listener.store(right, options=(*known, "-v")).stderr + (
            listener.log.read_text()
        )
        listener.store(broken, options=known)
        assert listener.store(left, options=known).returncode == 0
        wait_for(tmp_path / "records", 1, lambda one: one["state"] == "graded")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--host", "0.0.0.0"), "without encryption"),
        (("--tls-key", "key.pem"), "TLS needs a certificate"),
        (("--send", "ORTHANC"), "ORTHANC@127.0.0.1:4242"),
        (("--send", "A@archive.example:104"), "without encryption"),
        (("--stow", "http://archive.example"), "only over https"),
        (("--title", "A" * 17), "AE title"),
        (("--database", "mysql://x/y"), "neither SQLite nor PostgreSQL"),
    ],
)
def test_what_would_be_unsafe_or_cannot_work_is_refused(tmp_path, options, message):
    from typer.testing import CliRunner

    from drdeploy.cli.clinic import app

    refused = CliRunner().invoke(app, ["listen", str(tmp_path / "r"), "--port", "0", *options])
    assert refused.exit_code != 0
    assert message in " ".join(f"{refused.output} {refused.exception}".split())


def test_a_kill_at_any_time_loses_and_doubles_nothing(tmp_path):
    chance = random.Random(7)
    (tmp_path / "orthanc").mkdir()
    records = tmp_path / "records"
    studies = [write_study(tmp_path, PatientID=str(number)) for number in range(4)]
    with run_orthanc(tmp_path / "orthanc") as archive:
        options = ("--stow", archive.dicomweb)
        waiting = [file for files, _ in studies for file in files]
        while waiting:
            with listening(records, *options) as listener:
                sending = subprocess.Popen(
                    [STORESCU, "-xy", "-aec", "DRDEPLOY", "127.0.0.1", listener.port, *waiting],
                    stderr=subprocess.DEVNULL,
                )
                time.sleep(chance.uniform(0.2, 3))
                listener.process.send_signal(signal.SIGKILL)
                is_sent = sending.wait(60) == 0
            waiting = [] if is_sent else waiting
        for _ in range(2):
            with listening(records, *options) as listener:
                time.sleep(chance.uniform(0.5, 4))
                listener.process.send_signal(signal.SIGKILL)
        with listening(records, *options):
            wait_for(records, len(studies), has_arrived)
        for _, study in studies:
            kinds = archive.list_classes(study)
            assert {kind: len(one) for kind, one in kinds.items()} == {"OP": 2, "SR": 1, "DOC": 1}
    assert len(list_studies(records)) == len(studies)
