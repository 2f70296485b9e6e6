"""Run one trial's scenario: send, wait, look at the start, record.

Failures are recorded and not retried.  The one thing that is asked for again, a bounded number
of times, is a start of the wrong kind: it tells nothing about what was to be measured.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from threading import Event
from typing import TYPE_CHECKING, assert_never

from drdeploy.study.design.scenarios import COLD_ATTEMPTS, Cold, OpenLoop, RealTime, Warm
from drdeploy.study.running.answer import ContainerAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from drdeploy.hosting.sagemaker import Clock, Invocation
    from drdeploy.study.design.scenarios import Scenario
    from drdeploy.study.measurements.measurement import Outcome, Start
    from drdeploy.study.running.photographs import Photograph, TrialPhotographs

    Send = Callable[[Photograph], Invocation]
    Record = Callable[["ObservedInvocation"], None]

WARM_UP_SEQUENCE = 0


@dataclass(frozen=True)
class ObservedInvocation:
    """One invocation as its scenario sees it.

    Attributes:
        total_latency_s: From sending, or in an open loop from ``scheduled_at``.
    """

    sequence: int
    is_warmup: bool
    photograph: Photograph
    scheduled_at: datetime
    total_latency_s: float
    start: Start
    outcome: Outcome
    invocation: Invocation
    answer: ContainerAnswer


@dataclass(frozen=True)
class TrialContext:
    """What a scenario plays on.

    Attributes:
        send: One request to the trial's endpoint.
        record: Keeps an observation; called before the next request is sent.
        album: Which photograph each sequence number sends.
        seed: Of arrival times.
        is_always_on: Whether the container had started before the first request.
    """

    send: Send
    record: Record
    album: TrialPhotographs
    clock: Clock
    seed: str
    is_always_on: bool = False


def run_scenario(scenario: Scenario, missing: Sequence[int], stage: TrialContext) -> None:
    """Measure the sequence numbers that are missing, in order.

    Args:
        scenario: Which, and at what pace.
        missing: Ascending, from 1; all of ``1..n`` for a trial that was not begun.
        stage: The endpoint and the record.
    """
    match scenario:
        case Warm() | RealTime():
            _run_closed_loop(scenario, missing, stage)
        case Cold():
            _run_cold(scenario, missing, stage)
        case OpenLoop():
            _run_open_loop(scenario, missing, stage)
        case _:
            assert_never(scenario)


def attempts_of(scenario: Scenario) -> int:
    """Requests that one measurement may take before it is given up."""
    return scenario.attempts if isinstance(scenario, Cold) else COLD_ATTEMPTS


def _run_closed_loop(
    scenario: Warm | RealTime, missing: Sequence[int], stage: TrialContext
) -> None:
    wanted: Start = "warm" if isinstance(scenario, Warm) else ""
    _observe(stage, WARM_UP_SEQUENCE, is_warmup=True)
    for sequence in missing:
        for _ in range(attempts_of(scenario)):
            stage.clock.sleep(scenario.interval_s)
            if _observe(stage, sequence, wanted=wanted).outcome != "wrong_start":
                break


def _run_cold(scenario: Cold, missing: Sequence[int], stage: TrialContext) -> None:
    pause_s = 0.0  # the endpoint is new: nothing has answered yet
    for sequence in missing:
        for _ in range(scenario.attempts):
            stage.clock.sleep(pause_s)
            pause_s = scenario.interval_s
            if _observe(stage, sequence, wanted="cold").outcome != "wrong_start":
                break


def _run_open_loop(scenario: OpenLoop, missing: Sequence[int], stage: TrialContext) -> None:
    _observe(stage, WARM_UP_SEQUENCE, is_warmup=True)
    due_s = scenario.arrival_times_s(stage.seed)
    clock = stage.clock
    begin, begin_at = clock.monotonic(), clock.now()

    broken = Event()

    def send(sequence: int, due: float) -> None:
        if broken.is_set():
            return
        try:
            _observe(stage, sequence, due=due, due_at=begin_at + timedelta(seconds=due - begin))
        except BaseException:
            broken.set()
            raise

    with ThreadPoolExecutor(scenario.max_in_flight, "open-loop") as pool:
        try:
            # A request that finds every thread busy waits in the pool, and its clock runs.
            futures = []
            for sequence in missing:
                due = begin + due_s[sequence - 1]
                clock.sleep_until(due)
                if broken.is_set():
                    break
                futures.append(pool.submit(send, sequence, due))
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _observe(
    stage: TrialContext,
    sequence: int,
    *,
    is_warmup: bool = False,
    wanted: Start = "",
    due: float | None = None,
    due_at: datetime | None = None,
) -> ObservedInvocation:
    photograph = stage.album.at(sequence)
    invocation = stage.send(photograph)
    finished = stage.clock.monotonic()
    answer = ContainerAnswer.read(invocation.body)
    start = _start_of(answer, is_always_on=stage.is_always_on)
    observation = ObservedInvocation(
        sequence=sequence,
        is_warmup=is_warmup,
        photograph=photograph,
        scheduled_at=due_at or invocation.started_at,
        total_latency_s=invocation.latency_s if due is None else finished - due,
        start=start,
        outcome=_outcome_of(invocation, answer, start, wanted),
        invocation=invocation,
        answer=answer,
    )
    stage.record(observation)
    return observation


def _start_of(answer: ContainerAnswer, *, is_always_on: bool) -> Start:
    if is_always_on:
        return "warm"
    if answer.container_invocation is None:
        return ""
    return "cold" if answer.container_invocation == 1 else "warm"


def _outcome_of(
    invocation: Invocation, answer: ContainerAnswer, start: Start, wanted: Start
) -> Outcome:
    if invocation.outcome != "ok":
        return invocation.outcome
    if wanted and start and start != wanted:
        return "wrong_start"
    return "ungradable" if answer.is_ungradable else "ok"
