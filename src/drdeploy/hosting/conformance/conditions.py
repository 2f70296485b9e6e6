"""Starts under other conditions: another port, a batch, a locked-down container.

An image that fulfils everything is started once, under all conditions together.  One that does not
is started without the other port, the condition that most images fail; and then under each
condition alone, so that the one it fails is found.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from drdeploy.hosting.conformance.clause import Severity, clause, failed, not_applicable, passed_if
from drdeploy.hosting.conformance.client import ProbeAnswer, ask
from drdeploy.hosting.conformance.containers import Conditions, ContainerStart
from drdeploy.hosting.conformance.contract import BATCH, HOSTING, PRACTICE, TROUBLESHOOTING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.hosting.conformance.clause import ConformanceVerdict
    from drdeploy.hosting.conformance.inspection import ImageInspection

OTHER_PORT = 8765
PORT_RANGE = "8766-8865"
"""SageMaker names a range of further ports beside the port, for servers that need more than one."""
USER = "12345:0"
"""A user that no image knows; in group 0, as on platforms that choose the user themselves."""
BATCH_ENV = {"SAGEMAKER_BATCH": "true"}
PORT_ENV = {"SAGEMAKER_SAFE_PORT_RANGE": PORT_RANGE}
ALONE = {
    "port": Conditions(port=OTHER_PORT, env=PORT_ENV),
    "batch": Conditions(env=BATCH_ENV),
    "read-only": Conditions(read_only=True),
    "user": Conditions(user=USER),
}
ON_8080 = Conditions(env=BATCH_ENV, read_only=True, user=USER)
TOGETHER = replace(ON_8080, port=OTHER_PORT, env={**PORT_ENV, **BATCH_ENV})
STRATEGIES = frozenset({"SINGLE_RECORD", "MULTI_RECORD"})
PARAMETERS: dict[str, type] = {
    "MaxConcurrentTransforms": int,
    "BatchStrategy": str,
    "MaxPayloadInMB": int,
}


@dataclass(frozen=True)
class ConditionedStarts:
    """How the image started under each condition.

    Attributes:
        starts: By condition; the same start for conditions that were tried together.
        execution_parameters: The answer of the start with SAGEMAKER_BATCH; None if that one never
            got ready.
    """

    starts: Mapping[str, ContainerStart]
    execution_parameters: ProbeAnswer | None


def observe_conditions(inspection: ImageInspection) -> ConditionedStarts:
    """Start under all conditions; under fewer if that fails."""
    inspection.require_answers()
    starts = _starts(inspection)
    batch = starts["batch"]
    parameters = None
    if batch.container is not None and batch.ready_s is not None:
        port, limit_s = batch.container.port, inspection.contract.answer_s
        parameters = ask(port, "GET", "/execution-parameters", timeout_s=limit_s)
    inspection.discard(batch)
    return ConditionedStarts(starts, parameters)


def _starts(inspection: ImageInspection) -> Mapping[str, ContainerStart]:
    """Start under the conditions; the container with SAGEMAKER_BATCH is left running."""
    together = inspection.start_and_wait(TOGETHER)
    if together.is_serving:
        return dict.fromkeys(ALONE, together)
    inspection.discard(together)
    on_8080 = inspection.start_and_wait(ON_8080)
    if on_8080.is_serving:
        return {**dict.fromkeys(ALONE, on_8080), "port": together}
    inspection.discard(on_8080)
    starts = {}
    for name, conditions in ALONE.items():
        starts[name] = inspection.start_and_wait(conditions)
        if name != "batch":
            inspection.discard(starts[name])
    if all(start.is_serving for start in starts.values()):
        # Each alone is fine, both together are not, and a serverless endpoint has both at once.
        return {**starts, "read-only": on_8080, "user": on_8080}
    return starts


@clause(Severity.MUST, HOSTING)
def bind_to_port(inspection: ImageInspection) -> ConformanceVerdict:
    """It listens on the port that SAGEMAKER_BIND_TO_PORT names."""
    return _serves(inspection, "port", f"SAGEMAKER_BIND_TO_PORT={OTHER_PORT}")


@clause(Severity.MUST, BATCH)
def batch(inspection: ImageInspection) -> ConformanceVerdict:
    """It answers photographs with SAGEMAKER_BATCH=true as well."""
    return _serves(inspection, "batch", "SAGEMAKER_BATCH=true")


@clause(Severity.SHOULD, BATCH)
def execution_parameters(inspection: ImageInspection) -> ConformanceVerdict:
    """It answers /execution-parameters with what Batch Transform understands, or with 404."""
    answer = inspection.observe(observe_conditions).execution_parameters
    if answer is None:
        return failed("it does not get ready with SAGEMAKER_BATCH=true")
    if answer.status == 404:
        return not_applicable(f"{answer}: Batch Transform uses its own values")
    trouble = f"{answer}" if answer.status != 200 else _misunderstood(answer.body)
    return passed_if(not trouble, trouble or answer.body.decode(errors="replace")[:200])


@clause(Severity.MUST, f"{PRACTICE}; {TROUBLESHOOTING}")
def read_only_root(inspection: ImageInspection) -> ConformanceVerdict:
    """It needs to write nowhere but below /tmp."""
    return _serves(inspection, "read-only", "root file system read-only except for /tmp")


@clause(Severity.MUST, TROUBLESHOOTING)
def arbitrary_user(inspection: ImageInspection) -> ConformanceVerdict:
    """It runs as whatever unprivileged user the host chooses, without capabilities."""
    return _serves(inspection, "user", f"user {USER} without capabilities")


def _serves(inspection: ImageInspection, name: str, condition: str) -> ConformanceVerdict:
    start = inspection.observe(observe_conditions).starts[name]
    return passed_if(start.is_serving, f"{condition}: {start}")


def _misunderstood(body: bytes) -> str:
    """Say why Batch Transform would not understand an answer; empty if it would."""
    try:
        parameters: Any = json.loads(body)
    except ValueError:
        return f"not JSON: {body[:80]!r}"
    if not isinstance(parameters, dict) or not set(parameters) <= set(PARAMETERS):
        return f"other fields than {', '.join(PARAMETERS)}: {body[:120]!r}"
    for name, value in parameters.items():
        if not isinstance(value, PARAMETERS[name]) or isinstance(value, bool):
            return f"{name} is {value!r}"
    if parameters.get("BatchStrategy", "SINGLE_RECORD") not in STRATEGIES:
        return f"BatchStrategy is {parameters['BatchStrategy']!r}"
    return ""
