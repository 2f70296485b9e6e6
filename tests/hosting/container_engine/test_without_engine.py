"""Where no engine answers, and what is read without one."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import SimpleNamespace

import pytest
import requests

from drdeploy.errors import EngineUnavailable
from drdeploy.hosting.container_engine import ContainerEngine, find_free_port
from drdeploy.hosting.container_engine.container import (
    RunningContainer,
    _parse_stats,
    has_oom_kill_in_kernel_log,
)
from drdeploy.hosting.container_engine.spec import ContainerSpec


def test_no_engine_is_found_where_nothing_listens(tmp_path):
    assert ContainerEngine.find({"DOCKER_HOST": f"unix://{tmp_path}/no.sock"}) is None


def test_no_engine_is_found_where_another_server_answers(tmp_path):
    path = tmp_path / "other.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        threading.Thread(target=_hang_up, args=(listener,), daemon=True).start()
        assert ContainerEngine.find({"DOCKER_HOST": f"unix://{path}"}) is None


def test_the_error_for_a_missing_engine_says_where_it_was_sought_and_what_to_do(tmp_path):
    host = f"unix://{tmp_path}/no.sock"
    with pytest.raises(EngineUnavailable, match="DOCKER_HOST") as caught:
        ContainerEngine.find_or_raise({"DOCKER_HOST": host})
    assert caught.value.where == f"{host} (DOCKER_HOST)"


def test_a_free_port_can_be_bound():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", find_free_port()))


def test_the_kernel_log_names_the_container_that_ran_out_of_memory(tmp_path):
    log = tmp_path / "kmsg"
    log.write_text("4,1,2,-;oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/docker/abc123,task=x\n")
    assert has_oom_kill_in_kernel_log("abc123", log)
    assert not has_oom_kill_in_kernel_log("def456", log)


def test_an_unreadable_kernel_log_reports_no_kill(tmp_path):
    assert not has_oom_kill_in_kernel_log("abc123", tmp_path / "none")


@pytest.mark.parametrize("name", ["total_inactive_file", "inactive_file"])
def test_page_cache_that_can_be_dropped_is_not_memory_in_use(name):
    sample = {"memory_stats": {"usage": 900, "limit": 1000, "stats": {name: 400}}}
    stats = _parse_stats(sample)
    assert (stats.memory_bytes, stats.memory_utilization) == (500, 0.5)


class GoneEngine:
    """An engine that ended after a container was started."""

    def __getattr__(self, name):
        def fail(*_, **__):
            raise requests.ConnectionError("Connection refused")

        return fail


@pytest.mark.parametrize("method", ["kill", "stop", "start", "remove", "exit_state", "read_logs"])
def test_whatever_is_asked_of_a_container_an_engine_that_is_gone_is_named(method):
    container = RunningContainer("a" * 64, ContainerSpec("any"), None, GoneEngine())
    with pytest.raises(EngineUnavailable, match="No container engine answers"):
        getattr(container, method)()


def test_a_network_of_an_engine_that_is_gone_is_not_removed():
    connection = SimpleNamespace(api=GoneEngine(), location=SimpleNamespace(url="unix:///none"))
    with pytest.raises(EngineUnavailable, match="No container engine answers"):
        ContainerEngine(connection).remove_network("any")


def _hang_up(listener):
    with contextlib.suppress(OSError):  # the listener is closed at the end
        while True:
            listener.accept()[0].close()
