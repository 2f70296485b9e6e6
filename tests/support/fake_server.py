"""A model server in a hundred lines: what the local service expects of one, and ways to fail.

It reads the same environment as the real one.  A body that begins with ``!`` is an order.
"""

import json
import os
import signal
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
        self._answer(200, b"")

    def do_POST(self):
        global INVOCATIONS  # noqa: PLW0603  one process, one count
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with LOCK:
            INVOCATIONS += 1
        order, _, argument = body.decode("latin-1").partition(" ")
        if order == "!sleep":
            time.sleep(float(argument))
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
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "environment": dict(os.environ),
            "model_files": sorted(str(path.relative_to(model)) for path in model.rglob("*")),
        }
        self._answer(
            200, json.dumps(answer).encode(), {"X-Amzn-SageMaker-Custom-Attributes": "a=1"}
        )

    def _answer(self, status, body, headers=None):
        self.send_response(status)
        for name, value in (headers or {"Content-Type": "application/json"}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def hold(folder):
    """Say that the call has arrived, then keep it until the test lets go."""
    (folder / f"{os.getpid()}-{INVOCATIONS}").touch()
    wait_for(folder / "go")


def wait_for(file):
    while not file.exists():
        time.sleep(0.01)


def main():
    if os.environ.get("FAKE_FAILS"):
        sys.exit("the model cannot be loaded")
    time.sleep(float(os.environ.get("FAKE_START_S", "0")))
    if os.environ.get("FAKE_START_AFTER"):
        wait_for(Path(os.environ["FAKE_START_AFTER"]))
    port = int(os.environ["SAGEMAKER_BIND_TO_PORT"])
    ThreadingHTTPServer.request_queue_size = 128
    server = ThreadingHTTPServer((os.environ.get("DRDEPLOY_BIND_HOST", ""), port), Handler)
    server.daemon_threads = True
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server.serve_forever()


main()
