"""Put load on the container, and watch pings, connections and memory."""

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
    define_clause,
    make_passed_or_failed_verdict,
)
from drdeploy.hosting.conformance.client import OVERLOADED
from drdeploy.hosting.conformance.contract import HOSTING, SERVERLESS
from drdeploy.hosting.conformance.inspection import Undetermined
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.hosting.conformance.client import ProbeAnswer
    from drdeploy.hosting.conformance.containers import ContainerUnderTest
    from drdeploy.hosting.conformance.inspection import ImageInspection
    from drdeploy.hosting.container_engine import ContainerStats, ExitState

CLIENTS = 8
PING_EVERY_S = 0.1
SAMPLE_EVERY_S = 0.2
STRAY_CONNECTIONS = 1
"""How many slow connections are tolerated. This machine is under load too, so it may itself make a
connection slow.
"""
FULL_SHARE = 0.95
"""If a container used at least this share of its memory limit, its memory counts as full. The share
is below 1 because memory is sampled only every 0.2 s, so the peak may be missed.
"""


@dataclass(frozen=True)
class Load:
    """What was observed while clients sent photographs to a container without a pause.

    Attributes:
        duration_s: Seconds from the first request to the last answer.
        answers: The answers to the photographs.
        pings: The answers to the pings that were sent at the same time.
        peak: The sample of the container's resources with the highest memory use; None if there is
            no sample.
        ended: How the container ended; None if it still runs.
    """

    duration_s: float
    answers: tuple[ProbeAnswer, ...]
    pings: tuple[ProbeAnswer, ...]
    peak: ContainerStats | None
    ended: ExitState | None


def observe_container_under_load(inspection: ImageInspection) -> Load:
    """Send photographs from several clients at once; meanwhile, ping and sample the memory."""
    container = inspection.ensure_running_container()
    began = time.monotonic()
    over = threading.Event()
    with ThreadPoolExecutor(CLIENTS + 2) as threads:
        clients = [
            threads.submit(
                _send_requests_until_event,
                lambda: container.post_photograph(inspection.photograph),
                over,
                0.0,
            )
            for _ in range(CLIENTS)
        ]
        pinger = threads.submit(_send_requests_until_event, container.send_ping, over, PING_EVERY_S)
        sampler = threads.submit(_sample_memory_until_event, container, over)
        # Even if the wait is interrupted, the threads must end. Otherwise the pool waits forever.
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
        ended=container.read_exit_state_after_answer(pings[-1]),
    )


def _send_requests_until_event(
    ask: Callable[[], ProbeAnswer], over: threading.Event, every_s: float
) -> list[ProbeAnswer]:
    answers = [ask()]
    while not over.wait(max(0.0, every_s - answers[-1].total_s)):
        answers.append(ask())
        if not answers[-1].status:
            over.wait(PING_EVERY_S)  # send no thousands of requests to a dead server
    return answers


def _sample_memory_until_event(
    container: ContainerUnderTest, over: threading.Event
) -> list[ContainerStats]:
    samples = []
    while not over.wait(SAMPLE_EVERY_S):
        try:
            samples.append(container.running.read_stats())
        except EngineError:
            break  # the container ended
    return samples


@define_clause("memory-limit", Severity.MUST, SERVERLESS)
def check_memory_under_load(inspection: ImageInspection) -> ConformanceVerdict:
    """The memory of the container stays below the limit under load."""
    load, limit_mb = (
        inspection.observe_once(observe_container_under_load),
        inspection.host.memory_mb,
    )
    if load.ended is not None and load.ended.oom_killed:
        return make_passed_or_failed_verdict(
            False, f"with {CLIENTS} clients, the container ran out of its {limit_mb} MB of memory"
        )
    if load.peak is None:
        raise Undetermined("the engine did not report the container's memory")
    peak_mb = load.peak.memory_bytes / MIB
    return make_passed_or_failed_verdict(
        peak_mb <= FULL_SHARE * limit_mb,
        f"at most {peak_mb:.0f} MB of {limit_mb} MB ({peak_mb / limit_mb:.0%}), with "
        f"{CLIENTS} clients for {load.duration_s:.1f} s",
    )


@define_clause("answers-under-load", Severity.MUST, HOSTING)
def check_answers_under_load(inspection: ImageInspection) -> ConformanceVerdict:
    """Under load the server answers every photograph in time, or says that it is overloaded."""
    inspection.require_answered_photograph()
    answers = _require_survived_load(inspection).answers
    counts = Counter(answer.status or answer.failure for answer in answers)
    statuses = ", ".join(f"{status} x {n}" for status, n in sorted(counts.items(), key=str))
    slowest_s = max(answer.total_s for answer in answers)
    is_fulfilled = (
        all(answer.is_success or answer.status in OVERLOADED for answer in answers)
        and any(answer.is_success for answer in answers)
        and slowest_s <= inspection.contract.answer_s
    )
    return make_passed_or_failed_verdict(
        is_fulfilled, f"answers to {CLIENTS} clients: {statuses}; slowest {slowest_s:.2f} s"
    )


@define_clause("ping-under-load", Severity.MUST, HOSTING)
def check_pings_under_load(inspection: ImageInspection) -> ConformanceVerdict:
    """Under load the server answers a ping with 200 within 2 s."""
    pings, limit_s = _require_survived_load(inspection).pings, inspection.contract.ping_s
    late = sum(ping.status != 200 or ping.total_s > limit_s for ping in pings)
    slowest_s = max(ping.total_s for ping in pings)
    return make_passed_or_failed_verdict(
        late == 0,
        f"{len(pings)} pings while {CLIENTS} clients sent photographs: {late} not answered with "
        f"200 in time, slowest {slowest_s:.3f} s (limit {limit_s:g} s)",
    )


@define_clause("accepts-sockets", Severity.MUST, HOSTING)
def check_connections_under_load(inspection: ImageInspection) -> ConformanceVerdict:
    """Under load the server accepts a connection within 250 ms."""
    load, limit_s = _require_survived_load(inspection), inspection.contract.accept_s
    waits_s = sorted(answer.connect_s for answer in (*load.answers, *load.pings))
    late = sum(wait_s > limit_s for wait_s in waits_s)
    return make_passed_or_failed_verdict(
        late <= STRAY_CONNECTIONS,
        f"{len(waits_s)} connections: {late} not accepted within {limit_s:g} s, slowest "
        f"{waits_s[-1]:.3f} s",
    )


def _require_survived_load(inspection: ImageInspection) -> Load:
    load = inspection.observe_once(observe_container_under_load)
    if load.ended is not None and load.ended.oom_killed:
        raise Undetermined(
            "the container ran out of memory under load; see the clause memory-limit"
        )
    return load
