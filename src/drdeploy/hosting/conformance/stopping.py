"""SIGTERM: requests in flight are finished, nothing new is accepted, and the container ends.

A container is stopped twice.  The first time it is working on photographs.  The second time, after
it was started again, it is receiving one: the last byte is held back until after the signal.
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
from drdeploy.hosting.conformance.clause import Severity, clause, failed, passed, passed_if
from drdeploy.hosting.conformance.client import OVERLOADED, Exchange, ProbeAnswer
from drdeploy.hosting.conformance.containers import Conditions
from drdeploy.hosting.conformance.contract import HOSTING, PRACTICE
from drdeploy.hosting.conformance.inspection import Undetermined
from drdeploy.hosting.conformance.requests import observe_requests
from drdeploy.hosting.serving.gateway import INVOCATIONS

if TYPE_CHECKING:
    from drdeploy.hosting.conformance.clause import ConformanceVerdict
    from drdeploy.hosting.conformance.containers import ContainerStart, ContainerUnderTest
    from drdeploy.hosting.conformance.inspection import ImageInspection
    from drdeploy.hosting.engine import ExitState

WORK_S = 0.4
"""Seconds of work that is sent before the signal: enough to be in flight when it arrives, also
where the engine takes a tenth of a second to deliver it."""
MAX_AT_ONCE = 16
"""Photographs sent at once, for a server that is so fast that more would fill its queue."""
RECEIVED_AFTER_S = 0.1
"""By then a server has surely read what was sent."""
CLOSED_WITHIN_S = 2.0
"""How long a server may go on accepting after the signal: it reaches a supervisor first, which
passes it on."""
LATE_TIMEOUT_S = 1.0
"""For a photograph after the signal: a server that accepts nothing more may still have an open
backlog, in which a connection waits for ever."""
ASK_EVERY_S = 0.1
CLEAN_EXITS = frozenset({0, 128 + signal.SIGTERM})
"""A process that SIGTERM itself ended counts as clean: engines report it as 128 + 15."""


@dataclass(frozen=True)
class Stop:
    """How a container ended after SIGTERM.

    Attributes:
        ended: Its exit; None if it did not end in time and was killed.
        took_s: Seconds from the signal to its end.
    """

    ended: ExitState | None
    took_s: float


@dataclass(frozen=True)
class StopAtWork:
    """A stop while the server worked on photographs.

    Attributes:
        stop: How the container ended.
        sent: Photographs that were sent before the signal.
        in_work: Answers to those that the server had received, and not answered, at the signal.
    """

    stop: Stop
    sent: int
    in_work: tuple[ProbeAnswer, ...]


@dataclass(frozen=True)
class StopInUpload:
    """A stop while the server received a photograph.

    Attributes:
        stop: How the container ended.
        upload: The answer to that photograph.
        late: Answers to photographs that were sent after the signal, in their order.
    """

    stop: Stop
    upload: ProbeAnswer
    late: tuple[ProbeAnswer, ...]


def observe_stop_at_work(inspection: ImageInspection) -> StopAtWork:
    """Send photographs all at once and, a moment later, SIGTERM."""
    inspection.require_answers()
    container = inspection.running_container()
    warm = inspection.observe(observe_requests).warm
    usual_s = statistics.median(answer.total_s for answer in warm)
    count = max(1, min(MAX_AT_ONCE, math.ceil(WORK_S / max(usual_s, 1e-3))))
    with ThreadPoolExecutor(count) as threads:
        sent = [threads.submit(container.grade, inspection.photograph) for _ in range(count)]
        time.sleep(RECEIVED_AFTER_S)
        signalled = _terminate(container)
        answers = [one.result() for one in sent]
    # Only what was sent well before the signal was surely received by then; the server may refuse
    # the rest.
    in_work = tuple(
        answer
        for answer in answers
        if answer.sent_at < signalled - RECEIVED_AFTER_S / 2 and answer.ended_at > signalled
    )
    return StopAtWork(_wait_for_end(inspection, container, signalled), count, in_work)


def observe_restart(inspection: ImageInspection) -> ContainerStart:
    """Start the container that was stopped again, with the files that it left."""
    if inspection.observe(observe_stop_at_work).stop.ended is None:
        raise Undetermined("SIGTERM does not end it: see stops-on-sigterm")
    container = inspection.ordinary_container
    began = time.monotonic()
    try:
        container.running.start()
    except EngineError as err:
        raise Undetermined(err.what) from err
    return inspection.host.wait_until_ready(container, began, inspection.patience_s)


def observe_stop_in_upload(inspection: ImageInspection) -> StopInUpload:
    """Send a photograph less its last byte, then SIGTERM, further photographs, and the byte."""
    start = inspection.observe(observe_restart)
    if not start.is_serving:
        start = inspection.start_and_wait(Conditions())
    container = start.container
    if container is None or not start.is_serving:
        raise Undetermined(f"started again, it was {start}")
    photograph, contract = inspection.photograph, inspection.contract
    headers = {**photograph.headers, "Content-Length": str(len(photograph.data))}
    late: list[ProbeAnswer] = []
    with Exchange(container.port, contract.stop_s) as exchange:
        exchange.begin("POST", INVOCATIONS, headers)
        # Without its last byte it cannot be answered, so it is surely in flight at the signal.
        exchange.send(photograph.data[:-1])
        time.sleep(RECEIVED_AFTER_S)
        signalled = _terminate(container)
        # A supervisor may need a moment to tell its workers: the first few may still be accepted.
        while not late or late[-1].is_success:
            time.sleep(ASK_EVERY_S)
            late.append(container.invoke(photograph.data, photograph.headers, LATE_TIMEOUT_S))
            if time.monotonic() - signalled > CLOSED_WITHIN_S:
                break
        exchange.send(photograph.data[-1:])
        upload = exchange.answer()
    stop = _wait_for_end(inspection, container, signalled)
    return StopInUpload(stop, upload, tuple(late))


def _terminate(container: ContainerUnderTest) -> float:
    """Send SIGTERM and return when that was, on the monotonic clock."""
    container.running.kill("SIGTERM")
    return time.monotonic()


def _wait_for_end(
    inspection: ImageInspection, container: ContainerUnderTest, signalled: float
) -> Stop:
    stop_s = inspection.contract.stop_s
    try:
        ended = container.running.wait(max(0.0, signalled + stop_s - time.monotonic()))
    except EngineError:
        container.running.kill()
        container.running.wait()
        return Stop(None, stop_s)
    return Stop(ended, time.monotonic() - signalled)


@clause(Severity.MUST, HOSTING)
def stops_on_sigterm(inspection: ImageInspection) -> ConformanceVerdict:
    """It ends within 30 s of SIGTERM."""
    stop = inspection.observe(observe_stop_at_work).stop
    if stop.ended is None:
        return failed(f"still running {stop.took_s:.0f} s after SIGTERM; SIGKILL ended it")
    status = stop.ended.exit_code
    return passed(f"ended {stop.took_s:.2f} s after SIGTERM with status {status}")


@clause(Severity.SHOULD, PRACTICE)
def exit_status(inspection: ImageInspection) -> ConformanceVerdict:
    """After SIGTERM it exits with status 0, or with 143, which stands for SIGTERM."""
    state = _exit_state(inspection.observe(observe_stop_at_work).stop)
    return passed_if(state.exit_code in CLEAN_EXITS, f"status {state.exit_code} after SIGTERM")


@clause(Severity.MUST, HOSTING)
def finishes_work(inspection: ImageInspection) -> ConformanceVerdict:
    """Photographs that it works on at SIGTERM are answered."""
    at_work = inspection.observe(observe_stop_at_work)
    _exit_state(at_work.stop)
    if not at_work.in_work:
        raise Undetermined(
            f"all {at_work.sent} photographs were answered before the signal; send a larger "
            "one with --image"
        )
    lost = [
        answer
        for answer in at_work.in_work
        if not answer.is_success and answer.status not in OVERLOADED
    ]
    finished = len(at_work.in_work) - len(lost)
    example = f"; one was lost: {lost[0]}" if lost else ""
    return passed_if(
        not lost, f"{finished} of {len(at_work.in_work)} in work were answered{example}"
    )


@clause(Severity.MUST, HOSTING)
def accepts_nothing_new(inspection: ImageInspection) -> ConformanceVerdict:
    """After SIGTERM it accepts no new photograph, though it still works on one."""
    late = inspection.observe(observe_stop_in_upload).late
    accepted = sum(answer.is_success for answer in late)
    return passed_if(
        not late[-1].is_success,
        f"{accepted} of {len(late)} photographs sent after SIGTERM were answered; the last: "
        f"{late[-1]}",
    )


@clause(Severity.SHOULD, PRACTICE)
def finishes_uploads(inspection: ImageInspection) -> ConformanceVerdict:
    """A photograph that is half received at SIGTERM is answered as well."""
    upload = inspection.observe(observe_stop_in_upload).upload
    return passed_if(upload.is_success, f"its last byte was sent after SIGTERM: {upload}")


@clause(Severity.SHOULD, PRACTICE)
def restarts(inspection: ImageInspection) -> ConformanceVerdict:
    """After a stop it can be started again, with the files that it left."""
    start = inspection.observe(observe_restart)
    return passed_if(start.is_serving, str(start))


def _exit_state(stop: Stop) -> ExitState:
    if stop.ended is None:
        raise Undetermined("SIGTERM does not end it: see stops-on-sigterm")
    return stop.ended
