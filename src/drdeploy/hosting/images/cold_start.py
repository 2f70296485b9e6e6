"""Time each stage of a cold start, from the request for a container to its first answer.

The engine reports when the server's process started. The server's log says when the server listened
and when the model was loaded. The client measures when the container was requested and when the
answer arrived. These times can be compared, because the engine, the server and the client all use
the clock of this machine. The stages therefore add up to the total.
"""

from __future__ import annotations

import http.client
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

from drdeploy.errors import EngineError
from drdeploy.files import parse_json
from drdeploy.hosting.container_engine import ContainerSpec, Mount
from drdeploy.hosting.serving.settings import MODEL_DIR

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from drdeploy.hosting.container_engine import ContainerEngine, RunningContainer

ColdStartStage = Literal[
    "engine", "start_server", "start_worker", "import_runtime", "load", "first_prediction", "answer"
]
STAGES: tuple[ColdStartStage, ...] = get_args(ColdStartStage)

MEANING: Mapping[ColdStartStage, str] = {
    "engine": "engine: create and start the container",
    "start_server": "start of the server, until it listens",
    "start_worker": "start of the worker, with its imports",
    "import_runtime": "import of the model's runtime",
    "load": "load of the model",
    "first_prediction": "first prediction",
    "answer": "until the first answer arrives",
}

POLL_S = 0.002
"""Seconds between two attempts to connect; the measured time is too long by at most this much."""
PATIENCE_S = 120.0
CHECK_EVERY_S = 2.0
"""Seconds between two checks that the container still runs. The checks are rare, because each one
disturbs the measurement.
"""


@dataclass(frozen=True)
class ColdStart:
    """The duration of one cold start.

    Attributes:
        total_s: Seconds from the request for the container to the last byte of the first answer.
        stages_s: Seconds that each stage took; the stages add up to ``total_s``.
    """

    total_s: float
    stages_s: Mapping[ColdStartStage, float]


def measure_cold_start_stages(
    engine: ContainerEngine,
    image: str,
    model_dir: Path,
    photograph: bytes,
    *,
    memory_mb: int,
    cpus: float,
) -> ColdStart:
    """Start a container, and time each stage until the container has graded a photograph (JPEG).

    Raises:
        EngineError: The container ends, or does not answer within two minutes; the message quotes
            the container's log.
    """
    spec = ContainerSpec(
        image,
        mounts=(Mount(model_dir, MODEL_DIR),),
        memory_mb=memory_mb,
        cpus=cpus,
        network=engine.network_with_fastest_start,
    )
    asked = time.time()
    container = engine.start_container(spec)
    try:
        _send_photograph_until_answered(container, photograph)
        answered = time.time()
        return ColdStart(answered - asked, _read_stage_seconds_from_log(container, asked, answered))
    finally:
        container.remove()


def measure_empty_container_start_s(
    engine: ContainerEngine, image: str, *, memory_mb: int, cpus: float
) -> float:
    """Return the seconds that a container takes to start and to end if it only runs ``/bin/true``.

    The image must contain ``/bin/true``.
    """
    spec = ContainerSpec(
        image, (), entrypoint=("/bin/true",), port=None, network="none", memory_mb=memory_mb,
        cpus=cpus,
    )  # fmt: skip
    asked = time.time()
    container = engine.start_container(spec)
    try:
        container.wait(PATIENCE_S)
        return time.time() - asked
    finally:
        container.remove()


def _send_photograph_until_answered(container: RunningContainer, photograph: bytes) -> None:
    # The photograph is sent from the start, without a ping before. A client waits for its grade,
    # and a connection that is made before the model is loaded waits in the server's backlog.
    deadline = time.monotonic() + PATIENCE_S
    check_at = time.monotonic() + CHECK_EVERY_S
    while not _send_photograph_and_tell_if_graded(container, photograph):
        if time.monotonic() >= check_at:
            check_at = time.monotonic() + CHECK_EVERY_S
            is_over = not container.exit_state().is_running
            if is_over or time.monotonic() > deadline:
                raise EngineError(
                    "The container ended" if is_over else "The container does not answer",
                    where=container.spec.image,
                    remedy=f"Read the end of the container's log: {container.read_logs(tail=5)}",
                )
        time.sleep(POLL_S)


def _send_photograph_and_tell_if_graded(container: RunningContainer, photograph: bytes) -> bool:
    connection = http.client.HTTPConnection("localhost", timeout=PATIENCE_S)
    try:
        connection.sock = container.connect(PATIENCE_S)
        connection.request("POST", "/invocations", photograph, {"Content-Type": "image/jpeg"})
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException):
        return False
    else:
        return response.status == http.client.OK
    finally:
        connection.close()


def _read_stage_seconds_from_log(
    container: RunningContainer, asked: float, answered: float
) -> dict[ColdStartStage, float]:
    events = _find_first_events(container.read_logs())
    missing = {"listening", "model loaded"} - events.keys()
    if missing:
        raise EngineError(
            f"The log of the container lacks the lines {', '.join(map(repr, sorted(missing)))}",
            where=container.spec.image,
            remedy=(
                "Use an image of drdeploy, which logs the missing lines; `drdeploy image "
                "conform` times the start of any image"
            ),
        )
    loaded = events["model loaded"]
    started = container.read_start_time()
    listening = _parse_event_time(events["listening"])
    ready = _parse_event_time(loaded)
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


def _find_first_events(log: str) -> dict[str, Mapping[str, Any]]:
    """Return the first event of each name in a log; other lines of the log are left out.

    With two vCPUs or more, a second worker loads the model after the first has answered.
    """
    events: dict[str, Mapping[str, Any]] = {}
    for line in log.splitlines():
        try:
            event = parse_json(line) if line.startswith("{") else None
        except ValueError:
            continue
        if isinstance(event, dict) and isinstance(event.get("event"), str):
            events.setdefault(event["event"], event)
    return events


def _parse_event_time(event: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()
