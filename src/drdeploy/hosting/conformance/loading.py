"""Several clients at once for a few seconds: pings, connections, memory meanwhile."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.errors import EngineError
from drdeploy.hosting.conformance.clause import (
    ConformanceVerdict,
    Severity,
    Undetermined,
    clause,
    judged,
)
from drdeploy.hosting.conformance.client import SHED
from drdeploy.hosting.conformance.contract import HOSTING, SERVERLESS
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.hosting.conformance.client import ProbeAnswer
    from drdeploy.hosting.conformance.hosting import ContainerUnderTest
    from drdeploy.hosting.conformance.inspection import ImageInspection
    from drdeploy.hosting.engine import ContainerStats, ExitState

CLIENTS = 8
PING_EVERY_S = 0.1
LOOK_EVERY_S = 0.2
STRAY_CONNECTIONS = 1
"""One slow connection may be this machine's fault."""
FULL_SHARE = 0.95


@dataclass(frozen=True)
class Load:
    """What was seen while clients sent photographs without a pause.

    Attributes:
        duration_s: Until the last answer.
        answers: To photographs.
        pings: Meanwhile.
        peak: The look at the container that saw the most memory; None without a look.
        ended: How the container ended, if it did.
    """

    duration_s: float
    answers: tuple[ProbeAnswer, ...]
    pings: tuple[ProbeAnswer, ...]
    peak: ContainerStats | None
    ended: ExitState | None


def observe_load(seen: ImageInspection, hosted: ContainerUnderTest) -> Load:
    """Put load on the container."""
    began = time.monotonic()
    over = threading.Event()
    with ThreadPoolExecutor(CLIENTS + 2) as threads:
        clients = [
            threads.submit(_repeat, lambda: hosted.grade(seen.photograph), over, 0.0)
            for _ in range(CLIENTS)
        ]
        pinger = threads.submit(_repeat, hosted.ping, over, PING_EVERY_S)
        watcher = threads.submit(_watch_memory, hosted, over)
        try:
            time.sleep(seen.contract.load_s)
        finally:
            over.set()
    looks, pings = watcher.result(), pinger.result()
    return Load(
        duration_s=time.monotonic() - began,
        answers=tuple(answer for client in clients for answer in client.result()),
        pings=tuple(pings),
        peak=max(looks, key=lambda look: look.memory_bytes, default=None),
        ended=hosted.ended_since(pings[-1]),
    )


def _repeat(
    ask: Callable[[], ProbeAnswer], over: threading.Event, every_s: float
) -> list[ProbeAnswer]:
    answers = [ask()]
    while not over.wait(max(0.0, every_s - answers[-1].total_s)):
        answers.append(ask())
        if not answers[-1].status:
            over.wait(PING_EVERY_S)  # a server that is gone would be asked thousands of times
    return answers


def _watch_memory(hosted: ContainerUnderTest, over: threading.Event) -> list[ContainerStats]:
    looks = []
    while not over.wait(LOOK_EVERY_S):
        try:
            looks.append(hosted.container.stats())
        except EngineError:
            break  # it ended
    return looks


@clause(Severity.MUST, SERVERLESS)
def memory_limit(seen: ImageInspection) -> ConformanceVerdict:
    """Its memory stays below the limit under load."""
    load, limit_mb = seen.load, seen.host.memory_mb
    if load.ended is not None and load.ended.oom_killed:
        return judged(False, f"killed for want of memory at {limit_mb} MB under {CLIENTS} clients")
    if load.peak is None:
        raise Undetermined("the engine told nothing of its memory")
    peak_mb = load.peak.memory_bytes / MIB
    return judged(
        peak_mb <= FULL_SHARE * limit_mb,
        f"{peak_mb:.0f} MB of {limit_mb} MB ({peak_mb / limit_mb:.0%}) at most, with "
        f"{CLIENTS} clients for {load.duration_s:.1f} s",
    )


@clause(Severity.MUST, HOSTING)
def answers_under_load(seen: ImageInspection) -> ConformanceVerdict:
    """Under load it answers every photograph in time, or says that it is full."""
    seen.require_answers()
    answers = _load(seen).answers
    counts = Counter(answer.status or answer.failure for answer in answers)
    said = ", ".join(f"{status} x {n}" for status, n in sorted(counts.items(), key=str))
    slowest_s = max(answer.total_s for answer in answers)
    is_kept = (
        all(0 < answer.status < 500 or answer.status in SHED for answer in answers)
        and any(answer.is_success for answer in answers)
        and slowest_s <= seen.contract.answer_s
    )
    return judged(is_kept, f"{CLIENTS} clients were told {said}; slowest {slowest_s:.2f} s")


@clause(Severity.MUST, HOSTING)
def ping_under_load(seen: ImageInspection) -> ConformanceVerdict:
    """It answers a ping with 200 within 2 s while it is busy."""
    pings, limit_s = _load(seen).pings, seen.contract.ping_s
    late = sum(ping.status != 200 or ping.total_s > limit_s for ping in pings)
    slowest_s = max(ping.total_s for ping in pings)
    return judged(
        late == 0,
        f"{len(pings)} pings beside {CLIENTS} clients: {late} without 200 in time, slowest "
        f"{slowest_s:.3f} s (limit {limit_s:g} s)",
    )


@clause(Severity.MUST, HOSTING)
def accepts_sockets(seen: ImageInspection) -> ConformanceVerdict:
    """It accepts a connection within 250 ms while it is busy."""
    load, limit_s = _load(seen), seen.contract.accept_s
    waits_s = sorted(answer.connect_s for answer in (*load.answers, *load.pings))
    late = sum(wait_s > limit_s for wait_s in waits_s)
    return judged(
        late <= STRAY_CONNECTIONS,
        f"{len(waits_s)} connections: {late} not accepted within {limit_s:g} s, slowest "
        f"{waits_s[-1]:.3f} s",
    )


def _load(seen: ImageInspection) -> Load:
    load = seen.load
    if load.ended is not None and load.ended.oom_killed:
        raise Undetermined("it ran out of memory under load: see memory-limit")
    return load
