"""Slow clients lose their connections; the others lose nothing.  Over sockets, in both profiles."""

import contextlib
import resource
import socket
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from bad_clients import KINDS, honest, slow_clients
from raw_http import connect, exchange, length, post, receive, request
from required import require
from waiting import until

from drdeploy.hosting.serving.budgets import make_worker_budgets
from drdeploy.hosting.serving.capacity import Capacity
from drdeploy.hosting.serving.settings import Settings

BOUNDS = make_worker_budgets(Settings(), Capacity(workers=1, concurrency=1, threads=1))
CONNECTIONS = BOUNDS.connections
HALF_A_HEAD = b"GET /ping HTTP/1.1\r\nHost: x\r\n"
ESTABLISHED = "01"  # a state of a connection in /proc/net/tcp


def half_sent(photo: bytes) -> bytes:
    return post(photo, length(photo))[:-10]


def test_honest_clients_lose_nothing_beside_slow_ones(serve_profile, photo):
    """The smoke of ``benchmarks/slow_clients.py``."""
    server = serve_profile(DRDEPLOY_READ_TIMEOUT_S=2)
    with slow_clients(server.url, *KINDS, count=12):
        answers = honest(server.url, photo, clients=2, seconds=3)
    assert set(answers.statuses) == {200}


def test_uploads_take_no_place_in_the_queue(serve_profile, photo):
    """Seventeen of them had everybody else refused."""
    server = serve_profile(DRDEPLOY_CONCURRENCY=1, DRDEPLOY_QUEUE_LENGTH=1)
    with contextlib.ExitStack() as uploads:
        for _ in range(60):
            upload = uploads.enter_context(connect(server.url))
            upload.sendall(half_sent(photo))
        assert server.invoke(photo).status_code == 200
        upload.sendall(photo[-10:])
        assert receive(upload).statuses == [200]


@pytest.mark.parametrize(
    ("beginning", "drop"),
    [
        (HALF_A_HEAD, b"A: b\r\n"),
        (b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", b"x"),
        (
            b"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"1\r\nx\r\n",
        ),
    ],
    ids=["head", "body", "chunks"],
)
def test_a_drip_is_refused_though_it_never_stops(serve_profile, beginning, drop):
    """A timeout between two reads would hold it for ever."""
    server = serve_profile(DRDEPLOY_READ_TIMEOUT_S=1)
    with connect(server.url, timeout_s=0.2) as connection:
        connection.sendall(beginning)
        answer = drip(connection, drop)
    if beginning == HALF_A_HEAD and not answer.data:
        return  # NGINX closes the connection and says nothing
    assert answer.statuses == [408]
    assert answer.error["code"] == "RequestTimeout"


def drip(connection: socket.socket, drop: bytes):
    for _ in range(100):
        with contextlib.suppress(ConnectionError):
            connection.sendall(drop)
        answer = receive(connection)
        if answer.data or answer.is_closed:
            break
    assert answer.data or answer.is_closed
    return answer


def test_a_body_that_falls_behind_its_rate_is_refused_before_its_time_is_over(serve_profile):
    server = serve_profile(DRDEPLOY_READ_TIMEOUT_S=60)
    with connect(server.url, timeout_s=0.5) as connection:
        connection.sendall(post(b"", b"Content-Length: 6000000"))
        assert drip(connection, b"x" * 100).statuses == [408]


def test_a_silent_connection_is_closed(serve_profile):
    server = serve_profile(DRDEPLOY_READ_TIMEOUT_S=1, DRDEPLOY_KEEP_ALIVE_S=1)
    assert exchange(server.url).is_closed
    with connect(server.url) as kept:
        kept.sendall(HALF_A_HEAD + b"\r\n")
        assert receive(kept).statuses == [200]


def test_a_client_that_reads_no_answer_is_cut_off(serve_profile):
    """It sends requests without end, and reads at most a byte."""
    server = serve_profile()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.settimeout(1)
        connection.connect(connect(server.url).getpeername())
        assert is_cut_off(connection, within_s=60)
    assert server.client.get("/ping").status_code == 200


def is_cut_off(connection: socket.socket, *, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        except TimeoutError:
            continue
        except ConnectionError:
            return True
    return False


def test_answers_that_nobody_reads_are_few_and_soon_forgotten(serve_profile):
    """The kernel kept megabytes of them for each client, and some after the server had closed."""
    server = serve_profile()
    seen: list[ServerSocket] = []
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.connect(connect(server.url).getpeername())
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * BOUNDS.ahead_requests)

        def is_forgotten() -> bool:
            found = sockets_of(server.url, connection)
            seen.extend(found)
            return not found

        until(is_forgotten)
    # The kernel doubles the size that a program asks for, to have room for its own notes.
    assert 0 < max(each.unsent_bytes for each in seen) <= 2 * BOUNDS.unread_bytes


@pytest.fixture
def many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    require(hard >= 4096, "4,096 open files (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_so_many_connections_are_kept_and_a_new_one_takes_the_place_of_the_longest_silent(
    serve_profile,
):
    server = serve_profile(DRDEPLOY_READ_TIMEOUT_S=300)
    with contextlib.ExitStack() as connections:
        held = [
            connections.enter_context(connect(server.url, timeout_s=30)) for _ in range(CONNECTIONS)
        ]
        held[-1].sendall(request())
        assert receive(held[-1]).statuses == [200]
        assert is_open(held[0])
        held += [
            connections.enter_context(connect(server.url, timeout_s=30))
            for _ in range(CONNECTIONS + 100)
        ]
        assert exchange(server.url, request()).statuses == [200]
        # NGINX counts its own connections to Gunicorn: it keeps up to twice as many.
        assert sum(map(is_open, held)) <= 2 * CONNECTIONS
        assert not is_open(held[0])


def is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return bool(connection.recv(1))
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


@pytest.mark.usefixtures("many_files")
def test_when_every_connection_has_a_request_a_new_one_is_refused(serve_lean):
    server = serve_lean(DRDEPLOY_READ_TIMEOUT_S=300)
    with contextlib.ExitStack() as connections:
        for _ in range(CONNECTIONS):
            connections.enter_context(connect(server.url)).sendall(HALF_A_HEAD)
        until(lambda: has_read_the_input_of(server.url, CONNECTIONS))
        answer = exchange(server.url, request())
    assert answer.statuses == [503]
    assert answer.error["code"] == "Overloaded"


def has_read_the_input_of(url: str, count: int) -> bool:
    """Whether a server has so many connections, and has read whatever they have sent."""
    found = [each for each in sockets_of(url) if each.state == ESTABLISHED]
    return len(found) >= count and not any(each.unread_bytes for each in found)


class ServerSocket(NamedTuple):
    """The server's end of a connection, which the kernel may keep for longer than the server."""

    state: str
    unsent_bytes: int
    unread_bytes: int


def sockets_of(url: str, client: socket.socket | None = None) -> list[ServerSocket]:
    """The server's ends of all connections, or of one client's."""
    port = int(url.rpartition(":")[2])
    found = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, queues, *_ = line.split()
        ports = [int(address.rpartition(":")[2], 16) for address in (local, remote)]
        if ports[0] == port and (client is None or ports[1] == client.getsockname()[1]):
            unsent, unread = queues.split(":")
            found.append(ServerSocket(state, int(unsent, 16), int(unread, 16)))
    return found
