"""Start and stop the servers that are compared: those of drdeploy and of other projects (peers)."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import string
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from drdeploy.hosting.container_engine import find_free_port
from drdeploy.hosting.serving.classic.nginx import SBIN
from harness.options import BUILD, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.models import Forms

PEERS = ROOT / "benchmarks" / "peers"
READY_WITHIN_S = 90.0
STOPS_WITHIN_S = 20.0
QUEUE_LENGTH = 64
"""How many requests may wait in the queue of drdeploy's server, which then refuses none of 32
clients.
"""


@dataclass(frozen=True)
class Server:
    """How to start a server.

    Attributes:
        name: Name in tables and plots.
        command: The command that starts the server. In it, ``$port`` is replaced by the port, and
            ``$folder`` by a temporary folder.
        path: The path of the URL to which photographs are sent.
        environment: Environment variables. ``$port`` and ``$folder`` are replaced, too.
        files: The names and texts of files that are written into the temporary folder before the
            server starts. ``$port`` and ``$folder`` are replaced, too.
    """

    name: str
    command: tuple[str, ...]
    path: str = "/invocations"
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Running:
    """A running server that has already answered a request.

    Attributes:
        start_s: Seconds from the start of its process to its first answer.
    """

    server: Server
    port: int
    process: psutil.Process
    start_s: float

    def memory_mb(self) -> float:
        """Return the resident memory of all processes of the server, in MB of 10^6 bytes."""
        return sum(process.memory_info().rss for process in self._all()) / 1e6

    def cpu_s(self) -> float:
        """Return the seconds of CPU time that all processes of the server have used so far."""
        return sum(sum(process.cpu_times()[:2]) for process in self._all())

    def _all(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


@contextmanager
def running(server: Server, photograph: bytes) -> Iterator[Running]:
    """Start a server, wait for its first grade, and stop it when the ``with`` block ends."""
    with tempfile.TemporaryDirectory(prefix="drdeploy-bench-") as folder:
        port = find_free_port()
        names = {"port": str(port), "folder": folder}
        for name, text in server.files.items():
            (Path(folder) / name).write_text(fill(text, names), encoding="utf-8")
        environment = {**os.environ, "TMPDIR": folder, **server.environment}
        environment = {name: fill(value, names) for name, value in environment.items()}
        with (Path(folder) / "log").open("wb") as log:
            started = time.perf_counter()
            child = subprocess.Popen(
                [fill(part, names) for part in server.command], env=environment, stdout=log,
                stderr=log, cwd=ROOT, start_new_session=True,
            )  # fmt: skip
        process = psutil.Process(child.pid)
        try:
            first_answer(server, port, photograph, child, Path(folder) / "log")
            yield Running(server, port, process, time.perf_counter() - started)
        finally:
            stop(child)


def fill(text: str, names: Mapping[str, str]) -> str:
    """Replace ``$port`` and ``$folder`` in a text."""
    return string.Template(text).safe_substitute(names)


def stop(child: subprocess.Popen[bytes]) -> None:
    """End a server: send SIGTERM, wait, and kill the processes that are left."""
    children = []
    with suppress(psutil.NoSuchProcess):
        children = psutil.Process(child.pid).children(recursive=True)
    child.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        child.wait(STOPS_WITHIN_S)
    for process in children:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    if child.poll() is None:
        child.kill()
    child.wait(STOPS_WITHIN_S)


def first_answer(
    server: Server, port: int, photograph: bytes, child: subprocess.Popen[bytes], log: Path
) -> None:
    """Send a photograph repeatedly until the server grades it; fail if that takes too long."""
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        if child.poll() is not None:
            break
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=READY_WITHIN_S)
        with suppress(ConnectionError, http.client.HTTPException):
            connection.request("POST", server.path, photograph, {"Content-Type": "image/jpeg"})
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        connection.close()
        time.sleep(0.005)
    raise SystemExit(f"{server.name} does not answer:\n{log.read_text(errors='replace')[-3000:]}")


def ours(profile: str, model: Path, **settings: str) -> Server:
    """Return drdeploy's own server with the given profile.

    Settings are environment variables of the server. Those that are not given keep their defaults.
    """
    return Server(
        profile,
        (sys.executable, "-m", "drdeploy.hosting.serving"),
        environment={
            "DRDEPLOY_PROFILE": profile,
            "DRDEPLOY_MODEL_DIR": str(model),
            "DRDEPLOY_BIND_HOST": "127.0.0.1",
            "SAGEMAKER_BIND_TO_PORT": "$port",
            "MALLOC_TOP_PAD_": "16777216",
            "MALLOC_TRIM_THRESHOLD_": "134217728",
            **settings,
        },
    )


def peer(name: str, forms: Forms, *, workers: int, threads: int) -> Server:
    """Return a server of another project (a peer); install it first if it is missing."""
    environment = {
        "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(PEERS))),
        "PEER_PORT": "$port",
        "PEER_WORKERS": str(workers),
        "PEER_THREADS": str(threads),
        "PEER_MODEL": str(forms.int8),
        "MALLOC_TOP_PAD_": "16777216",
        "MALLOC_TRIM_THRESHOLD_": "134217728",
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_HOME": "$folder",
    }
    scripts = installed(name)
    python, script = str(scripts / "python"), str(PEERS / f"{name}_server.py")
    command, path = {
        "mosec": ((python, script, "--address", "127.0.0.1", "--port", "$port"), "/inference"),
        "litserve": ((python, script), "/invocations"),
        "bentoml": (
            (str(scripts / "bentoml"), "serve", "bentoml_server:Grading", "--working-dir",
             str(PEERS), "--host", "127.0.0.1", "--port", "$port"),
            "/invocations",
        ),
        "kserve": ((python, script), "/v1/models/grader:predict"),
    }[name]  # fmt: skip
    return Server(name, command, path, environment)


def installed(name: str) -> Path:
    """Install a peer in its own virtual environment; return the environment's ``bin`` folder."""
    folder, pins = BUILD / "peers" / name, PEERS / f"{name}.txt"
    done = folder / "done"
    if not done.exists() or done.read_text(encoding="utf-8") != pins.read_text(encoding="utf-8"):
        print(f"installing {name}", flush=True)
        uv = str(Path(sys.executable).with_name("uv"))
        python = str(folder / "bin" / "python")
        subprocess.run(
            [uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True
        )
        subprocess.run(
            [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python,
             "-r", str(pins)], check=True,
        )  # fmt: skip
        done.write_text(pins.read_text(encoding="utf-8"), encoding="utf-8")
    return folder / "bin"


def uvicorn(forms: Forms) -> Server:
    """Return a server with drdeploy's request handling, but with Uvicorn for the HTTP protocol.

    Uvicorn runs it in one process.
    """
    return _gateway_on_other_server("uvicorn", sys.executable, forms, workers=1, threads=2)


def granian(forms: Forms) -> Server:
    """Return a server with drdeploy's request handling, but with Granian for the HTTP protocol."""
    python = str(installed("granian") / "python")
    return _gateway_on_other_server("granian", python, forms, workers=2, threads=1)


def _gateway_on_other_server(
    name: str, python: str, forms: Forms, *, workers: int, threads: int
) -> Server:
    lean = ours(
        "lean",
        forms.int8,
        DRDEPLOY_QUEUE_LENGTH=str(QUEUE_LENGTH),
        MODEL_SERVER_WORKERS=str(workers),
    )
    environment = {
        **lean.environment,
        "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(PEERS))),
        "PEER_PORT": "$port",
        "PEER_WORKERS": str(workers),
        "PEER_THREADS": str(threads),
        "PEER_MODEL": str(forms.int8),
        "PEER_FOLDER": "$folder",
    }
    return Server(name, (python, str(PEERS / f"{name}_server.py")), environment=environment)


def study(forms: Forms) -> Server:
    """Return the 2023 study's server: NGINX, Gunicorn, Uvicorn workers, FastAPI and Keras."""
    path = os.pathsep.join(filter(None, (str(PEERS), os.environ.get("PYTHONPATH"))))
    serve = (
        "trap 'kill $gunicorn $nginx 2>/dev/null' TERM\n"
        f'"{sys.executable}" -m gunicorn --bind unix:$folder/gunicorn.sock --workers 2 '
        "--worker-class uvicorn_worker.UvicornWorker --timeout 60 --no-control-socket "
        "study_server:app &\n"
        "gunicorn=$!\n"
        "nginx -c $folder/nginx.conf &\nnginx=$!\nwait\nwait\n"
    )
    user = (
        "user root;\n" if os.geteuid() == 0 else ""
    )  # only that user can enter the socket's folder
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}{os.pathsep}{SBIN}")
    return Server(
        "study",
        ("/bin/sh", "$folder/serve"),
        environment={
            "PYTHONPATH": path,
            "PEER_KERAS": str(forms.keras),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PATH": f"{os.environ.get('PATH', '')}{os.pathsep}{Path(nginx or '').parent}",
        },
        files={
            "serve": serve,
            "nginx.conf": user + (PEERS / "study_nginx.conf").read_text(encoding="utf-8"),
        },
    )
