"""SIGTERM: what is in flight is finished, nothing new accepted, and the container ends.

A container is stopped twice.  The first time photographs are being worked on; the second time,
after it was started again, one is being received: its last byte is held back until the server
knows that it is to stop.
"""

from __future__ import annotations

import math
import signal
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.errors import EngineError
from drdeploy.hosting.conformance.clause import (
    ConformanceVerdict,
    Severity,
    Undetermined,
    clause,
    failed,
    judged,
)
from drdeploy.hosting.conformance.client import SHED, Exchange, ProbeAnswer
from drdeploy.hosting.conformance.contract import HOSTING, PRACTICE
from drdeploy.hosting.serving.gateway import INVOCATIONS

if TYPE_CHECKING:
    from drdeploy.hosting.conformance.hosting import ContainerStart, ContainerUnderTest
    from drdeploy.hosting.conformance.inspection import ImageInspection
    from drdeploy.hosting.engine import ExitState

WORK_S = 0.4
"""Photographs for so much work are sent before the signal."""
MOST_AT_ONCE = 16
RECEIVED_AFTER_S = 0.1
"""By then a server has surely read what was sent."""
CLOSED_WITHIN_S = 2.0
LATE_TIMEOUT_S = 1.0
ASK_EVERY_S = 0.1
CLEAN_EXITS = frozenset({0, 128 + signal.SIGTERM})


@dataclass(frozen=True)
class Stop:
    """What became of a container that was sent SIGTERM.

    Attributes:
        ended: How it ended; None if it did not in time, and was killed.
        took_s: From the signal to its end.
    """

    ended: ExitState | None
    took_s: float


@dataclass(frozen=True)
class StopAtWork:
    """Stopped while photographs were worked on.

    Attributes:
        stop: How it ended.
        sent: How many photographs were sent before the signal.
        in_work: What came of those that the server had received and not answered then.
    """

    stop: Stop
    sent: int
    in_work: tuple[ProbeAnswer, ...]


@dataclass(frozen=True)
class StopInUpload:
    """Stopped while a photograph was received.

    Attributes:
        stop: How it ended.
        upload: What came of that photograph.
        late: What came of photographs that were sent after the signal, in their order.
    """

    stop: Stop
    upload: ProbeAnswer
    late: tuple[ProbeAnswer, ...]


def observe_stop_at_work(seen: ImageInspection, hosted: ContainerUnderTest) -> StopAtWork:
    """Send photographs all at once and, a moment later, SIGTERM."""
    usual_s = statistics.median(answer.total_s for answer in seen.requests.warm)
    count = max(1, min(MOST_AT_ONCE, math.ceil(WORK_S / max(usual_s, 1e-3))))
    with ThreadPoolExecutor(count) as threads:
        sent = [threads.submit(hosted.grade, seen.photograph) for _ in range(count)]
        time.sleep(RECEIVED_AFTER_S)
        signalled = _signal(hosted)
        answers = [one.result() for one in sent]
    in_work = tuple(
        answer
        for answer in answers
        if answer.sent_at < signalled - RECEIVED_AFTER_S / 2 and answer.ended_at > signalled
    )
    return StopAtWork(_await_end(seen, hosted, signalled), count, in_work)


def observe_stop_in_upload(seen: ImageInspection, hosted: ContainerUnderTest) -> StopInUpload:
    """Send a photograph less its last byte, then SIGTERM, further photographs, and the byte."""
    body = seen.photograph.data
    headers = {**seen.photograph.headers, "Content-Length": str(len(body))}
    with Exchange(hosted.port, seen.contract.stop_s) as exchange:
        exchange.begin("POST", INVOCATIONS, headers)
        exchange.send(body[:-1])
        time.sleep(RECEIVED_AFTER_S)
        signalled = _signal(hosted)
        late = _ask_until_closed(seen, hosted, signalled)
        exchange.send(body[-1:])
        upload = exchange.answer()
    return StopInUpload(_await_end(seen, hosted, signalled), upload, late)


def observe_restart(seen: ImageInspection, hosted: ContainerUnderTest) -> ContainerStart:
    """Start the container that was stopped again, with the files that it left."""
    began = time.monotonic()
    try:
        hosted.container.start()
    except EngineError as err:
        raise Undetermined(err.what) from err
    return seen.host.await_ready(hosted, began, seen.patience_s)


def _signal(hosted: ContainerUnderTest) -> float:
    hosted.container.kill("SIGTERM")
    return time.monotonic()


def _ask_until_closed(
    seen: ImageInspection, hosted: ContainerUnderTest, signalled: float
) -> tuple[ProbeAnswer, ...]:
    late: list[ProbeAnswer] = []
    while not late or late[-1].is_success:
        time.sleep(ASK_EVERY_S)
        photograph = seen.photograph
        late.append(hosted.invoke(photograph.data, photograph.headers, LATE_TIMEOUT_S))
        if time.monotonic() - signalled > CLOSED_WITHIN_S:
            break
    return tuple(late)


def _await_end(seen: ImageInspection, hosted: ContainerUnderTest, signalled: float) -> Stop:
    left_s = signalled + seen.contract.stop_s - time.monotonic()
    try:
        ended = hosted.container.wait(max(0.0, left_s))
    except EngineError:
        hosted.container.kill()
        hosted.container.wait()
        return Stop(None, seen.contract.stop_s)
    return Stop(ended, time.monotonic() - signalled)


@clause(Severity.MUST, HOSTING)
def stops_on_sigterm(seen: ImageInspection) -> ConformanceVerdict:
    """It ends within 30 s of SIGTERM."""
    stop = seen.stop_at_work.stop
    if stop.ended is None:
        return failed(f"still running {stop.took_s:.0f} s after SIGTERM; SIGKILL ended it")
    status = stop.ended.exit_code
    return judged(True, f"ended {stop.took_s:.2f} s after SIGTERM with status {status}")


@clause(Severity.SHOULD, PRACTICE)
def exit_status(seen: ImageInspection) -> ConformanceVerdict:
    """Having stopped as told, it ends with status 0, or 143 for SIGTERM."""
    stop = _ended(seen.stop_at_work.stop)
    return judged(stop.exit_code in CLEAN_EXITS, f"status {stop.exit_code} after SIGTERM")


@clause(Severity.MUST, HOSTING)
def finishes_work(seen: ImageInspection) -> ConformanceVerdict:
    """Photographs that it works on at SIGTERM are answered."""
    at_work = seen.stop_at_work
    _ended(at_work.stop)
    if not at_work.in_work:
        raise Undetermined(
            f"all {at_work.sent} photographs were answered before the signal; send a larger "
            "one with --image"
        )
    finished = [one for one in at_work.in_work if one.is_success or one.status in SHED]
    lost = [one for one in at_work.in_work if one not in finished]
    example = f"; one was given {lost[0]}" if lost else ""
    return judged(
        not lost, f"{len(finished)} of {len(at_work.in_work)} in work were answered{example}"
    )


@clause(Severity.MUST, HOSTING)
def accepts_nothing_new(seen: ImageInspection) -> ConformanceVerdict:
    """After SIGTERM it accepts no new photograph, though it still works on one."""
    late = seen.stop_in_upload.late
    accepted = sum(answer.is_success for answer in late)
    is_closed = not late[-1].is_success
    return judged(
        is_closed,
        f"{accepted} of {len(late)} photographs sent after SIGTERM were answered; the last: "
        f"{late[-1]}",
    )


@clause(Severity.SHOULD, PRACTICE)
def finishes_uploads(seen: ImageInspection) -> ConformanceVerdict:
    """A photograph that is half received at SIGTERM is answered as well."""
    upload = seen.stop_in_upload.upload
    return judged(upload.is_success, f"its last byte was sent after SIGTERM: {upload}")


@clause(Severity.SHOULD, PRACTICE)
def restarts(seen: ImageInspection) -> ConformanceVerdict:
    """Once stopped, it can be started again with the files that it left."""
    start = seen.restart
    return judged(start.is_serving, str(start))


def _ended(stop: Stop) -> ExitState:
    if stop.ended is None:
        raise Undetermined("SIGTERM does not end it: see stops-on-sigterm")
    return stop.ended
