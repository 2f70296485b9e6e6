"""Check how a container behaves if its model is missing or damaged."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from drdeploy.errors import EngineError
from drdeploy.hosting.conformance.clause import (
    ConformanceVerdict,
    Severity,
    define_clause,
    make_passed_or_failed_verdict,
)
from drdeploy.hosting.conformance.containers import POLL_S, Conditions
from drdeploy.hosting.conformance.contract import HOSTING, PRACTICE
from drdeploy.hosting.conformance.inspection import Undetermined

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from drdeploy.hosting.conformance.containers import ContainerUnderTest, ModelHost
    from drdeploy.hosting.conformance.inspection import ImageInspection
    from drdeploy.hosting.container_engine import ExitState

MISSING = "no model"
DAMAGED = "a damaged model"


@dataclass(frozen=True)
class BrokenModelStart:
    """The behaviour of a container without a usable model.

    Attributes:
        ready_s: Seconds until the container reported ready although its model is unusable. None if
            the container never reported ready.
        ended: How the container ended; None if it still ran after ``waited_s``.
        waited_s: Seconds that the container was watched.
        log: The container's log.
    """

    ready_s: float | None
    ended: ExitState | None
    waited_s: float
    log: str

    def __str__(self) -> str:
        if self.ready_s is not None:
            return f"answered a ping with 200 after {self.ready_s:.2f} s"
        if self.ended is None:
            return f"still running after {self.waited_s:.1f} s, never ready"
        return f"ended with status {self.ended.exit_code} after {self.waited_s:.2f} s"


def observe_starts_with_broken_models(
    inspection: ImageInspection,
) -> Mapping[str, BrokenModelStart]:
    """Start a container without a model and one with a damaged model, and watch both.

    A container is watched until it ends or becomes ready, or until a time limit.
    """
    host = inspection.host
    empty = host.folder / "no-model"
    empty.mkdir()
    empty.chmod(0o755)
    if not any(path.is_file() for path in host.model_folder.rglob("*")):
        raise Undetermined("the archive contains no files, so the image needs no model")
    models = {MISSING: empty, DAMAGED: _make_damaged_model_copy(host)}
    began = time.monotonic()
    try:
        containers = {
            name: host.start_container(Conditions(model=model)) for name, model in models.items()
        }
    except EngineError as err:
        raise Undetermined(err.what) from err
    with ThreadPoolExecutor(len(containers)) as threads:
        watch = partial(
            _watch_until_end_or_ready, began=began, timeout_s=inspection.later_start_timeout_s
        )
        starts = threads.map(watch, containers.values())
        return dict(zip(containers, starts, strict=True))


def _watch_until_end_or_ready(
    container: ContainerUnderTest, began: float, timeout_s: float
) -> BrokenModelStart:
    ready_s = None
    # The time limit begins here, and not when the engine was asked for the container, because the
    # image is not to blame for a slow engine.
    deadline = time.monotonic() + timeout_s
    while (state := container.exit_state()) is None and time.monotonic() < deadline:
        if container.send_ping().status == 200:
            ready_s = time.monotonic() - began
            break
        time.sleep(POLL_S)
    start = BrokenModelStart(
        ready_s, state, time.monotonic() - began, container.running.read_logs()
    )
    container.running.remove()
    return start


def _make_damaged_model_copy(host: ModelHost) -> Path:
    """Return a copy of the model; its largest file has half the size, and only zero bytes."""
    model = host.folder / "damaged-model"
    shutil.copytree(host.model_folder, model)
    files = (path for path in model.rglob("*") if path.is_file())
    largest = max(files, key=lambda path: path.stat().st_size)
    # In every format, the largest file holds the weights. A server might ignore a smaller file.
    largest.write_bytes(bytes(largest.stat().st_size // 2))
    return model


@define_clause("not-ready-without-model", Severity.MUST, HOSTING)
def check_readiness_without_model(inspection: ImageInspection) -> ConformanceVerdict:
    """A server that cannot load its model must never report ready."""
    starts = inspection.observe_once(observe_starts_with_broken_models)
    return make_passed_or_failed_verdict(
        all(start.ready_s is None for start in starts.values()), _list_starts_in_words(starts)
    )


@define_clause("exits-without-model", Severity.SHOULD, PRACTICE)
def check_exit_without_model(inspection: ImageInspection) -> ConformanceVerdict:
    """If the server cannot load its model, it exits with a status other than 0."""
    starts = inspection.observe_once(observe_starts_with_broken_models)
    have_failed = all(
        start.ended is not None and start.ended.exit_code for start in starts.values()
    )
    return make_passed_or_failed_verdict(have_failed, _list_starts_in_words(starts))


def _list_starts_in_words(starts: Mapping[str, BrokenModelStart]) -> str:
    return "; ".join(f"{name}: {start}" for name, start in starts.items())
