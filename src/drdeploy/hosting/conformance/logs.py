"""Check the containers' standard output and standard error."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from drdeploy.hosting.conformance.broken_model import MISSING, observe_starts_with_broken_models
from drdeploy.hosting.conformance.clause import (
    Severity,
    define_clause,
    make_failed_verdict,
    make_passed_or_failed_verdict,
    make_passed_verdict,
)
from drdeploy.hosting.conformance.contract import HOSTING, PRACTICE
from drdeploy.hosting.conformance.inspection import Undetermined

if TYPE_CHECKING:
    from drdeploy.hosting.conformance.clause import ConformanceVerdict
    from drdeploy.hosting.conformance.inspection import ImageInspection

PROBE_BYTES = 30
"""How many bytes of the photograph are searched for in the log. The number is a multiple of three,
so that the base64 text of these bytes is a part of the base64 text of the whole photograph.
"""
REPLACEMENT = "\ufffd"
MAX_REPLACEMENTS = 16
"""How many bytes of a log may be invalid text. A server that logs binary data logs thousands of
such bytes.
"""


def observe_container_log(inspection: ImageInspection) -> str:
    """Read the log of the container on which most observations are made."""
    return inspection.ensure_running_container().running.read_logs()


@define_clause("logs", Severity.SHOULD, HOSTING)
def check_whether_server_logs(inspection: ImageInspection) -> ConformanceVerdict:
    """The server logs to standard output or standard error."""
    log = inspection.observe_once(observe_container_log)
    return make_passed_or_failed_verdict(
        bool(log.strip()), f"{len(log.splitlines())} lines, {len(log)} characters"
    )


@define_clause("logs-no-image", Severity.SHOULD, PRACTICE)
def check_absence_of_image_data_in_log(inspection: ImageInspection) -> ConformanceVerdict:
    """The server's log contains no data of the photographs."""
    log = inspection.observe_once(observe_container_log)
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
    result = f"image data as {', '.join(found)}" if found else "no image data in any known form"
    return make_passed_or_failed_verdict(not found, f"{len(log)} characters of log: {result}")


@define_clause("logs-failures", Severity.SHOULD, PRACTICE)
def check_log_of_failed_start(inspection: ImageInspection) -> ConformanceVerdict:
    """If the server cannot start, its log says so."""
    start = inspection.observe_once(observe_starts_with_broken_models)[MISSING]
    if start.ready_s is not None:
        raise Undetermined(
            "the container reports that it is ready although it has no model; see the clause "
            "not-ready-without-model"
        )
    lines = start.log.strip().splitlines()
    if not lines:
        return make_failed_verdict("started without a model, the server logs nothing")
    return make_passed_verdict(f"started without a model: {lines[-1][:120]}")
