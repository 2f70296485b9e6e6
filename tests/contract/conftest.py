"""Servers that must keep SageMaker's hosting contract: a process per profile here.

A container image is checked by the same tests: whatever yields a :class:`served.Served` (a URL,
a way to signal it, a way to wait for it) can stand behind ``hosted``.
"""

from __future__ import annotations

import pytest
from photographs import photograph
from served import serve_process
from tiny_models import onnx_artifact

SLOW_ROUNDS = 40
PROFILES = ("lean", "classic")


def _require(request, profile):
    if profile == "classic":
        request.getfixturevalue("nginx")
    return profile


@pytest.fixture(scope="session")
def photo():
    return photograph()


@pytest.fixture(scope="session", params=PROFILES)
def hosted(request, tmp_path_factory):
    """A server for many tests: none of them may stop it."""
    profile = _require(request, request.param)
    folder = tmp_path_factory.mktemp(profile)
    served = serve_process(
        onnx_artifact(folder), folder / "log", DRDEPLOY_PROFILE=profile, MODEL_SERVER_WORKERS=1
    )
    yield served
    served.close()


@pytest.fixture(params=PROFILES)
def slow_hosted(request, tmp_path):
    """A server for one test, which may stop it; a prediction takes a moment."""
    profile = _require(request, request.param)
    served = serve_process(
        onnx_artifact(tmp_path, rounds=SLOW_ROUNDS),
        tmp_path / "log",
        DRDEPLOY_PROFILE=profile,
        MODEL_SERVER_WORKERS=1,
        DRDEPLOY_THREADS=1,
        DRDEPLOY_CONCURRENCY=1,
        DRDEPLOY_QUEUE_LENGTH=1,
    )
    yield served
    served.close()
