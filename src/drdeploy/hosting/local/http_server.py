"""An HTTP/1.1 server on a loopback port: one thread for each connection, connections kept alive.

Threads and not an event loop, for two reasons.  A thread that blocks on its own socket answered a
body of 150 KB in 0.33 ms, waitress (an event loop with a thread pool) on the same machine in
0.59 ms.  And most threads wait for an invocation, which may take a minute: a pool would need a
size, and every size is either wasteful or a hidden limit of concurrency.
"""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any, ClassVar

from drdeploy.errors import InvalidInput
from drdeploy.files import CHUNK_BYTES
from drdeploy.hosting.engine.ports import LOOPBACK
from drdeploy.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from email.message import Message

log = logging.getLogger(__name__)

IN_MEMORY_BYTES = 64 * MIB
"""Larger bodies (model archives on their way to S3) are spooled to disk."""
LISTEN_BACKLOG = 512
"""Connections that the kernel queues.  The standard library's 5 is too few for a load test."""


@dataclass(frozen=True)
class ServiceRequest:
    """One request, its body already read from the connection.

    Attributes:
        method: ``GET``, ``POST`` and so on.
        target: Path and query as they came, percent-encoded.
        headers: Names are looked up whatever their case.
        body: Positioned at its beginning.
        length_bytes: Length of the body.
    """

    method: str
    target: str
    headers: Message
    body: IO[bytes]
    length_bytes: int

    @property
    def path(self) -> str:
        """The target without its query, still percent-encoded."""
        return self.target.partition("?")[0]


@dataclass(frozen=True)
class ServiceResponse:
    """One response; ``Content-Length`` is added where the body is bytes.

    Attributes:
        status: HTTP status.
        headers: A mapping, or pairs where a name comes more than once.
        body: Bytes, or chunks of them for a body too large to hold.
    """

    status: int
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = field(default_factory=dict)
    body: bytes | Iterable[bytes] = b""

    def header_items(self) -> list[tuple[str, str]]:
        """Return the headers as pairs; a name may come twice."""
        if hasattr(self.headers, "items"):
            return list(self.headers.items())
        return list(self.headers)


class HttpServer(ThreadingHTTPServer):
    """Serve the responses of a function on a loopback port.

    Args:
        port: 0 takes a free one.
        answer: Turns a request into a response, in the connection's own thread; must not raise.

    Raises:
        InvalidInput: The port cannot be used.
    """

    daemon_threads = True
    block_on_close = False  # stop() shuts the open connections down, which ends their threads
    request_queue_size = LISTEN_BACKLOG
    allow_reuse_address = True

    def __init__(self, port: int, answer: Callable[[ServiceRequest], ServiceResponse]) -> None:
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"answer": staticmethod(answer)})
        try:
            super().__init__((LOOPBACK, port), handler)
        except (OSError, OverflowError) as err:
            raise InvalidInput(
                f"Port {port} cannot be used: {err}",
                where="port",
                remedy="Choose another port, or stop what listens there (`drdeploy local down`)",
            ) from err
        self._thread = threading.Thread(target=self.serve_forever, args=(0.1,), daemon=True)

    def start(self) -> None:
        """Start answering, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Accept no new connection and close the open ones; does nothing if it never started."""
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        self.server_close()
        with self._lock:
            connections = tuple(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def server_bind(self) -> None:
        """Take the port without looking up the host's name: a slow resolver would take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = LOOPBACK, self.server_address[1]

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection, which :meth:`stop` can close meanwhile."""
        with self._lock:
            self._open.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._open.discard(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Log why a connection broke, where others print a traceback."""
        log.debug("connection %s from %s: %s", request, client_address, sys.exc_info()[1])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Nagle's algorithm may hold a response's last packet back until the client acknowledges the
    # one before, which Linux delays by up to 40 ms.
    disable_nagle_algorithm = True
    rbufsize = 256 * KIB
    answer: ClassVar[Callable[[ServiceRequest], ServiceResponse]]

    def _exchange(self) -> None:
        body, length_bytes = self._read_body()
        with body:
            request = ServiceRequest(self.command, self.path, self.headers, body, length_bytes)
            self._write(type(self).answer(request))

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _exchange  # noqa: N815  http.server's names

    def _read_body(self) -> tuple[IO[bytes], int]:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self._read_chunks()
        length_bytes = _parse_length(self.headers.get("Content-Length") or "0")
        if length_bytes <= IN_MEMORY_BYTES:
            data = self.rfile.read(length_bytes)
            if len(data) < length_bytes:
                raise ConnectionResetError("the client left within its request")
            return BytesIO(data), length_bytes
        body: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed with the request
        self._copy(body, length_bytes)
        body.seek(0)
        return body, length_bytes

    def _read_chunks(self) -> tuple[IO[bytes], int]:
        # RFC 9112, 7.1: chunks, a chunk of size 0, trailer fields, an empty line.
        body: IO[bytes] = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115  closed with the request
        while size := _parse_length(self._read_chunk_size(), base=16):
            self._copy(body, size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        length_bytes = body.tell()
        body.seek(0)
        return body, length_bytes

    def _read_chunk_size(self) -> str:
        # What follows a semicolon are chunk extensions, which a recipient ignores.
        return self.rfile.readline().partition(b";")[0].strip().decode("latin-1")

    def _copy(self, body: IO[bytes], remaining: int) -> None:
        while remaining:
            chunk = self.rfile.read(min(CHUNK_BYTES, remaining))
            if not chunk:
                raise ConnectionResetError("the client left within its request")
            body.write(chunk)
            remaining -= len(chunk)

    def _write(self, response: ServiceResponse) -> None:
        body = response.body
        chunks: Iterable[bytes] = (body,) if isinstance(body, bytes) else body
        head = [f"HTTP/1.1 {response.status} {self.responses.get(response.status, ('',))[0]}"]
        names = set()
        for name, value in response.header_items():
            head.append(f"{name}: {value}")
            names.add(name.lower())
        if "content-length" not in names:
            if isinstance(body, bytes):
                head.append(f"Content-Length: {len(body)}")
            else:
                # Without a length, only the end of the connection marks the end of the body.
                head.append("Connection: close")
                self.close_connection = True
        data = ("\r\n".join(head) + "\r\n\r\n").encode("latin-1")
        # The head and the first chunk in one write: two would wake the client twice.
        for chunk in () if self.command == "HEAD" else chunks:
            self.wfile.write(data + chunk)
            data = b""
        if data:
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  http.server's name
        log.debug(format, *args)


def _parse_length(text: str, base: int = 10) -> int:
    """Read a length of digits alone: ``int`` also takes "-5", which would read for ever."""
    digits = r"[0-9]{1,15}" if base == 10 else r"[0-9A-Fa-f]{1,15}"
    if not re.fullmatch(digits, text):
        raise ValueError(f"{text[:20]!r} is not a length")
    return int(text, base)
