"""Reach an engine over SSH as Docker's command line does: through the program ``ssh``.

The program uses the user's keys, agent and configuration. On the other machine, ``docker system
dial-stdio`` connects its standard input and output to the engine.
"""

from __future__ import annotations

import shlex
import socket
import subprocess
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

import requests.adapters
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

if TYPE_CHECKING:
    from urllib.parse import SplitResult

CONNECT_TIMEOUT_S = 30
LAST_WORDS = 20
LAST_WORDS_WITHIN_S = 2.0


class SshTunnel:
    """Opens connections to another machine through ``ssh``; safe to use from several threads.

    Args:
        address: The parts of ``ssh://[USER@]HOST[:PORT][/PATH-OF-THE-SOCKET]``.
    """

    def __init__(self, address: SplitResult) -> None:
        self._options = ["-o", f"ConnectTimeout={CONNECT_TIMEOUT_S}", "-o", "BatchMode=yes"]
        if address.username:
            self._options += ["-l", address.username]
        if address.port:
            self._options += ["-p", str(address.port)]
        self._host = address.hostname or ""
        self._socket = address.path
        self._last_words: deque[str] = deque(maxlen=LAST_WORDS)
        self._newest: threading.Thread | None = None

    @property
    def newest_error_output(self) -> str:
        """What ``ssh`` last wrote to its standard error, on one line."""
        if self._newest is not None:
            # The connection ends a moment before ssh's last words can be read.
            self._newest.join(LAST_WORDS_WITHIN_S)
        return " ".join(" ".join(self._last_words).split())

    def open_engine(self, timeout_s: float) -> socket.socket:
        """Return a connection to the container engine on the other machine."""
        host = ["--host", f"unix://{self._socket}"] if self._socket else []
        # The shell of the other machine splits the command into words again.
        remote = shlex.join(["docker", *host, "system", "dial-stdio"])
        return self._start_ssh_process(["-T", "--", self._host, remote], timeout_s)

    def open_port(self, port: int, timeout_s: float) -> socket.socket:
        """Return a connection to a loopback port of the other machine.

        The method does not check whether a server listens on the port. If none does, the connection
        is closed soon after.
        """
        return self._start_ssh_process(["-W", f"127.0.0.1:{port}", "--", self._host], timeout_s)

    def _start_ssh_process(self, words: list[str], timeout_s: float) -> socket.socket:
        own, other = socket.socketpair()
        own.settimeout(timeout_s)
        with other:
            try:
                process = subprocess.Popen(
                    ["ssh", *self._options, *words],
                    stdin=other.fileno(),
                    stdout=other.fileno(),
                    stderr=subprocess.PIPE,
                    start_new_session=True,  # Ctrl-C is for this program, which may still clean up
                )
            except OSError as err:
                own.close()
                self._last_words.append(f"the program ssh cannot be started: {err.strerror}")
                raise ConnectionRefusedError(self.newest_error_output) from err
        self._newest = threading.Thread(
            target=self._collect_errors_until_ssh_ends, args=(process,), daemon=True
        )
        self._newest.start()
        return own

    def _collect_errors_until_ssh_ends(self, process: subprocess.Popen[bytes]) -> None:
        # Once the connection is closed, ssh reads the end of its standard input and ends.
        with process:
            for line in process.stderr or ():
                self._last_words.append(line.decode(errors="replace").strip())


class SshAdapter(requests.adapters.HTTPAdapter):
    """Sends the requests of the Docker SDK through an :class:`SshTunnel`."""

    def __init__(self, tunnel: SshTunnel, timeout_s: float) -> None:
        super().__init__()
        self._pool = _TunnelPool(tunnel, timeout_s)

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> HTTPConnectionPool:
        """Return the pool of connections to the engine, which is the same for all requests."""
        return self._pool

    def get_connection(self, *_: Any, **__: Any) -> HTTPConnectionPool:
        """Return the pool of connections; ``requests`` before version 2.32 calls this method."""
        return self._pool

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:  # noqa: ARG002  requests' signature
        """Return only the path of a request; a proxy would need the scheme and host too."""
        return request.path_url

    def close(self) -> None:
        """Close the unused connections."""
        self._pool.close()
        super().close()


class _TunnelConnection(HTTPConnection):
    tunnel: SshTunnel
    timeout_s: float

    def connect(self) -> None:
        self.sock = self.tunnel.open_engine(self.timeout_s)


class _TunnelPool(HTTPConnectionPool):
    def __init__(self, tunnel: SshTunnel, timeout_s: float) -> None:
        super().__init__("localhost", maxsize=10)
        self._tunnel = tunnel
        self._timeout_s = timeout_s

    def _new_conn(self) -> HTTPConnection:
        connection = _TunnelConnection("localhost")
        connection.tunnel, connection.timeout_s = self._tunnel, self._timeout_s
        return connection
