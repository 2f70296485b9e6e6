"""HTTP as real clients speak it, correctly and not, against a real lean server."""

import contextlib
import re
import socket
import time

import pytest
from photographs import photograph


def exchange(server, *pieces: bytes, pause_s: float = 0.0, until_closed: bool = True) -> bytes:
    """Send raw bytes and read what comes back."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        received = b""
        # A server that has refused a request may close the connection while the rest is sent.
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause_s)
        with contextlib.suppress(ConnectionError):
            while chunk := connection.recv(65536):
                received += chunk
                if not until_closed and b"\r\n\r\n" in received:
                    break
        return received


def post(body: bytes, *headers: bytes) -> bytes:
    lines = [b"POST /invocations HTTP/1.1", b"Host: x", *headers, b"", body]
    return b"\r\n".join(lines)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def test_a_connection_serves_one_request_after_another(server, photo):
    for _ in range(3):
        assert server.invoke(photo).status_code == 200
    assert server.client.get("/ping").headers.get("connection") is None


def test_requests_sent_ahead_are_answered_in_their_order(server, photo):
    length = b"Content-Length: %d" % len(photo)
    answer = exchange(
        server,
        post(photo, length)
        + b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
        + b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"200", b"404"]


def test_a_chunked_body_is_read(server, photo):
    half = len(photo) // 2
    chunks = [b"%x\r\n%s\r\n" % (len(part), part) for part in (photo[:half], photo[half:])]
    request = post(b"", b"Transfer-Encoding: chunked", b"Connection: close")
    assert status(exchange(server, request, *chunks, b"0\r\n\r\n", pause_s=0.02)) == 200


def test_a_client_that_expects_100_continue_gets_it(server, photo):
    head = post(b"", b"Expect: 100-continue", b"Content-Length: %d" % len(photo))
    answer = exchange(server, head, until_closed=False)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\n")


def test_a_body_beyond_the_limit_is_refused_before_it_is_sent(server):
    """A server that waited for the body would answer 408 in the end."""
    answer = exchange(server, post(b"", b"Content-Length: 1000000000"), until_closed=False)
    assert status(answer) == 413


def test_a_client_that_expects_100_continue_is_refused_before_the_upload(server):
    head = post(b"", b"Expect: 100-continue", b"Content-Length: 1000000000")
    assert status(exchange(server, head, until_closed=False)) == 413


def test_a_chunked_body_beyond_the_limit_is_refused_and_the_refusal_can_be_read(server):
    chunk = b"100000\r\n" + bytes(0x100000) + b"\r\n"
    answer = exchange(server, post(b"", b"Transfer-Encoding: chunked"), *[chunk] * 8)
    assert status(answer) == 413


def test_an_ordinary_client_can_read_the_refusal_of_seven_megabytes(server):
    answer = server.invoke(bytes(7_000_000))
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "PayloadTooLarge"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /ping HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /ping HTTP/1.1\r\n" + b"A: b\r\n" * 5_000 + b"\r\n",
        b"GET /ping HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 20_000,
    ],
)
def test_endless_headers_are_refused(server, request_bytes):
    assert status(exchange(server, request_bytes)) == 431


def test_a_valid_request_is_answered_whatever_follows_it(server, photo):
    request = post(photo, b"Content-Length: %d" % len(photo))
    assert status(exchange(server, request + b"nonsense\r\n\r\n")) == 200


def test_a_header_that_cannot_be_echoed_safely_is_refused(server, photo):
    name = "X-Amzn-SageMaker-Custom-Attributes"
    assert server.invoke(photo, **{name: "a" * 1024}).status_code == 200
    assert server.invoke(photo, **{name: "a" * 1025}).status_code == 400


def test_a_client_that_goes_away_during_its_upload_affects_no_other(server, photo):
    before = server.pids()
    host, port = server.url.removeprefix("http://").split(":")
    for _ in range(5):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(post(photo[:50], b"Content-Length: %d" % len(photo)))
    assert server.invoke(photo).status_code == 200
    assert server.pids() == before


def test_a_slow_request_is_refused_while_others_are_served(model_dir, serve, photo):
    server = serve(model_dir, DRDEPLOY_READ_TIMEOUT_S=1)
    head = post(b"", b"Content-Length: %d" % len(photo))
    assert status(exchange(server, b"GET /ping HT")) == 408
    assert status(exchange(server, head + photo[:10])) == 408
    assert server.invoke(photo).status_code == 200


def test_an_idle_connection_is_closed(model_dir, serve):
    server = serve(model_dir, DRDEPLOY_KEEP_ALIVE_S=0.2)
    assert status(exchange(server, b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")) == 200


def test_a_connection_that_never_sends_a_request_is_closed(model_dir, serve):
    server = serve(model_dir, DRDEPLOY_READ_TIMEOUT_S=0.2)
    assert exchange(server) == b""


def test_a_photograph_larger_than_the_sockets_buffers_arrives_whole(server):
    assert server.invoke(photograph(1200, kind="PNG")).status_code == 200
    assert server.invoke(photograph(1300, kind="TIFF"), "image/tiff").status_code == 200


@pytest.mark.parametrize("trailer", [b"X: " + bytes(60), b"x" * 63], ids=["many", "one"])
def test_endless_trailers_are_refused(server, trailer):
    head = post(b"1\r\na\r\n0\r\n", b"Transfer-Encoding: chunked")
    assert status(exchange(server, head, b"X: x\r\n", (trailer + b"\r\n") * 512)) in {400, 431}


def test_an_endless_chunk_extension_is_refused(server):
    head = post(b"1;", b"Transfer-Encoding: chunked")
    # Several reads of the server: what it reads together with the head is not counted.
    assert status(exchange(server, head, *[b"x" * 65536] * 12, until_closed=False)) == 431


def test_endless_requests_sent_ahead_end_the_connection(server, photo):
    first = post(photo, b"Content-Length: %d" % len(photo))
    answers = exchange(server, first + b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200"]


def test_no_more_is_read_from_a_client_that_reads_no_answers(server):
    """Otherwise its answers would pile up in the server."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        connection.settimeout(2)
        connection.connect((host, int(port)))
        assert send_without_reading(connection, MORE_THAN_BUFFERS_HOLD) < MORE_THAN_BUFFERS_HOLD
    assert server.client.get("/ping").status_code == 200


PADDING = b"X-Padding: " + b"x" * 8000
MORE_THAN_BUFFERS_HOLD = 20_000
"""Requests of 8 KB: 160 MB, where the system buffers a few MB for a connection."""


def send_without_reading(connection: socket.socket, requests: int) -> int:
    """Send requests and read nothing; return how many could be sent."""
    for sent in range(requests):
        try:
            connection.sendall(b"GET /metadata HTTP/1.1\r\nHost: x\r\n" + PADDING + b"\r\n\r\n")
        except (TimeoutError, ConnectionError):
            return sent
        time.sleep(0.0002)
    return requests
