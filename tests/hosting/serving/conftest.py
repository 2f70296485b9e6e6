"""A tiny classifier and servers that serve it."""

from __future__ import annotations

import pytest
from photographs import photograph
from served import ServedProcess, serve_process
from tiny_models import onnx_artifact

SLOW_ROUNDS = 60
"""One prediction takes about half a second on one thread."""


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory):
    return onnx_artifact(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def slow_model_dir(tmp_path_factory):
    return onnx_artifact(tmp_path_factory.mktemp("slow"), rounds=SLOW_ROUNDS)


@pytest.fixture(scope="session")
def very_slow_model_dir(tmp_path_factory):
    """One prediction takes several seconds."""
    return onnx_artifact(tmp_path_factory.mktemp("very-slow"), rounds=10 * SLOW_ROUNDS)


@pytest.fixture
def serve(tmp_path):
    """Start a server with settings; it is stopped at the end."""
    started: list[ServedProcess] = []

    def start(model_dir, *, is_awaited=True, **settings):
        log_path = tmp_path / f"server-{len(started)}.log"
        served = serve_process(model_dir, log_path, is_awaited=is_awaited, **settings)
        started.append(served)
        return served

    yield start
    for served in started:
        served.close()


@pytest.fixture(scope="module")
def server(model_dir, tmp_path_factory):
    """A lean server that the tests of a module share."""
    served = serve_process(model_dir, tmp_path_factory.mktemp("log") / "server.log")
    yield served
    served.close()


@pytest.fixture(scope="session")
def photo():
    return photograph()
