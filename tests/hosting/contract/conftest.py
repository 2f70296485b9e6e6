"""Servers that must fulfil SageMaker's hosting contract: a process per profile, and the images.

Anything that is a :class:`served.Served` (a URL, a way to signal it, a way to wait for it) can be
the fixture ``server``. All of them serve the same small classifier, as ONNX or as SavedModel.

A plain run takes the images that other tests build anyway, one for each way of serving;
``-m ladder`` takes those that are large and differ from ``reduced`` only in size, and
``-m emulated`` those of arm64 (after ``scripts/start-engine.sh arm64``).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from photographs import photograph
from served import serve_container, serve_process
from tiny_models import onnx_artifact, saved_model_artifact

if TYPE_CHECKING:
    from served import Served

SLOW_ROUNDS, EMULATED_ROUNDS = 40, 2
READY_S, EMULATED_READY_S = 180.0, 600.0
"""How long a start may take; TensorFlow needs six seconds of CPU on an idle machine."""


@dataclass(frozen=True)
class ServerKind:
    """What to start: a profile as a process, or an image of the ladder."""

    name: str
    model_format: str = "onnx"
    is_process: bool = False
    platform: str | None = None

    def __str__(self) -> str:
        if self.platform is not None:
            return f"{self.name}-arm64"
        return f"{self.name}-{'process' if self.is_process else 'image'}"


ENGINE, LADDER, EMULATED = pytest.mark.engine, pytest.mark.ladder, pytest.mark.emulated
ARM64 = "linux/arm64"
SERVERS = [
    pytest.param(ServerKind("lean", is_process=True), id="lean-process"),
    pytest.param(ServerKind("classic", is_process=True), id="classic-process"),
    pytest.param(ServerKind("lean"), id="lean-image", marks=ENGINE),
    pytest.param(ServerKind("minimal"), id="minimal-image", marks=ENGINE),
    pytest.param(ServerKind("reduced", "saved_model"), id="reduced-image", marks=ENGINE),
    pytest.param(
        ServerKind("two-step", "saved_model"), id="two-step-image", marks=[ENGINE, LADDER]
    ),
    pytest.param(
        ServerKind("baseline", "saved_model"), id="baseline-image", marks=[ENGINE, LADDER]
    ),
    pytest.param(
        ServerKind("lean", platform=ARM64), id="lean-arm64-image", marks=[ENGINE, EMULATED]
    ),
    pytest.param(
        ServerKind("reduced", "saved_model", platform=ARM64),
        id="reduced-arm64-image",
        marks=[ENGINE, EMULATED],
    ),
]


@pytest.fixture(scope="session")
def photo():
    return photograph()


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory):
    """The classifier in a format; more rounds make it slower. An image's own user can read it."""
    made = {}

    def make(model_format, rounds=0):
        if (model_format, rounds) not in made:
            build = {"onnx": onnx_artifact, "saved_model": saved_model_artifact}[model_format]
            folder = build(tmp_path_factory.mktemp(model_format), rounds=rounds)
            for path in (folder, *folder.rglob("*")):
                path.chmod(0o755 if path.is_dir() else 0o644)
            made[model_format, rounds] = folder
        return made[model_format, rounds]

    return make


@pytest.fixture(scope="session")
def probabilities(model_dir, photo):
    """The classifier's answer to the photograph, in this process."""
    from drdeploy.grader.inference import InferenceService

    (inference,) = InferenceService.load(model_dir("onnx")).infer([photo])
    return inference.prediction.probabilities


def start(request, kind: ServerKind, folder, log_folder, **settings: Any) -> Served:
    """A server that is ready."""
    settings["MODEL_SERVER_WORKERS"] = 1
    if kind.is_process:
        if kind.name == "classic":
            request.getfixturevalue("nginx")
        return serve_process(folder, log_folder / "log", DRDEPLOY_PROFILE=kind.name, **settings)
    image = request.getfixturevalue("ladder_image")(kind.name, kind.platform)
    ready_s = EMULATED_READY_S if kind.platform else READY_S
    return serve_container(
        request.getfixturevalue("engine"), image, folder, ready_s=ready_s, **settings
    )


@pytest.fixture(scope="session", params=SERVERS)
def server(request, model_dir, tmp_path_factory):
    """A server for many tests: none of them may stop it."""
    kind = request.param
    served = start(request, kind, model_dir(kind.model_format), tmp_path_factory.mktemp(kind.name))
    yield served
    served.close()


@pytest.fixture(params=SERVERS)
def slow_server(request, model_dir, tmp_path):
    """A server for one test, which may stop it; a prediction takes a moment."""
    kind = request.param
    served = start(
        request,
        kind,
        model_dir(kind.model_format, EMULATED_ROUNDS if kind.platform else SLOW_ROUNDS),
        tmp_path,
        DRDEPLOY_THREADS=1,
        DRDEPLOY_CONCURRENCY=1,
        DRDEPLOY_QUEUE_LENGTH=1,
    )
    yield served
    served.close()


@pytest.fixture
def serve_lean(model_dir, tmp_path):
    """Start a lean server with settings; it is stopped at the end."""
    started: list[Served] = []

    def serve(*, rounds: int = 0, **settings: Any) -> Served:
        settings = {"MODEL_SERVER_WORKERS": 1, "DRDEPLOY_PROFILE": "lean", **settings}
        log = tmp_path / f"log-{len(started)}"
        started.append(serve_process(model_dir("onnx", rounds), log, **settings))
        return started[-1]

    yield serve
    for served in started:
        served.close()


@pytest.fixture(params=["lean", "classic"])
def serve_profile(request, serve_lean):
    """Start a server of either profile with settings; it is stopped at the end."""
    if request.param == "classic":
        request.getfixturevalue("nginx")
    return functools.partial(serve_lean, DRDEPLOY_PROFILE=request.param)
