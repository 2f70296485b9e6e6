"""Run the server of sleeping_server.py as a model server that the local service can start.

    sleeping_model.py SERVICE_S

The local service names a Unix socket or a port in environment variables. The server listens there.
"""

import os
import signal
import socket
import sys

from sleeping_server import Handler, Server


class SocketFileHandler(Handler):
    """Answers requests on a Unix socket.

    The base class turns off Nagle's algorithm. That fails on a Unix socket, because only TCP has
    it.
    """

    disable_nagle_algorithm = False


class SocketFileServer(Server):
    """Listens on a Unix socket."""

    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        """Bind to the Unix socket, without the base class's look-up of a host name."""
        self.socket.bind(self.server_address)

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept a connection; invent the client's address, which a Unix socket does not give."""
        return self.socket.accept()[0], ("unix", 0)


if __name__ == "__main__":
    host = os.environ.get("DRDEPLOY_BIND_HOST", "127.0.0.1")
    if host.startswith("unix:"):
        server = SocketFileServer(host.removeprefix("unix:"), SocketFileHandler)
    else:
        server = Server((host, int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server.serve_forever()
