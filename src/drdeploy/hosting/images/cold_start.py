"""Times a cold start stage by stage, from the request for a container to its first answer.

The server's log says when it listens and when its model is loaded; the engine says when it started
the process; the client knows both ends.  All of them read the one clock of this machine, so that
the stages add up to the whole.
"""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

from drdeploy.errors import EngineError
from drdeploy.hosting.engine import ContainerSpec
from drdeploy.hosting.images.server_spec import server_spec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from drdeploy.hosting.engine import Engine, RunningContainer

Stage = Literal[
    "engine", "start_server", "start_worker", "import_runtime", "load", "first_prediction", "answer"
]
STAGES: tuple[Stage, ...] = get_args(Stage)

MEANING: Mapping[Stage, str] = {
    "engine": "engine: create and start the container",
    "start_server": "interpreter, and imports until it listens",
    "start_worker": "imports of the worker, and what runs before it",
    "import_runtime": "import of the model's runtime",
    "load": "load of the model",
    "first_prediction": "first prediction",
    "answer": "until the first client has its answer",
}

POLL_S = 0.002
"""Between two attempts: it bounds the error of the measured time."""
PATIENCE_S = 120.0
CHECK_EVERY_S = 2.0
"""Between two checks of whether the container still runs: asking disturbs what is measured."""


@dataclass(frozen=True)
class ColdStart:
    """One cold start.

    Attributes:
        total_s: Seconds from the request for the container to the last byte of the first answer.
        stages_s: Seconds of each stage; they add up to ``total_s``.
    """

    total_s: float
    stages_s: Mapping[Stage, float]


def measure_cold_start(
    engine: Engine, image: str, model_dir: Path, photograph: bytes, *, memory_mb: int, cpus: float
) -> ColdStart:
    """Time the start of a container until it has graded a photograph (JPEG).

    Raises:
        EngineError: It ends, or does not answer within two minutes; the message quotes its log.
    """
    spec = server_spec(engine, image, model_dir, memory_mb=memory_mb, cpus=cpus)
    asked = time.time()
    container = engine.run(spec)
    try:
        _first_answer(container, photograph)
        answered = time.time()
        return ColdStart(answered - asked, _stages(container, asked, answered))
    finally:
        container.remove()


def empty_start_s(engine: Engine, image: str, *, memory_mb: int, cpus: float) -> float:
    """Return the seconds to start a container that does nothing, and to notice its end.

    The image needs ``/bin/true``.
    """
    spec = ContainerSpec(
        image, (), entrypoint=("/bin/true",), port=None, network="none", memory_mb=memory_mb,
        cpus=cpus,
    )  # fmt: skip
    asked = time.time()
    container = engine.run(spec)
    try:
        container.wait(PATIENCE_S)
        return time.time() - asked
    finally:
        container.remove()


def _first_answer(container: RunningContainer, photograph: bytes) -> None:
    # The photograph itself is sent from the start, not a ping: a client waits for its grade, and a
    # connection made before the model is loaded waits in the server's backlog.
    deadline = time.monotonic() + PATIENCE_S
    check_at = time.monotonic() + CHECK_EVERY_S
    while not _answers(container, photograph):
        if time.monotonic() >= check_at:
            check_at = time.monotonic() + CHECK_EVERY_S
            is_over = not container.exit_state().is_running
            if is_over or time.monotonic() > deadline:
                raise EngineError(
                    "The container ended" if is_over else "The container does not answer",
                    where=container.spec.image,
                    remedy=f"The end of its log: {container.logs(tail=5)}",
                )
        time.sleep(POLL_S)


def _answers(container: RunningContainer, photograph: bytes) -> bool:
    connection = http.client.HTTPConnection(
        "127.0.0.1", container.host_port or 0, timeout=PATIENCE_S
    )
    try:
        connection.request("POST", "/invocations", photograph, {"Content-Type": "image/jpeg"})
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException):
        return False
    else:
        return response.status == http.client.OK
    finally:
        connection.close()


def _stages(container: RunningContainer, asked: float, answered: float) -> dict[Stage, float]:
    lines = [json.loads(line) for line in container.logs().splitlines() if line.startswith("{")]
    events = {event["event"]: event for event in lines}
    missing = {"listening", "model loaded"} - events.keys()
    if missing:
        raise EngineError(
            f"The log does not say {', '.join(sorted(missing))}", where=container.spec.image,
            remedy="Only this project's images log these stages; `image conform` times any image",
        )  # fmt: skip
    loaded = events["model loaded"]
    started = container.started_at()
    listening = _when(events["listening"])
    ready = _when(loaded)
    names = ("import_runtime_s", "load_s", "first_prediction_s")
    import_s, load_s, predict_s = (float(loaded[name]) for name in names)
    return {
        "engine": started - asked,
        "start_server": listening - started,
        "start_worker": ready - listening - import_s - load_s - predict_s,
        "import_runtime": import_s,
        "load": load_s,
        "first_prediction": predict_s,
        "answer": answered - ready,
    }


def _when(event: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()
