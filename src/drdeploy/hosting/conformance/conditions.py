"""Start the image under unusual conditions: another port, Batch Transform, a locked-down container.

If the image's label says that the port can be chosen, the image is first started under all
conditions together. The usual reason for a failure is the port. After a failure, or without the
label, the image is started on the usual port, under all other conditions. If this start fails too,
the image is started under each condition alone, so that every failing condition is found.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from drdeploy.files import parse_json
from drdeploy.hosting.conformance.clause import (
    HostingKind,
    Severity,
    define_clause,
    make_failed_verdict,
    make_not_applicable_verdict,
    make_passed_or_failed_verdict,
)
from drdeploy.hosting.conformance.client import ProbeAnswer, send_request_and_read_answer
from drdeploy.hosting.conformance.containers import Conditions, ContainerStart
from drdeploy.hosting.conformance.contract import (
    BATCH,
    HOSTING,
    PIPELINES,
    PRACTICE,
    TROUBLESHOOTING,
)
from drdeploy.hosting.conformance.image_configuration import observe_image_configuration
from drdeploy.hosting.sagemaker.container_contract import BIND_TO_PORT_LABEL, UNPRIVILEGED_USER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.hosting.conformance.clause import ConformanceVerdict
    from drdeploy.hosting.conformance.inspection import ImageInspection

OTHER_PORT = 8765
PORT_RANGE = "8766-8865"
"""The additional ports that SageMaker offers to servers that need more than one port."""
BATCH_ENV = {"SAGEMAKER_BATCH": "true"}
PORT_ENV = {"SAGEMAKER_SAFE_PORT_RANGE": PORT_RANGE}
ALONE = {
    "port": Conditions(port=OTHER_PORT, env=PORT_ENV),
    "batch": Conditions(env=BATCH_ENV),
    "read-only": Conditions(read_only=True),
    "user": Conditions(user=UNPRIVILEGED_USER),
}
ON_8080 = Conditions(env=BATCH_ENV, read_only=True, user=UNPRIVILEGED_USER)
TOGETHER = replace(ON_8080, port=OTHER_PORT, env={**PORT_ENV, **BATCH_ENV})
STRATEGIES = frozenset({"SINGLE_RECORD", "MULTI_RECORD"})
PARAMETERS: dict[str, type] = {
    "MaxConcurrentTransforms": int,
    "BatchStrategy": str,
    "MaxPayloadInMB": int,
}


@dataclass(frozen=True)
class ConditionedStarts:
    """The start of the image under each condition.

    Attributes:
        starts: The start under each condition; conditions that were tried together share a start.
        execution_parameters: The answer to ``GET /execution-parameters`` of the container that was
            started with the environment variable SAGEMAKER_BATCH. None if that container never
            became ready.
    """

    starts: Mapping[str, ContainerStart]
    execution_parameters: ProbeAnswer | None


def observe_starts_under_conditions(inspection: ImageInspection) -> ConditionedStarts:
    """Start the image under all conditions at once; if that fails, under fewer at a time."""
    inspection.require_answered_photograph()
    starts = _start_image_under_conditions(inspection)
    batch = starts["batch"]
    parameters = None
    if batch.container is not None and batch.ready_s is not None:
        connect, limit_s = batch.container.connect, inspection.contract.answer_s
        parameters = send_request_and_read_answer(
            connect, "GET", "/execution-parameters", timeout_s=limit_s
        )
    inspection.remove_started_container(batch)
    return ConditionedStarts(starts, parameters)


def _start_image_under_conditions(inspection: ImageInspection) -> Mapping[str, ContainerStart]:
    """Return the start under each condition; the container with SAGEMAKER_BATCH keeps running."""
    on_another_port: dict[str, ContainerStart] = {}
    if inspection.observe_once(observe_image_configuration).accepts_port:
        together = inspection.start_container_and_wait(TOGETHER)
        if together.is_serving:
            return dict.fromkeys(ALONE, together)
        inspection.remove_started_container(together)
        on_another_port = {"port": together}
    on_8080 = inspection.start_container_and_wait(ON_8080)
    if on_8080.is_serving:
        return {**dict.fromkeys(ALONE, on_8080), **on_another_port}
    inspection.remove_started_container(on_8080)
    starts = {}
    for name, conditions in ALONE.items():
        if name == "port" and not on_another_port:
            continue
        starts[name] = inspection.start_container_and_wait(conditions)
        if name != "batch":
            inspection.remove_started_container(starts[name])
    return starts


@define_clause(
    "bind-to-port",
    {HostingKind.REAL_TIME: Severity.MUST, HostingKind.BATCH: Severity.MUST},
    PIPELINES,
)
def check_port_from_environment(inspection: ImageInspection) -> ConformanceVerdict:
    """The server listens on the port in SAGEMAKER_BIND_TO_PORT, if a label says that it can."""
    if not inspection.observe_once(observe_image_configuration).accepts_port:
        return make_not_applicable_verdict(f"no label {BIND_TO_PORT_LABEL}=true")
    return _check_start_under_condition(inspection, "port", f"SAGEMAKER_BIND_TO_PORT={OTHER_PORT}")


@define_clause("batch", {HostingKind.BATCH: Severity.MUST}, BATCH)
def check_answers_in_batch_transform(inspection: ImageInspection) -> ConformanceVerdict:
    """The server also answers photographs with SAGEMAKER_BATCH=true."""
    return _check_start_under_condition(inspection, "batch", "SAGEMAKER_BATCH=true")


@define_clause("execution-parameters", {HostingKind.BATCH: Severity.SHOULD}, BATCH)
def check_execution_parameters_answer(inspection: ImageInspection) -> ConformanceVerdict:
    """The server answers /execution-parameters as Batch Transform expects, or with 404."""
    answer = inspection.observe_once(observe_starts_under_conditions).execution_parameters
    if answer is None:
        return make_failed_verdict("the server does not become ready with SAGEMAKER_BATCH=true")
    if answer.status == 404:
        return make_not_applicable_verdict(f"{answer}, so Batch Transform uses its own values")
    trouble = (
        f"{answer}" if answer.status != 200 else _explain_bad_execution_parameters(answer.body)
    )
    return make_passed_or_failed_verdict(
        not trouble, trouble or answer.body.decode(errors="replace")[:200]
    )


@define_clause("read-only-root", Severity.SHOULD, PRACTICE)
def check_read_only_root_file_system(inspection: ImageInspection) -> ConformanceVerdict:
    """The server needs to write only below /tmp."""
    return _check_start_under_condition(
        inspection, "read-only", "root file system read-only except for /tmp"
    )


@define_clause(
    "arbitrary-user",
    {**dict.fromkeys(HostingKind, Severity.SHOULD), HostingKind.SERVERLESS: Severity.MUST},
    f"{TROUBLESHOOTING}; {HOSTING}",
)
def check_start_as_arbitrary_user(inspection: ImageInspection) -> ConformanceVerdict:
    """The server runs as any unprivileged user that the host chooses, without capabilities."""
    return _check_start_under_condition(
        inspection, "user", f"user {UNPRIVILEGED_USER} without capabilities"
    )


def _check_start_under_condition(
    inspection: ImageInspection, name: str, condition: str
) -> ConformanceVerdict:
    start = inspection.observe_once(observe_starts_under_conditions).starts[name]
    return make_passed_or_failed_verdict(start.is_serving, f"{condition}: {start}")


def _explain_bad_execution_parameters(body: bytes) -> str:
    """Say why Batch Transform cannot use the execution parameters; empty if it can."""
    try:
        parameters: Any = parse_json(body)
    except ValueError:
        return f"not JSON: {body[:80]!r}"
    if not isinstance(parameters, dict) or not set(parameters) <= set(PARAMETERS):
        return f"not a JSON object with only the fields {', '.join(PARAMETERS)}: {body[:120]!r}"
    for name, value in parameters.items():
        if not isinstance(value, PARAMETERS[name]) or isinstance(value, bool):
            return f"{name} is {value!r}"
    if parameters.get("BatchStrategy", "SINGLE_RECORD") not in STRATEGIES:
        return f"BatchStrategy is {parameters['BatchStrategy']!r}"
    return ""
