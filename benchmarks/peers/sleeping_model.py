"""Let the local service run the server of sleeping_server.py as if it were a model server.

    sleeping_model.py SERVICE_S

listens on the Unix socket or the port that the local service names.
"""

import os
import signal
import socket
import sys

from sleeping_server import Handler, Server


class SocketFileHandler(Handler):
    """Answers requests on a Unix socket.

    The base class would turn off Nagle's algorithm, which only TCP has.
    """

    disable_nagle_algorithm = False


class SocketFileServer(Server):
    """Listens on a Unix socket."""

    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        """Bind to the Unix socket; the base class would also look up a host name."""
        self.socket.bind(self.server_address)

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept a connection; invent an address, because clients of Unix sockets have none."""
        return self.socket.accept()[0], ("unix", 0)


if __name__ == "__main__":
    host = os.environ.get("DRDEPLOY_BIND_HOST", "127.0.0.1")
    if host.startswith("unix:"):
        server = SocketFileServer(host.removeprefix("unix:"), SocketFileHandler)
    else:
        server = Server((host, int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server.serve_forever()
