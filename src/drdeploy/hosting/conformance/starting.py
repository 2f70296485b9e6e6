"""From ``docker run IMAGE serve`` to the first answer."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.hosting.conformance.clause import (
    ConformanceVerdict,
    Severity,
    Undetermined,
    clause,
    failed,
    judged,
    passed,
)
from drdeploy.hosting.conformance.contract import HOSTING, PRACTICE, SERVERLESS
from drdeploy.hosting.conformance.hosting import Conditions, ContainerStart
from drdeploy.hosting.serving.settings import CONTAINER_PORT, MODEL_DIR

if TYPE_CHECKING:
    from drdeploy.hosting.conformance.hosting import Host
    from drdeploy.hosting.conformance.inspection import ImageInspection

COLD_EXCESS_S = 0.5
COLD_RATIO = 5.0
"""A first answer that is slower than the next ones by both was not prepared for."""


@dataclass(frozen=True)
class FirstStart:
    """The container that most clauses are about.

    Attributes:
        start: What became of it.
        read_only: What became of it while it could not write to the model's folder; the same
            unless it ended for that.
    """

    start: ContainerStart
    read_only: ContainerStart


def observe_start(host: Host) -> FirstStart:
    """Start the ordinary container; once more with a writable model, should it end by itself."""
    start = host.try_out(Conditions(), host.contract.start_s)
    if start.ready_s is not None or start.hosted is None or start.hosted.ended() is None:
        return FirstStart(start, start)
    host.is_model_writable = True
    again = host.try_out(Conditions(), host.contract.start_s)
    return FirstStart(again, start)


@clause(Severity.MUST, f"{HOSTING}; {SERVERLESS}")
def serves_on_8080(seen: ImageInspection) -> ConformanceVerdict:
    """Run with the one argument `serve`, it says on port 8080 in time that it is ready."""
    start = seen.first_start.start
    if start.ready_s is None:
        return failed(start.trouble)
    limit = f"(limit {seen.contract.start_s:.0f} s)"
    return judged(
        start.ready_s <= seen.contract.start_s,
        f"ready on port {CONTAINER_PORT} {start.ready_s:.2f} s after its start {limit}",
    )


@clause(Severity.MUST, HOSTING)
def model_read_only(seen: ImageInspection) -> ConformanceVerdict:
    """It never writes to the folder of the model."""
    first = seen.first_start
    if first.start.ready_s is None:
        raise Undetermined("it starts neither way")
    return judged(first.read_only.ready_s is not None, f"{MODEL_DIR} read-only: {first.read_only}")


@clause(Severity.MUST, HOSTING)
def ping_is_true(seen: ImageInspection) -> ConformanceVerdict:
    """It says 200 to a ping only once it can answer a photograph."""
    start = seen.serving
    if start.first is None:
        raise Undetermined(start.trouble)
    evidence = (
        f"first 200 to a ping at {start.ready_s:.2f} s; the photograph sent at once: {start.first}"
    )
    if start.first.is_success:
        return passed(evidence)
    seen.require_answers()
    return failed(f"{evidence}; one was answered at {start.served_s:.2f} s")


@clause(Severity.SHOULD, PRACTICE)
def warmed_up(seen: ImageInspection) -> ConformanceVerdict:
    """It has predicted once before it says that it is ready, so that no client waits for that."""
    first = seen.serving.first
    if first is None or not first.is_success:
        raise Undetermined("the first photograph was not answered")
    usual_s = statistics.median(answer.total_s for answer in seen.requests.warm)
    is_cold = first.total_s > COLD_RATIO * usual_s and first.total_s > usual_s + COLD_EXCESS_S
    return judged(
        not is_cold, f"first answer in {first.total_s:.3f} s, the next in {usual_s:.3f} s"
    )
