"""Run the server of sleeping_server.py as a model server for the local service.

    sleeping_model.py SERVICE_S

listens on the socket file or the port that the local service names.
"""

import os
import signal
import socket
import sys

from sleeping_server import Handler, Server


class SocketFileHandler(Handler):
    """Answers on a socket file; the base class would turn off a delay that only TCP has."""

    disable_nagle_algorithm = False


class SocketFileServer(Server):
    """Listens on a socket file."""

    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        """Bind to the socket file, which has no host name to look up."""
        self.socket.bind(self.server_address)

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept a connection, whose client has no address."""
        return self.socket.accept()[0], ("unix", 0)


if __name__ == "__main__":
    host = os.environ.get("DRDEPLOY_BIND_HOST", "127.0.0.1")
    if host.startswith("unix:"):
        server = SocketFileServer(host.removeprefix("unix:"), SocketFileHandler)
    else:
        server = Server((host, int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server.serve_forever()
