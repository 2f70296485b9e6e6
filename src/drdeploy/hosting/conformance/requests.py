"""Send photographs one after the other, with unusual headers and with the largest sizes."""

from __future__ import annotations

import string
import time
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TYPE_CHECKING

from drdeploy.hosting.conformance.clause import (
    ENDPOINTS,
    HostingKind,
    Severity,
    define_clause,
    make_not_applicable_verdict,
    make_passed_or_failed_verdict,
)
from drdeploy.hosting.conformance.contract import HOSTING, INVOKE, SERVERLESS
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.hosting.conformance.clause import ConformanceVerdict
    from drdeploy.hosting.conformance.client import ProbeAnswer
    from drdeploy.hosting.conformance.containers import ContainerUnderTest
    from drdeploy.hosting.conformance.inspection import ImageInspection

WARM_REQUESTS = 5
SETTLE_S = 0.1
COUNTS = 3
SPARE_BYTES = 1024
"""By how many bytes the largest photograph stays below a size limit.

The difference is needed because a host counts not only the body of a request towards the limit.
"""
# Headers that InvokeEndpoint adds for other kinds of endpoints, and headers that a proxy adds.
UNKNOWN_HEADERS = {
    "Accept": "application/json",
    "X-Amzn-SageMaker-Target-Variant": "AllTraffic",
    "X-Amzn-SageMaker-Target-Model": "model.tar.gz",
    "X-Amzn-SageMaker-Session-Id": "none",
    "X-Amzn-Trace-Id": "Root=1-00000000-000000000000000000000000",
    "X-Something-Unheard-Of": "its value",
}


@dataclass(frozen=True)
class Requests:
    """The answers to requests that were sent one at a time.

    Attributes:
        warm: The answers to ordinary requests.
        tasks: How many processes and threads the container had after the ordinary requests.
        special: The answers to unusual requests. The keys say what is unusual about the request.
    """

    warm: tuple[ProbeAnswer, ...]
    tasks: int
    special: Mapping[str, ProbeAnswer]


def observe_single_requests(inspection: ImageInspection) -> Requests:
    """Send photographs one at a time, first in ordinary and then in unusual requests."""
    container = inspection.ensure_running_container()
    photograph, contract = inspection.photograph, inspection.contract
    warm, tasks = warm_up_and_count_tasks(inspection, container)
    printable = string.ascii_letters + string.digits + string.punctuation
    attributes = "".join(islice(cycle(printable), contract.attributes_chars))
    inference_id = "i" * contract.inference_id_chars
    headers_by_name = {
        "unknown": UNKNOWN_HEADERS,
        "attributes": {"X-Amzn-SageMaker-Custom-Attributes": attributes},
        "inference id": {"X-Amzn-SageMaker-Inference-Id": inference_id},
    }
    special = {
        name: container.post_to_invocations(
            photograph.data, {**photograph.request_headers, **headers}
        )
        for name, headers in headers_by_name.items()
    }
    for size_bytes in (contract.serverless_bytes, contract.real_time_bytes):
        if photograph.is_jpeg and len(photograph.data) < size_bytes - SPARE_BYTES:
            padded = photograph.pad_jpeg_to_size(size_bytes - SPARE_BYTES)
            special[_name_photograph_of_size(size_bytes)] = container.post_to_invocations(
                padded, photograph.request_headers
            )
    return Requests(warm, tasks, special)


def warm_up_and_count_tasks(
    inspection: ImageInspection, container: ContainerUnderTest
) -> tuple[tuple[ProbeAnswer, ...], int]:
    """Send a few photographs, then count the container's processes and threads.

    Processes and threads are counted three times, and the lowest count is returned, so that a
    thread that is about to end does not count.
    """
    warm = tuple(container.post_photograph(inspection.photograph) for _ in range(WARM_REQUESTS))
    counts = []
    for _ in range(COUNTS):
        time.sleep(SETTLE_S)
        counts.append(container.running.read_stats().tasks)
    return warm, min(counts)


def _name_photograph_of_size(size_bytes: int) -> str:
    return f"{size_bytes} bytes"


@define_clause("answers-photographs", Severity.MUST, f"{HOSTING}; {INVOKE}")
def check_answers_to_photographs(inspection: ImageInspection) -> ConformanceVerdict:
    """The server answers a photograph with 2xx, within 60 s and in less than 4 MB."""
    warm, contract = inspection.observe_once(observe_single_requests).warm, inspection.contract
    slowest_s = max(answer.total_s for answer in warm)
    longest = max(len(answer.body) for answer in warm)
    statuses = sorted({answer.status or answer.failure for answer in warm}, key=str)
    is_fulfilled = (
        all(answer.is_success for answer in warm)
        and slowest_s <= contract.answer_s
        and 0 < longest <= contract.serverless_bytes
    )
    return make_passed_or_failed_verdict(
        is_fulfilled,
        f"{len(warm)} photographs of {len(inspection.photograph.data)} bytes: "
        f"{', '.join(map(str, statuses))}, slowest answer {slowest_s:.3f} s "
        f"(limit {contract.answer_s:.0f} s), longest answer {longest} bytes",
    )


@define_clause("unknown-headers", Severity.MUST, HOSTING)
def check_answer_to_unknown_headers(inspection: ImageInspection) -> ConformanceVerdict:
    """Unknown headers make no difference to the answer."""
    answer = _require_answer_to_special_request(inspection, "unknown")
    return make_passed_or_failed_verdict(
        answer.is_success, f"with {len(UNKNOWN_HEADERS)} additional headers: {answer}"
    )


@define_clause("custom-attributes", dict.fromkeys(ENDPOINTS, Severity.MUST), INVOKE)
def check_answer_to_custom_attributes(inspection: ImageInspection) -> ConformanceVerdict:
    """The server accepts custom attributes of 1024 ASCII characters."""
    answer = _require_answer_to_special_request(inspection, "attributes")
    chars = inspection.contract.attributes_chars
    return make_passed_or_failed_verdict(
        answer.is_success, f"with attributes of {chars} characters: {answer}"
    )


@define_clause("inference-id", dict.fromkeys(ENDPOINTS, Severity.MUST), INVOKE)
def check_answer_to_inference_id(inspection: ImageInspection) -> ConformanceVerdict:
    """The server accepts an inference id of 64 characters."""
    answer = _require_answer_to_special_request(inspection, "inference id")
    chars = inspection.contract.inference_id_chars
    return make_passed_or_failed_verdict(
        answer.is_success, f"with an id of {chars} characters: {answer}"
    )


@define_clause(
    "payload-4-mb",
    {HostingKind.SERVERLESS: Severity.MUST, HostingKind.REAL_TIME: Severity.SHOULD},
    SERVERLESS,
)
def check_answer_to_4_mb_photograph(inspection: ImageInspection) -> ConformanceVerdict:
    """The server answers the largest photograph that a serverless endpoint accepts."""
    return _check_photograph_padded_to_size(inspection, inspection.contract.serverless_bytes)


@define_clause("payload-6-mb", {HostingKind.REAL_TIME: Severity.SHOULD}, INVOKE)
def check_answer_to_6_mb_photograph(inspection: ImageInspection) -> ConformanceVerdict:
    """The server answers the largest photograph that a real-time endpoint accepts."""
    return _check_photograph_padded_to_size(inspection, inspection.contract.real_time_bytes)


def _check_photograph_padded_to_size(
    inspection: ImageInspection, size_bytes: int
) -> ConformanceVerdict:
    inspection.require_answered_photograph()
    answer = inspection.observe_once(observe_single_requests).special.get(
        _name_photograph_of_size(size_bytes)
    )
    if answer is None:
        return make_not_applicable_verdict("only a smaller JPEG can be padded to the largest size")
    size_mb = (size_bytes - SPARE_BYTES) / MIB
    return make_passed_or_failed_verdict(
        answer.is_success, f"the photograph padded to {size_mb:.3f} MB: {answer}"
    )


def _require_answer_to_special_request(inspection: ImageInspection, name: str) -> ProbeAnswer:
    inspection.require_answered_photograph()
    return inspection.observe_once(observe_single_requests).special[name]
