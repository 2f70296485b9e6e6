"""Raw requests to the local service: an ambiguous one is refused in a sentence."""

import logging
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path

import pytest
from raw_http import CHUNKED, chunked, connect, exchange, length, receive

from drdeploy import log_limit
from drdeploy.hosting.local import http_server
from drdeploy.hosting.local.api import failure_log
from drdeploy.hosting.local.api.failure_log import FailureLog
from drdeploy.hosting.local.http_server import AdmittedHead, HttpServer, ServiceResponse
from drdeploy.hosting.sagemaker import api_limits

BODY = b"photograph"


@pytest.fixture(scope="module")
def line(aws):
    """The line of an invocation."""
    return b"POST /endpoints/%s/invocations HTTP/1.1" % aws.endpoint().encode()


def made(first: bytes, *fields: bytes, body: bytes = BODY, host: bytes = b"Host: localhost"):
    return b"\r\n".join(
        [first, *([host] if host else []), b"Connection: close", *fields, b"", body]
    )


SIZED = length(BODY)
SMALL_CHUNKS = b"2\r\nxx\r\n" * 70_000 + b"0\r\n\r\n"
INVALID = {
    "no Host": {"host": b"", "fields": (SIZED,)},
    "two Hosts": {"fields": (SIZED, b"Host: example.org")},
    "two lengths": {"fields": (SIZED, b"Content-Length: 2")},
    "the same length twice": {"fields": (SIZED, SIZED)},
    "length and chunked": {"fields": (SIZED, CHUNKED), "body": chunked(BODY)},
    "length with a plus": {"fields": (b"Content-Length: +3",)},
    "length below zero": {"fields": (b"Content-Length: -5",)},
    "length with an underscore": {"fields": (b"Content-Length: 1_0",)},
    "blank before the colon": {"fields": (b"Content-Length : 10",)},
    "control character in a name": {"fields": (SIZED, b"A\x0b: b")},
    "no colon": {"fields": (b"nonsense", SIZED)},
    "folded": {"fields": (SIZED, b"X-Amzn-SageMaker-Custom-Attributes: a\r\n b")},
    "length after a carriage return": {"fields": (SIZED, b"A: b\rC: d")},
    "zero in a value": {"fields": (SIZED, b"A: b\0c")},
    "other coding": {"fields": (b"Transfer-Encoding: xchunked",), "body": chunked(BODY)},
    "two codings": {"fields": (b"Transfer-Encoding: gzip, chunked",), "body": chunked(BODY)},
    "chunked twice": {"fields": (CHUNKED, CHUNKED), "body": chunked(BODY)},
    "size of a chunk with 0x": {"fields": (CHUNKED,), "body": chunked(BODY, size=b"0xa")},
    "size of a chunk below zero": {"fields": (CHUNKED,), "body": chunked(BODY, size=b"-5")},
    "chunk longer than its size": {"fields": (CHUNKED,), "body": chunked(BODY, size=b"3")},
    "trailers without end": {
        "fields": (CHUNKED,), "body": chunked(BODY, last=b"0\r\n" + b"a: b\r\n" * 101 + b"\r\n"),
    },
    "long chunk extension": {
        "fields": (CHUNKED,), "body": chunked(BODY, end=b";a=" + b"b" * 70_000 + b"\r\n"),
    },
    "carriage return in a chunk extension": {
        "fields": (CHUNKED,), "body": chunked(BODY, end=b";a\rb\r\n"),
    },
    # Its rest would be an empty line, and what follows the next request.
    "long trailer field": {
        "fields": (CHUNKED,),
        "body": chunked(BODY, last=b"0\r\n" + b"A: ".ljust(65_536, b"b") + b"\r\nB: c\r\n\r\n"),
    },
    "many small chunks": {"fields": (CHUNKED,), "body": SMALL_CHUNKS},
}  # fmt: skip


@pytest.mark.parametrize("case", INVALID.values(), ids=INVALID)
def test_a_request_that_can_be_read_in_two_ways_is_refused_in_a_sentence(aws, line, case):
    options = {key: value for key, value in case.items() if key != "fields"}
    answer = exchange(aws.url, made(line, *case["fields"], **options))
    assert answer.statuses == [400], answer.data
    assert answer.is_closed
    assert answer.body.endswith(b".")
    assert b"<" not in answer.body


def test_a_refused_client_that_goes_on_byte_by_byte_is_cut_off(aws, line):
    with connect(aws.url) as client:
        client.sendall(made(line, SIZED, SIZED))
        assert client.recv(4096).startswith(b"HTTP/1.1 400")
        with pytest.raises(ConnectionError):  # noqa: PT012 - a minute is far more than the time for a goodbye
            for _ in range(120):
                client.sendall(b"x")
                time.sleep(0.5)


@pytest.mark.parametrize(
    ("first", "status"),
    [(b"GET / HTTP/2.0", 505), (b"BREW / HTTP/1.1", 501), (b"GET /" + b"a" * 70_000, 414)],
    ids=["version", "method", "length"],
)
def test_what_the_standard_library_refuses_is_no_page(aws, first, status):
    answer = exchange(aws.url, made(first, body=b""))
    assert answer.statuses == [status]
    assert answer.body.startswith(b"The request is not served: ")


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ((SIZED,), BODY),
        ((CHUNKED,), chunked(BODY)),
        ((b"transfer-encoding: Chunked",), chunked(BODY, end=b";a=b\r\n")),
        ((CHUNKED,), chunked(BODY, last=b"0\r\nA: b\r\n\r\n")),
        ((CHUNKED,), chunked(BODY, last=b"0\r\n" + 100 * b"A: b\r\n" + b"\r\n")),
        ((SIZED, b"Content-Type: multipart/form-data; boundary=x"), BODY),
        ((SIZED, b"Content-Type: message/rfc822", b"Empty:"), BODY),
        ((CHUNKED,), b"1\r\nx\r\n" * 60_000 + b"0\r\n\r\n"),
    ],
)
def test_a_sound_request_is_answered(aws, line, fields, body):
    assert exchange(aws.url, made(line, *fields, body=body)).statuses == [200]


def test_what_follows_a_body_is_a_request_of_its_own(aws, line):
    first = b"\r\n".join([line, b"Host: localhost", CHUNKED, b"", chunked(BODY)])
    with connect(aws.url) as connection:
        connection.sendall(first + made(b"GET /_drdeploy/status HTTP/1.1", body=b""))
        assert receive(connection).statuses == [200, 200]


def test_a_flood_of_failures_leaves_its_number_in_the_log(caplog):
    """A request that moto cannot answer wrote five kilobytes each time."""
    now = [0.0]
    failures = FailureLog(lambda: now[0])

    def fail(count):
        for _ in range(count):
            failures.log_failure("POST /" + "a" * 60_000, KeyError("DEFAULT"))

    with caplog.at_level(logging.INFO):
        fail(1000)
        assert len(caplog.records) == failure_log.TRACEBACKS
        assert max(len(record.getMessage()) for record in caplog.records) < 300
        now[0] += log_limit.WINDOW_S
        fail(1)
    assert "990 more requests failed" in caplog.text
    assert len(caplog.records) == failure_log.TRACEBACKS + 2


@pytest.mark.parametrize(
    ("first_bytes", "headers", "status"),
    [(api_limits.REALTIME_PAYLOAD_BYTES + 1, {}, 413), (1, {"Origin": "http://example.org"}, 403)],
    ids=["too long", "from a web page"],
)
def test_a_client_that_still_sends_its_chunked_body_gets_the_answer(
    aws, line, first_bytes, headers, status
):
    """The connection was closed at once, so the client failed to send, and saw no answer."""

    def send_slowly():
        yield bytes(first_bytes)
        for _ in range(5):
            time.sleep(0.1)
            yield bytes(100_000)

    connection = HTTPConnection(aws.url.removeprefix("http://"))
    path = line.split()[1].decode()
    chunked_headers = headers | {"Transfer-Encoding": "chunked"}
    connection.request("POST", path, send_slowly(), chunked_headers, encode_chunked=True)
    assert connection.getresponse().status == status
    connection.close()


@pytest.mark.parametrize("framing", ["sized", "chunked"])
def test_a_body_for_which_the_disk_has_no_room_is_refused_in_a_sentence(
    monkeypatch, caplog, framing
):
    """The connection was closed without an answer, and the client sent its gigabytes again."""
    monkeypatch.setattr(http_server, "IN_MEMORY_BYTES", 10)
    full = Path("/dev/full")
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: full.open("w+b"))
    admitted = AdmittedHead(10**9, lambda _: ServiceResponse(200), lambda _: ServiceResponse(413))
    server = HttpServer(0, lambda _: admitted)
    server.start()
    body = bytes(100_000)
    fields, sent = ((length(body),), body) if framing == "sized" else ((CHUNKED,), chunked(body))
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        answer = exchange(url, made(b"PUT /bucket/key HTTP/1.1", *fields, body=sent))
    finally:
        server.stop()
    assert answer.statuses == [507]
    assert answer.body.endswith(b"on its disk: No space left on device.")
    assert "body cannot be stored: No space left on device" in caplog.text
