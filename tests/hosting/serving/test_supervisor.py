"""Supervision of the workers, with real processes and real signals."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from drdeploy.hosting.container_engine import find_free_port
from drdeploy.hosting.serving.settings import Settings
from drdeploy.hosting.serving.worker_plan import choose_worker_and_thread_counts


@contextlib.contextmanager
def in_flight(server, photo):
    """An invocation that the server is working on, as a future."""
    with ThreadPoolExecutor(1) as threads, server.connect() as other:
        answer = threads.submit(server.invoke, photo)
        wait_for(lambda: "drdeploy_invocations_total 1.0" in other.get("/metrics").text)
        yield answer


def wait_for(condition, timeout_s=60.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def run_serve(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "drdeploy.hosting.serving", *arguments],
        check=False,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_killed_worker_is_replaced_and_the_next_request_succeeds(model_dir, serve, photo):
    server = serve(model_dir)
    assert server.invoke(photo).json()["container"]["invocation"] == 1
    (worker,) = server.workers()
    worker.kill()
    with server.connect() as client:
        answer = client.post("/invocations", content=photo)
    assert answer.status_code == 200
    assert answer.json()["container"]["invocation"] == 2
    assert server.pids() != [worker.pid]


def test_a_stop_signal_lets_the_request_in_flight_finish(slow_model_dir, serve, photo):
    server = serve(slow_model_dir)
    with in_flight(server, photo) as answer:
        server.signal(signal.SIGTERM)
        wait_for(lambda: refuses(server))
        assert answer.result(60).status_code == 200
    assert server.wait(60) == 0


def refuses(server) -> bool:
    host, port = server.url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=60).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_stops_without_draining_and_says_success(model_dir, serve, number):
    server = serve(model_dir, DRDEPLOY_DRAIN_S=30)
    server.signal(number)
    assert server.wait(60) == 0


def test_a_stop_signal_while_the_model_loads_is_obeyed(model_dir, serve):
    server = serve(model_dir, is_awaited=False)
    wait_for(lambda: "worker started" in server.log_path.read_text())
    server.signal(signal.SIGTERM)
    assert server.wait(60) == 0


def test_a_request_longer_than_the_drain_is_cut_off(very_slow_model_dir, serve, photo):
    server = serve(very_slow_model_dir, DRDEPLOY_DRAIN_S=0.05, DRDEPLOY_THREADS=1)
    with in_flight(server, photo) as answer:
        server.signal(signal.SIGTERM)
        with pytest.raises(httpx.TransportError):
            answer.result(60)
    assert server.wait(60) == 1


def test_connections_made_before_the_model_is_loaded_wait_for_it(model_dir, serve):
    server = serve(model_dir, is_awaited=False)
    wait_for(lambda: "listening" in server.log_path.read_text())
    assert server.client.get("/ping").status_code == 200
    events = [event["event"] for event in server.events()]
    assert events.index("model loaded") > events.index("listening")


def test_a_model_that_cannot_be_loaded_ends_the_container_with_a_reason(tmp_path, serve):
    server = serve(tmp_path, is_awaited=False)
    assert server.wait(60) == 1
    last = server.events()[-1]
    assert (last["event"], last["code"]) == ("cannot serve", "ServerError")
    assert any(event.get("code") == "ManifestError" for event in server.events())


def test_a_worker_that_always_dies_while_loading_ends_the_container(model_dir, serve):
    server = serve(model_dir, is_awaited=False)
    while server.process.poll() is None:
        kill_loading_workers(server)
        time.sleep(0.005)
    assert server.wait(1) == 1
    assert "3 workers in a row" in server.events()[-1]["message"]


def kill_loading_workers(server):
    with contextlib.suppress(psutil.NoSuchProcess):
        for worker in psutil.Process(server.process.pid).children():
            worker.kill()


def test_workers_do_not_outlive_a_killed_supervisor(model_dir, serve):
    server = serve(model_dir)
    (worker,) = server.workers()
    server.process.kill()
    server.process.wait()
    wait_for(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)


def test_a_worker_that_loads_while_its_supervisor_is_killed_ends_without_a_traceback(
    model_dir, serve
):
    server = serve(model_dir, is_awaited=False)
    supervisor = psutil.Process(server.process.pid)
    wait_for(supervisor.children)
    (worker,) = supervisor.children()
    worker.suspend()
    server.process.kill()
    server.process.wait()
    worker.resume()
    wait_for(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
    assert "Traceback" not in server.log_path.read_text()


def test_several_workers_share_the_port_the_invocations_and_the_metrics(model_dir, serve, photo):
    server = serve(model_dir, MODEL_SERVER_WORKERS=2)
    wait_for(lambda: sum(e["event"] == "worker ready" for e in server.events()) == 2)
    one, other = server.workers()
    for number, (stopped, serving) in enumerate([(one, other), (other, one)], 1):
        stopped.suspend()
        assert invocation_number(server, photo) == number
        assert [e["pid"] for e in server.events() if e["event"] == "invocation"][-1] == serving.pid
        stopped.resume()
    assert 'drdeploy_responses_total{status="200"} 2.0' in server.client.get("/metrics").text


def test_by_default_there_are_as_many_workers_as_vcpus_and_the_first_does_not_wait(
    model_dir, serve, photo
):
    planned = choose_worker_and_thread_counts(Settings(model_dir=str(model_dir)))
    server = serve(model_dir, MODEL_SERVER_WORKERS="")
    assert server.client.post("/invocations", content=photo).status_code == 200
    wait_for(lambda: sum(e["event"] == "worker ready" for e in server.events()) == planned.workers)
    (listening,) = (e for e in server.events() if e["event"] == "listening")
    assert (listening["workers"], listening["threads"]) == (planned.workers, planned.threads)
    steps = [e["event"] for e in server.events() if e["event"].startswith("worker ")]
    assert steps[:2] == ["worker started", "worker ready"]
    assert steps.count("worker started") == planned.workers


def test_kept_connections_are_spread_over_the_workers(model_dir, serve, photo):
    server = serve(model_dir, MODEL_SERVER_WORKERS=2)
    wait_for(lambda: sum(e["event"] == "worker ready" for e in server.events()) == 2)
    with contextlib.ExitStack() as clients:
        for _ in range(8):
            client = clients.enter_context(server.connect())
            assert client.post("/invocations", content=photo).status_code == 200
    taken = Counter(e["pid"] for e in server.events() if e["event"] == "invocation")
    assert len(taken) == 2
    assert min(taken.values()) >= 2, taken


def test_a_connection_in_the_backlog_is_answered_when_the_server_stops(model_dir, serve, photo):
    server = serve(model_dir, MODEL_SERVER_WORKERS=2)
    wait_for(lambda: sum(e["event"] == "worker ready" for e in server.events()) == 2)
    for worker in server.workers():
        worker.suspend()
    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=60) as waiting:
        head = f"POST /invocations HTTP/1.1\r\nHost: grader\r\nContent-Length: {len(photo)}\r\n\r\n"
        waiting.sendall(head.encode() + photo)
        server.signal(signal.SIGTERM)
        for worker in server.workers():
            worker.resume()
        assert waiting.recv(12) == b"HTTP/1.1 200"
    assert server.wait(60) == 0


def invocation_number(server, photo) -> int:
    """Over a connection of its own, which any worker may take."""
    with server.connect() as client:
        return client.post("/invocations", content=photo).json()["container"]["invocation"]


def test_the_state_folder_is_removed_and_nothing_else_is_written(model_dir, serve, tmp_path):
    (tmp_path / "tmp").mkdir()
    server = serve(model_dir, TMPDIR=tmp_path / "tmp")
    assert len(list((tmp_path / "tmp").iterdir())) == 1
    server.signal(signal.SIGTERM)
    assert server.wait(60) == 0
    assert not list((tmp_path / "tmp").iterdir())


def test_a_port_in_use_is_reported(model_dir, serve):
    server = serve(model_dir)
    port = server.url.rpartition(":")[2]
    ended = run_serve(SAGEMAKER_BIND_TO_PORT=port, DRDEPLOY_BIND_HOST="127.0.0.1")
    assert ended.returncode == 2
    assert "cannot listen on its address" in ended.stderr


ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("command", "settings", "host"),
    [
        (("-m", "drdeploy.hosting.serving"), {}, "127.0.0.1"),
        (("-c", "from drdeploy.cli import main; main()", "serve"), {}, "127.0.0.1"),
        ((str(ROOT / "containers/serve.py"), "serve"), {}, "0.0.0.0"),
        ((str(ROOT / "containers/serve.py"), "serve"), {"DRDEPLOY_BIND_HOST": ""}, "0.0.0.0"),
        (
            (str(ROOT / "containers/serve.py"), "serve"),
            {"DRDEPLOY_BIND_HOST": "127.0.0.1"},
            "127.0.0.1",
        ),
    ],
    ids=["module", "command", "image", "image-empty", "image-set"],
)
def test_only_an_image_listens_on_every_interface_by_default(tmp_path, command, settings, host):
    environment = {**os.environ, "SAGEMAKER_BIND_TO_PORT": str(find_free_port())}
    environment |= {"DRDEPLOY_MODEL_DIR": str(tmp_path / "no-model"), **settings}
    ended = subprocess.run(
        [sys.executable, *command],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    events = [json.loads(line) for line in (ended.stdout + ended.stderr).splitlines() if line]
    assert [event["host"] for event in events if event["event"] == "listening"] == [host]


def test_a_bad_setting_ends_the_command_with_its_name():
    ended = run_serve(MODEL_SERVER_WORKERS="many")
    assert ended.returncode == 2
    assert "MODEL_SERVER_WORKERS" in ended.stderr


def test_help_lists_every_setting():
    ended = run_serve("--help")
    assert ended.returncode == 0
    assert "SAGEMAKER_BIND_TO_PORT=8080" in ended.stdout


ONLY_TMP_IS_WRITABLE = """
set -e
mount --bind "$1" "$1"
mount -o remount,ro,bind /
shift
caps=-all,+dac_read_search
exec setpriv --reuid 12345 --regid 12345 --clear-groups \\
  --inh-caps $caps --ambient-caps $caps --bounding-set $caps "$@"
"""
"""Runs a command as a user who may read everything (the checkout may be root's) and write to one
folder."""


@pytest.mark.usefixtures("mount_namespaces")
def test_any_user_may_run_it_where_only_tmp_can_be_written(model_dir, photo):
    port = str(find_free_port())
    with tempfile.TemporaryDirectory() as writable:
        Path(writable).chmod(0o777)
        process = subprocess.Popen(
            [
                *("unshare", "-m", "sh", "-c", ONLY_TMP_IS_WRITABLE, "sh", writable),
                *(sys.executable, "-m", "drdeploy.hosting.serving"),
            ],
            env={
                **os.environ,
                "TMPDIR": writable,
                "DRDEPLOY_BIND_HOST": "127.0.0.1",
                "SAGEMAKER_BIND_TO_PORT": port,
                "DRDEPLOY_MODEL_DIR": str(model_dir),
            },
        )
        try:
            wait_for(lambda: answers(port) or process.poll() is not None)
            answer = httpx.post(f"http://127.0.0.1:{port}/invocations", content=photo, timeout=60)
            assert answer.status_code == 200
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert not list(Path(writable).iterdir())


def answers(port) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/ping", verify=False).status_code == 200
    except httpx.TransportError:
        return False
