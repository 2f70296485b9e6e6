"""A model that is not there, and one that is damaged."""

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
    Undetermined,
    clause,
    judged,
)
from drdeploy.hosting.conformance.contract import HOSTING, PRACTICE
from drdeploy.hosting.conformance.hosting import POLL_S, Conditions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from drdeploy.hosting.conformance.hosting import ContainerUnderTest, Host
    from drdeploy.hosting.conformance.inspection import ImageInspection
    from drdeploy.hosting.engine import ExitState

MISSING = "no model"
DAMAGED = "a damaged model"


@dataclass(frozen=True)
class Refusal:
    """What a container did without a model that it could load.

    Attributes:
        ready_s: When a ping said 200 nevertheless; None if none did.
        ended: How it ended; None if it still ran after ``waited_s``.
        waited_s: How long it was watched.
        log: What it said.
    """

    ready_s: float | None
    ended: ExitState | None
    waited_s: float
    log: str

    def __str__(self) -> str:
        if self.ready_s is not None:
            return f"said 200 to a ping after {self.ready_s:.2f} s"
        if self.ended is None:
            return f"still running after {self.waited_s:.1f} s, never ready"
        return f"ended with status {self.ended.exit_code} after {self.waited_s:.2f} s"


def observe_broken_models(seen: ImageInspection) -> Mapping[str, Refusal]:
    """Start both at once and watch them until they end or enough time has passed."""
    models = {MISSING: _no_model(seen.host.folder), DAMAGED: _damaged_model(seen.host)}
    began = time.monotonic()
    try:
        hosted = {name: seen.host.start(Conditions(model=model)) for name, model in models.items()}
    except EngineError as err:
        raise Undetermined(err.what) from err
    with ThreadPoolExecutor(len(hosted)) as threads:
        watch = partial(_watch, began=began, patience_s=seen.patience_s)
        return dict(zip(hosted, threads.map(watch, hosted.values()), strict=True))


def _watch(hosted: ContainerUnderTest, began: float, patience_s: float) -> Refusal:
    ready_s = None
    while (state := hosted.ended()) is None and time.monotonic() - began < patience_s:
        if hosted.ping().status == 200:
            ready_s = time.monotonic() - began
            break
        time.sleep(POLL_S)
    refusal = Refusal(ready_s, state, time.monotonic() - began, hosted.container.logs())
    hosted.container.remove()
    return refusal


def _no_model(folder: Path) -> Path:
    model = folder / "no-model"
    model.mkdir()
    model.chmod(0o755)
    return model


def _damaged_model(host: Host) -> Path:
    """A copy whose largest file ends halfway, the rest of it overwritten."""
    model = host.folder / "damaged-model"
    shutil.copytree(host.model, model)
    largest = max(filter(_is_file, model.rglob("*")), key=lambda path: path.stat().st_size)
    largest.write_bytes(bytes(largest.stat().st_size // 2))
    return model


def _is_file(path: Path) -> bool:
    return path.is_file()


@clause(Severity.MUST, HOSTING)
def not_ready_without_model(seen: ImageInspection) -> ConformanceVerdict:
    """Without a model that loads, it never says that it is ready."""
    refusals = seen.refusals
    return judged(all(one.ready_s is None for one in refusals.values()), _told(refusals))


@clause(Severity.SHOULD, PRACTICE)
def exits_without_model(seen: ImageInspection) -> ConformanceVerdict:
    """Without a model that loads, it ends with a status other than 0 instead of waiting."""
    refusals = seen.refusals
    is_kept = all(one.ended is not None and one.ended.exit_code for one in refusals.values())
    return judged(is_kept, _told(refusals))


def _told(refusals: Mapping[str, Refusal]) -> str:
    return "; ".join(f"{name}: {refusal}" for name, refusal in refusals.items())
