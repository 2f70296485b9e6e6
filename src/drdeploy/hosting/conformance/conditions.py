"""Other conditions than an ordinary start: another port, a batch, a locked-down container.

An image that keeps all of it is started once, under all conditions together.  One that does not
is started without the other port, which is the one that many ignore; then under each alone, so
that the one it fails is found.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from drdeploy.hosting.conformance.clause import (
    ConformanceVerdict,
    Severity,
    clause,
    failed,
    judged,
    not_applicable,
)
from drdeploy.hosting.conformance.client import ProbeAnswer, ask
from drdeploy.hosting.conformance.contract import BATCH, HOSTING, PRACTICE, TROUBLESHOOTING
from drdeploy.hosting.conformance.hosting import Conditions, ContainerStart

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.hosting.conformance.inspection import ImageInspection

OTHER_PORT = 8765
PORT_RANGE = "8766-8865"
USER = "12345:0"
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
class Trials:
    """What became of a start under each condition.

    Attributes:
        starts: By condition; the same one for those that were kept together.
        execution_parameters: The answer of the one that was told of a batch, if it got ready.
    """

    starts: Mapping[str, ContainerStart]
    execution_parameters: ProbeAnswer | None


def observe_conditions(seen: ImageInspection) -> Trials:
    """Start under all conditions; under fewer if that is too much."""
    seen.require_answers()
    starts = _starts(seen)
    batch = starts["batch"]
    parameters = None
    if batch.hosted is not None and batch.ready_s is not None:
        port, limit_s = batch.hosted.port, seen.contract.answer_s
        parameters = ask(port, "GET", "/execution-parameters", timeout_s=limit_s)
    seen.discard(batch)
    return Trials(starts, parameters)


def _starts(seen: ImageInspection) -> Mapping[str, ContainerStart]:
    """What became of each condition; the container that was told of a batch is left running."""
    together = seen.try_out(TOGETHER)
    if together.is_serving:
        return dict.fromkeys(ALONE, together)
    seen.discard(together)
    on_8080 = seen.try_out(ON_8080)
    if on_8080.is_serving:
        return {**dict.fromkeys(ALONE, on_8080), "port": together}
    seen.discard(on_8080)
    starts = {name: _alone(seen, name) for name in ALONE}
    if all(start.is_serving for start in starts.values()):
        # A serverless endpoint has both at once.
        return {**starts, "read-only": on_8080, "user": on_8080}
    return starts


def _alone(seen: ImageInspection, name: str) -> ContainerStart:
    start = seen.try_out(ALONE[name])
    if name != "batch":
        seen.discard(start)
    return start


@clause(Severity.MUST, HOSTING)
def bind_to_port(seen: ImageInspection) -> ConformanceVerdict:
    """It listens where SAGEMAKER_BIND_TO_PORT says."""
    return _kept(seen, "port", f"SAGEMAKER_BIND_TO_PORT={OTHER_PORT}")


@clause(Severity.MUST, BATCH)
def batch(seen: ImageInspection) -> ConformanceVerdict:
    """It answers photographs under SAGEMAKER_BATCH=true as well."""
    return _kept(seen, "batch", "SAGEMAKER_BATCH=true")


@clause(Severity.SHOULD, BATCH)
def execution_parameters(seen: ImageInspection) -> ConformanceVerdict:
    """Asked for /execution-parameters, it answers what Batch Transform understands, or 404."""
    answer = seen.trials.execution_parameters
    if answer is None:
        return failed("it does not get ready under SAGEMAKER_BATCH=true")
    if answer.status == 404:
        return not_applicable(f"{answer}: Batch Transform uses its own values")
    trouble = f"{answer}" if answer.status != 200 else _misunderstood(answer.body)
    return judged(not trouble, trouble or answer.body.decode(errors="replace")[:200])


@clause(Severity.MUST, f"{PRACTICE}; {TROUBLESHOOTING}")
def read_only_root(seen: ImageInspection) -> ConformanceVerdict:
    """It needs to write nowhere but below /tmp."""
    return _kept(seen, "read-only", "root file system read-only but for /tmp")


@clause(Severity.MUST, TROUBLESHOOTING)
def arbitrary_user(seen: ImageInspection) -> ConformanceVerdict:
    """It runs as whatever unprivileged user the host chooses, without capabilities."""
    return _kept(seen, "user", f"user {USER} without capabilities")


def _kept(seen: ImageInspection, name: str, told: str) -> ConformanceVerdict:
    start = seen.trials.starts[name]
    return judged(start.is_serving, f"{told}: {start}")


def _misunderstood(body: bytes) -> str:
    """Why Batch Transform would not understand it; empty if it would."""
    try:
        told: Any = json.loads(body)
    except ValueError:
        return f"no JSON: {body[:80]!r}"
    if not isinstance(told, dict) or not set(told) <= set(PARAMETERS):
        return f"other fields than {', '.join(PARAMETERS)}: {body[:120]!r}"
    for name, value in told.items():
        if not isinstance(value, PARAMETERS[name]) or isinstance(value, bool):
            return f"{name} is {value!r}"
    if told.get("BatchStrategy", "SINGLE_RECORD") not in STRATEGIES:
        return f"BatchStrategy is {told['BatchStrategy']!r}"
    return ""
