"""Send one trial's requests at the pace of its scenario, and report each as it is answered.

A failure is recorded and not retried: that an endpoint fails is a result.  Only a start of the
wrong kind is asked for again, a limited number of times, because it says nothing about what was
to be measured.
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
    """One invocation, and what it was within its scenario.

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
    """What a scenario needs from the trial that it runs in.

    Attributes:
        send: Sends one photograph to the trial's endpoint.
        record: Keeps an observation; called before the next request is sent.
        photographs: Which photograph each sequence number sends.
        seed: Of arrival times.
        is_always_on: Whether the container had started before the first request.
    """

    send: Send
    record: Record
    photographs: TrialPhotographs
    clock: Clock
    seed: str
    is_always_on: bool = False


def run_scenario(scenario: Scenario, missing: Sequence[int], context: TrialContext) -> None:
    """Measure the sequence numbers that are missing, in order.

    Args:
        scenario: Says at what pace, and which start each answer must be.
        missing: Ascending, from 1; all of ``1..n`` for a trial that was not begun.
        context: The endpoint to send to, and the record to keep.
    """
    match scenario:
        case Warm() | RealTime():
            _run_closed_loop(scenario, missing, context)
        case Cold():
            _run_cold(scenario, missing, context)
        case OpenLoop():
            _run_open_loop(scenario, missing, context)
        case _:
            assert_never(scenario)


def attempts_of(scenario: Scenario) -> int:
    """Return how many requests one measurement may take before it is given up."""
    return scenario.attempts if isinstance(scenario, Cold) else COLD_ATTEMPTS


def _run_closed_loop(
    scenario: Warm | RealTime, missing: Sequence[int], context: TrialContext
) -> None:
    expected: Start = "warm" if isinstance(scenario, Warm) else ""
    _send_one(context, WARM_UP_SEQUENCE, is_warmup=True)
    for sequence in missing:
        for _ in range(attempts_of(scenario)):
            context.clock.sleep(scenario.interval_s)
            if _send_one(context, sequence, expected=expected).outcome != "wrong_start":
                break


def _run_cold(scenario: Cold, missing: Sequence[int], context: TrialContext) -> None:
    pause_s = 0.0  # the endpoint is new: its first request starts a container anyway
    for sequence in missing:
        for _ in range(scenario.attempts):
            context.clock.sleep(pause_s)
            pause_s = scenario.interval_s
            if _send_one(context, sequence, expected="cold").outcome != "wrong_start":
                break


def _run_open_loop(scenario: OpenLoop, missing: Sequence[int], context: TrialContext) -> None:
    # A client that waits for each answer sends least where the server is slowest, and so never
    # measures the worst of it ("coordinated omission").  Here requests arrive by a schedule that
    # is drawn beforehand, and latency counts from the scheduled time: a request that finds every
    # thread busy waits in the pool while its clock runs.
    _send_one(context, WARM_UP_SEQUENCE, is_warmup=True)
    due_s = scenario.arrival_times_s(context.seed)
    clock = context.clock
    begin, begin_at = clock.monotonic(), clock.now()

    broken = Event()

    def send(sequence: int, due: float) -> None:
        if broken.is_set():
            return
        try:
            _send_one(context, sequence, due=due, due_at=begin_at + timedelta(seconds=due - begin))
        except BaseException:
            # What ends one request (a full disk, a service that is gone) ends the trial; the
            # threads that wait for their turn send nothing more.
            broken.set()
            raise

    with ThreadPoolExecutor(scenario.max_in_flight, "open-loop") as pool:
        try:
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


def _send_one(
    context: TrialContext,
    sequence: int,
    *,
    is_warmup: bool = False,
    expected: Start = "",
    due: float | None = None,
    due_at: datetime | None = None,
) -> ObservedInvocation:
    photograph = context.photographs.at(sequence)
    invocation = context.send(photograph)
    finished = context.clock.monotonic()
    answer = ContainerAnswer.read(invocation.body)
    start = _start_of(answer, is_always_on=context.is_always_on)
    observed = ObservedInvocation(
        sequence=sequence,
        is_warmup=is_warmup,
        photograph=photograph,
        scheduled_at=due_at or invocation.started_at,
        total_latency_s=invocation.latency_s if due is None else finished - due,
        start=start,
        outcome=_outcome_of(invocation, answer, start, expected),
        invocation=invocation,
        answer=answer,
    )
    context.record(observed)
    return observed


def _start_of(answer: ContainerAnswer, *, is_always_on: bool) -> Start:
    # Only the container knows whether it answered before: SageMaker does not say which one did.
    if is_always_on:
        return "warm"
    if answer.container_invocation is None:
        return ""
    return "cold" if answer.container_invocation == 1 else "warm"


def _outcome_of(
    invocation: Invocation, answer: ContainerAnswer, start: Start, expected: Start
) -> Outcome:
    if invocation.outcome != "ok":
        return invocation.outcome
    if expected and start and start != expected:
        return "wrong_start"
    return "ungradable" if answer.is_ungradable else "ok"
