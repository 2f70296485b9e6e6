"""Photographs one after the other, with every header and size that a host lets through."""

from __future__ import annotations

import string
import time
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TYPE_CHECKING

from drdeploy.hosting.conformance.clause import Severity, clause, not_applicable, passed_if
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
"""By how much a photograph stays below a size limit: a host counts more than the body."""
# What InvokeEndpoint may add for other kinds of endpoints, and what a proxy may add.
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
    """The answers to single requests.

    Attributes:
        warm: Photographs with nothing special.
        tasks: Processes and threads of the container after these.
        special: Answers by the name of what was special about the request.
    """

    warm: tuple[ProbeAnswer, ...]
    tasks: int
    special: Mapping[str, ProbeAnswer]


def observe_requests(inspection: ImageInspection) -> Requests:
    """Send photographs one at a time."""
    container = inspection.running_container()
    photograph, contract = inspection.photograph, inspection.contract
    warm, tasks = warm_up(inspection, container)
    printable = string.ascii_letters + string.digits + string.punctuation
    attributes = "".join(islice(cycle(printable), contract.attributes_chars))
    inference_id = "i" * contract.inference_id_chars
    headers_by_name = {
        "unknown": UNKNOWN_HEADERS,
        "attributes": {"X-Amzn-SageMaker-Custom-Attributes": attributes},
        "inference id": {"X-Amzn-SageMaker-Inference-Id": inference_id},
    }
    special = {
        name: container.invoke(photograph.data, {**photograph.headers, **headers})
        for name, headers in headers_by_name.items()
    }
    for size_bytes in (contract.serverless_bytes, contract.real_time_bytes):
        if photograph.is_jpeg and len(photograph.data) < size_bytes - SPARE_BYTES:
            padded = photograph.padded(size_bytes - SPARE_BYTES)
            special[_size_name(size_bytes)] = container.invoke(padded, photograph.headers)
    return Requests(warm, tasks, special)


def warm_up(
    inspection: ImageInspection, container: ContainerUnderTest
) -> tuple[tuple[ProbeAnswer, ...], int]:
    """Send a few photographs, then count the container's processes and threads.

    The count is the lowest of three: a thread that is about to end is not what a clause asks for.
    """
    warm = tuple(container.grade(inspection.photograph) for _ in range(WARM_REQUESTS))
    counts = []
    for _ in range(COUNTS):
        time.sleep(SETTLE_S)
        counts.append(container.running.stats().tasks)
    return warm, min(counts)


def _size_name(size_bytes: int) -> str:
    return f"{size_bytes} bytes"


@clause(Severity.MUST, f"{HOSTING}; {INVOKE}")
def answers_photographs(inspection: ImageInspection) -> ConformanceVerdict:
    """It answers a photograph with 2xx, within 60 s and in less than 4 MB."""
    warm, contract = inspection.observe(observe_requests).warm, inspection.contract
    slowest_s = max(answer.total_s for answer in warm)
    longest = max(len(answer.body) for answer in warm)
    statuses = sorted({answer.status or answer.failure for answer in warm}, key=str)
    is_fulfilled = (
        all(answer.is_success for answer in warm)
        and slowest_s <= contract.answer_s
        and 0 < longest <= contract.serverless_bytes
    )
    return passed_if(
        is_fulfilled,
        f"{len(warm)} photographs of {len(inspection.photograph.data)} bytes: "
        f"{', '.join(map(str, statuses))}, slowest {slowest_s:.3f} s "
        f"(limit {contract.answer_s:.0f} s), longest answer {longest} bytes",
    )


@clause(Severity.MUST, HOSTING)
def unknown_headers(inspection: ImageInspection) -> ConformanceVerdict:
    """Headers that it does not know make no difference."""
    answer = _special(inspection, "unknown")
    return passed_if(answer.is_success, f"with {len(UNKNOWN_HEADERS)} further headers: {answer}")


@clause(Severity.MUST, INVOKE)
def custom_attributes(inspection: ImageInspection) -> ConformanceVerdict:
    """It accepts custom attributes of 1024 ASCII characters."""
    answer = _special(inspection, "attributes")
    chars = inspection.contract.attributes_chars
    return passed_if(answer.is_success, f"with attributes of {chars} characters: {answer}")


@clause(Severity.MUST, INVOKE)
def inference_id(inspection: ImageInspection) -> ConformanceVerdict:
    """It accepts an inference id of 64 characters."""
    answer = _special(inspection, "inference id")
    chars = inspection.contract.inference_id_chars
    return passed_if(answer.is_success, f"with an id of {chars} characters: {answer}")


@clause(Severity.MUST, SERVERLESS)
def payload_4_mb(inspection: ImageInspection) -> ConformanceVerdict:
    """It answers the largest photograph that a serverless endpoint accepts."""
    return _largest(inspection, inspection.contract.serverless_bytes)


@clause(Severity.MUST, INVOKE)
def payload_6_mb(inspection: ImageInspection) -> ConformanceVerdict:
    """It answers the largest photograph that a real-time endpoint accepts."""
    return _largest(inspection, inspection.contract.real_time_bytes)


def _largest(inspection: ImageInspection, size_bytes: int) -> ConformanceVerdict:
    inspection.require_answers()
    answer = inspection.observe(observe_requests).special.get(_size_name(size_bytes))
    if answer is None:
        return not_applicable("only a JPEG below that size can be padded to it")
    size_mb = (size_bytes - SPARE_BYTES) / MIB
    return passed_if(answer.is_success, f"the photograph padded to {size_mb:.3f} MB: {answer}")


def _special(inspection: ImageInspection, name: str) -> ProbeAnswer:
    inspection.require_answers()
    return inspection.observe(observe_requests).special[name]
