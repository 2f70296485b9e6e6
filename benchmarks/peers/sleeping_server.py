"""Run a server that handles one request at a time, and sleeps for a fixed time before it answers.

    sleeping_server.py SERVICE_S

prints its port. The server sleeps and does not compute, because a sleep takes the same time on a
busy machine.
"""

import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ONE = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    """Answers each request after all earlier requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Answer a health check, for clients that send one before their requests."""
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        """Wait until it is this request's turn, sleep, and answer."""
        self.rfile.read(int(self.headers["Content-Length"]))
        with ONE:
            time.sleep(float(sys.argv[1]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Print nothing."""


class Server(ThreadingHTTPServer):
    """A server with a thread for each connection, which lets up to 512 new connections wait."""

    request_queue_size = 512
    daemon_threads = True


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
