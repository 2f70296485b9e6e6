"""Several clients at once for a few seconds: pings, connections, and memory meanwhile."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.errors import EngineError
from drdeploy.hosting.conformance.clause import ConformanceVerdict, Severity, clause, passed_if
from drdeploy.hosting.conformance.client import OVERLOADED
from drdeploy.hosting.conformance.contract import HOSTING, SERVERLESS
from drdeploy.hosting.conformance.inspection import Undetermined
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.hosting.conformance.client import ProbeAnswer
    from drdeploy.hosting.conformance.containers import ContainerUnderTest
    from drdeploy.hosting.conformance.inspection import ImageInspection
    from drdeploy.hosting.engine import ContainerStats, ExitState

CLIENTS = 8
PING_EVERY_S = 0.1
SAMPLE_EVERY_S = 0.2
STRAY_CONNECTIONS = 1
"""Slow connections that are forgiven: one may be this machine's fault, which is loaded as well."""
FULL_SHARE = 0.95
"""Share of the memory limit that counts as full: the last sample may be 0.2 s before the peak."""


@dataclass(frozen=True)
class Load:
    """What happened while clients sent photographs without a pause.

    Attributes:
        duration_s: Seconds until the last answer.
        answers: To photographs.
        pings: Answers to pings meanwhile.
        peak: The sample of the container with the most memory; None if there was no sample.
        ended: How the container ended; None if it did not.
    """

    duration_s: float
    answers: tuple[ProbeAnswer, ...]
    pings: tuple[ProbeAnswer, ...]
    peak: ContainerStats | None
    ended: ExitState | None


def observe_load(inspection: ImageInspection) -> Load:
    """Put load on the container."""
    container = inspection.running_container()
    began = time.monotonic()
    over = threading.Event()
    with ThreadPoolExecutor(CLIENTS + 2) as threads:
        clients = [
            threads.submit(_repeat, lambda: container.grade(inspection.photograph), over, 0.0)
            for _ in range(CLIENTS)
        ]
        pinger = threads.submit(_repeat, container.ping, over, PING_EVERY_S)
        sampler = threads.submit(_sample, container, over)
        # Whatever interrupts the wait, the threads must end, or the pool would wait for ever.
        try:
            time.sleep(inspection.contract.load_s)
        finally:
            over.set()
    samples, pings = sampler.result(), pinger.result()
    return Load(
        duration_s=time.monotonic() - began,
        answers=tuple(answer for client in clients for answer in client.result()),
        pings=tuple(pings),
        peak=max(samples, key=lambda sample: sample.memory_bytes, default=None),
        ended=container.exit_state_after(pings[-1]),
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


def _sample(container: ContainerUnderTest, over: threading.Event) -> list[ContainerStats]:
    samples = []
    while not over.wait(SAMPLE_EVERY_S):
        try:
            samples.append(container.running.stats())
        except EngineError:
            break  # it ended
    return samples


@clause(Severity.MUST, SERVERLESS)
def memory_limit(inspection: ImageInspection) -> ConformanceVerdict:
    """Its memory stays below the limit under load."""
    load, limit_mb = inspection.observe(observe_load), inspection.host.memory_mb
    if load.ended is not None and load.ended.oom_killed:
        return passed_if(False, f"killed for lack of memory at {limit_mb} MB by {CLIENTS} clients")
    if load.peak is None:
        raise Undetermined("the engine reported nothing about its memory")
    peak_mb = load.peak.memory_bytes / MIB
    return passed_if(
        peak_mb <= FULL_SHARE * limit_mb,
        f"at most {peak_mb:.0f} MB of {limit_mb} MB ({peak_mb / limit_mb:.0%}), with "
        f"{CLIENTS} clients for {load.duration_s:.1f} s",
    )


@clause(Severity.MUST, HOSTING)
def answers_under_load(inspection: ImageInspection) -> ConformanceVerdict:
    """Under load it answers every photograph in time, or says that it is overloaded."""
    inspection.require_answers()
    answers = _load_survived(inspection).answers
    counts = Counter(answer.status or answer.failure for answer in answers)
    statuses = ", ".join(f"{status} x {n}" for status, n in sorted(counts.items(), key=str))
    slowest_s = max(answer.total_s for answer in answers)
    is_fulfilled = (
        all(0 < answer.status < 500 or answer.status in OVERLOADED for answer in answers)
        and any(answer.is_success for answer in answers)
        and slowest_s <= inspection.contract.answer_s
    )
    return passed_if(
        is_fulfilled, f"answers to {CLIENTS} clients: {statuses}; slowest {slowest_s:.2f} s"
    )


@clause(Severity.MUST, HOSTING)
def ping_under_load(inspection: ImageInspection) -> ConformanceVerdict:
    """Under load it answers a ping with 200 within 2 s."""
    pings, limit_s = _load_survived(inspection).pings, inspection.contract.ping_s
    late = sum(ping.status != 200 or ping.total_s > limit_s for ping in pings)
    slowest_s = max(ping.total_s for ping in pings)
    return passed_if(
        late == 0,
        f"{len(pings)} pings beside {CLIENTS} clients: {late} without 200 in time, slowest "
        f"{slowest_s:.3f} s (limit {limit_s:g} s)",
    )


@clause(Severity.MUST, HOSTING)
def accepts_sockets(inspection: ImageInspection) -> ConformanceVerdict:
    """Under load it accepts a connection within 250 ms."""
    load, limit_s = _load_survived(inspection), inspection.contract.accept_s
    waits_s = sorted(answer.connect_s for answer in (*load.answers, *load.pings))
    late = sum(wait_s > limit_s for wait_s in waits_s)
    return passed_if(
        late <= STRAY_CONNECTIONS,
        f"{len(waits_s)} connections: {late} not accepted within {limit_s:g} s, slowest "
        f"{waits_s[-1]:.3f} s",
    )


def _load_survived(inspection: ImageInspection) -> Load:
    load = inspection.observe(observe_load)
    if load.ended is not None and load.ended.oom_killed:
        raise Undetermined("it ran out of memory under load: see memory-limit")
    return load
