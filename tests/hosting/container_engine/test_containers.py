"""Containers in a real engine keep within their limits and report how they ended."""

from __future__ import annotations

import os
import time
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from required import require

from drdeploy.errors import EngineError
from drdeploy.hosting.container_engine import ContainerSpec, Mount
from drdeploy.hosting.container_engine import container as containers
from drdeploy.hosting.container_engine.network_namespace import NetworkNamespace

pytestmark = pytest.mark.engine

LABEL = "drdeploy.test"


@pytest.fixture
def started(engine):
    """Start containers that do not outlive the test."""
    containers = []

    def run(spec):
        containers.append(engine.start_container(spec))
        return containers[-1]

    yield run
    for container in containers:
        container.remove()


@pytest.fixture
def shell(started, lean_image):
    """Run a shell command to its end: its output and its exit state."""

    def run(command, **options):
        options = {"port": None, "network": "none", "labels": {LABEL: "shell"}, **options}
        container = started(
            ContainerSpec(lean_image, ("-c", command), entrypoint=("sh",), **options)
        )
        state = container.wait(120)
        return container.read_logs(), state

    return run


def python_server(image, port, **options):
    command = ("-m", "http.server", "--bind", options.pop("bind", "0.0.0.0"), str(port))
    return ContainerSpec(
        image, command, entrypoint=("python3",), port=port, labels={LABEL: "server"}, **options
    )


def test_the_memory_limit_can_be_read_inside(shell):
    output, _ = shell(
        "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes 2>/dev/null || cat memory.max",
        memory_mb=96,
    )
    assert int(output) == 96 * 1024 * 1024


def test_the_runtimes_see_the_cpu_limit(shell):
    output, _ = shell(
        "python3 -c 'from drdeploy.grader.runtimes import cpu_limit as c; "
        "print(c.count_available_cpus())'",
        cpus=0.58,
    )
    assert float(output) == pytest.approx(0.58, abs=0.005)


def test_a_container_can_be_bound_to_cores(shell):
    output, _ = shell("grep Cpus_allowed_list /proc/self/status", cpuset="0")
    assert output.split() == ["Cpus_allowed_list:", "0"]


def test_a_container_that_ended_starts_again_with_its_files(started, lean_image):
    script = "test -e /tmp/x && echo again; touch /tmp/x; echo up"
    spec = ContainerSpec(
        lean_image, ("-c", script), entrypoint=("sh",), port=None, network="none", read_only=False
    )
    container = started(spec)
    container.wait(120)
    container.start()
    container.wait(120)
    assert container.read_logs().split() == ["up", "again", "up"]


def test_the_last_lines_of_a_log_keep_the_order_in_which_a_line_was_written(started, lean_image):
    script = (
        "echo first; for part in 'cat: ' f ': denied'; do printf \"$part\"; sleep 0.2; done; echo"
    )
    spec = ContainerSpec(lean_image, ("-c", script), entrypoint=("sh",), port=None, network="none")
    container = started(spec)
    container.wait(120)
    assert container.read_logs(tail=1) == "cat: f: denied\n"
    assert container.read_logs(tail=9) == container.read_logs() == "first\ncat: f: denied\n"


def test_a_log_that_is_too_long_to_be_read_whole_still_has_an_end(started, lean_image, monkeypatch):
    monkeypatch.setattr(containers, "_WHOLE_LOG_BYTES_MAX", 10_000)
    script = "yes long line | head -n 5000; echo the end"
    spec = ContainerSpec(lean_image, ("-c", script), entrypoint=("sh",), port=None, network="none")
    container = started(spec)
    container.wait(120)
    assert container.read_logs(tail=2) == "long line\nthe end\n"


def test_the_root_cannot_be_written_to_but_tmp_can(shell):
    # The two streams come in any order.
    output, state = shell("touch /root.txt || touch /tmp/x && ls /tmp")
    assert "Read-only file system" in output
    assert "x" in output.splitlines()
    assert state.exit_code == 0


def test_no_capability_is_left_not_even_to_root(shell):
    output, _ = shell("grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status", user="0")
    assert [line.split()[1].lstrip("0") for line in output.splitlines()] == ["", "", "1"]


def test_the_user_is_the_images_own_and_not_root(shell):
    output, _ = shell("id -u")
    assert output.strip() != "0"


def test_processes_are_limited(shell):
    # Room for the dozen threads with which the engine itself starts a container.
    output, _ = shell("for i in $(seq 60); do sleep 1 & done; wait", pids=30)
    assert "fork" in output.lower()


def test_a_mount_cannot_be_written_to(shell, tmp_path):
    tmp_path.chmod(0o777)
    output, _ = shell("touch /data/x", mounts=(Mount(tmp_path, "/data"),))
    assert "Read-only file system" in output


def test_the_exit_status_is_the_commands(shell):
    _, state = shell("exit 7")
    assert (state.is_running, state.exit_code, state.oom_killed) == (False, 7, False)


def test_a_container_that_ran_out_of_memory_says_so(shell):
    _, state = shell("tail /dev/zero", memory_mb=32)
    assert (state.exit_code, state.oom_killed) == (137, True)


def test_a_killed_container_is_not_taken_for_one_out_of_memory(started, lean_image):
    container = started(
        ContainerSpec(lean_image, ("3600",), entrypoint=("sleep",), port=None, network="none")
    )
    container.kill()
    state = container.wait(120)
    assert (state.exit_code, state.oom_killed) == (137, False)


def test_stop_lets_the_process_finish_first(started, lean_image):
    script = "trap 'sleep 0.5; echo finished; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    container = started(
        ContainerSpec(lean_image, ("-c", script), entrypoint=("sh",), port=None, network="none")
    )
    _until(lambda: "up" in container.read_logs())
    container.stop(60)
    assert "finished" in container.read_logs()
    assert container.exit_state().exit_code == 0


def test_stop_kills_a_process_that_ignores_sigterm(started, lean_image):
    script = "trap '' TERM; echo up; while :; do sleep 0.05; done"
    container = started(
        ContainerSpec(lean_image, ("-c", script), entrypoint=("sh",), port=None, network="none")
    )
    _until(lambda: "up" in container.read_logs())
    container.stop(1)
    assert container.exit_state().exit_code == 137


def test_a_container_that_ended_or_is_gone_can_be_stopped_killed_and_removed_again(
    engine, lean_image
):
    container = engine.start_container(
        ContainerSpec(lean_image, entrypoint=("true",), command=(), port=None, network="none")
    )
    container.wait(120)
    container.kill()
    container.stop(1)
    container.remove()
    container.kill()
    container.remove()


def test_a_server_answers_on_its_loopback_port(started, lean_image):
    container = started(python_server(lean_image, 8080))
    with _answer(f"{container.url_of_published_port}/etc/hostname") as answer:
        assert answer.status == 200
    with _connected(container) as connection:
        assert _ask(connection).startswith(b"HTTP/1.0 200")


def test_a_server_without_a_network_answers_whoever_may_enter_its_loopback(
    engine, started, lean_image
):
    require(engine.can_enter_network_namespaces, "the right to enter a container's network (root)")
    before = Path("/proc/thread-self/ns/net").readlink()
    container = started(python_server(lean_image, 8080, network="none", bind="127.0.0.1"))
    with _connected(container) as connection:
        assert _ask(connection).startswith(b"HTTP/1.0 200")
    assert Path("/proc/thread-self/ns/net").readlink() == before
    with pytest.raises(EngineError, match="no port"):
        _ = container.url_of_published_port
    container.remove()
    with pytest.raises((EngineError, ConnectionRefusedError)):
        container.connect(1)


def _network_handles():
    """Return the networks that this process holds open."""
    links = []
    for handle in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            links.append(str(handle.readlink()))
    return [link for link in links if link.startswith("net:")]


def test_a_restarted_container_is_reached_in_its_new_network_and_the_old_one_is_let_go(
    engine, started, lean_image
):
    require(engine.can_enter_network_namespaces, "the right to enter a container's network (root)")
    before = _network_handles()
    container = started(python_server(lean_image, 8080, network="none", bind="127.0.0.1"))
    for _ in range(2):
        with _connected(container) as connection:
            assert _ask(connection).startswith(b"HTTP/1.0 200")
        assert len(_network_handles()) == len(before) + 1
        container.kill()
        container.wait(30)
        container.start()
    container.remove()
    assert _network_handles() == before


def test_nobody_is_led_into_the_network_of_a_process_outside_the_container():
    with pytest.raises(ConnectionRefusedError, match="does not belong to this container"):
        NetworkNamespace(os.getpid(), "f" * 64)
    with pytest.raises(ConnectionRefusedError, match="no process"):
        NetworkNamespace(2**22 + 1, "f" * 64)


def test_a_taken_port_is_refused_and_leaves_no_container(engine, started, lean_image):
    taken = started(python_server(lean_image, 8080))
    label = f"{LABEL}.taken"
    spec = ContainerSpec(
        lean_image,
        ("3600",),
        entrypoint=("sleep",),
        host_port=taken.host_port,
        labels={label: "yes"},
    )
    with pytest.raises(EngineError):
        started(spec)
    assert engine.list_container_ids(label) == ()


def test_memory_in_use_is_measured_against_the_limit(started, lean_image):
    script = (
        "held = bytearray(b'x' * 50_000_000); print('up', flush=True); import time; "
        "time.sleep(3600)"
    )
    container = started(
        ContainerSpec(
            lean_image,
            ("-c", script),
            entrypoint=("python3",),
            memory_mb=256,
            port=None,
            network="none",
        )
    )
    _until(lambda: "up" in container.read_logs())
    stats = container.read_stats()
    assert stats.memory_limit_bytes == 256 * 1024 * 1024
    assert 50e6 < stats.memory_bytes < 100e6
    assert stats.tasks == 1


def test_stale_containers_are_removed_by_their_label_alone(engine, started, lean_image):
    def sleeper(value):
        return started(
            ContainerSpec(
                lean_image,
                ("3600",),
                entrypoint=("sleep",),
                port=None,
                network="none",
                labels={f"{LABEL}.stale": value},
            )
        )

    stale, kept = sleeper("one"), sleeper("two")
    assert engine.remove_containers_with_label(f"{LABEL}.stale=one") == (stale.id,)
    assert engine.list_container_ids(f"{LABEL}.stale") == (kept.id,)


def test_the_error_for_a_missing_image_says_how_to_build_it(engine):
    with pytest.raises(EngineError, match="drdeploy image build"):
        engine.start_container(ContainerSpec("drdeploy:no-such-image"))


def _until(is_so, timeout_s=120.0):
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@contextmanager
def _answer(url, timeout_s=120.0):
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                yield answer
                return
        except OSError:
            assert time.monotonic() < deadline, f"no answer from {url}"
            time.sleep(0.02)


@contextmanager
def _connected(container, timeout_s=120.0):
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            connection = container.connect(60)
        except OSError:
            assert time.monotonic() < deadline, "nobody listens"
            time.sleep(0.02)
        else:
            break
    with connection:
        yield connection


def _ask(connection):
    connection.sendall(b"GET /etc/hostname HTTP/1.0\r\n\r\n")
    return connection.recv(100)
