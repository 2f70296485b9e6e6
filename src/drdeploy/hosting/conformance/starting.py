"""Check a container's start, from ``docker run IMAGE serve`` to the first answer."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from drdeploy.hosting.conformance.clause import (
    Severity,
    define_clause,
    make_failed_verdict,
    make_passed_or_failed_verdict,
    make_passed_verdict,
)
from drdeploy.hosting.conformance.contract import HOSTING, PRACTICE, SERVERLESS
from drdeploy.hosting.conformance.inspection import Undetermined
from drdeploy.hosting.conformance.requests import observe_single_requests
from drdeploy.hosting.serving.settings import CONTAINER_PORT, MODEL_DIR

if TYPE_CHECKING:
    from pathlib import Path

    from drdeploy.hosting.conformance.clause import ConformanceVerdict
    from drdeploy.hosting.conformance.inspection import ImageInspection

LISTED_NAMES = 5
COLD_EXCESS_S = 0.5
COLD_RATIO = 5.0
"""The first answer shows a lack of warm-up only if two conditions hold. The first answer must take
more than ``COLD_RATIO`` times as long as the median of the later answers, and it must take more
than ``COLD_EXCESS_S`` seconds longer than this median. With the ratio alone, a fast server would
fail because of a few milliseconds. With the difference alone, a slow server would fail because of
noise.
"""


@define_clause("serves-on-8080", Severity.MUST, f"{HOSTING}; {SERVERLESS}")
def check_serving_on_port_8080(inspection: ImageInspection) -> ConformanceVerdict:
    """Started with the argument `serve`, the server answers a ping on port 8080 in time."""
    start = inspection.first_container_start.start
    if start.ready_s is None:
        return make_failed_verdict(start.trouble)
    limit_s = inspection.contract.start_s
    return make_passed_or_failed_verdict(
        start.ready_s <= limit_s,
        f"ready on port {CONTAINER_PORT} {start.ready_s:.2f} s after its start "
        f"(limit {limit_s:.0f} s)",
    )


@define_clause("archive-layout", Severity.SHOULD, PRACTICE)
def check_extracted_archive_layout(inspection: ImageInspection) -> ConformanceVerdict:
    """The files of the archive are where the server looks for them, below /opt/ml/model."""
    names = sorted(path.name for path in inspection.host.model_folder.iterdir())
    listed = ", ".join(names[:LISTED_NAMES]) + (", …" if len(names) > LISTED_NAMES else "")
    is_ready = inspection.first_container_start.start.ready_s is not None
    if is_ready or not _contains_only_one_folder(inspection.host.model_folder):
        return make_passed_verdict(f"in {MODEL_DIR}: {listed or 'nothing'}")
    return make_failed_verdict(
        "the server never became ready. The archive puts everything into one more folder, "
        f"{MODEL_DIR}/{listed}. Pack the content of the folder with `tar -czf model.tar.gz -C "
        f"{listed} .`"
    )


@define_clause("model-read-only", Severity.MUST, HOSTING)
def check_read_only_model_folder(inspection: ImageInspection) -> ConformanceVerdict:
    """The server never writes to the folder of the model."""
    first = inspection.first_container_start
    if first.start.ready_s is None:
        raise Undetermined("the container does not start even with a writable folder")
    return make_passed_or_failed_verdict(
        first.read_only.ready_s is not None, f"{MODEL_DIR} read-only: {first.read_only}"
    )


@define_clause("ping-is-true", Severity.MUST, HOSTING)
def check_first_answer_after_ping(inspection: ImageInspection) -> ConformanceVerdict:
    """The server answers a ping with 200 only after it can answer a photograph."""
    start = inspection.ready_container_start
    if start.first is None:
        raise Undetermined(start.trouble)
    evidence = (
        f"first 200 to a ping after {start.ready_s:.2f} s; a photograph sent at once: {start.first}"
    )
    if start.first.is_success:
        return make_passed_verdict(evidence)
    inspection.require_answered_photograph()
    return make_failed_verdict(
        f"{evidence}; a photograph was first answered after {start.served_s:.2f} s"
    )


@define_clause("warmed-up", Severity.SHOULD, PRACTICE)
def check_warm_up_before_ready(inspection: ImageInspection) -> ConformanceVerdict:
    """The server predicts once before it reports ready, so that the first client need not wait."""
    first = inspection.ready_container_start.first
    if first is None or not first.is_success:
        raise Undetermined("the first photograph was not answered")
    warm = inspection.observe_once(observe_single_requests).warm
    usual_s = statistics.median(answer.total_s for answer in warm)
    is_cold = first.total_s > COLD_RATIO * usual_s and first.total_s > usual_s + COLD_EXCESS_S
    return make_passed_or_failed_verdict(
        not is_cold, f"first answer in {first.total_s:.3f} s, the next in {usual_s:.3f} s"
    )


def _contains_only_one_folder(folder: Path) -> bool:
    inside = list(folder.iterdir())
    return len(inside) == 1 and inside[0].is_dir()
