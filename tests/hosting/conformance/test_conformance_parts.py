"""What the check sends, hears and concludes, without an engine."""

from __future__ import annotations

import gzip
import io
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from PIL import Image

from drdeploy.errors import InvalidInput, TruncatedArchive
from drdeploy.grader.fundus.decode import decode
from drdeploy.hosting.conformance import (
    CLAUSES,
    ClauseOutcome,
    Contract,
    ProbePhotograph,
    Severity,
    chosen,
)
from drdeploy.hosting.conformance.client import ProbeAnswer, ask
from drdeploy.hosting.conformance.conditions import Trials
from drdeploy.hosting.conformance.hosting import ContainerStart, ContainerUnderTest, unpack
from drdeploy.hosting.conformance.image import ImageFacts
from drdeploy.hosting.conformance.loading import Load
from drdeploy.hosting.conformance.requests import Requests

BY_ID = {clause.id: clause for clause in CLAUSES}


def judge(clause_id, **observed):
    """The outcome of one clause in view of what is given as observed."""
    seen = SimpleNamespace(
        contract=Contract(),
        host=SimpleNamespace(memory_mb=1000, cpus=1.0),
        require_answers=lambda: None,
        **observed,
    )
    return BY_ID[clause_id].judge(seen).outcome


def answered(status=200, **times):
    return ProbeAnswer(status, body=b"{}", **{"connect_s": 0.001, "total_s": 0.01, **times})


# ---- what is sent ----


@pytest.mark.parametrize("size_bytes", [5_000, 70_000, 4 * 1024 * 1024, 6 * 1024 * 1024 - 1])
def test_a_padded_photograph_is_the_same_picture_in_so_many_bytes(small_photograph, size_bytes):
    padded = small_photograph.padded(size_bytes)
    assert size_bytes - 3 <= len(padded) <= size_bytes
    same = Image.open(io.BytesIO(padded)).tobytes()
    assert same == Image.open(io.BytesIO(small_photograph.data)).tobytes()
    assert (decode(padded) == decode(small_photograph.data)).all()


def test_a_photographs_type_is_told_from_its_name_unless_given(tmp_path):
    path = tmp_path / "eye.png"
    path.write_bytes(b"png")
    assert ProbePhotograph.read(path).content_type == "image/png"
    assert ProbePhotograph.read(path, "application/x-image").content_type == "application/x-image"


def test_any_archive_is_unpacked_for_any_user(weights, tmp_path):
    unpack(weights, tmp_path / "model")
    assert (tmp_path / "model" / "weights").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "model").stat().st_mode & 0o777 == 0o755


def test_an_archive_without_a_file_is_refused(tmp_path):
    path = tmp_path / "model.tar.gz"
    path.write_bytes(gzip.compress(bytes(10240)))
    with pytest.raises(TruncatedArchive, match="no file"):
        unpack(path, tmp_path / "model")


# ---- what is heard ----


class Early(BaseHTTPRequestHandler):
    """Refuses a body that it has not read, and tells what it was asked."""

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
    answer = ask(early_port, "GET", "/ping", headers={"X-One": "1"}, timeout_s=5)
    assert answer.is_success
    assert json.loads(answer.body)["x-one"] == "1"
    assert 0 < answer.connect_s <= answer.total_s
    assert answer.sent_at <= answer.ended_at


def test_a_refusal_is_heard_though_the_body_was_not_read(early_port):
    assert ask(early_port, "POST", "/invocations", b"short", timeout_s=5).status == 413


def test_what_is_no_answer_is_told_and_not_raised():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        answer = ask(listener.getsockname()[1], "GET", "/ping", timeout_s=1)
    assert (answer.status, answer.failure) == (0, "ConnectionRefusedError")
    assert (answer.is_success, answer.is_refusal) == (False, False)


def test_a_server_that_says_nothing_times_out():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        answer = ask(listener.getsockname()[1], "POST", "/invocations", b"x", timeout_s=0.1)
    assert answer.failure == "TimeoutError"


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
def test_a_shell_between_host_and_server_is_seen(entrypoint, outcome):
    facts = ImageFacts("sha256:1", entrypoint, {}, 1)
    assert judge("exec-form", image=facts) is outcome


def test_an_image_beyond_ten_gigabytes_is_too_large():
    assert judge("image-size", image=ImageFacts("", (), {}, 10**10)) is ClauseOutcome.PASS
    assert judge("image-size", image=ImageFacts("", (), {}, 10**10 + 1)) is ClauseOutcome.FAIL


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
    assert judge("answers-photographs", requests=requests, photograph=small_photograph) is outcome


@pytest.mark.parametrize(
    ("first_s", "outcome"),
    [(0.3, ClauseOutcome.PASS), (0.6, ClauseOutcome.FAIL), (5.0, ClauseOutcome.FAIL)],
)
def test_a_first_answer_that_takes_much_longer_was_not_prepared_for(first_s, outcome):
    start = ContainerStart(None, 1.0, answered(total_s=first_s), 1.1)
    requests = Requests((answered(total_s=0.05),), 1, {})
    assert judge("warmed-up", serving=start, requests=requests) is outcome


def load(answers=(answered(),), pings=(answered(),), **seen):
    return Load(3.0, tuple(answers), tuple(pings), **{"peak": None, "ended": None, **seen})


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ([answered(), answered(503), answered(429)], ClauseOutcome.PASS),
        ([answered(), answered(502)], ClauseOutcome.FAIL),
        ([answered(), answered(0)], ClauseOutcome.FAIL),
        ([answered(503)], ClauseOutcome.FAIL),
    ],
)
def test_under_load_a_server_may_say_that_it_is_full_but_not_fail(answers, outcome):
    assert judge("answers-under-load", load=load(answers)) is outcome


def test_one_slow_connection_is_forgiven_and_two_are_not():
    slow = answered(connect_s=1.0)
    assert judge("accepts-sockets", load=load([answered(), slow])) is ClauseOutcome.PASS
    assert judge("accepts-sockets", load=load([slow], [slow])) is ClauseOutcome.FAIL


def test_a_late_ping_or_one_without_200_is_counted():
    assert judge("ping-under-load", load=load()) is ClauseOutcome.PASS
    assert judge("ping-under-load", load=load(pings=[answered(total_s=2.1)])) is ClauseOutcome.FAIL
    assert judge("ping-under-load", load=load(pings=[answered(503)])) is ClauseOutcome.FAIL


def test_memory_close_to_the_limit_is_too_much():
    def peak(used_mb):
        return load(peak=SimpleNamespace(memory_bytes=used_mb * 1024 * 1024))

    assert judge("memory-limit", load=peak(940)) is ClauseOutcome.PASS
    assert judge("memory-limit", load=peak(960)) is ClauseOutcome.FAIL


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
    assert judge("execution-parameters", trials=Trials({}, answer)) is outcome


# ---- the list ----


def test_every_clause_has_an_id_a_sentence_and_a_source():
    assert len(BY_ID) == len(CLAUSES)
    for clause in CLAUSES:
        assert clause.title[0].isupper()
        assert clause.source
        assert clause.severity in Severity


def test_clauses_are_chosen_by_id_in_their_own_order():
    ids = [clause.id for clause in chosen(["stops-on-sigterm", "exec-form"])]
    assert ids == ["exec-form", "stops-on-sigterm"]
    assert chosen([]) == CLAUSES
    with pytest.raises(InvalidInput, match="exec-form"):
        chosen(["exec-from"])


def test_the_last_words_of_a_container_are_one_short_line():
    container = SimpleNamespace(logs=lambda tail: "first\n" + "word " * 100 + "\n")
    words = ContainerUnderTest(container, Contract()).last_words()
    assert len(words) == 120
    assert words.endswith("…")
