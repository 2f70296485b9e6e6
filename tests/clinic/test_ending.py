"""`clinic serve` and `clinic listen` end when they are asked to, and lose nothing."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

if os.environ.get("CI") != "true":  # CI has it
    pytest.importorskip("pynetdicom", reason="needs the extra clinic")

from dicom_files import EYE
from sqlalchemy import text
from waiting import WITHIN_S, until

from drdeploy.cli.clinic_listen import STOP_S
from drdeploy.clinic import background_work
from drdeploy.clinic.background_work import BackgroundWork, Destinations, ResultSender, StudyGrader
from drdeploy.clinic.page import server
from drdeploy.clinic.page.photographs import receive_photograph
from drdeploy.clinic.records import ClinicRecords, grading_lock
from drdeploy.clinic.records.schema import METADATA
from drdeploy.photograph_names import PhotographNames

PATIENT_COMMAND = """
import sys
from drdeploy.cli import main
import threading, time
from drdeploy.clinic import background_work, dicom_sender, http_exchange

# Nothing but a signal ends what is in progress.
dicom_sender.TIMEOUT_S = http_exchange.TIMEOUT_S = http_exchange.EXCHANGE_S = 3600.0

def grade_for_ever(self, study):
    print("grading", flush=True)
    time.sleep(3600)

what = sys.argv.pop(1)
if what == "thread":  # as those of AnyIO, for which Python would wait at its end
    threading.Thread(target=time.sleep, args=(3600,)).start()
if what == "grading":
    background_work.StudyGrader._grade_photographs = grade_for_ever
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
def test_a_thread_of_a_library_does_not_hold_up_the_end(records, command):
    lock = records.make_grading_lock()
    if command == "serve":  # which then only shows the studies
        assert lock.acquire()
    process = start(command, records, "thread")
    assert "drdeploy clinic" in process.stdout.readline()
    end(process, signal.SIGTERM)
    lock.release()


def test_what_an_end_waits_for_are_seconds():
    """The commands wait for these in turn; the tests here cannot tell seconds on a busy machine."""
    waits_s = (
        2 * server.STOP_S, STOP_S, background_work._GIVING_BACK_S, grading_lock._RELEASE_S,
    )  # fmt: skip
    assert sum(waits_s) <= 15


def test_work_in_progress_and_a_silent_database_are_given_up_in_time(postgres, tmp_path):
    opened = ClinicRecords.open(
        tmp_path / "records", names=PhotographNames(b"k" * 32), database=postgres
    )
    receive_photograph(opened, EYE.read_bytes(), patient="1", eye="left")
    grader = StudyGrader(opened, None, None, Destinations(), quiet_s=0)
    begun, ends = threading.Event(), threading.Event()
    grader._grade_and_record = lambda _: (begun.set(), ends.wait())
    lock = opened.make_grading_lock()
    assert lock.acquire()
    work = BackgroundWork(grader, ResultSender(opened), lock)
    work.start()
    assert begun.wait(WITHIN_S)
    with opened._engine.begin() as connection:
        connection.execute(text("LOCK TABLE studies IN ACCESS EXCLUSIVE MODE"))
        stopping = threading.Thread(target=work.stop, args=(0.1,), daemon=True)
        stopping.start()
        stopping.join(WITHIN_S)
        assert not stopping.is_alive()
    until(lambda: not lock.is_taken())
    ends.set()
    opened.erasure.erase_older_than(float("inf"))
    with opened._engine.begin() as connection:
        connection.execute(METADATA.tables["photograph_folders"].delete())
    opened.close()


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
