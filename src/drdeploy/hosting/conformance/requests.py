"""Photographs one after the other, with every header and size that a host lets through."""

from __future__ import annotations

import string
import time
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TYPE_CHECKING

from drdeploy.hosting.conformance.clause import (
    ConformanceVerdict,
    Severity,
    clause,
    judged,
    not_applicable,
)
from drdeploy.hosting.conformance.contract import HOSTING, INVOKE, SERVERLESS
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.hosting.conformance.client import ProbeAnswer
    from drdeploy.hosting.conformance.contract import Contract
    from drdeploy.hosting.conformance.hosting import ContainerUnderTest
    from drdeploy.hosting.conformance.inspection import ImageInspection

WARM_REQUESTS = 5
SETTLE_S = 0.1
COUNTS = 3
SPARE_BYTES = 1024
"""Just under a limit."""
UNKNOWN_HEADERS = {
    "Accept": "application/json",
    "X-Amzn-SageMaker-Target-Variant": "AllTraffic",
    "X-Amzn-SageMaker-Target-Model": "model.tar.gz",
    "X-Amzn-SageMaker-Session-Id": "none",
    "X-Amzn-Trace-Id": "Root=1-00000000-000000000000000000000000",
    "X-Something-Unheard-Of": "what it says",
}


@dataclass(frozen=True)
class Requests:
    """What was answered to single requests.

    Attributes:
        warm: Photographs, nothing special.
        tasks: Processes and threads after these.
        special: By the name of what was special.
    """

    warm: tuple[ProbeAnswer, ...]
    tasks: int
    special: Mapping[str, ProbeAnswer]


def observe_requests(seen: ImageInspection, hosted: ContainerUnderTest) -> Requests:
    """Send photographs one at a time."""
    photograph, contract = seen.photograph, seen.contract
    warm, tasks = warm_up(seen, hosted)
    special = {
        name: hosted.invoke(photograph.data, {**photograph.headers, **headers})
        for name, headers in _special_headers(contract).items()
    }
    for size_bytes in (contract.serverless_bytes, contract.real_time_bytes):
        if photograph.is_jpeg and len(photograph.data) < size_bytes - SPARE_BYTES:
            padded = photograph.padded(size_bytes - SPARE_BYTES)
            special[_size_name(size_bytes)] = hosted.invoke(padded, photograph.headers)
    return Requests(warm, tasks, special)


def warm_up(
    seen: ImageInspection, hosted: ContainerUnderTest
) -> tuple[tuple[ProbeAnswer, ...], int]:
    """Send a few photographs; then count processes and threads, the fewest of three looks."""
    warm = tuple(hosted.grade(seen.photograph) for _ in range(WARM_REQUESTS))
    counts = []
    for _ in range(COUNTS):
        time.sleep(SETTLE_S)
        counts.append(hosted.container.stats().tasks)
    return warm, min(counts)


def _special_headers(contract: Contract) -> dict[str, dict[str, str]]:
    printable = string.ascii_letters + string.digits + string.punctuation
    attributes = "".join(islice(cycle(printable), contract.attributes_chars))
    inference_id = "i" * contract.inference_id_chars
    return {
        "unknown": UNKNOWN_HEADERS,
        "attributes": {"X-Amzn-SageMaker-Custom-Attributes": attributes},
        "inference id": {"X-Amzn-SageMaker-Inference-Id": inference_id},
    }


def _size_name(size_bytes: int) -> str:
    return f"{size_bytes} bytes"


@clause(Severity.MUST, f"{HOSTING}; {INVOKE}")
def answers_photographs(seen: ImageInspection) -> ConformanceVerdict:
    """It answers a photograph with 2xx, within 60 s and with less than 4 MB."""
    warm, contract = seen.requests.warm, seen.contract
    slowest_s = max(answer.total_s for answer in warm)
    longest = max(len(answer.body) for answer in warm)
    statuses = sorted({answer.status or answer.failure for answer in warm}, key=str)
    is_kept = (
        all(answer.is_success for answer in warm)
        and slowest_s <= contract.answer_s
        and 0 < longest <= contract.serverless_bytes
    )
    said = ", ".join(map(str, statuses))
    return judged(
        is_kept,
        f"{len(warm)} photographs of {len(seen.photograph.data)} bytes: {said}, slowest "
        f"{slowest_s:.3f} s (limit {contract.answer_s:.0f} s), longest answer {longest} bytes",
    )


@clause(Severity.MUST, HOSTING)
def unknown_headers(seen: ImageInspection) -> ConformanceVerdict:
    """Headers that it does not know change nothing."""
    answer = _special(seen, "unknown")
    return judged(answer.is_success, f"with {len(UNKNOWN_HEADERS)} further headers: {answer}")


@clause(Severity.MUST, INVOKE)
def custom_attributes(seen: ImageInspection) -> ConformanceVerdict:
    """It accepts custom attributes of 1024 ASCII characters."""
    answer = _special(seen, "attributes")
    return judged(
        answer.is_success, f"with attributes of {seen.contract.attributes_chars}: {answer}"
    )


@clause(Severity.MUST, INVOKE)
def inference_id(seen: ImageInspection) -> ConformanceVerdict:
    """It accepts an inference id of 64 characters."""
    answer = _special(seen, "inference id")
    return judged(answer.is_success, f"with an id of {seen.contract.inference_id_chars}: {answer}")


@clause(Severity.MUST, SERVERLESS)
def payload_4_mb(seen: ImageInspection) -> ConformanceVerdict:
    """It answers the largest photograph that a serverless endpoint lets through."""
    return _largest(seen, seen.contract.serverless_bytes)


@clause(Severity.MUST, INVOKE)
def payload_6_mb(seen: ImageInspection) -> ConformanceVerdict:
    """It answers the largest photograph that a real-time endpoint lets through."""
    return _largest(seen, seen.contract.real_time_bytes)


def _largest(seen: ImageInspection, size_bytes: int) -> ConformanceVerdict:
    seen.require_answers()
    answer = seen.requests.special.get(_size_name(size_bytes))
    if answer is None:
        return not_applicable("only a JPEG that is smaller can be brought to that size")
    size_mb = (size_bytes - SPARE_BYTES) / MIB
    return judged(answer.is_success, f"the photograph padded to {size_mb:.3f} MB: {answer}")


def _special(seen: ImageInspection, name: str) -> ProbeAnswer:
    seen.require_answers()
    return seen.requests.special[name]
