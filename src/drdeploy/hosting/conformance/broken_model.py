"""Starts with a model that is missing, and with one that is damaged."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from drdeploy.errors import EngineError
from drdeploy.hosting.conformance.clause import ConformanceVerdict, Severity, clause, passed_if
from drdeploy.hosting.conformance.containers import POLL_S, Conditions
from drdeploy.hosting.conformance.contract import HOSTING, PRACTICE
from drdeploy.hosting.conformance.inspection import Undetermined

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from drdeploy.hosting.conformance.containers import ContainerUnderTest, Host
    from drdeploy.hosting.conformance.inspection import ImageInspection
    from drdeploy.hosting.engine import ExitState

MISSING = "no model"
DAMAGED = "a damaged model"


@dataclass(frozen=True)
class BrokenModelStart:
    """What a container did without a model that it could load.

    Attributes:
        ready_s: Seconds until a ping was answered with 200 nevertheless; None if none was.
        ended: How it ended; None if it still ran after ``waited_s``.
        waited_s: Seconds that it was watched.
        log: What it wrote.
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


def observe_broken_models(inspection: ImageInspection) -> Mapping[str, BrokenModelStart]:
    """Start both at once and watch them until they end or enough time has passed."""
    host = inspection.host
    empty = host.folder / "no-model"
    empty.mkdir()
    empty.chmod(0o755)
    models = {MISSING: empty, DAMAGED: _damaged_model(host)}
    began = time.monotonic()
    try:
        containers = {name: host.start(Conditions(model=model)) for name, model in models.items()}
    except EngineError as err:
        raise Undetermined(err.what) from err
    with ThreadPoolExecutor(len(containers)) as threads:
        watch = partial(_watch, began=began, patience_s=inspection.patience_s)
        starts = threads.map(watch, containers.values())
        return dict(zip(containers, starts, strict=True))


def _watch(container: ContainerUnderTest, began: float, patience_s: float) -> BrokenModelStart:
    ready_s = None
    while (state := container.exit_state()) is None and time.monotonic() - began < patience_s:
        if container.ping().status == 200:
            ready_s = time.monotonic() - began
            break
        time.sleep(POLL_S)
    start = BrokenModelStart(ready_s, state, time.monotonic() - began, container.running.logs())
    container.running.remove()
    return start


def _damaged_model(host: Host) -> Path:
    """Return a copy of the model whose largest file is zeros of half its length."""
    model = host.folder / "damaged-model"
    shutil.copytree(host.model, model)
    files = (path for path in model.rglob("*") if path.is_file())
    largest = max(files, key=lambda path: path.stat().st_size)
    # The largest file holds the weights, whatever the format; a format may ignore a small one.
    largest.write_bytes(bytes(largest.stat().st_size // 2))
    return model


@clause(Severity.MUST, HOSTING)
def not_ready_without_model(inspection: ImageInspection) -> ConformanceVerdict:
    """Without a model that loads, it never reports ready."""
    starts = inspection.observe(observe_broken_models)
    return passed_if(all(start.ready_s is None for start in starts.values()), _listed(starts))


@clause(Severity.SHOULD, PRACTICE)
def exits_without_model(inspection: ImageInspection) -> ConformanceVerdict:
    """Without a model that loads, it exits with a status other than 0 instead of waiting."""
    starts = inspection.observe(observe_broken_models)
    have_failed = all(
        start.ended is not None and start.ended.exit_code for start in starts.values()
    )
    return passed_if(have_failed, _listed(starts))


def _listed(starts: Mapping[str, BrokenModelStart]) -> str:
    return "; ".join(f"{name}: {start}" for name, start in starts.items())
