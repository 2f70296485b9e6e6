"""Clauses about the time from ``docker run IMAGE serve`` to the first answer."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from drdeploy.hosting.conformance.clause import Severity, clause, failed, passed, passed_if
from drdeploy.hosting.conformance.contract import HOSTING, PRACTICE, SERVERLESS
from drdeploy.hosting.conformance.inspection import Undetermined
from drdeploy.hosting.conformance.requests import observe_requests
from drdeploy.hosting.serving.settings import CONTAINER_PORT, MODEL_DIR

if TYPE_CHECKING:
    from drdeploy.hosting.conformance.clause import ConformanceVerdict
    from drdeploy.hosting.conformance.inspection import ImageInspection

COLD_EXCESS_S = 0.5
COLD_RATIO = 5.0
"""A first answer must be slower than the next ones by both to count as a prediction that was not
warmed up.  The ratio alone would blame a fast server for milliseconds, the difference alone a slow
one for noise."""


@clause(Severity.MUST, f"{HOSTING}; {SERVERLESS}")
def serves_on_8080(inspection: ImageInspection) -> ConformanceVerdict:
    """Started with the one argument `serve`, it answers a ping on port 8080 with 200 in time."""
    start = inspection.first_start.start
    if start.ready_s is None:
        return failed(start.trouble)
    limit_s = inspection.contract.start_s
    return passed_if(
        start.ready_s <= limit_s,
        f"ready on port {CONTAINER_PORT} {start.ready_s:.2f} s after its start "
        f"(limit {limit_s:.0f} s)",
    )


@clause(Severity.MUST, HOSTING)
def model_read_only(inspection: ImageInspection) -> ConformanceVerdict:
    """It never writes to the folder of the model."""
    first = inspection.first_start
    if first.start.ready_s is None:
        raise Undetermined("it does not start with a writable folder either")
    return passed_if(
        first.read_only.ready_s is not None, f"{MODEL_DIR} read-only: {first.read_only}"
    )


@clause(Severity.MUST, HOSTING)
def ping_is_true(inspection: ImageInspection) -> ConformanceVerdict:
    """It answers a ping with 200 only once it can answer a photograph."""
    start = inspection.ready_start
    if start.first is None:
        raise Undetermined(start.trouble)
    evidence = (
        f"first 200 to a ping after {start.ready_s:.2f} s; a photograph sent at once: {start.first}"
    )
    if start.first.is_success:
        return passed(evidence)
    inspection.require_answers()
    return failed(f"{evidence}; the first was answered after {start.served_s:.2f} s")


@clause(Severity.SHOULD, PRACTICE)
def warmed_up(inspection: ImageInspection) -> ConformanceVerdict:
    """It has predicted once before it reports ready, so that no client waits for that."""
    first = inspection.ready_start.first
    if first is None or not first.is_success:
        raise Undetermined("the first photograph was not answered")
    warm = inspection.observe(observe_requests).warm
    usual_s = statistics.median(answer.total_s for answer in warm)
    is_cold = first.total_s > COLD_RATIO * usual_s and first.total_s > usual_s + COLD_EXCESS_S
    return passed_if(
        not is_cold, f"first answer in {first.total_s:.3f} s, the next in {usual_s:.3f} s"
    )
