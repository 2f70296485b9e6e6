"""What the containers write to standard output and error, and what they must not write."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from drdeploy.hosting.conformance.broken_model import MISSING, observe_broken_models
from drdeploy.hosting.conformance.clause import Severity, clause, failed, passed, passed_if
from drdeploy.hosting.conformance.contract import HOSTING, PRACTICE
from drdeploy.hosting.conformance.inspection import Undetermined

if TYPE_CHECKING:
    from drdeploy.hosting.conformance.clause import ConformanceVerdict
    from drdeploy.hosting.conformance.inspection import ImageInspection

PROBE_BYTES = 30
"""A multiple of three, so that it is a part of the base64 of the whole."""
REPLACEMENT = "\ufffd"
MAX_REPLACEMENTS = 16
"""Undecodable bytes in a log; a server that writes binary data writes thousands of them."""


def observe_log(inspection: ImageInspection) -> str:
    """Read what the ordinary container has logged by then."""
    return inspection.running_container().running.logs()


@clause(Severity.SHOULD, HOSTING)
def logs(inspection: ImageInspection) -> ConformanceVerdict:
    """It logs to standard output or error."""
    log = inspection.observe(observe_log)
    return passed_if(bool(log.strip()), f"{len(log.splitlines())} lines, {len(log)} characters")


@clause(Severity.SHOULD, PRACTICE)
def logs_failures(inspection: ImageInspection) -> ConformanceVerdict:
    """If it cannot start, its log says so."""
    start = inspection.observe(observe_broken_models)[MISSING]
    if start.ready_s is not None:
        raise Undetermined("it reports ready without a model: see not-ready-without-model")
    lines = start.log.strip().splitlines()
    if not lines:
        return failed("started without a model, it logs nothing")
    return passed(f"started without a model: {lines[-1][:120]}")


@clause(Severity.SHOULD, PRACTICE)
def logs_no_image(inspection: ImageInspection) -> ConformanceVerdict:
    """Its log holds nothing of the photographs."""
    log = inspection.observe(observe_log)
    data, found = inspection.photograph.data, []
    for start in (0, len(data) // 2 // 3 * 3):  # its beginning and a part of its middle
        part = data[start : start + PROBE_BYTES]
        forms = {
            "text": repr(part)[2:-1],
            "base64": base64.b64encode(part).decode(),
            "hexadecimal": part.hex(),
        }
        found += [form for form, text in forms.items() if text in log]
    if log.count(REPLACEMENT) > MAX_REPLACEMENTS:
        found.append("binary")
    result = f"found as {', '.join(found)}" if found else "neither text, base64 nor binary of it"
    return passed_if(not found, f"{len(log)} characters of log: {result}")
