"""Check that after SIGTERM the server finishes its requests, accepts no new ones, and ends.

A container is stopped in two ways. At the first kind of stop, the server is working on photographs.
The container is then started again. At the second kind, the server is still receiving a photograph:
the photograph's last byte is sent after the signal.
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
    Severity,
    define_clause,
    make_failed_verdict,
    make_passed_or_failed_verdict,
    make_passed_verdict,
)
from drdeploy.hosting.conformance.client import OVERLOADED, ProbeAnswer, ProbeExchange
from drdeploy.hosting.conformance.containers import Conditions
from drdeploy.hosting.conformance.contract import HOSTING, PRACTICE
from drdeploy.hosting.conformance.inspection import Undetermined
from drdeploy.hosting.conformance.requests import observe_single_requests
from drdeploy.hosting.serving.gateway import INVOCATIONS

if TYPE_CHECKING:
    from drdeploy.hosting.conformance.clause import ConformanceVerdict
    from drdeploy.hosting.conformance.containers import ContainerStart, ContainerUnderTest
    from drdeploy.hosting.conformance.inspection import ImageInspection
    from drdeploy.hosting.container_engine import ExitState

WORK_S = 0.4
"""How many seconds of work the server gets before the signal. An engine may take a tenth of a
second to deliver the signal. Some requests must still be unfinished when the signal arrives.
"""
MAX_AT_ONCE = 16
"""At most this many photographs are sent at once, because more would fill the server's queue."""
STOPS_UNTIL_WORK = 3
"""A container is stopped at most this many times until photographs are in progress at a stop."""
STOPS_AFTER_LOSS = 2
"""How often a container is stopped again after a stop has lost photographs: on a busy machine, the
server may not have received them yet.
"""
RECEIVED_AFTER_S = 0.1
"""Seconds after which a server has certainly read the bytes that were sent."""
CLOSED_WITHIN_S = 2.0
"""Seconds for which a server may continue to accept requests after the signal.

A supervisor receives the signal first, and passes it on to the workers.
"""
LATE_TIMEOUT_S = 1.0
"""Timeout for a photograph that is sent after the signal. Even if a server accepts no more
connections, the kernel may put a connection into the queue of the server's socket, where the
connection waits forever.
"""
ASK_EVERY_S = 0.1
CLEAN_EXITS = frozenset({0, 128 + signal.SIGTERM})
"""Exit statuses of a clean stop. If SIGTERM itself ended the process, engines report 128 + 15."""


@dataclass(frozen=True)
class Stop:
    """How a container ended after SIGTERM.

    Attributes:
        ended: The container's exit state, or None if it was killed because it did not end in time.
        took_s: Seconds from SIGTERM to the container's end.
    """

    ended: ExitState | None
    took_s: float


@dataclass(frozen=True)
class StopDuringWork:
    """A stop while the server worked on photographs.

    Attributes:
        stop: How the container ended.
        sent: How many photographs were sent before the signal.
        in_work: The answers to the photographs that the server had received but not yet answered
            at the signal.
    """

    stop: Stop
    sent: int
    in_work: tuple[ProbeAnswer, ...]

    @property
    def lost_photographs(self) -> tuple[ProbeAnswer, ...]:
        """The answers in ``in_work`` that neither succeeded nor said "overloaded"."""
        return tuple(
            answer
            for answer in self.in_work
            if not answer.is_success and answer.status not in OVERLOADED
        )


@dataclass(frozen=True)
class StopInUpload:
    """A stop while the server received a photograph.

    Attributes:
        stop: How the container ended.
        upload: The answer to the photograph that the server was receiving.
        late: The answers to the photographs that were sent after the signal, in order of sending.
    """

    stop: Stop
    upload: ProbeAnswer
    late: tuple[ProbeAnswer, ...]


def observe_stop_during_work(inspection: ImageInspection) -> StopDuringWork:
    """Send several photographs at once, and send SIGTERM to the server a moment later.

    On a busy machine, the server may have answered all photographs before the signal, or may not
    have received any yet. In both cases, nothing was in progress, so the container is started and
    stopped again. If photographs were in progress and one was lost, the container is stopped twice
    more. The server passes only if photographs were in progress at both of these stops, and none
    was lost.
    """
    inspection.require_answered_photograph()
    for _ in range(STOPS_UNTIL_WORK):
        first = _stop_container_during_work(inspection)
        if first.stop.ended is None or first.in_work:
            break
    if first.stop.ended is None or not first.lost_photographs:
        return first
    clean_stops = []
    for _ in range(STOPS_AFTER_LOSS):
        try:
            found = _stop_container_during_work(inspection)
        except Undetermined:
            break  # the loss counts even if it cannot be started again
        if found.stop.ended is None or found.lost_photographs:
            return found
        if found.in_work:
            clean_stops.append(found)
    return clean_stops[-1] if len(clean_stops) == STOPS_AFTER_LOSS else first


def _stop_container_during_work(inspection: ImageInspection) -> StopDuringWork:
    container = inspection.ensure_running_container()
    warm = inspection.observe_once(observe_single_requests).warm
    usual_s = statistics.median(answer.total_s for answer in warm)
    count = max(1, min(MAX_AT_ONCE, math.ceil(WORK_S / max(usual_s, 1e-3))))
    with ThreadPoolExecutor(count) as threads:
        sent = [
            threads.submit(container.post_photograph, inspection.photograph) for _ in range(count)
        ]
        time.sleep(RECEIVED_AFTER_S)
        signalled = _send_sigterm_to_container(container)
        answers = [one.result() for one in sent]
    # Only photographs that were sent well before the signal had surely been received by then. The
    # server may refuse the others.
    in_work = tuple(
        answer
        for answer in answers
        if answer.sent_at < signalled - RECEIVED_AFTER_S / 2 and answer.ended_at > signalled
    )
    return StopDuringWork(_wait_for_container_end(inspection, container, signalled), count, in_work)


def observe_container_restart(inspection: ImageInspection) -> ContainerStart:
    """Start the stopped container again, with the files that its first run left."""
    if inspection.observe_once(observe_stop_during_work).stop.ended is None:
        raise Undetermined("SIGTERM does not end the container; see the clause stops-on-sigterm")
    container = inspection.ordinary_container
    began = time.monotonic()
    try:
        container.running.start()
    except EngineError as err:
        raise Undetermined(err.what) from err
    return inspection.host.wait_until_container_ready(
        container, began, inspection.later_start_timeout_s
    )


def observe_stop_during_upload(inspection: ImageInspection) -> StopInUpload:
    """Send a photograph without its last byte, then SIGTERM, then further requests.

    On a busy machine, the photograph may reach the server only after the signal, or the signal may
    reach the server late. One bad stop therefore proves nothing. If a server loses the photograph,
    or accepts the last request, it is started and stopped once more. A clause fails only if it
    fails at both stops.
    """
    start = inspection.observe_once(observe_container_restart)
    if not start.is_serving:
        start = inspection.start_container_and_wait(Conditions())
    container = start.container
    if container is None or not start.is_serving:
        raise Undetermined(f"after a restart the container was {start}")
    first = _stop_container_during_upload(inspection, container)
    if first.stop.ended is None or (first.upload.is_success and not first.late[-1].is_success):
        return first
    start = inspection.start_container_and_wait(Conditions())
    try:
        if start.container is None or not start.is_serving:
            return first
        second = _stop_container_during_upload(inspection, start.container)
    finally:
        inspection.remove_started_container(start)
    return StopInUpload(
        second.stop,
        first.upload if first.upload.is_success else second.upload,
        second.late if first.late[-1].is_success else first.late,
    )


def _stop_container_during_upload(
    inspection: ImageInspection, container: ContainerUnderTest
) -> StopInUpload:
    photograph, contract = inspection.photograph, inspection.contract
    headers = {**photograph.request_headers, "Content-Length": str(len(photograph.data))}
    late: list[ProbeAnswer] = []
    with ProbeExchange(container.connect, contract.stop_s) as exchange:
        exchange.connect_and_send_headers("POST", INVOCATIONS, headers)
        # Without its last byte, the photograph cannot be answered before the signal.
        exchange.send_body_part(photograph.data[:-1])
        time.sleep(RECEIVED_AFTER_S)
        signalled = _send_sigterm_to_container(container)
        # The first few requests may still be accepted, until a supervisor has told its workers.
        while not late or late[-1].is_success:
            time.sleep(ASK_EVERY_S)
            late.append(
                container.post_to_invocations(
                    photograph.data, photograph.request_headers, LATE_TIMEOUT_S
                )
            )
            if time.monotonic() - signalled > CLOSED_WITHIN_S:
                break
        exchange.send_body_part(photograph.data[-1:])
        upload = exchange.read_answer()
    stop = _wait_for_container_end(inspection, container, signalled)
    return StopInUpload(stop, upload, tuple(late))


def _send_sigterm_to_container(container: ContainerUnderTest) -> float:
    """Send SIGTERM to the container, and return the time of sending on the monotonic clock."""
    container.running.kill("SIGTERM")
    return time.monotonic()


def _wait_for_container_end(
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


@define_clause("stops-on-sigterm", Severity.MUST, HOSTING)
def check_stop_on_sigterm(inspection: ImageInspection) -> ConformanceVerdict:
    """The container ends within 30 s of SIGTERM."""
    stop = inspection.observe_once(observe_stop_during_work).stop
    if stop.ended is None:
        return make_failed_verdict(
            f"still running {stop.took_s:.0f} s after SIGTERM; SIGKILL ended it"
        )
    status = stop.ended.exit_code
    return make_passed_verdict(f"ended {stop.took_s:.2f} s after SIGTERM with status {status}")


@define_clause("exit-status", Severity.SHOULD, PRACTICE)
def check_exit_status_after_sigterm(inspection: ImageInspection) -> ConformanceVerdict:
    """After SIGTERM the container exits with status 0, or with 143, which stands for SIGTERM."""
    state = _require_exit_after_sigterm(inspection.observe_once(observe_stop_during_work).stop)
    return make_passed_or_failed_verdict(
        state.exit_code in CLEAN_EXITS, f"status {state.exit_code} after SIGTERM"
    )


@define_clause("finishes-work", Severity.MUST, HOSTING)
def check_work_finished_after_sigterm(inspection: ImageInspection) -> ConformanceVerdict:
    """The server answers the photographs that it is working on at SIGTERM."""
    at_work = inspection.observe_once(observe_stop_during_work)
    _require_exit_after_sigterm(at_work.stop)
    if not at_work.in_work:
        raise Undetermined(
            f"no photograph was in progress at SIGTERM (photographs sent: {at_work.sent}); send a "
            "larger photograph with --image"
        )
    lost = at_work.lost_photographs
    finished = len(at_work.in_work) - len(lost)
    example = f"; the first that was not: {lost[0]}" if lost else ""
    return make_passed_or_failed_verdict(
        not lost,
        f"{finished} of {len(at_work.in_work)} photographs in progress were answered{example}",
    )


@define_clause("restarts", Severity.SHOULD, PRACTICE)
def check_restart_after_stop(inspection: ImageInspection) -> ConformanceVerdict:
    """A stopped container can be started again, with the files that its first run left."""
    start = inspection.observe_once(observe_container_restart)
    return make_passed_or_failed_verdict(start.is_serving, str(start))


@define_clause("accepts-nothing-new", Severity.MUST, HOSTING)
def check_refusal_of_requests_after_sigterm(inspection: ImageInspection) -> ConformanceVerdict:
    """After SIGTERM the server accepts no new photograph, even while it still works on one."""
    late = inspection.observe_once(observe_stop_during_upload).late
    accepted = sum(answer.is_success for answer in late)
    return make_passed_or_failed_verdict(
        not late[-1].is_success,
        f"{accepted} of {len(late)} photographs sent after SIGTERM were answered; the last: "
        f"{late[-1]}",
    )


@define_clause("finishes-uploads", Severity.SHOULD, PRACTICE)
def check_upload_finished_after_sigterm(inspection: ImageInspection) -> ConformanceVerdict:
    """The server also answers a photograph that is only partly received at SIGTERM."""
    upload = inspection.observe_once(observe_stop_during_upload).upload
    return make_passed_or_failed_verdict(
        upload.is_success, f"the last byte of a photograph was sent after SIGTERM: {upload}"
    )


def _require_exit_after_sigterm(stop: Stop) -> ExitState:
    if stop.ended is None:
        raise Undetermined("SIGTERM does not end the container; see the clause stops-on-sigterm")
    return stop.ended
