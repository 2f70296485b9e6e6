"""A small model server that breaks SageMaker's hosting contract on purpose, to test the checker.

The checker is ``drdeploy image conform``; its tests check that it finds each flaw. The file
``/flaw`` in the image names the flaws that this server has, joined by ``+``. ``FLAWS`` describes
each flaw. Without flaws, the server meets every requirement of the contract. As its model, the
server accepts any folder with a file ``weights`` and its SHA-256 in ``weights.sha256``. As a
photograph, it accepts any request body that begins and ends like a JPEG.
"""

# ruff: noqa: ANN001, ANN201, INP001, S108, T201 a test server for a container
import base64
import hashlib
import json
import math
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path

FLAWS = {
    "abrupt": "ends at once on SIGTERM",
    "chatty": "logs every body",
    "crowded": "has as many threads as the machine has cores",
    "eternal": "waits forever for a model that does not load",
    "fragile": "ends on a body that is not a JPEG",
    "fussy": "refuses unknown headers",
    "hasty": "says that it is ready before it has loaded the model",
    "hoarding": "keeps every body in memory",
    "leaking": "answers an empty body with 500",
    "narrow": "accepts no body above 1 MB, as NGINX by default",
    "one-at-a-time": "answers no ping while it predicts",
    "open": "accepts requests while it waits for the last ones to end",
    "own-user": "runs only as the image's own user",
    "own-port": "listens on port 8080 whatever the environment says",
    "pid-file": "does not start again where its file of the last run is",
    "reckless": "serves without a model",
    "root-writing": "writes to the root file system",
    "model-writing": "writes to the folder of the model",
}
HAS = set(Path("/flaw").read_text().strip().split("+"))
MODEL = Path("/opt/ml/model")
PREDICTION_S = 0.05
MEBIBYTE = 1024 * 1024
KNOWN_HEADERS = {"host", "accept-encoding", "content-length", "content-type"}
OWN_UID = 10001
IS_READY = threading.Event()
HOARD = []


def load_model():
    """Load the model, or raise an error."""
    if "model-writing" in HAS:
        (MODEL / "compiled").write_text("cache")
    if "hasty" in HAS:
        time.sleep(1)
    weights = (MODEL / "weights").read_bytes()
    expected = (MODEL / "weights.sha256").read_text().strip()
    if hashlib.sha256(weights).hexdigest() != expected:
        raise ValueError("the weights are damaged")


def cpu_limit():
    """Return how many CPUs this container may use, from either version of cgroups."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except OSError:
        folder = Path("/sys/fs/cgroup/cpu")
        quota = (folder / "cpu.cfs_quota_us").read_text()
        period = (folder / "cpu.cfs_period_us").read_text()
    own = len(os.sched_getaffinity(0))
    return own if quota.strip() in {"max", "-1"} else min(own, math.ceil(int(quota) / int(period)))


def predictors():
    """Return a pool of threads for predictions, after all of them have started."""
    count = os.cpu_count() if "crowded" in HAS else cpu_limit()
    threads = ThreadPoolExecutor(count)
    together = threading.Barrier(count)
    list(threads.map(lambda _: together.wait(), range(count)))
    return threads


class Handler(BaseHTTPRequestHandler):
    """Answers one request per connection."""

    threads = None

    def do_GET(self):
        """Answer ``/ping``, and ``/execution-parameters``, which Batch Transform asks for."""
        if self.path == "/execution-parameters":
            self.answer(200, {"MaxConcurrentTransforms": 1, "BatchStrategy": "SINGLE_RECORD"})
        else:
            self.answer(200 if self.path == "/ping" else 404)

    def do_POST(self):
        """Answer ``/invocations``."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.refusal(body)
        if not status:
            seconds = 9 * PREDICTION_S if "one-at-a-time" in HAS else PREDICTION_S
            self.threads.submit(time.sleep, seconds).result()
        self.log_message("%d bytes: %d", len(body), status or 200)
        self.answer(status or 200, {"predictions": [[0.2] * 5]})

    def refusal(self, body):
        """Return the HTTP status with which a request's body is refused; 0 if it is accepted."""
        if "chatty" in HAS:
            self.log_message("%s", base64.b64encode(body[:300]).decode())
        if "hoarding" in HAS:
            HOARD.append(body * (12 * MEBIBYTE // max(1, len(body))))
        if not IS_READY.is_set():
            return 503
        if "fussy" in HAS and {name.lower() for name in self.headers} - KNOWN_HEADERS:
            return 400
        if len(body) > (1 if "narrow" in HAS else 6) * MEBIBYTE:
            return 413
        if "leaking" in HAS and not body:
            return 500
        is_jpeg = body.startswith(b"\xff\xd8") and body.endswith(b"\xff\xd9")
        if "fragile" in HAS and body and not is_jpeg:
            os._exit(1)
        return 0 if is_jpeg else 400

    def answer(self, status, content=None):
        """Send an answer."""
        body = json.dumps(content or {}).encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def listen():
    """Start the server; it answers each connection in a new thread."""
    port = int(os.environ.get("SAGEMAKER_BIND_TO_PORT") or 8080)
    kind = HTTPServer if "one-at-a-time" in HAS else ThreadingHTTPServer
    kind.request_queue_size = 128
    kind.daemon_threads = False  # server_close waits for them
    server = kind(("0.0.0.0", 8080 if "own-port" in HAS else port), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,)).start()
    return server


def leave_traces():
    """Do what the flaws do at the start of the container: write files, or refuse another user."""
    if "root-writing" in HAS:
        Path("/var/lib/server/started").write_text("yes")
    if "own-user" in HAS and os.getuid() != OWN_UID:
        raise PermissionError(f"this server runs only as user {OWN_UID}")
    if "pid-file" in HAS:
        Path("/tmp/server.pid").touch(exist_ok=False)


def main():
    """Load the model, listen, and wait for the end."""
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0) if "abrupt" in HAS else stopping.set())
    leave_traces()
    Handler.threads = predictors()
    server = listen() if "hasty" in HAS else None
    try:
        load_model()
    except (OSError, ValueError):
        if "eternal" in HAS:
            stopping.wait()
        if "reckless" not in HAS:
            raise
    IS_READY.set()
    server = server or listen()
    print("ready", file=sys.stderr, flush=True)
    stopping.wait()
    if "open" in HAS:
        time.sleep(3)
    server.shutdown()
    server.server_close()


main()
