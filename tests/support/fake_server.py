"""A model server in a hundred lines: what the local service expects of one, and ways to fail.

It reads the same environment as the real one.  A body that begins with ``!`` is an order.
"""

import json
import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

INVOCATIONS = 0
LOCK = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        is_asked = self.path == "/execution-parameters"
        self._answer(200, os.environ.get("SAGEMAKER_FAKE_PARAMETERS", "").encode() * is_asked)

    def do_POST(self):
        if self.headers.get("Accept") == "text/plain":
            self._stream(self._read_body().decode())
        else:
            self._obey()

    def _obey(self):
        global INVOCATIONS  # noqa: PLW0603  one process, one count
        began = time.perf_counter()
        body = self._read_body()
        with LOCK:
            INVOCATIONS += 1
        if os.environ.get("SAGEMAKER_FAKE_ECHO"):
            self._echo(body)
            return
        hold_if_told()
        order, _, argument = body.decode("latin-1").partition(" ")
        if order == "!sleep":
            time.sleep(float(argument))
        elif order == "!print":
            sys.stdout.buffer.write(body.removeprefix(b"!print ") + b"\n")
            sys.stdout.flush()
        elif order == "!hold":
            hold(Path(argument))
        elif order == "!die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif order == "!status":
            self._answer(int(argument), b'{"error": {"code": "UnreadableImage"}}')
            return
        elif order == "!large":
            self._answer(200, b"x" * int(argument))
            return
        elif order == "!eat":
            hog = bytearray()
            while len(hog) < int(argument) * 1024 * 1024:
                hog += b"x" * 16 * 1024 * 1024
        model = Path(os.environ.get("DRDEPLOY_MODEL_DIR", "/opt/ml/model"))
        answer = {
            "pid": os.getpid(),
            "invocation": INVOCATIONS,
            "length": len(body),
            "took_s": time.perf_counter() - began,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "environment": dict(os.environ),
            "model_files": sorted(str(path.relative_to(model)) for path in model.rglob("*")),
        }
        self._answer(
            200, json.dumps(answer).encode(), {"X-Amzn-SageMaker-Custom-Attributes": "a=1"}
        )

    def _read_body(self):
        if "Content-Length" in self.headers:
            return self.rfile.read(int(self.headers["Content-Length"]))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size + 2)[:size]
        self.rfile.readline()
        return b"chunked:" + body

    def _echo(self, body):
        """Answer each line with ECHO and what it was; refuse a body that says so."""
        if b"broken" in body:
            self._answer(415, b"broken, says the model")
            return
        if b"failing" in body:
            self._answer(500, b"failing, says the model")
            return
        label = os.environ["SAGEMAKER_FAKE_ECHO"].encode()
        self._answer(200, b"\n".join(label.replace(b"LINE", line) for line in body.splitlines()))

    def _stream(self, parts):
        """Send an answer part by part; "wait:FILE" waits for a file, "break" breaks it off."""
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("X-Amzn-SageMaker-Custom-Attributes", "a=1")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in parts.split(" "):
            if part == "break":
                self.close_connection = True
                return
            if part.startswith("wait:"):
                wait_for(Path(part.removeprefix("wait:")))
                continue
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part.encode()))
        self.wfile.write(b"0\r\n\r\n")

    def _answer(self, status, body, headers=None):
        self.send_response(status)
        for name, value in (headers or {"Content-Type": "application/json"}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, *_):
        """Say nothing of clients that leave: what a container writes is counted by a test."""


class UnixServer(Server):
    address_family = socket.AF_UNIX

    def server_bind(self):
        self.socket.bind(self.server_address)

    def get_request(self):
        return self.socket.accept()[0], ("unix", 0)


def hold(folder):
    """Say that the call has arrived, then keep it until the test lets go."""
    (folder / f"{os.getpid()}-{INVOCATIONS}").touch()
    wait_for(folder / "go")


def hold_if_told():
    if os.environ.get("SAGEMAKER_FAKE_HOLD"):
        hold(Path(os.environ["SAGEMAKER_FAKE_HOLD"]))


def wait_for(file):
    while not file.exists():
        time.sleep(0.01)


def main():
    if os.environ.get("SAGEMAKER_FAKE_FAILS"):
        sys.exit("the model cannot be loaded")
    time.sleep(float(os.environ.get("SAGEMAKER_FAKE_START_S", "0")))
    if os.environ.get("SAGEMAKER_FAKE_START_AFTER"):
        wait_for(Path(os.environ["SAGEMAKER_FAKE_START_AFTER"]))
    ThreadingHTTPServer.request_queue_size = 128
    ThreadingHTTPServer.daemon_threads = True
    host = os.environ.get("DRDEPLOY_BIND_HOST", "")
    if host.startswith("unix:"):
        Handler.disable_nagle_algorithm = False  # which is TCP's
        server = UnixServer(host.removeprefix("unix:"), Handler)
    else:
        server = Server((host, int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server.serve_forever()


main()
