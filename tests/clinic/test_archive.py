"""Results and photographs arrive in an archive: Orthanc, as a clinic would run it."""

import io
import json
import os
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pytest
from dicom_files import EYE, as_bytes, encapsulate, make_dataset
from orthanc import run_orthanc
from PIL import Image
from required import require
from typer.testing import CliRunner

if os.environ.get("CI") != "true":  # CI has it
    pytest.importorskip("highdicom", reason="needs the extra clinic")

from pydicom import dcmread, uid

from drdeploy.cli.clinic import app
from drdeploy.clinic import dicomweb_retrieval
from drdeploy.clinic.dicomweb_storage import AUTHORIZATION_VARIABLE, store_file
from drdeploy.clinic.page.photographs import receive_photograph
from drdeploy.clinic.records import ClinicRecords
from drdeploy.errors import ClinicError, InvalidInput
from drdeploy.photograph_names import PhotographNames


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    with run_orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


def photograph(**fields):
    with Image.open(EYE) as image:
        rows, columns = image.height, image.width
    dataset = make_dataset(
        np.zeros((1, 1, 3), np.uint8), photometric="YBR_FULL_422", Rows=rows, Columns=columns,
        **fields,
    )  # fmt: skip
    return as_bytes(encapsulate(dataset, [EYE.read_bytes()], uid.JPEGBaseline8Bit))


def test_a_study_arrives_once_with_its_photographs_report_and_page(archive, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # would fail: it is not asked
    study = uid.generate_uid()
    for side in "LR":
        file = tmp_path / f"{side}.dcm"
        file.write_bytes(photograph(StudyInstanceUID=study, ImageLaterality=side))
    for _ in range(2):
        sent = CliRunner().invoke(app, ["triage", str(tmp_path), "--stow", archive.dicomweb])
        assert sent.exit_code == 0, sent.output
        assert "results were sent" in sent.output
        found = archive.list_classes(study)
        assert {kind: len(one) for kind, one in found.items()} == {"OP": 2, "SR": 1, "DOC": 1}
    assert len(archive.get("/patients")) == 1


def test_an_archive_says_why_it_refuses_a_file(archive):
    assert "refuses the file" in store_file(archive.dicomweb, b"no DICOM")


def test_an_address_without_an_archive_is_an_error(archive):
    with pytest.raises(ClinicError, match="status 404"):
        store_file(f"{archive.url}/elsewhere", b"")


def test_an_archive_that_does_not_answer_is_an_error_and_the_results_are_written(tmp_path):
    (tmp_path / "eye.dcm").write_bytes(photograph())
    sent = CliRunner().invoke(
        app,
        ["triage", str(tmp_path / "eye.dcm"), "--sr", str(tmp_path / "sr"),
         "--stow", "http://127.0.0.1:9/dicom-web"],
    )  # fmt: skip
    assert isinstance(sent.exception, ClinicError)
    assert "The exchange with the archive failed" in str(sent.exception)
    assert len([*(tmp_path / "sr").iterdir()]) == 1


@pytest.fixture
def foreign_archive():
    """An archive that gives a chosen answer, and keeps what it was asked."""
    received = []

    class Handler(BaseHTTPRequestHandler):
        answer = (200, b"")
        content_type = "application/octet-stream"

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"] or 0))
            received.append(self.headers)
            self.server.paths.append(self.path)
            status, body = self.answer
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Type", self.content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815 - the standard library's name

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.paths = Handler.paths = []
        threading.Thread(target=lambda: running.serve_forever(0.05), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/", received, Handler
        running.shutdown()


def failure(reason):
    item = {"00081197": {"vr": "US", "Value": [reason]}}
    return json.dumps({"00081198": {"vr": "SQ", "Value": [item]}}).encode()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((200, b""), ""),
        ((409, failure(0x0111)), ""),
        ((202, failure(0xA700)), "failure reason A700H"),
        ((200, failure(0x0110)), "failure reason 0110H"),
        ((409, b"[" * 100_000), "status 409"),
        ((400, b"null"), "status 400"),
        # A reason has 16 bits. Others are no reasons, and the status counts.
        ((200, failure(0).replace(b"[0]", b"[1e999]")), ""),
        ((409, failure(0).replace(b"[0]", b"[NaN]")), "status 409"),
        ((400, failure(10**4000)), "status 400"),
        ((202, failure(-1)), "status 202"),
        ((202, b'{"00081198": {"vr": "SQ", "Value": [{}]}}'), "status 202"),
        ((202, b'{"00081199": {"vr": "SQ", "Value": [{}]}}'), ""),
    ],
)
def test_a_file_counts_as_stored_if_the_archive_has_it(answer, reason, foreign_archive):
    url, _, handler = foreign_archive
    handler.answer = answer
    said = store_file(url, b"file")
    assert reason in said
    assert bool(said) == bool(reason)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((401, b""), "status 401"),
        ((307, b""), "status 307"),
        ((503, b""), "status 503"),
        ((200, bytes(5 * 1024**2)), "more than 4194304 bytes"),
    ],
)
def test_an_archive_that_takes_nothing_is_an_error(answer, reason, foreign_archive):
    url, received, handler = foreign_archive
    handler.answer = answer
    with pytest.raises(ClinicError, match=reason):
        store_file(url, b"file")
    assert len(received) == 1


def test_an_archive_gets_the_sign_in_of_the_environment(foreign_archive, monkeypatch):
    url, received, _ = foreign_archive
    monkeypatch.setenv(AUTHORIZATION_VARIABLE, "Bearer token")
    store_file(url, b"file")
    assert received[0]["Authorization"] == "Bearer token"


@pytest.mark.parametrize(
    "value", ["Basic Zo\N{LATIN SMALL LETTER E WITH DIAERESIS}", "a\r\nX-Other: b"]
)
def test_a_sign_in_that_no_header_may_have_is_refused_before_anything_is_sent(
    foreign_archive, monkeypatch, value
):
    url, received, _ = foreign_archive
    monkeypatch.setenv(AUTHORIZATION_VARIABLE, value)
    with pytest.raises(ClinicError, match="characters that no header may have") as caught:
        store_file(url, b"file")
    assert caught.value.where == AUTHORIZATION_VARIABLE
    assert value not in str(caught.value)  # it is a secret
    assert not received


@pytest.fixture(scope="module")
def camera_roll(archive):
    """Three photographs in the archive: two days, two cameras."""
    files = [
        photograph(StudyDate=day, StationName=station, ImageLaterality=side)
        for day, station, side in [
            ("20200103", "NORTH", "L"), ("20200103", "SOUTH", "R"), ("20200104", "NORTH", "L"),
        ]
    ]  # fmt: skip
    assert [store_file(archive.dicomweb, one) for one in files] == ["", "", ""]
    return files


def pull(archive, folder, *options):
    return CliRunner().invoke(app, ["pull", archive.dicomweb, str(folder), *options])


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--since", "2020-01-03", "--until", "2020-01-03"], [0, 1]),
        (["--until", "2020-01-04", "--station", "NORTH"], [0, 2]),
        (["--until", "2020-01-04", "--modality", "SR"], []),
    ],
)
def test_a_pull_fetches_what_was_asked_for_as_it_was_sent(
    options, wanted, archive, camera_roll, tmp_path
):
    done = pull(archive, tmp_path / "in", *options)
    assert done.exit_code == 0, done.output
    found = {dcmread(file).SOPInstanceUID: file for file in (tmp_path / "in").iterdir()}
    sent = [dcmread(io.BytesIO(camera_roll[place])) for place in wanted]
    assert found.keys() == {one.SOPInstanceUID for one in sent}
    for one in sent:
        there = dcmread(found[one.SOPInstanceUID])
        assert there.file_meta.TransferSyntaxUID == one.file_meta.TransferSyntaxUID
        assert there.PixelData == one.PixelData
        assert one.SOPInstanceUID not in found[one.SOPInstanceUID].name


def test_what_curl_stores_is_pulled_and_graded(archive, tmp_path):
    require(shutil.which("curl") is not None, "curl")
    file = photograph(StudyDate="20210607", ImageLaterality="L")
    head = b"--cut\r\nContent-Type: application/dicom\r\n\r\n"
    body = tmp_path / "body"
    body.write_bytes(head + file + b"\r\n--cut--\r\n")
    kind = 'Content-Type: multipart/related; type="application/dicom"; boundary=cut'
    command = ["curl", "--fail", "--noproxy", "*", "-H", kind, "--data-binary", f"@{body}"]
    subprocess.run([*command, f"{archive.dicomweb}/studies"], check=True, capture_output=True)
    days = ["--since", "2021-06-07", "--until", "2021-06-07"]
    assert pull(archive, tmp_path / "in", *days).exit_code == 0
    graded = CliRunner().invoke(app, ["triage", str(tmp_path / "in"), "--json"])
    assert graded.exit_code == 0, graded.output
    (found,) = json.loads(graded.stdout)["patients"]
    assert found["eyes"]["left"]["gradable"] == 1


def test_a_pull_fetches_the_patients_of_a_list(archive, tmp_path):
    sent = [photograph(StudyDate="20220505", PatientID=one) for one in ("A-1", "A-12", "B-2")]
    assert [store_file(archive.dicomweb, one) for one in sent] == ["", "", ""]
    listed = tmp_path / "today.txt"
    listed.write_text("A-1\n\nB-2\nnobody\nA-1\n", "utf-8")
    days = ["--since", "2022-05-05", "--until", "2022-05-05"]
    done = pull(archive, tmp_path / "in", *days, "--worklist", str(listed))
    assert done.exit_code == 0, done.output
    found = [dcmread(file).PatientID for file in (tmp_path / "in").iterdir()]
    assert sorted(found) == ["A-1", "B-2"]
    said = " ".join(done.output.split())
    assert "note: for 1 patient in" in said
    assert "the archive lists no photograph" in said


def test_a_file_of_another_patient_is_not_kept_though_the_archive_lists_it(
    foreign_archive, tmp_path
):
    url, _, handler = foreign_archive
    files = {f"1.4.{one}": photograph(PatientID=one, ImageLaterality="L") for one in ("7", "8")}

    def ignore_the_patient(asked):
        path, _, query = asked.path.partition("?")
        if "offset=0" in query:
            entries = [SERIES | {"00080018": {"Value": [one]}} for one in files]
            return 200, json.dumps(entries if "/instances" in path else entries[:1]).encode()
        if query:
            return 200, b"[]"
        return 200, b"--x\r\n\r\n" + files[path.rpartition("/")[2]] + b"\r\n--x--\r\n"

    handler.answer = property(ignore_the_patient)
    handler.content_type = 'multipart/related; type="application/dicom"; boundary=x'
    listed = tmp_path / "today.txt"
    listed.write_text("7\n")
    folder, records = tmp_path / "in", tmp_path / "records"
    own = [str(folder), "--worklist", str(listed)]
    done = CliRunner().invoke(app, ["pull", url, *own])
    assert done.exit_code == 1
    assert "belongs to another patient" in done.output
    assert "1 file fetched" in done.output
    assert [dcmread(file).PatientID for file in folder.iterdir()] == ["7"]
    # Nor does a file of another patient that an earlier pull fetched come into the worklist.
    assert CliRunner().invoke(app, ["pull", url, str(folder)]).exit_code == 0
    done = CliRunner().invoke(app, ["pull", url, *own, "--records", str(records)])
    assert done.exit_code == 1
    opened = ClinicRecords.open(records, names=PhotographNames.with_user_key())
    assert [one.patient for one in opened.worklist.list_studies()] == ["7"]
    opened.close()


def test_a_space_is_asked_for_as_archives_read_it(foreign_archive):
    url, _, handler = foreign_archive
    handler.answer = (204, b"")
    query = dicomweb_retrieval.PhotographQuery(station="NORTH WING", patient="A 1")
    assert list(dicomweb_retrieval.list_archived_files(url, query)) == []
    assert "StationName=NORTH%20WING&PatientID=A%201" in handler.paths[0]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"1\n*\n", "Line 2 is not a patient's number"),
        (b"A?\n", "Line 1 is not a patient's number"),
        (b'"A-1"\n', "Line 1 is not a patient's number"),
        (b"7" * 65, "Line 1 is not a patient's number"),
        (b"\n \n", "is empty"), (b"\xff", "be read"),
    ],
)  # fmt: skip
def test_a_list_of_patients_that_would_ask_for_others_is_refused(content, reason, tmp_path):
    listed = tmp_path / "today.txt"
    listed.write_bytes(content)
    done = CliRunner().invoke(
        app, ["pull", "http://127.0.0.1:9", str(tmp_path / "in"), "--worklist", str(listed)]
    )
    assert isinstance(done.exception, InvalidInput)
    assert reason in str(done.exception)


def test_a_pull_puts_photographs_into_the_worklist_once_and_says_what_it_cannot_put_there(
    archive, camera_roll, tmp_path
):
    records = tmp_path / "records"
    days = ["--until", "2020-01-04"]
    assert pull(archive, tmp_path / "in", *days, "--limit", "1").exit_code == 1
    for new in (len(camera_roll), 0):
        done = pull(archive, tmp_path / "in", *days, "--records", str(records))
        assert done.exit_code == 0, done.output
        assert f"New in the records: {new} photograph" in done.output
    opened = ClinicRecords.open(records, names=PhotographNames.with_user_key())
    waiting = opened.worklist.list_studies()
    assert sum(len(opened.worklist.list_photographs(one.number)) for one in waiting) == len(
        camera_roll
    )
    assert {one.state for one in waiting} == {"waiting"}
    opened.close()
    # Only the file of the first pull: the records keep the others.
    assert len(list((tmp_path / "in").iterdir())) == 1
    without_eye = photograph(StudyDate="20210903", ImageLaterality="")
    assert store_file(archive.dicomweb, without_eye) == ""
    day = ["--since", "2021-09-03", "--until", "2021-09-03"]
    done = pull(archive, tmp_path / "in", *day, "--records", str(records))
    assert done.exit_code == 1
    assert "does not say which eye it shows" in done.output
    assert "1 file fetched" in done.output.replace("\n", " ")


def test_an_erased_patient_leaves_no_file_in_the_folder_and_does_not_come_back(archive, tmp_path):
    sent = [
        photograph(StudyDate="20230807", PatientID=one, ImageLaterality="L") for one in ("E1", "E2")
    ]
    assert [store_file(archive.dicomweb, one) for one in sent] == ["", ""]
    records, folder = tmp_path / "records", tmp_path / "in"
    asked = ["--since", "2023-08-07", "--until", "2023-08-07", "--records", str(records)]

    def list_patients():
        opened = ClinicRecords.open(records, names=PhotographNames.with_user_key())
        found = sorted(one.patient for one in opened.worklist.list_studies())
        opened.close()
        return found

    assert pull(archive, folder, *asked).exit_code == 0
    assert list_patients() == ["E1", "E2"]
    erased = CliRunner().invoke(app, ["erase", str(records), "--patient", "E1"])
    assert erased.exit_code == 0, erased.output
    for _ in range(2):
        done = pull(archive, folder, *asked)
        assert done.exit_code == 0
        said = " ".join(done.output.split())
        assert "1 file fetched, 1 there already" in said
        assert "their studies were erased from the records: 1" in said
        assert list_patients() == ["E2"]
        assert list(folder.iterdir()) == []
    # Whoever wants it back sends it, and a pull then takes the rest of the study too.
    opened = ClinicRecords.open(records, names=PhotographNames.with_user_key())
    assert receive_photograph(opened, sent[0])
    opened.close()
    assert "2 there already" in pull(archive, folder, *asked).output


def test_a_pull_ends_before_it_fills_the_disk(archive, camera_roll, tmp_path, monkeypatch):
    free = iter([2**30, 2**30 - 1, 2**30, 2**30])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=next(free)))
    days = ["--until", "2020-01-04"]
    ended = pull(archive, tmp_path, *days)
    assert isinstance(ended.exception, ClinicError)
    assert "less than 1 GiB of free space" in str(ended.exception)
    assert "run the same command again" in str(ended.exception)
    assert len([*tmp_path.iterdir()]) == 1
    assert pull(archive, tmp_path, *days).exit_code == 0
    assert len([*tmp_path.iterdir()]) == len(camera_roll)


def test_a_pull_goes_on_where_it_was(archive, camera_roll, tmp_path, monkeypatch):
    monkeypatch.setattr(dicomweb_retrieval, "ENTRIES_PER_PAGE", 1)  # every entry is a page
    days = ["--until", "2020-01-04"]
    first = pull(archive, tmp_path, *days, "--limit", "2")
    assert first.exit_code == 1
    assert "more than 2 files" in first.output
    before = {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    second = pull(archive, tmp_path, *days)
    assert second.exit_code == 0
    assert "1 file fetched" in second.output.replace("\n", " ")
    assert len([*tmp_path.iterdir()]) == len(camera_roll)
    assert before.items() <= {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()}.items()


SERIES = {"0020000D": {"Value": ["1.2"]}, "0020000E": {"Value": ["1.3"]}}


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"{}", b"[1]", b"[{}]", b"[" * 100_000,
        json.dumps([SERIES | {"0020000E": {"Value": ["../../admin"]}}]).encode(),
        json.dumps([SERIES | {"0020000D": {"Value": ["1." * 40 + "1"]}}]).encode(),
        json.dumps([SERIES | {"0020000E": {"Value": [7]}}]).encode(),
    ],
)  # fmt: skip
def test_a_list_that_cannot_be_used_is_an_error(answer, foreign_archive):
    url, received, handler = foreign_archive
    handler.answer = (200, answer)
    with pytest.raises(ClinicError, match="cannot be used"):
        list(dicomweb_retrieval.list_archived_files(url, dicomweb_retrieval.PhotographQuery()))
    assert len(received) == 1


def test_an_archive_that_always_answers_everything_does_not_keep_us_for_ever(
    foreign_archive, monkeypatch
):
    url, received, handler = foreign_archive
    monkeypatch.setattr(dicomweb_retrieval, "ENTRIES_PER_PAGE", 1)
    handler.answer = (200, json.dumps([SERIES | {"00080018": {"Value": ["1.4"]}}]).encode())
    (found,) = dicomweb_retrieval.list_archived_files(url, dicomweb_retrieval.PhotographQuery())
    assert (found.study, found.series, found.instance) == ("1.2", "1.3", "1.4")
    assert len(received) == 4


def test_an_archive_whose_list_never_ends_is_an_error(foreign_archive, monkeypatch):
    url, received, handler = foreign_archive
    monkeypatch.setattr(dicomweb_retrieval, "ENTRIES_MAX", 3)

    def list_another_series(asked):
        another = SERIES | {"0020000E": {"Value": [f"1.{len(received)}"]}}
        return 200, json.dumps([] if "/instances" in asked.path else [another]).encode()

    handler.answer = property(list_another_series)
    with pytest.raises(ClinicError, match="more than 3 entries"):
        list(dicomweb_retrieval.list_archived_files(url, dicomweb_retrieval.PhotographQuery()))


@pytest.mark.parametrize("answer", [(404, b""), (200, b""), (200, b"--x\r\n\r\n" + bytes(200))])
def test_a_file_that_an_archive_does_not_give_has_a_reason(answer, foreign_archive):
    url, _, handler = foreign_archive
    handler.answer = answer
    said = dicomweb_retrieval.fetch_archived_file(
        url, dicomweb_retrieval.ArchivedFile("1", "2", "3")
    )
    assert said.startswith("The archive answers with")


def test_a_file_that_is_too_large_does_not_keep_a_pull_from_the_others(
    foreign_archive, tmp_path, monkeypatch
):
    url, _, handler = foreign_archive
    monkeypatch.setattr(dicomweb_retrieval, "_ENVELOPE_BYTES", 200_000)
    limits = SimpleNamespace(max_bytes=0)
    monkeypatch.setattr(dicomweb_retrieval, "LOCAL_FILE_LIMITS", limits)
    small = bytes(128) + b"DICM" + bytes(8)

    def answer(asked):
        path, _, query = asked.path.partition("?")
        if "offset=0" in query:
            entries = [SERIES | {"00080018": {"Value": [one]}} for one in ("1.4.1", "1.4.2")]
            return 200, json.dumps(entries if "/instances" in path else entries[:1]).encode()
        if query:
            return 200, b"[]"
        return 200, b"--x\r\n\r\n" + small + bytes("4.1" in path) * 300_000 + b"\r\n--x--\r\n"

    handler.answer = property(answer)
    handler.content_type = 'multipart/related; type="application/dicom"; boundary=x'
    done = CliRunner().invoke(app, ["pull", url, str(tmp_path / "in")])
    assert done.exit_code == 1
    assert "The archive answers with more than 200000 bytes." in " ".join(done.output.split())
    assert [file.read_bytes() for file in (tmp_path / "in").iterdir()] == [small]


@pytest.mark.parametrize(
    "arguments",
    [["http://archive.example.org"], ["https://a:b@archive.example.org"],
     ["https://archive.example.org", "--since", "2026-01-02", "--until", "2026-01-01"]],
)  # fmt: skip
def test_a_pull_that_cannot_be_meant_is_refused_before_anything_is_asked(arguments, tmp_path):
    url, *options = arguments
    done = CliRunner().invoke(app, ["pull", url, str(tmp_path / "in"), *options])
    assert isinstance(done.exception, InvalidInput)
    assert not (tmp_path / "in").exists()
