"""Run a server that handles one request at a time, and sleeps for a fixed time before it answers.

    sleeping_server.py SERVICE_S

The script prints the server's port. The server sleeps instead of computing, because a sleep takes
the same time on an idle machine and on a busy one.
"""

import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ONE = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    """Answers one request at a time; the others wait."""

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
    """A server with a thread for each connection; up to 512 connections can wait to be accepted."""

    request_queue_size = 512
    daemon_threads = True


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
