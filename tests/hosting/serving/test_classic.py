"""The classic profile: NGINX, Gunicorn, Uvicorn and FastAPI."""

import json
import os
import signal
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
from tiny_models import bare_saved_model

from drdeploy.hosting.serving.capacity import Capacity
from drdeploy.hosting.serving.classic.supervision import ClassicSupervision
from drdeploy.hosting.serving.log import ServerLog
from drdeploy.hosting.serving.processes import catch_watched_signals
from drdeploy.hosting.serving.settings import Settings


def child(server, name):
    (found,) = [
        process
        for process in psutil.Process(server.process.pid).children()
        if name in " ".join(process.cmdline())
    ]
    return found


@pytest.mark.nginx
def test_a_bare_saved_model_is_served_as_by_the_studys_container(tmp_path, nginx, serve, photo):
    model_dir = bare_saved_model(tmp_path)
    server = serve(model_dir, DRDEPLOY_PROFILE="classic", MODEL_SERVER_WORKERS=1)
    answer = server.invoke(photo).json()
    assert len(answer["predictions"][0]) == 5
    assert answer["model"]["runtime"] == "tensorflow"
    assert not {"grade", "label", "referable", "probabilities"} & set(answer)


@pytest.mark.nginx
@pytest.mark.parametrize("name", ["nginx", "gunicorn"])
def test_the_container_ends_when_a_child_ends(model_dir, nginx, serve, name):
    server = serve(model_dir, DRDEPLOY_PROFILE="classic", MODEL_SERVER_WORKERS=1)
    below = psutil.Process(server.process.pid).children(recursive=True)
    child(server, name).kill()
    assert server.wait(60) == 1
    assert f"{name} ended (SIGKILL)" in server.events()[-1]["message"]
    _, alive = psutil.wait_procs(below, timeout=120)
    assert not alive


@pytest.mark.nginx
def test_a_model_that_cannot_be_loaded_ends_the_container_with_a_reason(tmp_path, nginx, serve):
    server = serve(tmp_path, is_awaited=False, DRDEPLOY_PROFILE="classic", MODEL_SERVER_WORKERS=1)
    assert server.wait(60) == 1
    assert any(event.get("code") == "ManifestError" for event in server.events())


@pytest.mark.nginx
def test_there_is_one_worker_per_vcpu_and_they_share_the_metrics(model_dir, nginx, serve, photo):
    server = serve(model_dir, DRDEPLOY_PROFILE="classic", MODEL_SERVER_WORKERS=2)
    for number in range(1, 7):
        with server.connect() as client:
            answer = client.post("/invocations", content=photo).json()
        assert answer["container"]["invocation"] == number
    assert "drdeploy_images_total 6.0" in server.client.get("/metrics").text
    assert len(server.workers()) == 2


@pytest.mark.nginx
def test_endless_headers_are_refused_by_nginx_as_by_the_lean_server(model_dir, nginx, serve):
    server = serve(model_dir, DRDEPLOY_PROFILE="classic", MODEL_SERVER_WORKERS=1)
    answer = server.client.get("/ping", headers={"a": "a" * 20_000})
    assert answer.status_code == 431
    assert answer.json()["error"]["code"] == "HeadersTooLarge"


@pytest.mark.nginx
@pytest.mark.parametrize("name", ["a b", 'a;"b" {c} $d', "a\\b'c#d"])
def test_a_state_folder_may_have_any_name(model_dir, nginx, serve, tmp_path, photo, name):
    folder = tmp_path / name
    server = serve(
        model_dir, DRDEPLOY_PROFILE="classic", MODEL_SERVER_WORKERS=1, DRDEPLOY_STATE_DIR=folder
    )
    assert server.invoke(photo).status_code == 200
    assert {"gunicorn.sock", "nginx.pid", "nginx-body"} <= {path.name for path in folder.iterdir()}


@pytest.mark.nginx
def test_nothing_is_left_behind(model_dir, nginx, serve):
    # Not pytest's folder, whose path may be longer than that of a socket.
    folder = Path(tempfile.mkdtemp(prefix="drl-"))
    server = serve(model_dir, DRDEPLOY_PROFILE="classic", MODEL_SERVER_WORKERS=1, TMPDIR=folder)
    below = psutil.Process(server.process.pid).children(recursive=True)
    server.signal(signal.SIGTERM)
    assert server.wait(60) == 0
    assert [process for process in below if is_left(process)] == []
    folder.rmdir()  # raises if something is in it


@pytest.mark.nginx
def test_nothing_outlives_a_killed_supervisor(model_dir, nginx, serve):
    served = serve(model_dir, DRDEPLOY_PROFILE="classic")
    below = psutil.Process(served.process.pid).children(recursive=True)
    assert len(below) >= 4  # Gunicorn and NGINX with a worker each
    served.signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(below, timeout=120)
    assert alive == []


def is_left(process) -> bool:
    """Whether a process is more than an exit status that nobody has read yet."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_what_a_child_prints_just_before_it_ends_is_in_the_log(tmp_path):
    """The error that follows tells the user to read the log lines above it."""
    with (tmp_path / "log").open("wb") as file, catch_watched_signals() as signals:
        supervision = ClassicSupervision(
            Settings(state_dir=str(tmp_path)), Capacity(workers=1, concurrency=1, threads=1),
            log=ServerLog(fd=file.fileno()), signals=signals,
        )  # fmt: skip
        supervision._start_child("nginx", [sys.executable, "-c", "print('why\\n' * 3, end='')"])
        (pid,) = supervision._children
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert [name for name, _ in supervision._reap_children()] == ["nginx"]
        supervision._kill_all_children()
    events = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [event["message"] for event in events if event["event"] == "output"] == ["why"] * 3
