"""Send one trial's requests as its scenario says, and record each answer.

A failed request is recorded and is not sent again. If the scenario needs a cold start but the
request reaches a warm container, or the reverse, the latency does not belong to the scenario. Such
a request is sent again, up to a limited number of attempts.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from threading import Event
from typing import TYPE_CHECKING, Any, Self, assert_never

from drdeploy.files import make_encodable, parse_json
from drdeploy.study.design.scenarios import Cold, OpenLoop, RealTime, Warm

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from drdeploy.hosting.sagemaker import Clock, Invocation
    from drdeploy.study.design.scenarios import RequestScenario
    from drdeploy.study.measurements.measurement import MeasuredOutcome, Start
    from drdeploy.study.running.photographs import Photograph

    Send = Callable[[Photograph], Invocation]
    Record = Callable[["ObservedInvocation"], None]

WARM_UP_SEQUENCE = 0
TEXT_CHARACTERS = 1000
"""The largest number of characters that a row keeps of a text from an answer.

Labels and digests are about a tenth as long.
"""
LARGEST_INTEGER = 2**53
"""The largest whole number that every program can read exactly from a row."""


@dataclass(frozen=True)
class ObservedInvocation:
    """One invocation, its sequence number in the scenario, and its outcome.

    Attributes:
        total_latency_s: The time from sending the request to the answer. If requests are sent on a
            schedule, it is the time from ``scheduled_at`` to the answer or the result.
        requests_ahead: The number of asynchronous requests that had no result when this one was
            sent. None for a request that is not asynchronous.
    """

    sequence: int
    is_warmup: bool
    photograph: Photograph
    scheduled_at: datetime
    total_latency_s: float
    start: Start
    outcome: MeasuredOutcome
    invocation: Invocation
    answer: ContainerAnswer
    requests_ahead: int | None = None


@dataclass(frozen=True)
class TrialContext:
    """The functions and values with which a scenario sends the requests of a trial.

    Attributes:
        send: Sends one photograph to the trial's endpoint.
        record: Stores an observed invocation as soon as it is answered. Unless requests are sent on
            a schedule, this happens before the next request is sent.
        photographs: The photographs in the order in which they are sent; after the last one, the
            first one is sent again.
        seed: The seed of arrival times.
        is_always_on: Whether a container already runs before the first request arrives, as on an
            instance.
    """

    send: Send
    record: Record
    photographs: Sequence[Photograph]
    clock: Clock
    seed: str
    is_always_on: bool = False

    def choose_photograph(self, sequence: int) -> Photograph:
        """Return the photograph that a request sends."""
        # The sequence number decides, so that a run that is continued after an interruption sends
        # the same photographs as an uninterrupted run.
        return self.photographs[sequence % len(self.photographs)]


def send_missing_requests(
    scenario: RequestScenario, missing: Sequence[int], context: TrialContext
) -> None:
    """Send and record a request for each missing sequence number, in order.

    Args:
        scenario: The scenario, which says how long to pause, and whether starts must be cold or
            warm.
        missing: The missing sequence numbers in ascending order, from 1.
        context: The functions that send a request and record an answer.
    """
    match scenario:
        case Warm() | RealTime():
            _send_each_after_previous_answer(scenario, missing, context)
        case Cold():
            _send_until_each_start_is_cold(scenario, missing, context)
        case OpenLoop():
            _send_on_schedule(scenario, missing, context)
        case _:
            assert_never(scenario)


def _send_each_after_previous_answer(
    scenario: Warm | RealTime, missing: Sequence[int], context: TrialContext
) -> None:
    expected: Start = "warm" if isinstance(scenario, Warm) else ""
    _send_and_record_one_request(context, WARM_UP_SEQUENCE, is_warmup=True)
    for sequence in missing:
        for _ in range(scenario.attempts_max):
            context.clock.sleep(scenario.interval_s)
            if (
                _send_and_record_one_request(context, sequence, expected=expected).outcome
                != "wrong_start"
            ):
                break


def _send_until_each_start_is_cold(
    scenario: Cold, missing: Sequence[int], context: TrialContext
) -> None:
    pause_s = 0.0  # a new endpoint has no container yet, so the first start is cold
    for sequence in missing:
        for _ in range(scenario.attempts_max):
            context.clock.sleep(pause_s)
            pause_s = scenario.interval_s
            if (
                _send_and_record_one_request(context, sequence, expected="cold").outcome
                != "wrong_start"
            ):
                break


def _send_on_schedule(scenario: OpenLoop, missing: Sequence[int], context: TrialContext) -> None:
    # A client that waits for each answer sends fewest requests when the server is slowest, and so
    # misses the longest latencies ("coordinated omission"). Here the times of all requests are
    # drawn beforehand, and each latency begins at the scheduled time. If all threads are busy, a
    # request waits in the pool, and the wait is part of its latency.
    _send_and_record_one_request(context, WARM_UP_SEQUENCE, is_warmup=True)
    due_s = scenario.draw_arrival_times_s(context.seed)
    clock = context.clock
    begin, begin_at = clock.monotonic(), clock.now()

    broken = Event()

    def send_request_of_schedule(sequence: int, due: float) -> None:
        if broken.is_set():
            return
        try:
            _send_and_record_one_request(
                context, sequence, due=due, due_at=begin_at + timedelta(seconds=due - begin)
            )
        except BaseException:
            # An error such as a full disk or a service that is gone ends the whole trial. The
            # requests that still wait in the pool are not sent.
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
                futures.append(pool.submit(send_request_of_schedule, sequence, due))
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _send_and_record_one_request(
    context: TrialContext,
    sequence: int,
    *,
    is_warmup: bool = False,
    expected: Start = "",
    due: float | None = None,
    due_at: datetime | None = None,
) -> ObservedInvocation:
    photograph = context.choose_photograph(sequence)
    invocation = context.send(photograph)
    finished = context.clock.monotonic()
    answer = ContainerAnswer.read_fields_of_body(invocation.body)
    start = _classify_start_as_cold_or_warm(answer, is_always_on=context.is_always_on)
    observed = ObservedInvocation(
        sequence=sequence,
        is_warmup=is_warmup,
        photograph=photograph,
        scheduled_at=due_at or invocation.started_at,
        total_latency_s=invocation.latency_s if due is None else finished - due,
        start=start,
        outcome=classify_outcome_of_invocation(invocation, answer, start, expected),
        invocation=invocation,
        answer=answer,
    )
    context.record(observed)
    return observed


def _classify_start_as_cold_or_warm(answer: ContainerAnswer, *, is_always_on: bool) -> Start:
    # Only the container knows whether it has answered before. SageMaker does not say which
    # container answered.
    if is_always_on:
        return "warm"
    if answer.container_invocation is None:
        return ""
    return "cold" if answer.container_invocation == 1 else "warm"


def classify_outcome_of_invocation(
    invocation: Invocation, answer: ContainerAnswer, start: Start = "", expected: Start = ""
) -> MeasuredOutcome:
    """Decide the outcome of an invocation, for example ``ok`` or ``wrong_start``.

    Args:
        invocation: The invocation.
        answer: The fields of the invocation's answer.
        start: Whether the start was cold or warm; empty if this is not known.
        expected: The start that the scenario needs; empty if both kinds are allowed.
    """
    if invocation.outcome != "ok":
        return invocation.outcome
    if expected and start and start != expected:
        return "wrong_start"
    return "ungradable" if answer.is_ungradable else "ok"


@dataclass(frozen=True)
class ContainerAnswer:
    """The fields of a JSON answer that become columns of a row with the same names.

    Attributes:
        is_ungradable: Whether the answer says that the photograph cannot be graded.
    """

    container_latency_s: float | None = None
    prediction_s: float | None = None
    decode_s: float | None = None
    transform_s: float | None = None
    label: str = ""
    grade: int | None = None
    model_digest: str = ""
    container_id: str = ""
    container_invocation: int | None = None
    is_ungradable: bool = False

    @classmethod
    def read_fields_of_body(cls, body: bytes) -> Self:
        """Read the fields from the body of an answer, and leave missing fields empty.

        A study may measure a container image of another project, whose answers have another format.
        The latency at the client counts for every answer. An answer is therefore never refused: a
        field that is missing or has another type is left empty.
        """
        try:
            document = parse_json(body)
        except ValueError:
            return cls()
        if not isinstance(document, dict):
            return cls()
        timing, model, container = (
            _get_json_object_or_empty(document, name) for name in ("timing", "model", "container")
        )
        return cls(
            container_latency_s=_get_json_number_or_none(document.get("requestLatency")),
            prediction_s=_get_json_number_or_none(document.get("predictionLatency")),
            decode_s=_get_json_number_or_none(timing.get("decode_s")),
            transform_s=_get_json_number_or_none(timing.get("transform_s")),
            label=_get_json_text_or_empty(document.get("label")),
            grade=_get_json_integer_or_none(document.get("grade")),
            model_digest=_get_json_text_or_empty(model.get("digest")),
            container_id=_get_json_text_or_empty(container.get("id")),
            container_invocation=_get_json_integer_or_none(container.get("invocation")),
            is_ungradable=document.get("gradable") is False,
        )


def _get_json_object_or_empty(document: dict[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _get_json_number_or_none(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # a whole number with hundreds of digits
        return None
    return number if math.isfinite(number) else None


def _get_json_integer_or_none(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if abs(value) <= LARGEST_INTEGER else None


def _get_json_text_or_empty(value: object) -> str:
    """Return a value as text, cut to the length that a row allows; empty if it is not a text."""
    return make_encodable(value[:TEXT_CHARACTERS]) if isinstance(value, str) else ""
