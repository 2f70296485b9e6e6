"""Run the worklist page on a port of this machine."""

from __future__ import annotations

import ipaddress
import logging
import re
import socket
import ssl
import threading
import time
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from drdeploy.clinic.dicom_receiver import is_loopback
from drdeploy.errors import ClinicError, InvalidInput, turn_import_error_into_missing_extra
from drdeploy.units import KIB

with turn_import_error_into_missing_extra("clinic", "The worklist page"):
    import h11
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from starlette.applications import Starlette

CONNECTIONS_MAX = 100
"""The largest number of connections whose requests are answered; others get status 503."""
OPEN_MAX = 2 * CONNECTIONS_MAX
"""The largest number of open connections, also of those whose TLS handshake has not ended. Others
are closed at once. Without this limit, a stranger could use up the program's file descriptors, and
no photograph could be stored.
"""
HEAD_S = 10.0
"""Seconds within which the head of a request must arrive."""
REST_S = 60.0
"""Seconds within which the rest of a body must arrive after its request was answered."""
READ_S = 30.0
"""Seconds within which a client must read the next :data:`READ_BYTES` of an answer, or the rest of
it.
"""
READ_BYTES = 512 * KIB
STOP_S = 3
"""Seconds that requests in progress may still take when the program is stopped."""
# It writes a warning for each damaged form that a stranger sends.
logging.getLogger("python_multipart").setLevel(logging.ERROR)

_HOST_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class PageAddress:
    """The page's address, and the names that browsers may use for it.

    Attributes:
        host: Address of this machine.
        port: The port; 0 means any free port.
        names: The host names by which browsers reach this machine.
        certificate: The page's certificate and chain (PEM), for TLS.
        key: The certificate's private key (PEM).
    """

    host: str = "127.0.0.1"
    port: int = 8080
    names: tuple[str, ...] = ()
    certificate: Path | None = None
    key: Path | None = None

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the page."""
        return is_loopback(self.host)

    @property
    def is_tls(self) -> bool:
        """Whether the page is served by TLS."""
        return self.certificate is not None

    @property
    def accepted_host_names(self) -> frozenset[str]:
        """The names that browsers may use for the page."""
        own = set(self.names)
        if self.is_local:
            own |= {*_LOOPBACK_NAMES, self.host}
        elif not _is_wildcard(self.host):
            own.add(self.host)
        return frozenset(own)

    @property
    def host_name_in_shown_address(self) -> str:
        """The name of this machine in the address that is shown to people."""
        name = next(iter(self.names), self.host)
        return f"[{name}]" if ":" in name else name

    def check_access_and_certificate(self, *, has_accounts: bool) -> None:
        """Check that the page may be served at this address.

        Raises:
            InvalidInput: The certificate or a name cannot be used. A page that other machines can
                reach also needs TLS, an account in the records and the host name of this machine;
                the error is raised if one of them is missing.
        """
        if self.certificate is None and self.key is not None:
            raise InvalidInput(
                "TLS needs a certificate", where="--tls-certificate", remedy="Give its file"
            )
        self._check_names()
        if not self.is_local:
            self._check_access(has_accounts=has_accounts)
        if self.certificate is not None:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                    self.certificate, self.key, password=_return_empty_key_password
                )
            except (OSError, ValueError) as error:
                raise InvalidInput(
                    "The certificate or its key cannot be used: "
                    f"{getattr(error, 'strerror', None) or error}",
                    where="--tls-certificate, --tls-key",
                    remedy=(
                        "Give a certificate and its key as PEM files that you may read; the "
                        "key must have no password"
                    ),
                ) from error

    def _check_names(self) -> None:
        for name in self.names:
            if not _is_host_name(name):
                raise InvalidInput(
                    "This is not the name of a machine, so no browser could open the page by it",
                    where=f"--name {name}",
                    remedy="Give only the name, without https:// and without a port, for example "
                    "--name clinic.example.org; write letters outside ASCII as browsers send them, "
                    "for example xn--klinik-mnchen-3ob.de",
                )

    def _check_access(self, *, has_accounts: bool) -> None:
        where = f"--host {self.host}"
        if self.certificate is None:
            raise InvalidInput(
                "Patients' data would cross the network without encryption",
                where=where,
                remedy="Give --tls-certificate and --tls-key, or leave out --host",
            )
        if not has_accounts:
            raise InvalidInput(
                "The records have no account, so everybody on the network could see the patients",
                where=where,
                remedy="Run `drdeploy clinic account add RECORDS NAME --role administrator` first",
            )
        if not self.accepted_host_names:
            raise InvalidInput(
                "The name that browsers use for this machine is not known",
                where=where,
                remedy="Give its name, for example --name clinic.example.org",
            )


def _return_empty_key_password() -> str:
    """Return an empty password for the private key.

    If the key is encrypted, reading it then fails. Otherwise, the library would ask for a password
    on the terminal.
    """
    return ""


def _is_host_name(name: str) -> bool:
    """Return whether browsers can send a text, as it is, as the name of a machine."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return _HOST_NAME.fullmatch(name) is not None
    return True


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return not host


class _SlowClientProtocol(H11Protocol):
    """Closes connections of clients that send or read too slowly, so that they do not pile up."""

    _reading_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # What the client does not read at once is noticed, by `pause_writing`. With a limit of 0,
        # the TLS of asyncio would pause even if nothing waits.
        transport.set_write_buffer_limits(high=1, low=0)
        self._close_connection_unless_head_arrives()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_reading_timer()
        super().connection_lost(exc)

    def _close_connection_unless_head_arrives(self) -> None:
        self.loop.call_later(HEAD_S, self._close_connection_if_no_request_came, self.cycle)

    def _close_connection_if_no_request_came(self, earlier: object) -> None:
        if self.transport.is_closing():
            return
        if self.conn.their_state is h11.IDLE and self.cycle is earlier:
            self.transport.close()
        else:
            self._close_connection_unless_head_arrives()

    def on_response_complete(self) -> None:
        """Wait for the next request; wait for the rest of an unused body only for some time."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            self.loop.call_later(REST_S, self._close_connection_if_body_goes_on, self.cycle)

    def _close_connection_if_body_goes_on(self, answered: object) -> None:
        if self.conn.their_state is h11.SEND_BODY and self.cycle is answered:
            self.transport.close()

    def pause_writing(self) -> None:
        """Note that the client does not read, and give it some time."""
        super().pause_writing()
        self._close_connection_unless_client_reads()

    def resume_writing(self) -> None:
        """Note that the client has read everything."""
        self._cancel_reading_timer()
        super().resume_writing()

    def _close_connection_unless_client_reads(self) -> None:
        self._cancel_reading_timer()
        self._reading_timer = self.loop.call_later(
            READ_S, self._close_connection_if_client_did_not_read, self._count_unread_bytes()
        )

    def _close_connection_if_client_did_not_read(self, earlier: int) -> None:
        if earlier - self._count_unread_bytes() < READ_BYTES:
            self.transport.abort()
        else:
            self._close_connection_unless_client_reads()

    def _count_unread_bytes(self) -> int:
        return self.transport.get_write_buffer_size()

    def _cancel_reading_timer(self) -> None:
        if self._reading_timer is not None:
            self._reading_timer.cancel()
            self._reading_timer = None


class _BoundedSocket(socket.socket):
    """A listening socket that closes new connections while too many are open."""

    def __init__(self, listening: socket.socket) -> None:
        super().__init__(fileno=listening.detach())
        self._open: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection.

        Raises:
            ConnectionAbortedError: Too many connections are open. asyncio then goes on to listen.
        """
        connection, address = super().accept()
        if sum(one.fileno() >= 0 for one in self._open) >= OPEN_MAX:
            connection.close()
            raise ConnectionAbortedError
        self._open.add(connection)
        return connection, address


class PageServer:
    """A running page.

    ::

        with PageServer(PageAddress(port=0), app) as server:
            print(server.address)
    """

    def __init__(self, address: PageAddress, app: Starlette) -> None:
        """Open the port.

        Raises:
            ClinicError: The port cannot be opened.
        """
        self._address = address
        self._socket = _open_listening_socket(address)
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_level="error",
                access_log=False,  # a URL may contain a patient's number
                server_header=False,
                proxy_headers=False,
                limit_concurrency=CONNECTIONS_MAX,
                timeout_graceful_shutdown=STOP_S,
                lifespan="off",
                ws="none",
                http=_SlowClientProtocol,
                loop="asyncio",
                ssl_certfile=None if address.certificate is None else str(address.certificate),
                ssl_keyfile=None if address.key is None else str(address.key),
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="page", daemon=True
        )

    def __enter__(self) -> Self:
        """Start to answer requests.

        Raises:
            ClinicError: The page could not be started.
        """
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise ClinicError("The page could not be started", where=self.address)
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        """Finish the requests in progress, and close the port."""
        self._server.should_exit = True
        self._thread.join(2 * STOP_S)
        self._socket.close()

    @property
    def address(self) -> str:
        """The address for a browser."""
        scheme = "https" if self._address.is_tls else "http"
        return f"{scheme}://{self._address.host_name_in_shown_address}:{self._socket.getsockname()[1]}/"


def _open_listening_socket(address: PageAddress) -> socket.socket:
    try:
        family = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0][0]
        made = socket.create_server((address.host, address.port), family=family, backlog=128)
    except OSError as error:
        raise ClinicError(
            f"The program cannot listen at this address: {error.strerror or error}",
            where=f"{address.host}:{address.port}",
            remedy="Give an address of this machine with --host, and a free port with --port",
        ) from error
    return _BoundedSocket(made)
