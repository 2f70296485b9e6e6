"""The worklist page over HTTP: who may do what, what is refused, and what the records say of it."""

import csv
import io
import itertools
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

if os.environ.get("CI") != "true":  # CI has it
    pytest.importorskip("starlette", reason="needs the extra clinic")

from certificates import make_certificate
from dicom_files import EYE, as_bytes, encapsulate, make_dataset, shrink_eye
from PIL import Image
from pydicom import uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import OphthalmicPhotography8BitImageStorage, Verification
from sqlalchemy import text
from starlette.testclient import TestClient
from typer.testing import CliRunner

from drdeploy.cli.clinic import app as cli
from drdeploy.clinic.background_work import LONGEST_PAUSE_S, Destinations, ResultSender, StudyGrader
from drdeploy.clinic.dicom_sender import ArchivePeer
from drdeploy.clinic.dicomweb_storage import make_error_of_refused_storage, store_file
from drdeploy.clinic.fhir_server import store_bundle
from drdeploy.clinic.http_exchange import ServerAnswer
from drdeploy.clinic.page import server, signing_in
from drdeploy.clinic.page.access import PageOptions
from drdeploy.clinic.page.app import WorklistPage
from drdeploy.clinic.page.endpoint import EndpointService
from drdeploy.clinic.page.grading import GradingPool
from drdeploy.clinic.page.photographs import FRAMES_SHOWN_MAX
from drdeploy.clinic.page.request_guard import RateLimit
from drdeploy.clinic.page.server import PageAddress
from drdeploy.clinic.page.sessions import Sessions
from drdeploy.clinic.page.translations import (
    _PORTUGUESE,
    SENTENCES_OF_HTTP,
    TEXTS_OF_SCRIPT,
    translate_page_text,
)
from drdeploy.clinic.page.worklist_view import describe_probability_in_words
from drdeploy.clinic.records import ClinicRecords
from drdeploy.clinic.records.records import MAX_GRADING_ATTEMPTS
from drdeploy.clinic.records.schema import METADATA
from drdeploy.clinic.referral_rules import ReferralRules
from drdeploy.errors import ClinicError, InvalidInput, PredictionFailed, StudyChanged
from drdeploy.grader.box import box_artifact
from drdeploy.grader.dicom.photographs import DicomFile
from drdeploy.grader.inference import WARM_UP_PHOTOGRAPH, InferenceService
from drdeploy.hosting.serving.answer import ContainerFacts, ModelFacts, make_json_answer
from drdeploy.photograph_names import PhotographNames

URL = "https://127.0.0.1"
PAGE = Path(server.__file__).parent
PASSWORD = "four words of a nurse"
WORST = EYE.with_name("IDRiD_001_grade4.jpg")
OTHER = EYE.with_name("IDRiD_006_grade3.jpg")


@pytest.fixture(scope="module")
def service():
    return InferenceService.load(box_artifact())


@pytest.fixture
def records(tmp_path):
    opened = ClinicRecords.open(tmp_path / "records", names=PhotographNames(b"k" * 32))
    yield opened
    opened.close()


def open_page(records, **more):
    options = PageOptions(hosts={"127.0.0.1"}, **more)
    app = WorklistPage(records, options).make_app()
    return TestClient(app, base_url=URL, follow_redirects=False)


def token_of(client, path="/"):
    return re.search(r'data-token="([^"]+)"', client.get(path).text)[1]


def sign_in(records, role):
    records.accounts.set_account(role, role, PASSWORD)
    client = open_page(records, is_tls=True, needs_sign_in=True)
    form = {"name": role, "password": PASSWORD, "token": token_of(client, "/sign-in")}
    assert client.post("/sign-in", data=form).headers["location"] == "/"
    return client


def drop(client, content, *, name="photograph", token=None, **fields):
    return client.post(
        "/photographs",
        files={"photograph": (name, content)},
        data=fields,
        headers={"X-Token": token_of(client) if token is None else token},
    )


def grade_all(records, service):
    grader = StudyGrader(records, service, ReferralRules.load(), Destinations(), quiet_s=0)
    pool = GradingPool(grader, 2)
    pool.grade_due_studies()


def wrap(photograph=EYE, **fields):
    import numpy as np

    with Image.open(photograph) as image:
        size = {"Rows": image.height, "Columns": image.width}
    dataset = make_dataset(
        np.zeros((1, 1, 3), np.uint8), photometric="YBR_FULL_422", **size, **fields
    )
    return as_bytes(encapsulate(dataset, [photograph.read_bytes()], uid.JPEGBaseline8Bit))


def actions_of(records):
    entries = records.worklist.list_audit_entries(100)
    return [(entry["who"], entry["action"]) for entry in reversed(entries)]


def decide(client, number=1, **fields):
    page = client.get(f"/studies/{number}").text
    graded = re.search(r'name="graded" value="([^"]+)"', page)
    decided = re.search(r'name="decided" value="([^"]+)"', page)
    form = {
        "token": token_of(client), "graded": graded[1] if graded else "",
        "decided": decided[1] if decided else "", **fields,
    }  # fmt: skip
    return client.post(f"/studies/{number}/decision", data=form)


def test_a_nurse_drops_decides_undoes_and_exports(records, service):
    client = open_page(records, user="nurse")
    assert drop(client, WORST.read_bytes()).json() == {"needs": ["patient", "eye"]}
    assert drop(client, WORST.read_bytes(), patient="77", eye="right").json() == {"new": True}
    assert drop(client, WORST.read_bytes(), patient="77", eye="right").json() == {"new": False}
    assert drop(client, wrap(ImageLaterality="", PatientID="88")).json() == {"needs": ["eye"]}
    assert drop(client, wrap(PatientID="88")).json() == {"new": True}
    grade_all(records, service)

    listed = client.get("/").text
    assert listed.index(">77<") < listed.index(">88<")  # worst first
    assert "For research use. Not a medical device." in listed
    page = client.get("/studies/1").text
    assert "Proliferative DR" in page
    assert "of 100)" in page
    picture = client.get(re.search(r"/studies/1/photographs/\d+/1", page)[0])
    assert picture.headers["content-type"] == "image/jpeg"
    with Image.open(io.BytesIO(picture.content)) as shown, Image.open(WORST) as sent:
        assert shown.size == sent.size  # full resolution

    assert decide(client, kind="overrule", outcome="refer", reason=" ").status_code == 400
    chosen = {"outcome": "refer", "reason": "an old scar", "grade-right": "2"}
    assert decide(client, kind="overrule", **chosen).status_code == 303
    assert ">77<" not in client.get("/").text  # nobody needs to decide on it any more
    assert ">77<" in client.get("/?show=decided").text
    table = client.get("/worklist.csv?show=all").content.decode("utf-8-sig")
    row = next(row for row in csv.DictReader(io.StringIO(table)) if row["patient"] == "77")
    assert (row["outcome"], row["decided_by"], row["right_person_grade"]) == ("refer", "nurse", "2")
    bundle = client.get("/studies/1/bundle.json").json()
    (report,) = [
        one["resource"] for one in bundle["entry"]
        if one["resource"]["resourceType"] == "DiagnosticReport"
    ]  # fmt: skip
    said = "nurse decided (overrule): refer, right eye grade 2. Reason: an old scar"
    assert said in report["conclusion"]
    assert client.get("/studies/1/page.pdf").content.startswith(b"%PDF")
    assert decide(client, kind="undo").status_code == 303
    assert ">77<" in client.get("/").text

    assert records.verify_audit_log()[0]
    done = actions_of(records)
    for action in ("see study", "overrule", "undo", "export worklist", "export FHIR bundle"):
        assert ("nurse", action) in done
    log = json.dumps(records.worklist.list_audit_entries(100))
    assert "an old scar" not in log  # a reason may name the patient, and is erased with the study
    assert "77" not in re.sub(r'"(sha256|at|subject)": "[^"]*"', "", log)


def test_a_study_says_how_often_the_suggestion_is_right(records, service):
    points = ReferralRules.load().list_operating_points(service.manifest)
    assert {point.at_or_above for point in points} == {2, 3}
    client = open_page(records, operating_points=points)
    assert drop(client, WORST.read_bytes(), patient="77", eye="right").json() == {"new": True}
    page = client.get("/studies/1").text
    (point,) = (one for one in points if one.name == "high_sensitivity")
    kept = [point.tested.sensitivity, point.tested.specificity]
    cells = [f"<td>{one.value:.2f} ({one.low:.2f}\u2013{one.high:.2f})</td>" for one in kept]
    assert f"<td>0.95</td>\n{''.join(cells)}<td>84</td>" in page
    # Another program may grade with another model, so its rates are not known here.
    elsewhere = open_page(records, operating_points=points, is_grading=lambda: False)
    assert 'id="rates"' not in elsewhere.get("/studies/1").text


def test_a_photograph_that_is_no_dicom_file_gets_the_same_probabilities(records, service):
    client = open_page(records)
    with Image.open(WORST) as image:
        stream = io.BytesIO()
        image.save(stream, "PNG")
    assert drop(client, WORST.read_bytes(), patient="1", eye="left").json() == {"new": True}
    assert drop(client, stream.getvalue(), patient="2", eye="left").json() == {"new": True}
    grade_all(records, service)
    expected = service.infer([WORST.read_bytes()])[0].prediction.probabilities
    for study in records.worklist.list_studies():
        assert study.eyes["left"]["probabilities"] == pytest.approx(expected, abs=0.02)


def damage_exif(photograph):
    """Put EXIF data that are no TIFF, as some cameras write, into a JPEG."""
    segment = b"Exif\0\0damaged"
    return photograph[:2] + b"\xff\xe1\x00\x0f" + segment + photograph[2:]


def test_a_photograph_with_damaged_exif_data_is_taken_and_graded(records, service):
    damaged = damage_exif(EYE.read_bytes())
    answer = drop(open_page(records), damaged, patient="1", eye="right")
    assert answer.json() == {"new": True}
    grade_all(records, service)
    assert records.worklist.find_study(1).state == "graded"


def test_a_stranger_cannot_read(records, service):
    sent = drop(open_page(records), WORST.read_bytes(), patient="4711", eye="right")
    assert sent.json() == {"new": True}
    grade_all(records, service)
    records.accounts.set_account("grader", "grader", PASSWORD)
    stranger = open_page(records, is_tls=True, needs_sign_in=True)
    assert stranger.get("/list").status_code == 401  # the script goes to the page for signing in
    for path in (
        "/", "/list", "/audit", "/worklist.csv", "/studies/1", "/studies/1/bundle.json",
        "/studies/1/page.pdf", "/studies/1/photographs/1/1",
    ):  # fmt: skip
        answer = stranger.get(path)
        assert answer.status_code in {303, 401}, path
        assert "4711" not in answer.text
    token = token_of(stranger, "/sign-in")
    assert drop(stranger, WORST.read_bytes(), token=token).status_code == 401
    for password in ("wrong", *["wrong again"] * 5, PASSWORD):
        form = {"name": "grader", "password": password, "token": token}
        refused = stranger.post("/sign-in", data=form)
        assert refused.status_code == 403
    assert "Too many wrong passwords" in refused.text
    assert ("grader", "fail to sign in") in actions_of(records)


def test_a_viewer_looks_and_cannot_decide(records, service):
    drop(open_page(records), EYE.read_bytes(), patient="5", eye="left")
    grade_all(records, service)
    viewer = sign_in(records, "viewer")
    assert "not decide" in viewer.get("/studies/1").text
    (study,) = records.worklist.list_studies()
    fields = {"token": token_of(viewer), "graded": repr(study.graded_s), "kind": "accept"}
    assert viewer.post("/studies/1/decision", data=fields).status_code == 403
    assert drop(viewer, EYE.read_bytes(), patient="6", eye="left").status_code == 403
    assert viewer.get("/audit").status_code == 403
    assert viewer.post("/studies/1/erasure", data={**fields, "confirm": "yes"}).status_code == 403
    assert records.worklist.list_studies() == [study]
    assert decide(sign_in(records, "grader"), kind="accept").status_code == 303


def test_a_session_that_is_forged_or_was_ended_is_refused(records):
    client = sign_in(records, "grader")
    cookie = client.cookies["drdeploy_clinic"]
    assert client.get("/").status_code == 200
    content, _, signature = cookie.partition(".")
    for forged in (f"{content}x.{signature}", cookie[:-2], content, ""):
        stranger = open_page(records, is_tls=True, needs_sign_in=True)
        stranger.cookies.set("drdeploy_clinic", forged)
        assert stranger.get("/").status_code == 303
    # The cookie of another program is signed with another key.
    other = open_page(records, is_tls=True, needs_sign_in=True)
    other.cookies.set("drdeploy_clinic", cookie)
    assert other.get("/").status_code == 303
    client.post("/sign-out", data={"token": token_of(client)})
    client.cookies.set("drdeploy_clinic", cookie)
    assert client.get("/").status_code == 303

    again = sign_in(records, "grader")
    records.accounts.set_account("grader", "viewer", PASSWORD)  # a new salt, so a new password
    assert again.get("/").status_code == 303


def test_cookies_are_for_this_site_and_not_for_scripts(records):
    records.accounts.set_account("v", "viewer", PASSWORD)
    answer = open_page(records, is_tls=True, needs_sign_in=True).get("/sign-in")
    cookie = answer.headers["set-cookie"].lower()
    for mark in ("httponly", "samesite=strict", "secure"):
        assert mark in cookie
    assert "unsafe-inline" not in answer.headers["content-security-policy"]
    assert not re.search(r"<script(?![^>]*src=)|<style| style=| on\w+=", answer.text)


def test_requests_of_other_sites_and_by_other_names_are_refused(records):
    client = open_page(records)
    token = token_of(client)
    assert client.get("/", headers={"Host": "attacker.example"}).status_code == 421
    form = {"token": token, "kind": "accept", "graded": "0"}
    for headers in ({"Origin": "https://attacker.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert client.post("/studies/1/decision", data=form, headers=headers).status_code == 403
    assert client.post("/studies/1/decision", data={**form, "token": "x"}).status_code == 403
    assert drop(client, EYE.read_bytes(), token="").status_code == 403


@pytest.mark.parametrize("before", ["/studies/", "/studies/1/photographs/1/"])
def test_a_number_of_thousands_of_digits_in_an_address_is_no_fault(records, before):
    client = open_page(records, needs_sign_in=True)
    assert client.get(before + 5000 * "9").status_code == 414


def test_a_path_in_an_upload_and_what_is_no_photograph_are_refused(records):
    client = open_page(records)
    before = sorted(records.store.folder.parent.rglob("*"))
    for name in ("../../etc/passwd", "eyes\\photo.dcm", "/etc/passwd", ".."):
        refused = drop(client, WORST.read_bytes(), name=name, patient="1", eye="left")
        assert refused.status_code == 400, name
        assert "path" in refused.json()["error"]
    assert drop(client, b"MZ no photograph").status_code == 415
    assert drop(client, WORST.read_bytes()[:5000], patient="1", eye="left").status_code == 422
    assert drop(client, EYE.read_bytes(), patient="a\x00b", eye="left").status_code == 400
    huge = {"X-Token": token_of(client), "Content-Length": str(10**9)}
    assert client.post("/photographs", content=b"x", headers=huge).status_code == 413
    assert client.post("/sign-in", content=b"x" * 10**5).status_code == 413
    longer = {"Content-Length": "5", "Transfer-Encoding": "chunked"}
    assert client.post("/sign-in", content=b"x" * 10**5, headers=longer).status_code == 411
    assert sorted(records.store.folder.parent.rglob("*")) == before


def test_a_decision_about_an_older_grading_does_not_count(records, service):
    client = open_page(records)
    drop(client, EYE.read_bytes(), patient="9", eye="left")
    grade_all(records, service)
    (seen,) = records.worklist.list_studies()
    assert decide(client, kind="refer").status_code == 303
    time.sleep(0.01)
    drop(client, WORST.read_bytes(), patient="9", eye="left")
    grade_all(records, service)
    (study,) = records.worklist.list_studies()
    assert study.decision is None
    with pytest.raises(InvalidInput, match="has changed"):
        records.worklist.record_decision(
            seen, who="me", kind="accept", outcome="refer", grades={}, reason=""
        )
    assert decide(client, kind="refer", graded=repr(seen.graded_s)).status_code == 409
    drop(client, OTHER.read_bytes(), patient="9", eye="left")
    assert client.get("/studies/1/bundle.json").status_code == 404  # it is of fewer photographs


def test_of_two_who_decide_at_once_one_is_told(records, service):
    client = open_page(records)
    drop(client, EYE.read_bytes(), patient="9", eye="left")
    grade_all(records, service)
    (seen,) = records.worklist.list_studies()
    graded = repr(seen.graded_s)
    with ThreadPoolExecutor(2) as pool:
        both = pool.map(
            lambda kind: decide(client, kind=kind, graded=graded).status_code, ("accept", "refer")
        )
        assert sorted(both) == [303, 409]
    (study,) = records.worklist.list_studies()
    earlier = repr(study.decision.decided_s)
    assert decide(client, kind="undo").status_code == 303
    assert decide(client, kind="undo", decided=earlier).status_code == 409
    assert decide(client, kind="refer").status_code == 303
    assert decide(client, kind="undo", decided=earlier).status_code == 409  # not what was seen
    assert decide(client, kind="undo").status_code == 303


def test_a_decision_without_effect_or_with_unusable_fields_is_refused(records, service):
    client = open_page(records)
    drop(client, WORST.read_bytes(), patient="9", eye="left")
    grade_all(records, service)
    (study,) = records.worklist.list_studies()
    good = {"kind": "overrule", "outcome": "refer", "reason": "a scar"}
    for bad in (
        {"outcome": study.outcome}, {"grade-left": "9"}, {"grade-right": "1"}, {"reason": "a\0b"},
        {"reason": "x" * 1001},
    ):  # fmt: skip
        assert decide(client, **good | bad).status_code == 400, bad
    lines = "\r\n".join(["x" * 9] * 100)  # 999 characters for the browser
    assert decide(client, **good | {"reason": lines}).status_code == 303
    assert "Decisão" in client.get("/studies/1?language=pt").text
    assert client.get(f"/studies/{10**30}").status_code == 404
    assert client.get(f"/studies/{10**30}/photographs/1/1").status_code == 404
    assert "Esta página não existe." in client.get("/studies/99").text


def test_whoever_sees_patients_without_the_page_is_in_the_audit_log(records, service):
    client = open_page(records, user="ana")
    drop(client, EYE.read_bytes(), patient="9", eye="left")
    page = client.get("/studies/1")  # it waits, and loads itself again and again
    client.get("/studies/1")
    picture = re.search(r"/studies/1/photographs/\d+/1", page.text)[0]
    client.get(picture)
    assert actions_of(records).count(("ana", "see study")) == 1
    assert ("ana", "see photograph") not in actions_of(records)
    other = open_page(records, user="eve")
    for _ in range(3):
        other.get("/list")
        other.get(picture)
    assert actions_of(records).count(("eve", "see worklist")) == 1
    assert actions_of(records).count(("eve", "see photograph")) == 1


def test_a_page_says_who_grades(records):
    listener, mine = records.make_grading_lock(), records.make_grading_lock()
    assert listener.acquire()
    assert not mine.acquire()
    client = open_page(records, is_grading=lambda: mine.is_ours, is_graded_elsewhere=mine.is_taken)
    drop(client, EYE.read_bytes(), patient="9", eye="left")
    assert "Another program grades" in client.get("/list").text
    listener.release()
    assert "No program grades" in client.get("/list").text
    assert mine.acquire()  # whoever looks does not keep it


def test_a_page_says_when_it_has_lost_the_right_to_grade_to_another_program(postgres, tmp_path):
    opened = [
        ClinicRecords.open(tmp_path, names=PhotographNames(b"k" * 32), database=postgres)
        for _ in range(2)
    ]
    mine, other = (one.make_grading_lock() for one in opened)
    assert mine.acquire()
    client = open_page(
        opened[0], is_grading=lambda: mine.is_ours, is_graded_elsewhere=mine.is_taken
    )
    drop(client, EYE.read_bytes(), patient="9", eye="left")
    assert "program grades" not in client.get("/list").text
    with opened[1]._engine.begin() as connection:
        connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
        )
    assert other.acquire()
    mine.keep_or_take_again()
    assert "Another program grades" in client.get("/list").text
    other.release()
    assert "No program grades" in client.get("/list").text
    mine.keep_or_take_again()
    assert "program grades" not in client.get("/list").text
    mine.release()
    with opened[1]._engine.begin() as connection:
        for table in (*reversed(METADATA.sorted_tables),):
            if table.name != "audit":
                connection.execute(table.delete())
    for one in opened:
        one.close()


def test_a_study_fails_with_the_error_that_its_grading_met(records, service, caplog):
    client = open_page(records)
    drop(client, EYE.read_bytes(), patient="9", eye="left")
    broken = SimpleNamespace(infer=lambda _: {}["of Garcia"], manifest=service.manifest)
    clock_s = itertools.count(step=LONGEST_PAUSE_S)
    grader = StudyGrader(
        records, broken, ReferralRules.load(), Destinations(), quiet_s=0,
        read_clock_s=lambda: next(clock_s),
    )  # fmt: skip
    for _ in range(MAX_GRADING_ATTEMPTS):
        assert records.list_studies()[0]["state"] == "waiting"
        assert grader.grade_due_studies() == 0
    grader.grade_due_studies()
    assert "An error kept this study from being graded: KeyError." in client.get("/studies/1").text
    assert "Um erro impediu" in client.get("/studies/1?language=pt").text
    assert "KeyError. (test_page.py, line" in caplog.text
    assert "Garcia" not in caplog.text
    records.queue_failed_studies_again()
    grade_all(records, service)
    assert records.list_studies()[0]["state"] == "graded"


def test_a_fault_is_answered_without_its_details(records, monkeypatch):
    client = open_page(records)
    client = TestClient(client.app, base_url=URL, raise_server_exceptions=False)
    headers = {"X-Token": token_of(client)}
    monkeypatch.setattr(records.store.__class__, "add_file", lambda *_: 1 / 0)
    answer = client.post(
        "/photographs", files={"photograph": ("p", EYE.read_bytes())}, headers=headers,
        data={"patient": "1", "eye": "left"},
    )  # fmt: skip
    assert answer.status_code == 500
    assert answer.json() == {"error": "The photograph could not be kept. Send it again later."}
    assert answer.headers["cache-control"] == "no-store"
    assert client.post("/sign-in", headers={"Origin": "http://["}).status_code == 403


def test_many_passwords_at_once_are_not_all_tried(records):
    records.accounts.set_account("ana", "viewer", PASSWORD)
    tried = []
    accounts = SimpleNamespace(check_password=lambda *_: tried.append(1) or time.sleep(0.01))
    sessions = Sessions(accounts)
    with ThreadPoolExecutor(40) as pool:
        list(pool.map(lambda number: sessions.sign_in("ana", str(number)), range(40)))
    assert 5 <= len(tried) <= 6
    assert records.accounts.check_password("a\0b", PASSWORD) is None


def test_a_stranger_who_tries_many_names_does_not_fill_the_audit_log(records, monkeypatch):
    monkeypatch.setattr(signing_in, "UNKNOWN_NAMES_PER_MINUTE", 2)
    limits = []
    monkeypatch.setattr(
        signing_in, "RateLimit", lambda count: limits.append(RateLimit(count)) or limits[-1]
    )
    client = open_page(records, is_tls=True, needs_sign_in=True)
    token = token_of(client, "/sign-in")

    def fail(name):
        form = {"name": name, "password": "x", "token": token}
        assert client.post("/sign-in", data=form).status_code == 403

    for number in range(5):
        fail(f"name {number}")
    assert actions_of(records) == 2 * [("unknown name", "fail to sign in")]
    limits[0]._times.clear()  # a minute later
    fail("another name")
    (newest,) = records.worklist.list_audit_entries(1)
    assert newest["details"] == "3 more before this one"


def test_a_connection_without_a_request_is_closed(records, monkeypatch):
    monkeypatch.setattr(server, "HEAD_S", 0.2)
    app = WorklistPage(records, PageOptions(hosts={"127.0.0.1"})).make_app()
    with server.PageServer(PageAddress(port=0), app) as running:
        port = int(running.address.rsplit(":", 1)[1].rstrip("/"))
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost:")
            assert connection.recv(1) == b""


@pytest.fixture
def page_port(records):
    """The port of a page that people must sign in to."""
    app = WorklistPage(records, PageOptions(hosts={"127.0.0.1"}, needs_sign_in=True)).make_app()
    with server.PageServer(PageAddress(port=0), app) as running:
        yield int(running.address.rsplit(":", 1)[1].rstrip("/"))


def is_closed(connection):
    connection.settimeout(60)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_the_rest_of_a_body_that_nobody_reads_keeps_no_connection_open(page_port, monkeypatch):
    monkeypatch.setattr(server, "REST_S", 0.2)
    with socket.create_connection(("127.0.0.1", page_port), timeout=60) as connection:
        connection.sendall(b"GET /no HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 404"
        connection.sendall(b"x")
        while connection.recv(65536):
            pass


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "TLS"])
def test_a_client_that_does_not_read_its_answers_is_cut_off(records, monkeypatch, tmp_path, is_tls):
    monkeypatch.setattr(server, "READ_S", 0.5)
    address, context = PageAddress(port=0), None
    if is_tls:
        address, context = make_tls_address(tmp_path)
    app = WorklistPage(records, PageOptions(hosts={"127.0.0.1"}, needs_sign_in=True)).make_app()
    with server.PageServer(address, app) as running:
        url = f"{running.address}static/page.js"
        with urllib.request.urlopen(url, context=context) as answer:
            assert answer.read() == (PAGE / "static" / "page.js").read_bytes()
        port = int(running.address.rsplit(":", 1)[1].rstrip("/"))
        with socket.create_connection(("127.0.0.1", port), timeout=60) as plain:
            client = context.wrap_socket(plain, server_hostname="127.0.0.1") if context else plain
            asked = b"GET /static/page.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
            try:
                while True:
                    client.sendall(asked)
            except (ConnectionError, ssl.SSLError):
                pass
            client.close()


def make_tls_address(folder):
    """Return the address of a page with TLS, and a client's context that trusts it."""
    certificate, key = make_certificate(folder, alternative_name="IP:127.0.0.1")
    address = PageAddress(port=0, certificate=certificate, key=key)
    return address, ssl.create_default_context(cafile=certificate)


def test_connections_beyond_the_limit_are_closed_at_once(page_port, monkeypatch):
    """They would use up the descriptors, and no photograph could be stored."""
    monkeypatch.setattr(server, "OPEN_MAX", 2)
    monkeypatch.setattr(server, "HEAD_S", 3600)
    kept = [socket.create_connection(("127.0.0.1", page_port)) for _ in range(2)]
    with socket.create_connection(("127.0.0.1", page_port)) as refused:
        assert is_closed(refused)
    for connection in kept:
        assert is_answered(connection)
        connection.close()
    deadline = time.monotonic() + 60
    while True:  # until their places are free again
        with socket.create_connection(("127.0.0.1", page_port)) as connection:
            if is_answered(connection):
                return
        assert time.monotonic() < deadline


def is_answered(connection):
    try:
        connection.sendall(b"GET /no HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        return connection.recv(12) == b"HTTP/1.1 404"
    except ConnectionError:
        return False


def test_a_number_of_another_issuer_is_named_before_a_patient_is_erased(records):
    client = open_page(records)
    drop(client, EYE.read_bytes(), patient="77", eye="left")
    assert drop(client, wrap(PatientID="77", IssuerOfPatientID="X")).json() == {"new": True}
    assert "because another issuer gave their patient number: 1" in client.get("/studies/1").text
    assert "Patient 77 (Issuer of the number: X)" in client.get("/studies/2").text
    assert "77 (X)" in client.get("/").text


def test_a_photograph_that_is_gone_from_the_disk_is_said_to_be(records):
    client = open_page(records)
    drop(client, EYE.read_bytes(), patient="77", eye="left")
    for _ in range(2):
        assert "/studies/1/photographs/" in client.get("/studies/1").text
    (sha256,) = records.store.list_hashes()
    records.store.remove_file(sha256)
    page = client.get("/studies/1").text
    assert "cannot be read from the disk, and are not shown: 1" in page
    assert "/studies/1/photographs/" not in page
    records.store._path_of_photograph(sha256).mkdir()  # every user fails to read it
    page = open_page(records).get("/studies/1").text
    assert "cannot be read from the disk, and are not shown: 1" in page


def test_a_page_says_how_many_frames_it_does_not_show(records):
    content, pixels = shrink_eye()
    frames = [content] * (FRAMES_SHOWN_MAX + 3)
    dataset = make_dataset(pixels, photometric="YBR_FULL_422")
    client = open_page(records)
    drop(client, as_bytes(encapsulate(dataset, frames, uid.JPEGBaseline8Bit)))
    page = client.get("/studies/1").text
    assert "because their files have too many frames: 3<" in page
    assert page.count("<img ") == FRAMES_SHOWN_MAX


def test_a_dropped_picture_does_not_claim_that_nothing_is_written_in_it(records):
    drop(open_page(records), EYE.read_bytes(), patient="77", eye="left")
    (sha256,) = records.store.list_hashes()
    assert "BurnedInAnnotation" not in DicomFile.open(records.store.read_file(sha256)).dataset


def test_an_administrator_erases_a_patient_and_reads_the_log(records, service):
    client = open_page(records)
    drop(client, EYE.read_bytes(), patient="Garcia-4711", eye="left")
    grade_all(records, service)
    assert decide(client, kind="overrule", outcome="refer", reason="Garcia").status_code == 303
    form = {"token": token_of(client), "confirm": "yes"}
    assert client.post("/studies/1/erasure", data=form).status_code == 303
    assert records.worklist.list_studies() == []
    assert "erase study" in client.get("/audit").text
    kept = b"".join(
        one.read_bytes() for one in records.store.folder.parent.rglob("*") if one.is_file()
    )
    assert b"Garcia" not in kept


def test_a_wider_address_needs_tls_accounts_and_a_name(tmp_path):
    def refuse(match, *, has_accounts=True, **more):
        with pytest.raises(InvalidInput, match=match):
            PageAddress("0.0.0.0", **more).check_access_and_certificate(has_accounts=has_accounts)

    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=clinic"]
    pair = [tmp_path / "clinic.pem", tmp_path / "clinic.key"]
    subprocess.run([*make, "-out", pair[0], "-keyout", pair[1]], check=True, capture_output=True)
    tls = {"certificate": pair[0], "key": pair[1]}
    refuse("without encryption")
    refuse("no account", has_accounts=False, **tls)
    refuse("is not known", **tls)
    refuse("cannot be used", names=("clinic",), certificate=pair[1], key=pair[0])
    for name in ("https://clinic", "clinic:8443", "klinik-m\u00fcnchen.de", "*", ""):
        refuse("not the name of a machine", names=("clinic", name), **tls)
    for name in ("clinic", "Clinic_2.example.org", "fe80::1"):
        own = PageAddress("0.0.0.0", names=(name,), **tls)
        own.check_access_and_certificate(has_accounts=True)
    PageAddress().check_access_and_certificate(has_accounts=False)


def test_the_commands_make_accounts_and_serve_the_page(records, tmp_path):
    folder = records.store.folder.parent
    command = [sys.executable, "-m", "drdeploy", "clinic"]
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    short = CliRunner().invoke(
        cli, ["account", "add", str(folder), "ana", "--role", "grader"], input="short\n"
    )
    assert isinstance(short.exception, InvalidInput)
    made = CliRunner().invoke(
        cli, ["account", "add", str(folder), "ana", "--role", "grader"], input=f"{PASSWORD}\n"
    )
    assert made.exit_code == 0, made.output
    assert records.accounts.check_password("ana", PASSWORD).role == "grader"
    lock = records.make_grading_lock()
    assert lock.acquire()
    with subprocess.Popen(
        [*command, "serve", folder, "--port", "0", "--until-stdin-closes"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True,
    ) as process:  # fmt: skip
        address = re.search(r"http://\S+", process.stdout.readline())[0]
        with urllib.request.urlopen(address) as answer:
            assert answer.url.endswith("/sign-in")
        process.stdin.close()
        assert process.wait(60) == 0
        assert "another program grades" in process.stderr.read()


def test_every_text_of_the_page_is_there_in_portuguese(records):
    from importlib.resources import files

    folder = files("drdeploy.clinic.page") / "templates"
    texts = {
        text
        for file in folder.iterdir()
        for text in re.findall(r"""_\(["']([^"'~]+)["']\)""", file.read_text("utf-8"))
    }
    assert len(texts) > 60
    for file in PAGE.glob("*.py"):
        texts |= {*re.findall(r'HTTPException\(\d+, "([^"]+)"', file.read_text("utf-8"))}
    script = (PAGE / "static" / "page.js").read_text("utf-8")
    assert {*TEXTS_OF_SCRIPT} == {*re.findall(r'texts\["([^"]+)"\]', script)}
    texts |= {
        StudyChanged().sentence,
        *(
            records.store._make_error(what).sentence
            for what in ("is missing", "has changed on the disk")
        ),
    }
    assert {*texts, *TEXTS_OF_SCRIPT, *SENTENCES_OF_HTTP.values()} - set(_PORTUGUESE) == set()
    page = open_page(records).get("/?language=pt").text
    assert 'lang="pt-BR"' in page
    assert "Para uso em pesquisa. Não é um dispositivo médico." in page


def test_an_error_with_one_study_leaves_no_other_one_running():
    done = []

    def grade_study(study):
        if study == 0:
            raise ValueError
        time.sleep(0.05)
        done.append(study)

    grader = SimpleNamespace(list_due_studies=lambda: range(5), grade_study=grade_study)
    pool = GradingPool(grader, 2)
    with pytest.raises(ValueError):  # noqa: PT011 - it has no text
        pool.grade_due_studies()
    assert sorted(done) == [1, 2, 3, 4]


def test_a_grader_that_is_stopped_grades_no_further_study(records, service):
    client = open_page(records)
    for patient in range(3):
        drop(client, EYE.read_bytes(), patient=str(patient), eye="left")
    grader = StudyGrader(records, service, ReferralRules.load(), Destinations(), quiet_s=0)
    record_grading = records.record_grading

    def record_and_stop(*arguments, **more):
        grader.stop_grading()
        return record_grading(*arguments, **more)

    records.record_grading = record_and_stop
    GradingPool(grader, 1).grade_due_studies()
    assert [one["state"] for one in records.list_studies()].count("graded") == 1


def test_probabilities_have_words():
    words = [describe_probability_in_words(share) for share in (1, 0.95, 0.7, 0.5, 0.2, 0.0)]
    assert words[0] == "virtually certain"
    assert len(set(words)) == 6


class OneEndpoint:
    """SageMaker with one endpoint, which answers as our images do."""

    def __init__(self, service, digest):
        self._service = service
        self._model = ModelFacts("grader", digest, "int8", "packaged", "onnxruntime")

    def invoke(self, name, body, *, content_type):
        assert (name, content_type) == ("eyes", "image/jpeg")
        answer = make_json_answer(
            self._service.infer([body]), manifest=self._service.manifest, model=self._model,
            container=ContainerFacts("c", 1), request_latency_s=0.0,
        )  # fmt: skip
        return SimpleNamespace(outcome="ok", error="", body=msgspec.json.encode(answer))


def test_an_endpoint_grades_as_this_machine_does_and_another_model_is_refused(service):
    artifact = service.classifier.artifact
    images = [WORST.read_bytes(), WARM_UP_PHOTOGRAPH.read_bytes()]
    asked = EndpointService(
        service.classifier, hosting=OneEndpoint(service, artifact.digest), endpoint="eyes"
    )
    for mine, theirs in zip(service.infer(images), asked.infer(images), strict=True):
        assert theirs.ungradable == mine.ungradable
        assert theirs.is_unlike_training == mine.is_unlike_training
        if mine.prediction is not None:
            assert theirs.prediction.index == mine.prediction.index
            assert theirs.prediction.probabilities == pytest.approx(
                mine.prediction.probabilities, abs=1e-4
            )
    other = EndpointService(
        service.classifier, hosting=OneEndpoint(service, "0" * 64), endpoint="eyes"
    )
    with pytest.raises(PredictionFailed, match="not the one in the artifact"):
        other.infer(images)


GOOD = {"predictions": [[0.2] * 5], "model": {"digest": "0" * 64}}


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(answer, id=repr(answer)[:60])
        for answer in (
            None, 5, "text", [], {}, {**GOOD, "model": []}, {**GOOD, "model": {"digest": 7}},
            {**GOOD, "predictions": {}}, {**GOOD, "predictions": []},
            {**GOOD, "predictions": "text"}, {**GOOD, "predictions": [7]},
            {**GOOD, "predictions": ["text"]}, {**GOOD, "predictions": [{}]},
            {**GOOD, "predictions": [[[0.2]] * 5]}, {**GOOD, "predictions": [["0.2"] * 5]},
            {**GOOD, "predictions": [[None] * 5]}, {**GOOD, "predictions": [[0.5] * 2]},
            {**GOOD, "predictions": [[float("nan")] * 5]}, {**GOOD, "predictions": [[7.0] * 5]},
            {**GOOD, "predictions": [None], "ungradable_reason": []},
            {**GOOD, "predictions": [None], "ungradable_reason": {}},
            {**GOOD, "predictions": [None], "ungradable_reason": "too strange"},
            {**GOOD, "predictions": [None]},
            {**GOOD, "unlike_training": []},
        )
    ],
)  # fmt: skip
def test_an_answer_of_another_form_is_refused_in_one_sentence(service, answer):
    digest = service.classifier.artifact.digest
    if isinstance(answer, dict) and answer.get("model") == GOOD["model"]:
        answer = {**answer, "model": {"digest": digest}}
    body = json.dumps(answer).encode()
    hosting = SimpleNamespace(
        invoke=lambda *_, **__: SimpleNamespace(outcome="ok", error="", body=body)
    )
    asked = EndpointService(service.classifier, hosting=hosting, endpoint="eyes")
    with pytest.raises(
        PredictionFailed, match=r"not come from a drdeploy container|neither a grade nor a reason"
    ):
        asked.infer([WORST.read_bytes()])


def test_a_good_answer_is_taken(service):
    body = json.dumps({**GOOD, "model": {"digest": service.classifier.artifact.digest}}).encode()
    hosting = SimpleNamespace(
        invoke=lambda *_, **__: SimpleNamespace(outcome="ok", error="", body=body)
    )
    asked = EndpointService(service.classifier, hosting=hosting, endpoint="eyes")
    (found,) = asked.infer([WORST.read_bytes()])
    assert found.prediction.probabilities == pytest.approx([0.2] * 5)


def fail_to_send():
    """What is recorded when an archive or a server does not take something."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    peer = ArchivePeer("ORTHANC", "127.0.0.1", port)
    for status in (401, 503):
        yield make_error_of_refused_storage(url, ServerAnswer(status, "", b"")).sentence
    for call in (lambda: store_file(url, b"x"), lambda: store_bundle(url, {})):
        with pytest.raises(ClinicError) as refused:
            call()
        yield refused.value.sentence
    for what in (
        "cannot be reached", "does not accept the AE title of this program or of the archive",
        "ends the association without an answer", "has no space at the moment",
    ):  # fmt: skip
        assert f'"{what}"' in (PAGE.parent / "dicom_sender.py").read_text("utf-8")
        yield peer._make_error(what).sentence


class Refusing(BaseHTTPRequestHandler):
    status = 400
    body = b""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_):
        pass


def refuse_everything():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    yield store_file(url, b"x")
    yield store_bundle(url, {})
    item = {"00081197": {"vr": "US", "Value": [0x0110]}}
    Refusing.body = json.dumps({"00081198": {"vr": "SQ", "Value": [item]}}).encode()
    yield store_file(url, b"x")
    Refusing.body = b""
    Refusing.status = 500
    with pytest.raises(ClinicError) as refused:
        store_bundle(url, {})
    yield refused.value.sentence
    Refusing.status = 400
    server.shutdown()
    server.server_close()


def refuse_by_c_store():
    """Why archives refuse a file: one takes no photographs, and one cannot process this one."""
    file = as_bytes(make_dataset(np.zeros((1, 1, 3), np.uint8)))
    handlers = [(evt.EVT_C_STORE, lambda _: 0xC000)]
    for kind, words in (
        (Verification, "does not accept Ophthalmic Photography 8 Bit"),
        (OphthalmicPhotography8BitImageStorage, "with status C000H"),
    ):
        archive = AE()
        archive.add_supported_context(kind)
        running = archive.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        try:
            peer = ArchivePeer("ARCHIVE", "127.0.0.1", running.server_address[1])
            reason = peer.send_file(file)
        finally:
            running.shutdown()
        assert words in reason
        yield reason


def fail_to_grade_by_an_endpoint(service):
    """Why an endpoint gives no grade."""
    good = {**GOOD, "model": {"digest": service.classifier.artifact.digest}}
    for answer in ({}, GOOD, {**good, "predictions": [None]}):
        hosting = SimpleNamespace(
            invoke=lambda *_, answer=answer, **__: SimpleNamespace(
                outcome="ok", error="", body=json.dumps(answer).encode()
            )
        )
        asked = EndpointService(service.classifier, hosting=hosting, endpoint="eyes")
        with pytest.raises(PredictionFailed) as failed:
            asked.infer([WORST.read_bytes()])
        yield failed.value.sentence
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("drdeploy.clinic.page.endpoint.BODY_BYTES_MAX", 1000)
        with pytest.raises(PredictionFailed) as failed:
            asked.infer([WORST.read_bytes()])
    yield failed.value.sentence


def test_why_something_is_not_sent_or_not_graded_is_said_in_portuguese(records, service):
    reasons = [
        *fail_to_send(), *refuse_everything(), *refuse_by_c_store(),
        "The study cannot be sent: KeyError.", *fail_to_grade_by_an_endpoint(service),
    ]  # fmt: skip
    for reason in reasons:
        shown = translate_page_text(reason, "pt")
        assert not {"the", "The", "archive", "with", "is"} & {*re.findall(r"\w+", shown)}, shown
        assert "{" not in shown
    client = open_page(records)
    drop(client, EYE.read_bytes(), patient="9", eye="left")
    for _ in range(MAX_GRADING_ATTEMPTS + 1):
        records.count_grading_attempt(*records.list_due_studies(float("inf")))
    shown = client.get("/studies/1?language=pt").text
    assert f"e nenhuma de {MAX_GRADING_ATTEMPTS} tentativas deu certo." in shown
    records.queue_failed_studies_again()
    to = Destinations(stow="http://127.0.0.1:1")
    StudyGrader(records, service, ReferralRules.load(), to, quiet_s=0).grade_due_studies()
    ResultSender(records).send_due_deliveries()
    assert "a conexão foi recusada" in client.get("/studies/1?language=pt").text
