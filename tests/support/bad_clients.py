"""Clients that send or read slowly, and honest ones beside them.

``benchmarks/slow_clients.py`` compares what honest clients get from a server alone with what they
get beside 64 slow ones of each kind.

The kinds, each an attack on servers of their own time: headers that never end (Slowloris), bodies
that never end, connections that never speak, and answers that nobody reads.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TICK_S = 0.25
PART = b"x"


def _address(url: str) -> tuple[str, int]:
    parts = httpx.URL(url)
    return parts.host, parts.port or 80


def _is_silent(connection: socket.socket) -> bool:
    """Whether the server has neither answered nor closed."""
    connection.setblocking(False)
    try:
        connection.recv(4096)
    except BlockingIOError:
        return True
    finally:
        connection.settimeout(5)
    return False


def slow_headers(connection: socket.socket, tick: int) -> None:
    """A byte of a head that never ends, at each tick."""
    connection.sendall(PART if tick else b"POST /invocations HTTP/1.1\r\nHost: x\r\nX: ")


def slow_body(connection: socket.socket, tick: int) -> None:
    """A byte of a body of four megabytes, at each tick."""
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n"
    connection.sendall(PART if tick else head)


def slow_chunks(connection: socket.socket, tick: int) -> None:
    """A chunk of a byte, at each tick."""
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection.sendall(b"1\r\nx\r\n" if tick else head)


def silent(connection: socket.socket, tick: int) -> None:
    """Nothing at all."""


def slow_reader(connection: socket.socket, tick: int) -> None:
    """Many requests, and a byte of their answers at each tick."""
    if not tick:
        connection.setblocking(False)
        ahead = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 200
        with contextlib.suppress(BlockingIOError):
            connection.sendall(ahead)
    else:
        with contextlib.suppress(BlockingIOError):
            if not connection.recv(1):
                raise ConnectionError("the server closed it")


KINDS: dict[str, Callable[[socket.socket, int], None]] = {
    "headers": slow_headers,
    "body": slow_body,
    "chunks": slow_chunks,
    "silent": silent,
    "reading": slow_reader,
}


@dataclass
class SlowClients:
    """Connections of one kind, kept open for as long as the server lets them; then opened anew.

    Attributes:
        opened: How many connections were made in all.
    """

    url: str
    kind: str
    count: int
    opened: int = 0
    _open: list[tuple[socket.socket, int]] = field(default_factory=list)
    _is_over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Be slow until :meth:`stop`."""
        while not self._is_over.wait(TICK_S):
            while len(self._open) < self.count:
                try:
                    connection = socket.socket()
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                    connection.settimeout(5)
                    connection.connect(_address(self.url))
                except OSError:
                    break
                self.opened += 1
                self._open.append((connection, 0))
            self._open = [
                (connection, tick + 1) for connection, tick in self._open
                if self._act(connection, tick)
            ]  # fmt: skip
        for connection, _ in self._open:
            connection.close()

    def _act(self, connection: socket.socket, tick: int) -> bool:
        """Whether the server still has the connection."""
        try:
            KINDS[self.kind](connection, tick)
            if self.kind == "reading" or _is_silent(connection):
                return True
        except OSError:
            pass
        connection.close()
        return False

    def stop(self) -> None:
        """End all of them."""
        self._is_over.set()


@contextlib.contextmanager
def slow_clients(url: str, *kinds: str, count: int) -> Iterator[list[SlowClients]]:
    """Keep so many slow clients of each kind for as long as the block runs."""
    all_clients = [SlowClients(url, kind, count) for kind in kinds]
    with ThreadPoolExecutor(len(all_clients)) as threads:
        running = [threads.submit(clients.run) for clients in all_clients]
        try:
            time.sleep(4 * TICK_S)  # until they are all there
            yield all_clients
        finally:
            for clients in all_clients:
                clients.stop()
            for one in running:
                one.result()


@contextlib.contextmanager
def slow_clients_elsewhere(url: str, count: int) -> Iterator[None]:
    """Keep slow clients of each kind in a process of their own for as long as the block runs.

    The process ends with its standard input, also if this process is killed.
    """
    command = [sys.executable, __file__, url, str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError("the slow clients did not start")
        yield
        process.stdin.close()


@dataclass(frozen=True)
class HonestAnswers:
    """What honest clients got.

    Attributes:
        statuses: Of every request; 0 where there was no answer.
        latencies_s: Of every request.
    """

    statuses: tuple[int, ...]
    latencies_s: tuple[float, ...]


def honest(url: str, photograph: bytes, *, clients: int, seconds: float) -> HonestAnswers:
    """Send photographs in a closed loop, each over a connection of its own."""
    deadline = time.monotonic() + seconds

    def ask(_: int) -> list[tuple[int, float]]:
        answers = []
        while time.monotonic() < deadline or not answers:
            sent = time.perf_counter()
            try:
                with httpx.Client(base_url=url, timeout=60, verify=False) as client:
                    status = client.post("/invocations", content=photograph).status_code
            except httpx.TransportError:
                status = 0
            answers.append((status, time.perf_counter() - sent))
        return answers

    with ThreadPoolExecutor(clients) as threads:
        answers = [one for each in threads.map(ask, range(clients)) for one in each]
    return HonestAnswers(
        tuple(status for status, _ in answers), tuple(latency for _, latency in answers)
    )


if __name__ == "__main__":
    with slow_clients(sys.argv[1], *KINDS, count=int(sys.argv[2])):
        sys.stdout.write("all are there\n")
        sys.stdout.flush()
        sys.stdin.read()
