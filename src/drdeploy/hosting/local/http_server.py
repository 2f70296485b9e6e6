"""An HTTP/1.1 server on a loopback port, with one thread for each connection.

There are two reasons for threads instead of an event loop. First, threads are faster. A thread that
blocks on its socket answered a request with a body of 150 KB in 0.33 ms. On the same machine,
waitress, which has an event loop and a thread pool, took 0.59 ms. Second, an invocation may take a
minute, so a thread pool would have to be large or would limit concurrency.
"""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any, ClassVar

from drdeploy.errors import InvalidInput
from drdeploy.files import CHUNK_BYTES, DISK_ERRORS
from drdeploy.hosting.container_engine.ports import LOOPBACK
from drdeploy.hosting.local.http_framing import (
    HeaderLines,
    MalformedHttp,
    parse_body_length,
    read_body_length,
)
from drdeploy.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from email.message import Message

log = logging.getLogger(__name__)

IN_MEMORY_BYTES = 64 * MIB
"""The largest body that is kept in memory. Larger bodies, such as model archives that are uploaded
to S3, are written to disk.
"""
DISCARDED_BYTES = MIB
"""The largest number of bytes of a refused body that are read and discarded. If the connection were
closed at once, a client that is still sending would lose the answer. A client that sends more bytes
than this may lose the answer.
"""
DISCARD_S = 2.0
CONNECTIONS_MAX = 1024
"""The largest number of connections at a time; each has a thread.  Further connections are closed
at once.
"""
FIRST_REQUEST_S = 30.0
"""Seconds that a connection may be silent before its first request, and during a request."""
IDLE_S = 900.0
"""Seconds that a connection may be idle after an answered request. A study of cold starts pauses
until the idle worker is stopped, and the study's client keeps the connection meanwhile.
"""
LINE_BYTES_MAX = 64 * KIB
"""The largest number of bytes of a line that states the size of a chunk, or of a trailer field
after the last chunk.
"""
TRAILERS_MAX = 100
SMALL_CHUNKS_MAX = 65_536
"""A body with at most this many chunks may have chunks of any size.  A body with more chunks must
have ``CHUNK_BYTES_MEAN`` bytes per chunk on average. Python needs microseconds for each chunk; a
body of 5 MiB in chunks of two bytes kept the service busy for four seconds."""
CHUNK_BYTES_MEAN = 512
LISTEN_BACKLOG = 512
"""How many connections the kernel queues.  The standard library queues only 5 connections, which is
too few for a load test."""


@dataclass(frozen=True)
class ServiceRequest:
    """One request, as the client sent it; nothing in it has been checked.

    Attributes:
        method: The method, for example ``GET`` or ``POST``.
        target: The path and query as they arrived, percent-encoded.
        headers: The headers; names are looked up regardless of case.
        body: The body as an open file, positioned at the beginning; empty until the request is
            admitted.
        length_bytes: The length of the body. Until the request is admitted, it is the length that
            the headers state, or 0 if they state none.
    """

    method: str
    target: str
    headers: Message
    body: IO[bytes]
    length_bytes: int

    @property
    def path(self) -> str:
        """The path of the request target, still percent-encoded and without the query."""
        return self.target.partition("?")[0]


@dataclass(frozen=True)
class ServiceResponse:
    """One response.

    ``Content-Length`` is added if the body is bytes.

    Attributes:
        status: The HTTP status.
        headers: The headers as a mapping, or as pairs if a name occurs more than once.
        body: The body as bytes, or as chunks if it is too large for memory.
    """

    status: int
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = field(default_factory=dict)
    body: bytes | Iterable[bytes] = b""

    def header_items(self) -> list[tuple[str, str]]:
        """Return the headers as pairs of name and value; a name may occur twice."""
        if hasattr(self.headers, "items"):
            return list(self.headers.items())
        return list(self.headers)


@dataclass(frozen=True)
class AdmittedHead:
    """Says how an admitted request is answered; a request is admitted before its body is read.

    Attributes:
        body_bytes_max: The largest number of bytes that the body may have.
        answer: A function that takes the request with its body, and returns the response. It must
            not raise.
        refuse_length: A function that returns the response to a request whose body is too long. It
            must not raise.
    """

    body_bytes_max: int
    answer: Callable[[ServiceRequest], ServiceResponse]
    refuse_length: Callable[[ServiceRequest], ServiceResponse]


class HttpServer(ThreadingHTTPServer):
    """Serves requests on a loopback port.

    Args:
        port: The port to listen on; 0 takes a free port.
        admit: Admits or refuses a request after a look at its headers. The function is called in
            the thread of the connection, and must not raise.

    Raises:
        InvalidInput: The port cannot be used.
    """

    daemon_threads = True
    block_on_close = False  # stop() shuts the open connections down, which ends their threads
    request_queue_size = LISTEN_BACKLOG
    allow_reuse_address = True

    def __init__(
        self, port: int, admit: Callable[[ServiceRequest], AdmittedHead | ServiceResponse]
    ) -> None:
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        handler = type("Handler", (_ServiceRequestHandler,), {"admit": staticmethod(admit)})
        try:
            super().__init__((LOOPBACK, port), handler)
        except (OSError, OverflowError) as err:
            raise InvalidInput(
                f"Port {port} cannot be used: {getattr(err, 'strerror', '') or err}",
                where="--port",
                remedy=(
                    "Choose another port with --port, or end the program that uses this one: "
                    "`drdeploy local down` ends a local service"
                ),
            ) from err
        self._thread = threading.Thread(target=self.serve_forever, args=(0.1,), daemon=True)

    def start(self) -> None:
        """Start answering requests in a new thread."""
        self._thread.start()

    def stop(self) -> None:
        """Accept no new connections, and close the open ones."""
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
        """Bind the port without looking up the host's name, which may take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = LOOPBACK, self.server_address[1]

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Return whether there is room for a new connection; without room, the caller closes it."""
        del client_address
        with self._lock:
            has_place = len(self._open) < CONNECTIONS_MAX
            if has_place:
                self._open.add(request)
        return has_place

    def shutdown_request(self, request: Any) -> None:
        """Close a connection, which makes room for another."""
        super().shutdown_request(request)
        with self._lock:
            self._open.discard(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Log why a connection broke, instead of printing a traceback."""
        log.debug("connection %s from %s: %s", request, client_address, sys.exc_info()[1])


class _ServiceRequestHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Nagle's algorithm is off. It may hold back the last packet of a response until the client
    # acknowledges the packet before, and Linux delays this acknowledgement by up to 40 ms.
    disable_nagle_algorithm = True
    rbufsize = 256 * KIB
    timeout = FIRST_REQUEST_S
    admit: ClassVar[Callable[[ServiceRequest], AdmittedHead | ServiceResponse]]

    def parse_request(self) -> bool:
        """Read the headers; refuse a request whose headers the standard library would misread."""
        received = self.rfile
        self.rfile = HeaderLines(received)  # type: ignore[assignment]  # only these two are called
        try:
            return super().parse_request()
        except MalformedHttp as err:
            self._refuse_malformed_request(HTTPStatus.BAD_REQUEST, f"{err}.")
            return False
        finally:
            self.rfile = received

    def _answer_one_request(self) -> None:
        try:
            self._answer_valid_request()
        except MalformedHttp as err:
            self._refuse_malformed_request(HTTPStatus.BAD_REQUEST, f"{err}.")

    def _answer_valid_request(self) -> None:
        self.connection.settimeout(FIRST_REQUEST_S)
        stated_length = read_body_length(self.headers, self.request_version)
        is_chunked, stated = stated_length is None, stated_length or 0
        # The length of a chunked body is not known.
        unread = DISCARDED_BYTES if is_chunked else stated
        if self._does_client_await_100_continue():
            unread = 0  # the client has not begun to send the body
        request = ServiceRequest(self.command, self.path, self.headers, BytesIO(), stated)
        admission = type(self).admit(request)
        if isinstance(admission, ServiceResponse):
            self._refuse_request(admission, unread)
            return
        if stated > admission.body_bytes_max:
            self._refuse_request(admission.refuse_length(request), unread)
            return
        if self._does_client_await_100_continue():
            self.send_response_only(HTTPStatus.CONTINUE)
            self.end_headers()
        limit = admission.body_bytes_max
        try:
            body = self._read_chunked_body(limit) if is_chunked else self._read_sized_body(stated)
            length_bytes = body.seek(0, io.SEEK_END)
            body.seek(0)
        except OSError as err:
            if err.errno not in DISK_ERRORS:
                raise
            log.warning("a request's body cannot be stored: %s", err.strerror)
            self._refuse_malformed_request(
                HTTPStatus.INSUFFICIENT_STORAGE,
                f"The service cannot store the request's body on its disk: {err.strerror}.",
            )
            return
        with body:
            request = replace(request, body=body, length_bytes=length_bytes)
            if length_bytes > limit:
                self._refuse_request(admission.refuse_length(request), DISCARDED_BYTES)
                return
            self._write_response(admission.answer(request))
        self.connection.settimeout(IDLE_S)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _answer_one_request  # noqa: N815  http.server's names

    def handle_expect_100(self) -> bool:
        """Do not ask for the body yet (``100 Continue``): the request may still be refused."""
        return True

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse a malformed request with one sentence of text instead of an HTML page."""
        del message, explain
        text = f"The request is not served: {HTTPStatus(code).phrase}."
        self._refuse_malformed_request(HTTPStatus(code), text)

    def _refuse_malformed_request(self, status: HTTPStatus, text: str) -> None:
        """Refuse a request whose body is not read to its end, in one sentence of text."""
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        self._refuse_request(ServiceResponse(status, headers, text.encode()), DISCARDED_BYTES)

    def _discard_bytes(self, count: int) -> None:
        """Read at most ``count`` bytes that a client still sends, and discard them."""
        deadline = time.monotonic() + DISCARD_S
        while count > 0 and (left_s := deadline - time.monotonic()) > 0:
            self.connection.settimeout(left_s)
            data = self.rfile.read1(min(count, CHUNK_BYTES))
            if not data:
                return
            count -= len(data)

    def _does_client_await_100_continue(self) -> bool:
        return self.headers.get("Expect", "").lower() == "100-continue"

    def _refuse_request(self, response: ServiceResponse, unread_bytes: int) -> None:
        """Answer a request whose body is not read to its end, and close the connection afterwards.

        For a time, the server reads and discards what the client still sends. If it closed the
        connection at once, the connection could be reset before the client has read the answer.

        Args:
            response: The answer.
            unread_bytes: The number of bytes that the client may still send.
        """
        self.close_connection = True
        headers = [*response.header_items(), ("Connection", "close")]
        self._write_response(replace(response, headers=headers))
        self.connection.shutdown(socket.SHUT_WR)
        self._discard_bytes(min(unread_bytes, DISCARDED_BYTES))

    def _read_sized_body(self, length_bytes: int) -> IO[bytes]:
        if length_bytes <= IN_MEMORY_BYTES:
            data = self.rfile.read(length_bytes)
            if len(data) < length_bytes:
                raise ConnectionResetError(
                    "the client closed the connection before it had sent its request"
                )
            return BytesIO(data)
        body: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed with the request
        self._copy_to_body_file(body, length_bytes)
        return body

    def _read_chunked_body(self, limit_bytes: int) -> IO[bytes]:
        """Read a chunked body; stop one byte beyond the limit if the body is too long."""
        # RFC 9112, 7.1: chunks, a chunk of size 0, trailer fields, an empty line.
        body: IO[bytes] = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115  closed with the request
        count = 0
        while size := parse_body_length(self._read_chunk_size(), base=16):
            count += 1
            if count > SMALL_CHUNKS_MAX and body.tell() < count * CHUNK_BYTES_MEAN:
                raise MalformedHttp("The body consists of too many small chunks")
            left = limit_bytes - body.tell()
            self._copy_to_body_file(body, min(size, left + 1))
            if size > left:
                return body
            if self._read_framing_line() not in {b"\r\n", b"\n"}:
                raise MalformedHttp(
                    "A chunk of the body is longer than the size that the chunk states"
                )
        for _ in range(TRAILERS_MAX + 1):  # and the empty line after them
            if not self._read_framing_line().strip():
                return body
        raise MalformedHttp(f"The body has more than {TRAILERS_MAX} trailer fields")

    def _read_chunk_size(self) -> str:
        # Chunk extensions follow a semicolon. A recipient ignores them.
        return self._read_framing_line().partition(b";")[0].strip().decode("latin-1")

    def _read_framing_line(self) -> bytes:
        """Read a line that says where the body ends.

        A line that is too long is refused. If it were cut off instead, its rest would be read as
        content of the body, or as the end of the body.
        """
        line = HeaderLines(self.rfile, "the chunked body").readline(LINE_BYTES_MAX)
        if line.endswith(b"\n"):
            return line
        if len(line) < LINE_BYTES_MAX:
            raise ConnectionResetError(
                "the client closed the connection before it had sent its request"
            )
        raise MalformedHttp(
            f"A line of the chunked body has more than {LINE_BYTES_MAX} bytes; send fewer "
            "chunk extensions, or shorter trailer fields"
        )

    def _copy_to_body_file(self, body: IO[bytes], remaining: int) -> None:
        while remaining:
            chunk = self.rfile.read(min(CHUNK_BYTES, remaining))
            if not chunk:
                raise ConnectionResetError(
                    "the client closed the connection before it had sent its request"
                )
            body.write(chunk)
            remaining -= len(chunk)

    def _write_response(self, response: ServiceResponse) -> None:
        body = response.body
        chunks: Iterable[bytes] = (body,) if isinstance(body, bytes) else body
        head = [f"HTTP/1.1 {response.status} {self.responses.get(response.status, ('',))[0]}"]
        names = set()
        is_chunked = False
        for name, value in response.header_items():
            head.append(f"{name}: {value}")
            names.add(name.lower())
        if "content-length" not in names:
            if isinstance(body, bytes):
                head.append(f"Content-Length: {len(body)}")
            elif self.request_version == "HTTP/1.1":
                # With chunks, a client can use each part as it arrives, and notices if the body
                # breaks off.
                is_chunked = True
                head.append("Transfer-Encoding: chunked")
            else:
                # Without a length, only the end of the connection marks the end of the body.
                head.append("Connection: close")
                self.close_connection = True
        data = ("\r\n".join(head) + "\r\n\r\n").encode("latin-1")
        # The head and the first chunk are sent in one write, because two writes would wake the
        # client twice.
        for chunk in () if self.command == "HEAD" else chunks:
            self.wfile.write(data + (_encode_chunk(chunk) if is_chunked else chunk))
            data = b""
        if is_chunked and self.command != "HEAD":
            data += b"0\r\n\r\n"
        if data:
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  http.server's name
        log.debug(format, *args)


def _encode_chunk(data: bytes) -> bytes:
    """Encode a chunk of a chunked body; skip an empty chunk, because it would end the body."""
    return b"%x\r\n%s\r\n" % (len(data), data) if data else b""
