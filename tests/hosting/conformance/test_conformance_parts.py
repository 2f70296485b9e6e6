"""What the check sends, receives and concludes, without an engine."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from PIL import Image

from drdeploy.errors import InvalidInput
from drdeploy.grader.fundus.decode import decode_image
from drdeploy.hosting.conformance import (
    CLAUSES,
    ClauseOutcome,
    Contract,
    HostingKind,
    ProbePhotograph,
    Severity,
    select_clauses_by_id,
    stopping,
)
from drdeploy.hosting.conformance.broken_model import _watch_until_end_or_ready
from drdeploy.hosting.conformance.client import ProbeAnswer, send_request_and_read_answer
from drdeploy.hosting.conformance.conditions import (
    ConditionedStarts,
    observe_starts_under_conditions,
)
from drdeploy.hosting.conformance.containers import (
    Conditions,
    ContainerStart,
    ContainerUnderTest,
    ModelHost,
)
from drdeploy.hosting.conformance.image_configuration import ImageFacts, observe_image_configuration
from drdeploy.hosting.conformance.inspection import (
    FirstStart,
    ImageInspection,
    Undetermined,
    observe_first_container_start,
)
from drdeploy.hosting.conformance.requests import Requests, observe_single_requests
from drdeploy.hosting.conformance.stopping import (
    Stop,
    StopDuringWork,
    StopInUpload,
    observe_container_restart,
)
from drdeploy.hosting.conformance.under_load import Load, observe_container_under_load
from drdeploy.hosting.container_engine.container import ExitState
from drdeploy.hosting.sagemaker.container_contract import BIND_TO_PORT_LABEL

BY_ID = {clause.id: clause for clause in CLAUSES}


def inspection_with(observed, photograph=None):
    """An inspection that has made these observations; an ordinary start succeeded."""
    start = ContainerStart(None, 1.0, answered(), 1.1)
    host = SimpleNamespace(
        memory_mb=1000, cpus=1.0, photograph=photograph, contract=Contract(), engine=None
    )
    inspection = ImageInspection(host)
    inspection._observed = {observe_first_container_start: FirstStart(start, start), **observed}
    return inspection


def outcome_of(clause_id, observed, photograph=None):
    """The outcome of one clause, given observations by the function that makes them."""
    return BY_ID[clause_id].check(inspection_with(observed, photograph)).outcome


def answered(status=200, **times):
    return ProbeAnswer(status, body=b"{}", **{"connect_s": 0.001, "total_s": 0.01, **times})


# ---- what is sent ----


@pytest.mark.parametrize("size_bytes", [5_000, 70_000, 4 * 1024 * 1024, 6 * 1024 * 1024 - 1])
def test_a_padded_photograph_is_the_same_picture_in_so_many_bytes(small_photograph, size_bytes):
    padded = small_photograph.pad_jpeg_to_size(size_bytes)
    assert size_bytes - 3 <= len(padded) <= size_bytes
    same = Image.open(io.BytesIO(padded)).tobytes()
    assert same == Image.open(io.BytesIO(small_photograph.data)).tobytes()
    assert (decode_image(padded) == decode_image(small_photograph.data)).all()


@pytest.mark.parametrize(
    "damaged", [b"\xff\xd8", b"\xff\xd8\xff", b"\xff\xd8\xff\xe0", b"\xff\xd8\xff\xe0\xff\xff"]
)
def test_a_photograph_that_is_cut_off_is_padded_all_the_same(damaged):
    padded = ProbePhotograph(damaged, "image/jpeg").pad_jpeg_to_size(5_000)
    assert padded.startswith(damaged)
    assert len(padded) >= 4_997


def test_a_photographs_type_follows_from_its_name_unless_given(tmp_path):
    path = tmp_path / "eye.png"
    path.write_bytes(b"png")
    assert ProbePhotograph.read_from_file(path).content_type == "image/png"
    assert (
        ProbePhotograph.read_from_file(path, "application/x-image").content_type
        == "application/x-image"
    )


@pytest.mark.parametrize("is_model_writable", [False, True])
def test_a_broken_model_is_as_writable_as_the_whole_one(
    small_photograph, tmp_path, is_model_writable
):
    """Else an image that needs a writable model fails with every model, broken or not."""
    options = {"photograph": small_photograph, "contract": Contract(), "memory_mb": 99, "cpus": 1.0}
    host = ModelHost(None, "any", tmp_path, **options)
    host.folder, host.is_model_writable = tmp_path, is_model_writable
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "model.onnx").write_bytes(b"cut off")
    model = host._make_container_spec(Conditions(model=broken)).mounts[0]
    assert model.read_only is not is_model_writable
    assert (model.source == broken) is not is_model_writable
    assert (model.source / "model.onnx").read_bytes() == b"cut off"


# ---- what is received ----


class Early(BaseHTTPRequestHandler):
    """Refuses a body that it has not read, and returns the headers of a request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.send_response(413)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.close_connection = True

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def early_port():
    with ThreadingHTTPServer(("127.0.0.1", 0), Early) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_an_answer_carries_status_body_and_times(early_port):
    answer = send_request_and_read_answer(
        early_port, "GET", "/ping", headers={"X-One": "1"}, timeout_s=60
    )
    assert answer.is_success
    assert json.loads(answer.body)["x-one"] == "1"
    assert 0 < answer.connect_s <= answer.total_s
    assert answer.sent_at <= answer.ended_at


def test_a_refusal_is_received_though_the_body_was_not_read(early_port):
    assert (
        send_request_and_read_answer(
            early_port, "POST", "/invocations", b"short", timeout_s=60
        ).status
        == 413
    )


def test_a_failed_connection_is_an_answer_with_its_failure_and_not_raised():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        answer = send_request_and_read_answer(
            listener.getsockname()[1], "GET", "/ping", timeout_s=1
        )
    assert (answer.status, answer.failure) == (0, "connection refused")
    assert (answer.is_success, answer.is_refusal) == (False, False)


def test_a_server_that_says_nothing_times_out():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        answer = send_request_and_read_answer(
            listener.getsockname()[1], "POST", "/invocations", b"x", timeout_s=0.1
        )
    assert answer.failure == "timed out"


# ---- what is concluded ----


@pytest.mark.parametrize(
    ("entrypoint", "outcome"),
    [
        (("/usr/bin/serve",), ClauseOutcome.PASS),
        ((), ClauseOutcome.PASS),
        (("/bin/sh", "/start.sh"), ClauseOutcome.PASS),
        (("/bin/sh", "-c", "serve"), ClauseOutcome.FAIL),
        (("bash", "-c", "serve"), ClauseOutcome.FAIL),
    ],
)
def test_a_shell_between_host_and_server_is_found(entrypoint, outcome):
    facts = ImageFacts(entrypoint, {}, 1)
    assert outcome_of("exec-form", {observe_image_configuration: facts}) is outcome


def test_a_manifest_of_oci_is_refused_by_create_model():
    oci = "application/vnd.oci.image.manifest.v1+json"
    facts = ImageFacts((), {}, 1, manifest_type=oci)
    assert outcome_of("image-manifest", {observe_image_configuration: facts}) is ClauseOutcome.FAIL
    assert (
        outcome_of("image-manifest", {observe_image_configuration: ImageFacts((), {}, 1)})
        is ClauseOutcome.PASS
    )


@pytest.mark.parametrize(
    ("labels", "is_serving", "outcome"),
    [
        ({}, False, ClauseOutcome.NOT_APPLICABLE),
        ({BIND_TO_PORT_LABEL: "false"}, False, ClauseOutcome.NOT_APPLICABLE),
        ({BIND_TO_PORT_LABEL: "true"}, False, ClauseOutcome.FAIL),
        ({BIND_TO_PORT_LABEL: "true"}, True, ClauseOutcome.PASS),
    ],
)
def test_another_port_is_asked_for_by_the_label_alone(labels, is_serving, outcome):
    start = ContainerStart(None, 1.0, answered(), 1.1 if is_serving else None)
    observed = {
        observe_image_configuration: ImageFacts((), labels, 1),
        observe_starts_under_conditions: ConditionedStarts({"port": start}, None),
    }
    assert outcome_of("bind-to-port", observed) is outcome


@pytest.mark.parametrize(
    ("names", "ready_s", "outcome"),
    [
        (["model/weights"], None, ClauseOutcome.FAIL),
        (["model/weights"], 1.0, ClauseOutcome.PASS),
        (["weights", "code/inference.py"], None, ClauseOutcome.PASS),
        ([], None, ClauseOutcome.PASS),
    ],
)
def test_one_more_folder_in_the_archive_is_named_if_the_server_does_not_start(
    tmp_path, names, ready_s, outcome
):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    start = ContainerStart(None, ready_s)
    inspection = inspection_with({observe_first_container_start: FirstStart(start, start)})
    inspection.host.model_folder = tmp_path
    assert BY_ID["archive-layout"].check(inspection).outcome is outcome


def test_an_image_beyond_ten_gigabytes_is_too_large():
    largest, larger = ImageFacts((), {}, 10**10), ImageFacts((), {}, 10**10 + 1)
    assert outcome_of("image-size", {observe_image_configuration: largest}) is ClauseOutcome.PASS
    assert outcome_of("image-size", {observe_image_configuration: larger}) is ClauseOutcome.FAIL


@pytest.mark.parametrize(
    ("warm", "outcome"),
    [
        ([answered()], ClauseOutcome.PASS),
        ([answered(), answered(500)], ClauseOutcome.FAIL),
        ([answered(total_s=61.0)], ClauseOutcome.FAIL),
        ([ProbeAnswer(200, body=bytes(5 * 1024 * 1024))], ClauseOutcome.FAIL),
        ([ProbeAnswer(200)], ClauseOutcome.FAIL),
    ],
    ids=["good", "an error", "late", "long", "empty"],
)
def test_a_photograph_is_answered_in_time_and_in_bounds(small_photograph, warm, outcome):
    requests = Requests(tuple(warm), 1, {})
    observed = {observe_single_requests: requests}
    assert outcome_of("answers-photographs", observed, small_photograph) is outcome


@pytest.mark.parametrize(
    ("first_s", "outcome"),
    [(0.3, ClauseOutcome.PASS), (0.6, ClauseOutcome.FAIL), (5.0, ClauseOutcome.FAIL)],
)
def test_a_first_answer_that_takes_much_longer_was_not_warmed_up(first_s, outcome):
    start = ContainerStart(None, 1.0, answered(total_s=first_s), 1.1)
    requests = Requests((answered(total_s=0.05),), 1, {})
    observed = {
        observe_first_container_start: FirstStart(start, start),
        observe_single_requests: requests,
    }
    assert outcome_of("warmed-up", observed) is outcome


def load(answers=(answered(),), pings=(answered(),), peak=None):
    return {
        observe_container_under_load: Load(3.0, tuple(answers), tuple(pings), peak=peak, ended=None)
    }


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ([answered(), answered(503), answered(429)], ClauseOutcome.PASS),
        ([answered(), answered(502)], ClauseOutcome.FAIL),
        ([answered(), answered(0)], ClauseOutcome.FAIL),
        ([answered(503)], ClauseOutcome.FAIL),
        ([answered(), answered(400)], ClauseOutcome.FAIL),
    ],
)
def test_under_load_a_server_may_say_that_it_is_full_but_not_fail(answers, outcome):
    assert outcome_of("answers-under-load", load(answers)) is outcome


def test_one_slow_connection_is_forgiven_and_two_are_not():
    slow = answered(connect_s=1.0)
    assert outcome_of("accepts-sockets", load([answered(), slow])) is ClauseOutcome.PASS
    assert outcome_of("accepts-sockets", load([slow], [slow])) is ClauseOutcome.FAIL


def test_a_late_ping_or_one_without_200_is_counted():
    assert outcome_of("ping-under-load", load()) is ClauseOutcome.PASS
    assert outcome_of("ping-under-load", load(pings=[answered(total_s=2.1)])) is ClauseOutcome.FAIL
    assert outcome_of("ping-under-load", load(pings=[answered(503)])) is ClauseOutcome.FAIL


def test_memory_close_to_the_limit_is_too_much():
    def peak(used_mb):
        return load(peak=SimpleNamespace(memory_bytes=used_mb * 1024 * 1024))

    assert outcome_of("memory-limit", peak(940)) is ClauseOutcome.PASS
    assert outcome_of("memory-limit", peak(960)) is ClauseOutcome.FAIL


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (ProbeAnswer(404), ClauseOutcome.NOT_APPLICABLE),
        (ProbeAnswer(200, body=b'{"MaxPayloadInMB": 6}'), ClauseOutcome.PASS),
        (ProbeAnswer(200, body=b"{}"), ClauseOutcome.PASS),
        (ProbeAnswer(200, body=b"<html>"), ClauseOutcome.FAIL),
        (ProbeAnswer(200, body=b'{"MaxPayloadInMB": "6"}'), ClauseOutcome.FAIL),
        (ProbeAnswer(200, body=b'{"MaxPayload": 6}'), ClauseOutcome.FAIL),
        (ProbeAnswer(200, body=b'{"BatchStrategy": "ALL"}'), ClauseOutcome.FAIL),
        (ProbeAnswer(500), ClauseOutcome.FAIL),
    ],
)
def test_execution_parameters_are_what_batch_transform_understands(answer, outcome):
    observed = {observe_starts_under_conditions: ConditionedStarts({}, answer)}
    assert outcome_of("execution-parameters", observed) is outcome


# ---- observations ----


def test_an_observation_is_made_once():
    made = []

    def observe(inspection):
        made.append(inspection)
        return "found"

    inspection = inspection_with({})
    assert [inspection.observe_once(observe) for _ in range(2)] == ["found", "found"]
    assert made == [inspection]


def test_an_observation_that_cannot_be_made_is_not_tried_again():
    tried = []

    def observe(inspection):
        tried.append(inspection)
        raise Undetermined("it never got ready")

    inspection = inspection_with({})
    for _ in range(2):
        with pytest.raises(Undetermined, match="never got ready"):
            inspection.observe_once(observe)
    assert tried == [inspection]


# ---- the list ----


def test_every_clause_has_an_id_a_sentence_and_a_source():
    assert len(BY_ID) == len(CLAUSES)
    for clause in CLAUSES:
        assert clause.title[0].isupper()
        assert clause.source
        assert clause.severities
        assert {*clause.severities.values()} <= {*Severity}
        assert clause.highest_severity in clause.severities.values()


def test_a_clause_that_applies_to_no_wanted_kind_of_hosting_is_not_checked():
    chosen = {clause.id for clause in select_clauses_by_id([], [HostingKind.SERVERLESS])}
    assert {"arbitrary-user", "payload-4-mb", "image-size"} <= chosen
    assert not chosen & {"batch", "payload-6-mb", "bind-to-port"}
    one = select_clauses_by_id(["batch", "exec-form"], [HostingKind.SERVERLESS])
    assert [clause.id for clause in one] == ["exec-form"]


def test_a_check_of_no_clause_is_refused():
    """An image would conform that was never started."""
    with pytest.raises(InvalidInput, match="None of the clauses to check applies to serverless"):
        select_clauses_by_id(["batch"], [HostingKind.SERVERLESS])


def test_what_aws_recommends_is_advice():
    """The severities that follow from the sources in docs/reference/conformance.md."""
    real_time = {one.id: one.severities.get(HostingKind.REAL_TIME) for one in CLAUSES}
    advice = ("exec-form", "payload-6-mb", "read-only-root", "arbitrary-user", "archive-layout")
    assert {real_time[name] for name in advice} == {Severity.SHOULD}
    assert BY_ID["arbitrary-user"].severities[HostingKind.SERVERLESS] is Severity.MUST
    assert BY_ID["image-size"].severities == {HostingKind.SERVERLESS: Severity.MUST}
    assert {*BY_ID["image-manifest"].severities.values()} == {Severity.MUST}


def test_clauses_are_chosen_by_id_in_their_own_order():
    ids = [clause.id for clause in select_clauses_by_id(["stops-on-sigterm", "exec-form"])]
    assert ids == ["exec-form", "stops-on-sigterm"]
    assert select_clauses_by_id([]) == CLAUSES
    with pytest.raises(InvalidInput, match="exec-form"):
        select_clauses_by_id(["exec-from"])


def test_the_last_line_of_a_log_is_shortened():
    container = SimpleNamespace(read_logs=lambda tail: "first\n" + "word " * 100 + "\n")
    words = ContainerUnderTest(container, Contract()).read_last_log_line()
    assert len(words) == 120
    assert words.endswith("…")


LOST = ProbeAnswer(0, failure="reset")


@pytest.mark.parametrize(
    ("uploads", "lasts", "outcomes"),
    [
        ([answered()], [LOST], ("pass", "pass")),
        ([LOST, answered()], [LOST, LOST], ("pass", "pass")),
        ([answered(), answered()], [answered(), LOST], ("pass", "pass")),
        ([LOST, LOST], [LOST, LOST], ("fail", "pass")),
        ([answered(), LOST], [answered(), answered()], ("pass", "fail")),
        ([LOST, answered()], [answered(), answered()], ("pass", "fail")),
    ],
    ids=["sound", "upload late", "signal late", "loses uploads", "goes on", "goes on, upload late"],
)
def test_what_a_busy_server_fails_once_after_sigterm_is_not_counted(
    monkeypatch, uploads, lasts, outcomes
):
    stop = Stop(ExitState(is_running=False, exit_code=0, oom_killed=False), 0.1)
    stops = iter(
        StopInUpload(stop, upload, (last,)) for upload, last in zip(uploads, lasts, strict=True)
    )
    monkeypatch.setattr(stopping, "_stop_container_during_upload", lambda *_: next(stops))
    container = SimpleNamespace(running=SimpleNamespace(remove=lambda: None))
    start = ContainerStart(container, 1.0, answered(), 1.1)
    inspection = inspection_with({observe_container_restart: start})
    monkeypatch.setattr(ImageInspection, "start_container_and_wait", lambda *_: start)
    found = tuple(
        BY_ID[clause].check(inspection).outcome.value
        for clause in ("finishes-uploads", "accepts-nothing-new")
    )
    assert found == outcomes
    assert next(stops, None) is None


def stop_at_work(*answers) -> StopDuringWork:
    stop = Stop(ExitState(is_running=False, exit_code=0, oom_killed=False), 0.1)
    return StopDuringWork(stop, 6, answers)


CLEAN, LOSSY, IDLE = stop_at_work(answered()), stop_at_work(answered(), LOST), stop_at_work()


@pytest.mark.parametrize(
    ("stops", "outcome"),
    [
        ([CLEAN], "pass"),
        ([IDLE, CLEAN], "pass"),
        ([LOSSY, CLEAN, CLEAN], "pass"),
        ([IDLE, LOSSY, CLEAN, CLEAN], "pass"),
        ([IDLE, IDLE, LOSSY, CLEAN, CLEAN], "pass"),
        ([IDLE, IDLE, LOSSY, CLEAN, LOSSY], "fail"),
        ([IDLE, LOSSY, IDLE, CLEAN], "fail"),
        ([LOSSY, LOSSY], "fail"),
        ([LOSSY, CLEAN, LOSSY], "fail"),
        ([LOSSY, CLEAN, IDLE], "fail"),
        ([LOSSY, IDLE, IDLE], "fail"),
        ([LOSSY, Undetermined("the container does not start again")], "fail"),
        ([IDLE, IDLE, IDLE], "undetermined"),
    ],
)
def test_a_loss_at_sigterm_is_forgiven_after_two_stops_without_a_loss(monkeypatch, stops, outcome):
    left = iter(stops)

    def stop(_):
        found = next(left)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(stopping, "_stop_container_during_work", stop)
    monkeypatch.setattr(ImageInspection, "require_answered_photograph", lambda _: None)
    inspection = inspection_with({})
    try:
        found = BY_ID["finishes-work"].check(inspection).outcome.value
    except Undetermined:
        found = "undetermined"
    assert found == outcome
    assert next(left, None) is None


def test_a_container_that_a_slow_engine_started_late_is_watched_all_the_same():
    running = SimpleNamespace(read_logs=lambda: "listens", remove=lambda: None)
    container = SimpleNamespace(exit_state=lambda: None, send_ping=answered, running=running)
    began = time.monotonic() - 100  # when the engine was asked for it
    start = _watch_until_end_or_ready(container, began, timeout_s=60)
    assert start.ready_s >= 100
