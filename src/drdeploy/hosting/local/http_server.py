"""HTTP/1.1 on a loopback port: one thread for each connection, kept alive.

A thread that blocks on its socket answers sooner than an event loop that hands work to a pool
(0.33 against 0.59 ms for a body of 150 KB, waitress on the same machine), and what waits in it
are invocations of up to a minute: no pool's size has to be guessed.
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
WAITING_CONNECTIONS = 512


@dataclass(frozen=True)
class ServiceRequest:
    """One request, read whole.

    Attributes:
        target: Path and query as they came.
        headers: Case-insensitive.
        body: Positioned at its beginning.
        length_bytes: Of the body.
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
    """One answer; ``Content-Length`` is added where the body is bytes."""

    status: int
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = field(default_factory=dict)
    body: bytes | Iterable[bytes] = b""

    def header_items(self) -> list[tuple[str, str]]:
        """The headers as pairs; a name may come twice."""
        if hasattr(self.headers, "items"):
            return list(self.headers.items())
        return list(self.headers)


class HttpServer:
    """Serve ``answer`` on a port.

    Args:
        port: 0 takes a free one.
        answer: Called in the connection's thread; must not raise.

    Raises:
        InvalidInput: The port is in use.
    """

    def __init__(self, port: int, answer: Callable[[ServiceRequest], ServiceResponse]) -> None:
        handler = type("Handler", (_Handler,), {"answer": staticmethod(answer)})
        try:
            self._server = _Server((LOOPBACK, port), handler)
        except (OSError, OverflowError) as err:
            raise InvalidInput(
                f"Port {port} cannot be used: {err}",
                where="port",
                remedy="Choose another, or stop what listens there (`drdeploy local down`)",
            ) from err
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    @property
    def port(self) -> int:
        """The port that it answers on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Accept nothing new and close every connection; fine if it never started."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.close_connections()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = WAITING_CONNECTIONS
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # HTTPServer asks the resolver for the host's name here, which can take seconds.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = LOOPBACK, self.server_address[1]

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._open.discard(request)

    def handle_error(self, request: object, client_address: object) -> None:
        log.debug("connection %s from %s: %s", request, client_address, sys.exc_info()[1])

    def close_connections(self) -> None:
        with self._lock:
            connections = tuple(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
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
        length_bytes = _size(self.headers.get("Content-Length") or "0")
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
        body: IO[bytes] = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115  closed with the request
        while size := _chunk_size(self.rfile.readline()):
            self._copy(body, size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        length_bytes = body.tell()
        body.seek(0)
        return body, length_bytes

    def _copy(self, body: IO[bytes], remaining: int) -> None:
        while remaining:
            chunk = self.rfile.read(min(CHUNK_BYTES, remaining))
            if not chunk:
                raise ConnectionResetError("the client left within its request")
            body.write(chunk)
            remaining -= len(chunk)

    def _write(self, response: ServiceResponse) -> None:
        is_whole = isinstance(response.body, bytes)
        chunks: Iterable[bytes] = (response.body,) if is_whole else response.body  # type: ignore[assignment]  # told apart above
        head = [f"HTTP/1.1 {response.status} {self.responses.get(response.status, ('',))[0]}"]
        names = set()
        for name, value in response.header_items():
            head.append(f"{name}: {value}")
            names.add(name.lower())
        if is_whole and "content-length" not in names:
            head.append(f"Content-Length: {len(response.body)}")  # type: ignore[arg-type]  # bytes, see above
        elif "content-length" not in names:
            head.append("Connection: close")
            self.close_connection = True
        data = ("\r\n".join(head) + "\r\n\r\n").encode("latin-1")
        for chunk in () if self.command == "HEAD" else chunks:
            self.wfile.write(data + chunk)
            data = b""
        if data:
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  http.server's name
        log.debug(format, *args)


def _size(text: str) -> int:
    """What ``int`` reads, less signs and underscores: a negative size would read for ever."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text[:20]!r} is no length")
    return int(text)


def _chunk_size(line: bytes) -> int:
    text = line.partition(b";")[0].strip()
    if not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", text):
        raise ValueError(f"{text[:20]!r} is no length")
    return int(text, 16)
