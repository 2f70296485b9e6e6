"""`clinic serve` and `clinic listen` end when they are asked to, and lose nothing."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

if os.environ.get("CI") != "true":  # CI has it
    pytest.importorskip("pynetdicom", reason="needs the extra clinic")

from dicom_files import EYE

from drdeploy.clinic.page.photographs import receive_photograph
from drdeploy.clinic.records import ClinicRecords
from drdeploy.photograph_names import PhotographNames

PATIENT_COMMAND = """
import sys
from drdeploy.cli import main
from drdeploy.clinic import intake, sending, server

# Nothing but a signal ends what is in progress.
sending.TIMEOUT_S = server.TIMEOUT_S = server.EXCHANGE_S = 3600.0

def grade_for_ever(self, study):
    import time
    print("grading", flush=True)
    time.sleep(3600)

if sys.argv.pop(1) == "grading":
    intake.StudyGrader._grade_photographs = grade_for_ever
sys.exit(main())
"""


@pytest.fixture
def records(tmp_path):
    opened = ClinicRecords.open(tmp_path / "records", names=PhotographNames.with_user_key())
    for number in range(3):
        receive_photograph(opened, EYE.read_bytes(), patient=str(number), eye="left")
    yield opened
    opened.close()


@pytest.fixture
def silent_archive():
    """An archive that takes connections, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def start(command, records, what, *options):
    words = ["clinic", command, str(records.store.folder.parent), "--port", "0", "--quiet-s", "0.2"]
    return subprocess.Popen(
        [sys.executable, "-c", PATIENT_COMMAND, what, *words, *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def end(process, number):
    process.send_signal(number)
    try:
        _, errors = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    return errors


@pytest.mark.parametrize(
    ("command", "number"), [("serve", signal.SIGINT), ("listen", signal.SIGTERM)]
)
def test_a_grading_that_does_not_end_is_given_up_and_does_not_count(records, command, number):
    process = start(command, records, "grading")
    assert "drdeploy clinic" in process.stdout.readline()
    assert process.stdout.readline() == "grading\n"
    end(process, number)
    (study, *others) = records.list_due_studies(float("inf"))
    assert len(others) == 2
    for one in (study, *others):
        assert [records.count_grading_attempt(one) for _ in range(6)] == [True] * 5 + [False]


@pytest.mark.parametrize("command", ["serve", "listen"])
@pytest.mark.parametrize("way", ["--stow", "--send"])
def test_an_archive_that_is_silent_is_given_up_and_gets_everything_later(
    records, silent_archive, command, way
):
    port = silent_archive.getsockname()[1]
    address = f"http://127.0.0.1:{port}" if way == "--stow" else f"SILENT@127.0.0.1:{port}"
    process = start(command, records, "sending", way, address)
    silent_archive.settimeout(300)
    connection, _ = silent_archive.accept()
    deadline = time.monotonic() + 300
    while any(one["state"] != "graded" for one in records.list_studies()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    with connection:
        errors = end(process, signal.SIGTERM)
    assert "Traceback" not in errors
    assert all(set(one["deliveries"]) == {"queued"} for one in records.list_studies())
