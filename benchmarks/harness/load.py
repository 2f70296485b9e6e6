"""Send requests to a server from several clients, in a closed loop or in an open loop.

In a closed loop, each client sends its next request when its last one is answered. In an open loop,
requests are sent at a given rate, whether or not earlier ones are answered. Connections stay open
between requests. The clients are a minimal asyncio protocol, which needs a few dozen microseconds
for a request. An HTTP client library would need longer, and the measured latencies would include
this time.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

OK = 200
NO_ANSWER = 0
"""Status of a request whose connection ended before its answer."""
MOST_CONNECTIONS = 512


class Answered(NamedTuple):
    """One measured request: when it was sent, its latency, and the status of its answer."""

    sent_s: float
    latency_s: float
    status: int
    retry_after: str = ""


@dataclass
class Load:
    """The answers that a server gave while clients sent requests to it.

    Attributes:
        seconds: For how many seconds requests were sent.
        late: How many answers of a closed loop came after ``seconds`` were over. They are not among
            ``answers``.
        answers: The answers, except the late ones.
    """

    seconds: float
    late: int = 0
    answers: list[Answered] = field(default_factory=list)

    @property
    def latencies_s(self) -> list[float]:
        """Latencies of the requests that were answered with status 200, in seconds."""
        return [one.latency_s for one in self.answers if one.status == OK]

    @property
    def failures(self) -> int:
        """Number of requests that were not answered with status 200."""
        return len(self.answers) - len(self.latencies_s)

    @property
    def failures_by_status(self) -> dict[int, int]:
        """The number of failed requests by status; ``NO_ANSWER`` stands for a missing answer."""
        return dict(Counter(one.status for one in self.answers if one.status != OK))

    @property
    def per_s(self) -> float:
        """The number of answers with status 200 per second."""
        return len(self.latencies_s) / self.seconds


def request_of(path: str, body: bytes, content_type: str = "image/jpeg") -> bytes:
    """Return the bytes of an HTTP request that sends a photograph to be graded."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


class Connection(asyncio.Protocol):
    """A client's connection. Each answer is given to a function before the next request is sent."""

    def __init__(self, on_answer: object) -> None:
        self._on_answer = on_answer
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self.sent_at: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the connection's transport, over which requests can be sent from now on."""
        self._transport = transport  # type: ignore[assignment]

    @property
    def is_open(self) -> bool:
        """Whether another request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, request: bytes) -> None:
        """Send a request."""
        self._received.clear()
        self.sent_at = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Receive a part of the answer, and pass the answer on when it is complete."""
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._received[:end]).lower()
        if len(self._received) >= end + 4 + int(_header(head, b"content-length") or 0):
            self._finish(int(head[9:12]), _header(head, b"retry-after").decode("ascii"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Record that the server has closed the connection."""
        del exc
        self._finish(NO_ANSWER)

    def _finish(self, status: int, retry_after: str = "") -> None:
        sent_at, self.sent_at = self.sent_at, None
        if sent_at is not None:
            self._on_answer(self, sent_at, status, retry_after)  # type: ignore[operator]

    def close(self) -> None:
        """Close the connection, even if a request is in flight."""
        self.sent_at = None
        if self._transport is not None:
            self._transport.abort()


def _header(head: bytes, name: bytes) -> bytes:
    _, _, rest = head.partition(b"\r\n" + name + b":")
    return rest.split(b"\r\n", 1)[0].strip()


def closed_loop(port: int, request: bytes, *, concurrency: int, seconds: float) -> Load:
    """Send requests from several clients; each waits for an answer before its next request.

    After the given time, no more requests are sent.
    """
    return asyncio.run(_closed_loop(port, request, concurrency, seconds))


async def _closed_loop(port: int, request: bytes, concurrency: int, seconds: float) -> Load:
    loop = asyncio.get_running_loop()
    load = Load(seconds)
    started = time.perf_counter()
    over = loop.create_future()
    pending = concurrency

    def on_answer(connection: Connection, sent_at: float, status: int, retry_after: str) -> None:
        nonlocal pending
        now = time.perf_counter()
        if now - started < seconds:
            load.answers.append(Answered(sent_at - started, now - sent_at, status, retry_after))
        else:
            load.late += 1
        if now - started < seconds and connection.is_open:
            connection.send(request)
            return
        pending -= 1
        if not pending and not over.done():
            over.set_result(None)

    connections = [
        (await loop.create_connection(lambda: Connection(on_answer), "127.0.0.1", port))[1]
        for _ in range(concurrency)
    ]
    started = time.perf_counter()
    for connection in connections:
        connection.send(request)
    await asyncio.wait_for(over, seconds + 60)
    for connection in connections:
        connection.close()
    return load


def open_loop(
    port: int, request: bytes, *, rate_per_s: float, seconds: float, jitter: float = 0.5,
    seed: int = 1,
) -> Load:  # fmt: skip
    """Send requests at a given rate, whether the earlier ones are answered or not.

    Args:
        port: Port of the server.
        request: The bytes of each request.
        rate_per_s: Requests per second.
        seconds: Duration.
        jitter: How much the intervals between requests vary. With 0.5, an interval is between 0.5
            and 1.5 times the mean interval.
        seed: Seed of the random intervals.
    """
    draw = random.Random(seed)
    due_s = [0.0]
    while due_s[-1] < seconds:
        due_s.append(due_s[-1] + (1 + draw.uniform(-jitter, jitter)) / rate_per_s)
    return asyncio.run(_open_loop(port, request, due_s, seconds))


async def _open_loop(port: int, request: bytes, due_s: list[float], seconds: float) -> Load:
    loop = asyncio.get_running_loop()
    load = Load(seconds)
    idle: list[Connection] = []
    connections: list[Connection] = []
    started = time.perf_counter()

    def on_answer(connection: Connection, sent_at: float, status: int, retry_after: str) -> None:
        latency_s = time.perf_counter() - sent_at
        load.answers.append(Answered(sent_at - started, latency_s, status, retry_after))
        if connection.is_open:
            idle.append(connection)

    for sent, at_s in enumerate(due_s):
        wait_s = at_s - (time.perf_counter() - started)
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        elif sent % 16 == 0:
            await asyncio.sleep(0)
        while idle and not idle[-1].is_open:
            idle.pop()
        if idle:
            connection = idle.pop()
        elif len(connections) < MOST_CONNECTIONS:
            _, connection = await loop.create_connection(
                lambda: Connection(on_answer), "127.0.0.1", port
            )
            connections.append(connection)
        else:
            continue
        connection.send(request)
    await _drained(connections)
    return load


async def _drained(connections: list[Connection], within_s: float = 30) -> None:
    deadline = time.perf_counter() + within_s
    while any(one.sent_at is not None for one in connections):
        if time.perf_counter() > deadline:
            break
        await asyncio.sleep(0.01)
    for connection in connections:
        connection.close()
