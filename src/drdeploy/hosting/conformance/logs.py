"""What the containers wrote to standard output and error, and what they had better not."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from drdeploy.hosting.conformance.broken_model import MISSING
from drdeploy.hosting.conformance.clause import (
    ConformanceVerdict,
    Severity,
    Undetermined,
    clause,
    failed,
    judged,
)
from drdeploy.hosting.conformance.contract import HOSTING, PRACTICE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drdeploy.hosting.conformance.inspection import ImageInspection

PROBE_BYTES = 30
"""A multiple of three, so that it is a part of the base64 of the whole."""
UNREADABLE = "\ufffd"
MOST_UNREADABLE = 16


@clause(Severity.SHOULD, HOSTING)
def logs(seen: ImageInspection) -> ConformanceVerdict:
    """It logs to standard output or error."""
    log = seen.log
    return judged(bool(log.strip()), f"{len(log.splitlines())} lines, {len(log)} characters")


@clause(Severity.SHOULD, PRACTICE)
def logs_failures(seen: ImageInspection) -> ConformanceVerdict:
    """If it cannot start, its log says so."""
    refusal = seen.refusals[MISSING]
    if refusal.ready_s is not None:
        raise Undetermined("without a model it says that it is ready: see not-ready-without-model")
    lines = refusal.log.strip().splitlines()
    if not lines:
        return failed("started without a model, it logs nothing")
    return judged(True, f"started without a model: {lines[-1][:120]}")


@clause(Severity.SHOULD, PRACTICE)
def logs_no_image(seen: ImageInspection) -> ConformanceVerdict:
    """What it logs holds nothing of the photographs."""
    log = seen.log
    found = [how for how, text in _traces(seen.photograph.data) if text in log]
    if log.count(UNREADABLE) > MOST_UNREADABLE:
        found.append("binary")
    told = f"found as {', '.join(found)}" if found else "neither text, base64 nor binary of it"
    return judged(not found, f"{len(log)} characters of log: {told}")


def _traces(data: bytes) -> Iterator[tuple[str, str]]:
    """How a body would look in a log: its beginning and a part of its middle."""
    for place in (0, len(data) // 2 // 3 * 3):
        part = data[place : place + PROBE_BYTES]
        yield "text", repr(part)[2:-1]
        yield "base64", base64.b64encode(part).decode()
        yield "hexadecimal", part.hex()
