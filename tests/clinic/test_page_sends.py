"""What the worklist page sends on: results after grading, and what a person decided after that."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

if os.environ.get("CI") != "true":  # CI has it
    pytest.importorskip("starlette", reason="needs the extra clinic")

from dicom_files import EYE
from orthanc import run_orthanc
from pydicom import dcmread
from required import require
from starlette.testclient import TestClient
from typer.testing import CliRunner

from drdeploy.cli.clinic import app as cli
from drdeploy.clinic.background_work import Destinations, ResultSender, StudyGrader
from drdeploy.clinic.page.access import PageOptions
from drdeploy.clinic.page.app import WorklistPage
from drdeploy.clinic.records import ClinicRecords
from drdeploy.clinic.referral_rules import ReferralRules
from drdeploy.errors import InvalidInput
from drdeploy.grader.box import box_artifact
from drdeploy.grader.inference import InferenceService
from drdeploy.photograph_names import PhotographNames

WORST = EYE.with_name("IDRiD_001_grade4.jpg")


class FhirServer(BaseHTTPRequestHandler):
    """Keeps the bundles that it gets."""

    bundles: ClassVar[list[dict]] = []

    def do_POST(self):
        self.bundles.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def fhir():
    FhirServer.bundles.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), FhirServer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def records(tmp_path):
    opened = ClinicRecords.open(tmp_path / "records", names=PhotographNames(b"k" * 32))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def service():
    return InferenceService.load(box_artifact())


def open_page(records):
    page = WorklistPage(records, PageOptions(hosts={"127.0.0.1"}, user="nurse"))
    return TestClient(page.make_app(), base_url="http://127.0.0.1", follow_redirects=False)


def drop_and_grade(records, service, client, to):
    token = re.search(r'data-token="([^"]+)"', client.get("/").text)[1]
    sent = client.post(
        "/photographs", files={"photograph": ("p", WORST.read_bytes())},
        data={"patient": "77", "eye": "right"}, headers={"X-Token": token},
    )  # fmt: skip
    assert sent.json() == {"new": True}
    StudyGrader(records, service, ReferralRules.load(), to, quiet_s=0).grade_due_studies()


def decide(client, **fields):
    page = client.get("/studies/1").text
    form = dict(re.findall(r'name="(token|graded|decided)" value="([^"]+)"', page))
    assert client.post("/studies/1/decision", data={**form, **fields}).status_code == 303


def report_in(bundle):
    (report,) = [
        one["resource"] for one in bundle["entry"]
        if one["resource"]["resourceType"] == "DiagnosticReport"
    ]  # fmt: skip
    return report


def check_by_dciodvfy(dataset, file):
    require(shutil.which("dciodvfy") is not None, "dciodvfy (Debian's package dicom3tools)")
    dataset.save_as(file)
    found = subprocess.run(["dciodvfy", file], capture_output=True, text=True, check=False)
    assert "EncapsulatedPDF" in found.stdout + found.stderr
    assert "Error" not in found.stdout + found.stderr


def read_pages(archive, study):
    """The pages of a study in the archive, the oldest first."""
    pages = []
    for number in archive.get("/instances"):
        content = archive.read(f"/instances/{number}/file")
        dataset = dcmread(io.BytesIO(content))
        if dataset.Modality == "DOC" and dataset.StudyInstanceUID == study:
            pages.append(dataset)
    return sorted(pages, key=lambda one: (one.ContentDate, one.ContentTime))


def test_an_archive_and_a_server_get_what_the_grader_found_and_then_what_a_person_decided(
    records, service, fhir, tmp_path
):
    (tmp_path / "orthanc").mkdir()
    sender = ResultSender(records)
    client = open_page(records)
    with run_orthanc(tmp_path / "orthanc") as archive:
        to = Destinations(stow=archive.dicomweb, post=fhir)
        drop_and_grade(records, service, client, to)
        assert "archive: 3 queued" in client.get("/studies/1").text
        assert sender.send_due_deliveries() == 4  # a photograph, a report, a page, a bundle
        assert "archive: 3 delivered" in client.get("/studies/1").text
        (study,) = archive.count_modalities()
        assert archive.count_modalities()[study] == {"OP": 1, "SR": 1, "DOC": 1}
        time.sleep(1)  # DICOM's times have whole seconds
        decide(client, kind="overrule", outcome="refer", reason="a scar", **{"grade-right": "2"})
        assert sender.send_due_deliveries() == 2
        first, second = read_pages(archive, study)
        assert first.SOPInstanceUID != second.SOPInstanceUID
        assert first.SeriesInstanceUID == second.SeriesInstanceUID
        assert "with a person's decision" in second.DocumentTitle
        check_by_dciodvfy(second, tmp_path / "page.dcm")
        assert second.EncapsulatedDocument.startswith(b"%PDF")
        assert archive.count_modalities()[study]["SR"] == 1  # it says what the grader found
        time.sleep(1)
        decide(client, kind="undo")
        assert sender.send_due_deliveries() == 2
        assert len(read_pages(archive, study)) == 3
    preliminary, decided, undone = map(report_in, FhirServer.bundles)
    assert "decided" not in preliminary["conclusion"]
    assert (
        "nurse decided (overrule): refer, right eye grade 2. Reason: a scar"
        in (decided["conclusion"])
    )
    assert "was undone" in undone["conclusion"]
    # A server keeps what it has of an identifier: each report has its own.
    asked = {
        entry["request"]["ifNoneExist"]
        for bundle in FhirServer.bundles
        for entry in bundle["entry"]
        if entry["resource"]["resourceType"] == "DiagnosticReport"
    }
    assert len(asked) == 3
    assert len({report_in(one)["identifier"][0]["value"] for one in FhirServer.bundles}) == 3
    others = [{entry["fullUrl"] for entry in bundle["entry"]} for bundle in FhirServer.bundles]
    assert len(set.intersection(*others)) == len(others[0]) - 1
    assert records.verify_audit_log()[0]


def test_a_decision_replaces_an_earlier_one_that_was_not_sent_and_a_new_grading_both(
    records, service, fhir
):
    client, sender = open_page(records), ResultSender(records)
    drop_and_grade(records, service, client, Destinations(post=fhir))
    decide(client, kind="accept")
    decide(client, kind="undo")
    decide(client, kind="refer")
    assert sender.send_due_deliveries() == 2
    assert [("decided" in report_in(one)["conclusion"]) for one in FhirServer.bundles] == [
        False,
        True,
    ]
    assert "(refer)" in report_in(FhirServer.bundles[1])["conclusion"]
    assert records.list_studies()[0]["deliveries"] == {"delivered": 2}
    assert records.erasure.erase_patient("\n77") == 1
    assert sender.send_due_deliveries() == 0


def test_a_page_without_an_archive_says_that_nothing_is_sent(records, service):
    client = open_page(records)
    drop_and_grade(records, service, client, Destinations())
    assert "Nothing of this study is sent" in client.get("/studies/1").text
    decide(client, kind="accept")
    assert ResultSender(records).send_due_deliveries() == 0
    assert "Nada deste exame" in client.get("/studies/1?language=pt").text


def test_the_command_grades_what_is_dropped_and_sends_it(records, fhir, tmp_path):
    folder = records.store.folder.parent
    command = [sys.executable, "-m", "drdeploy", "clinic", "serve", folder, "--port", "0"]
    command += ["--quiet-s", "0.5", "--post", fhir, "--until-stdin-closes"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
    ) as process:  # fmt: skip
        address = re.search(rb"http://\S+", process.stdout.readline())[0].decode()
        with urllib.request.urlopen(address) as answer:
            page, cookie = answer.read().decode(), answer.headers["Set-Cookie"].partition(";")[0]
        token = re.search(r'data-token="([^"]+)"', page)[1]
        field = 'Content-Disposition: form-data; name="{}"'
        body = b"".join(
            f"--x\r\n{field.format(name)}{more}\r\n\r\n".encode() + value + b"\r\n"
            for name, more, value in (
                ("patient", "", b"77"), ("eye", "", b"right"),
                ("photograph", '; filename="p"', WORST.read_bytes()),
            )
        ) + b"--x--\r\n"  # fmt: skip
        headers = {
            "X-Token": token, "Cookie": cookie, "Content-Type": "multipart/form-data; boundary=x",
        }  # fmt: skip
        request = urllib.request.Request(f"{address}photographs", body, headers)
        with urllib.request.urlopen(request) as answer:
            assert json.load(answer) == {"new": True}
        deadline = time.monotonic() + 60
        while not FhirServer.bundles:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        other = CliRunner().invoke(cli, ["serve", str(folder), "--port", "0", "--post", fhir])
        assert isinstance(other.exception, InvalidInput)
        assert "sends the results to its own destinations" in str(other.exception)
        process.stdin.close()
        assert process.wait(60) == 0
    assert "urgent" in report_in(FhirServer.bundles[0])["conclusion"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--send", "A@archive.example:104"), "without encryption"),
        (("--stow", "http://archive.example"), "only over https"),
        (("--plain",), "--plain has no effect without --send"),
    ],
)
def test_what_would_be_unsafe_or_without_effect_is_refused(tmp_path, options, message):
    refused = CliRunner().invoke(cli, ["serve", str(tmp_path / "r"), "--port", "0", *options])
    assert message in " ".join(f"{refused.output} {refused.exception}".split())
