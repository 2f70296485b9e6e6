"""A network that fails: a TCP proxy on loopback, which spoils the requests that it is told to.

>>> with Proxy(upstream=8765) as proxy:
...     proxy.spoil("cut-after", first=7, times=2)
...     client = boto3.client("sagemaker", endpoint_url=proxy.url)

It understands as much of HTTP/1.1 as it takes to see where a request begins, and where its body
ends.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
import time
from typing import Any, Self

LOOPBACK = "127.0.0.1"
PIECE = 65536
REQUEST = re.compile(rb"(GET|HEAD|POST|PUT|DELETE) \S+ HTTP/1\.1\r\n")
STATUS = {
    "429": "429 Too Many Requests",
    "500": "500 Internal Server Error",
    "503": "503 Service Unavailable",
}
DELAY_S = 1.5
STALL_S = 4.0

NETWORK = ("cut-before", "cut-after", "reset", "truncated", "half-closed", "slow", "stalled")
ANSWERS = ("429", "500", "503", "garbage", "empty", "page")
CLIENTS = ("request-cut", "request-reset", "request-slow", "request-garbage", "client-leaves")
"""What a client does, seen from the server."""


class Proxy:
    """Relays to a port of this machine, except for the requests that are spoiled."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self._listener = socket.create_server((LOOPBACK, 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://{LOOPBACK}:{self.port}"
        self._lock = threading.Lock()
        self._seen = 0
        self.heal()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def spoil(self, how: str, *, first: int, times: int) -> None:
        """Spoil so many requests, from the n-th that comes from now on."""
        with self._lock:
            self._how, self._first, self._left, self._seen = how, first, times, 0
            self.struck = 0

    def heal(self) -> None:
        """Spoil nothing any more."""
        self._how, self._first, self._left = "", 0, 0
        self.struck = 0

    @property
    def seen(self) -> int:
        """How many requests have come since :meth:`spoil`."""
        return self._seen

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        with client:
            try:
                server = socket.create_connection((LOOPBACK, self.upstream), 10.0)
            except OSError:
                _reset(client)
                return
            server.settimeout(None)
            with server, contextlib.suppress(OSError):
                Connection(self, client, server).run()

    def next_fault(self) -> str:
        """Count a request; return how it is spoiled, or nothing."""
        with self._lock:
            self._seen += 1
            if self._how and self._seen >= self._first and self._left > 0:
                self._left -= 1
                self.struck += 1
                return self._how
        return ""


class Connection:
    """One connection of a client, and the one that it is relayed to."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self.proxy, self.client, self.server = proxy, client, server
        self.answering = ""
        self.is_reset = False
        self.is_over = threading.Event()

    def run(self) -> None:
        threading.Thread(target=self._answers, daemon=True).start()
        try:
            while data := self.client.recv(PIECE):
                if REQUEST.match(data):
                    fault = self.proxy.next_fault()
                    if fault and not self._spoil(fault, data):
                        return
                    if fault:
                        continue
                self.server.sendall(data)
            with contextlib.suppress(OSError):
                self.server.shutdown(socket.SHUT_WR)
            self.is_over.wait(60.0)
        finally:
            for one in (self.client, self.server):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def _spoil(self, fault: str, data: bytes) -> bool:
        """Do what is to be done with a request; return whether the connection goes on."""
        if fault == "cut-before":
            return False
        if fault == "reset":
            self._reset(self.client)
            return False
        if fault == "slow":
            time.sleep(DELAY_S)
            self.server.sendall(data)
            return True
        if fault in {"cut-after", "truncated", "half-closed", "stalled"}:
            self.answering = fault
            self.server.sendall(data)
            return True
        if fault in CLIENTS:
            return self._as_client(fault, data)
        _rest_of(self.client, data)
        self.client.sendall(_answer(fault))
        return False

    def _as_client(self, fault: str, data: bytes) -> bool:
        if fault == "request-slow":
            for at in range(0, len(data), max(len(data) // 8, 1)):
                self.server.sendall(data[at : at + max(len(data) // 8, 1)])
                time.sleep(0.1)
            return True
        if fault == "request-garbage":
            self.server.sendall(bytes(range(256)) * 4)
        elif fault == "client-leaves":
            self.answering = "cut-after"
            self.server.sendall(_rest_of(self.client, data))
        else:
            self.server.sendall(data[: len(data) // 2])
        time.sleep(0.02)
        if fault == "request-reset":
            self._reset(self.server)
        return False

    def _reset(self, connection: socket.socket) -> None:
        self.is_reset = True
        # The other thread reads from it, and the kernel resets nothing that is being read.
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RD)
        time.sleep(0.02)
        _reset(connection)

    def _answers(self) -> None:
        with contextlib.suppress(OSError):
            while data := self.server.recv(PIECE):
                fault, self.answering = self.answering, ""
                if fault == "stalled":
                    time.sleep(STALL_S)
                if fault in {"truncated", "half-closed"}:
                    self.client.sendall(data[: len(data) // 2])
                if fault == "half-closed":
                    self.client.shutdown(socket.SHUT_WR)
                    time.sleep(0.5)
                if fault:
                    break
                self.client.sendall(data)
        self.is_over.set()
        for one in () if self.is_reset else (self.client, self.server):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def _rest_of(client: socket.socket, data: bytes) -> bytes:
    """Read the request to its end, so that the answer is not lost in a reset."""
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: *(\d+)", head)
    missing = int(length[1]) - len(body) if length else 0
    client.settimeout(0.5)
    with contextlib.suppress(OSError):
        while missing > 0 and (more := client.recv(PIECE)):
            data += more
            missing -= len(more)
    client.settimeout(None)
    return data


def _answer(fault: str) -> bytes:
    if fault == "garbage":
        return bytes(range(255, 0, -1)) * 8
    if fault == "empty":
        return b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    page = b"<html><body>Please log in to the network first.</body></html>"
    status = "200 OK" if fault == "page" else STATUS[fault]
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {len(page)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + page


def _reset(connection: Any) -> None:
    """Close so that the other end gets a reset and not an end of the stream."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
