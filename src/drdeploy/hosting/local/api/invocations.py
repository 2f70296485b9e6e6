"""Answer ``InvokeEndpoint``: check the request, reserve a free worker, and forward the request."""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from drdeploy.hosting.local import api_errors
from drdeploy.hosting.local.api import event_stream
from drdeploy.hosting.local.api.metrics import CountedOutcome, InvocationMetrics, MetricLog
from drdeploy.hosting.local.api.request_validation import load_service_model, refuse_invalid_value
from drdeploy.hosting.local.api_errors import ApiError
from drdeploy.hosting.local.endpoints.data_capture import CapturedInvocation
from drdeploy.hosting.local.endpoints.instance_client import (
    InstanceAnswerTooLarge,
    InstanceConnectionLost,
    InstanceTimeout,
)
from drdeploy.hosting.local.endpoints.pool import ConcurrencyLimitReached, WorkerNotReady
from drdeploy.hosting.local.endpoints.shadow_traffic import ShadowTraffic, choose_whether_to_copy
from drdeploy.hosting.local.endpoints.worker import explain_lost_connection
from drdeploy.hosting.local.http_server import ServiceRequest, ServiceResponse
from drdeploy.hosting.local.inference_components.checks import hosts_components
from drdeploy.hosting.local.instances.instance import PlatformFailed, ServiceStopping, StartFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from drdeploy.hosting.local.api.control_plane import ControlPlane
    from drdeploy.hosting.local.endpoints.data_capture import CaptureLog, CaptureSettings
    from drdeploy.hosting.local.endpoints.deployment import EndpointDeployment, Variant
    from drdeploy.hosting.local.endpoints.fleet import InstanceFleet
    from drdeploy.hosting.local.endpoints.instance_client import InstanceStream
    from drdeploy.hosting.local.endpoints.pool import WorkerLease
    from drdeploy.hosting.local.inference_components.component import InferenceComponent

CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
INFERENCE_ID = "X-Amzn-SageMaker-Inference-Id"
TARGET_VARIANT = "X-Amzn-SageMaker-Target-Variant"
COMPONENT = "X-Amzn-SageMaker-Inference-Component"

FORWARDED_HEADERS = {
    "Content-Type": "ContentType",
    "Accept": "Accept",
    CUSTOM_ATTRIBUTES: "CustomAttributes",
    INFERENCE_ID: "InferenceId",
    TARGET_VARIANT: "TargetVariant",
}
"""The headers that the container receives, each with the member of ``InvokeEndpointInput`` that
limits the header's value. SageMaker removes all other headers (API reference, ``InvokeEndpoint``).
"""

STREAM_ACCEPT = "X-Amzn-SageMaker-Accept"
"""The header of ``InvokeEndpointWithResponseStream`` that takes the place of ``Accept``."""
STREAM_S = 480.0
"""Seconds within which a container must finish a streamed answer (developer guide, "Hosting
FAQs")."""
STREAM_IS_LATE = (
    "Your model primary did not complete sending the inference response in the allotted time."
)

READ_HEADERS = {COMPONENT: "InferenceComponentName"}
"""The headers that the service itself reads, each with its member of ``InvokeEndpointInput``."""

HEADERS_OF_OTHER_ENDPOINTS = {
    "X-Amzn-SageMaker-Target-Model": ("TargetModel", "is not a multi-model endpoint", "model"),
    "X-Amzn-SageMaker-Target-Container-Hostname": (
        "TargetContainerHostname",
        "is not a multi-container endpoint with direct invocation",
        "container hostname",
    ),
}
"""Headers for kinds of endpoints that the local service does not offer. For each header, the table
gives the name of its request member, and two parts of the message with which SageMaker refuses the
header.
"""

COMPONENT_IS_MISSING = (
    "Inference Component Name header is required for endpoints to which you plan to deploy "
    "inference components. Please include Inference Component Name header or consider using "
    "SageMaker models."
)
COMPONENT_IS_SUPERFLUOUS = (
    "Inference Component Name header is not allowed for endpoints to which you dont plan to deploy "
    "inference components. Please remove the Inference Component Name header and try again."
)
NO_CAPACITY = (
    "Inference Component has no capacity to process this request. ApplicationAutoScaling may be "
    "in-progress (if configured) or try to increase the capacity by invoking "
    "UpdateInferenceComponentRuntimeConfig API."
)
"""SageMaker's message while an inference component has no copies (AWS Machine Learning Blog,
"Unlock cost savings with the new scale down to zero feature in SageMaker Inference")."""

TIMED_OUT = (
    "Your invocation timed out while waiting for a response from container primary. Review the "
    "latency metrics for each container in Amazon CloudWatch, resolve the issue, and try again."
)
ORIGINAL_MESSAGE_BYTES_MAX = 4096
"""The largest number of bytes of a failing container's answer that the error message quotes."""


@dataclass(frozen=True)
class _Call:
    """A request to invoke an endpoint, with its metrics and the settings of data capture."""

    headers: Mapping[str, str]
    body: bytes
    received: float
    metrics: InvocationMetrics
    log_group_arn: str
    capture: CaptureSettings | None


@dataclass(frozen=True)
class _Stream:
    """A streamed answer that is being sent."""

    call: _Call
    variant: Variant
    lease: WorkerLease
    answer: InstanceStream
    begin: float


@dataclass(frozen=True)
class InvocationLogs:
    """The logs that record invocations. Recording is fast, because it only fills a queue.

    Attributes:
        metrics: Receives the metrics of every invocation.
        captures: Receives the requests and answers of endpoints with data capture.
    """

    metrics: MetricLog
    captures: CaptureLog


class Invocations:
    """Answers ``InvokeEndpoint`` for one region.

    Args:
        control_plane: The control plane that holds the endpoints.
        logs: The logs that receive the metrics and the captured data of every invocation.
        fleet: The fleet of instances. Only its clock and its timeout for invocations are used.
    """

    def __init__(
        self, control_plane: ControlPlane, logs: InvocationLogs, fleet: InstanceFleet
    ) -> None:
        self._control_plane = control_plane
        self._metrics = logs.metrics
        self._captures = logs.captures
        self._shadows = ShadowTraffic()
        self._timeout_s = fleet.options.invocation_timeout_s
        self._clock = fleet.clock

    def answer_invocation(
        self, name: str, request: ServiceRequest, *, is_streamed: bool = False
    ) -> ServiceResponse:
        """Answer ``POST /endpoints/NAME/invocations``.

        Args:
            name: The name of the endpoint, percent-encoded.
            request: The request.
            is_streamed: Whether the answer is an event stream, as for
                ``InvokeEndpointWithResponseStream``.

        Raises:
            ApiError: The request is not valid, no instance can take it, or the model failed.
        """
        try:
            return self._answer_checked_invocation(name, request, is_streamed=is_streamed)
        except ApiError as err:
            raise api_errors.convert_error_code_for_runtime(err) from err

    def _answer_checked_invocation(
        self, name: str, request: ServiceRequest, *, is_streamed: bool
    ) -> ServiceResponse:
        received = self._clock.monotonic()
        account_region = self._control_plane.account_region
        name = unquote(name)
        headers = _select_headers_to_forward(request, is_streamed=is_streamed)
        no_such_endpoint = api_errors.make_validation_error(
            f"Endpoint {name} of account {account_region.account} not found."
        )
        endpoint = self._control_plane.endpoints.find_exact(name)
        if endpoint is None:
            raise no_such_endpoint
        with contextlib.ExitStack() as stack:
            deployment = stack.enter_context(endpoint.hold_deployment_in_service())
            if deployment is None:
                raise no_such_endpoint
            if deployment.asynchronous is not None:
                raise api_errors.make_validation_error(
                    f"Endpoint {name} is an asynchronous endpoint, which does not support "
                    "InvokeEndpoint. Use InvokeEndpointAsync."
                )
            _refuse_headers_of_other_endpoints(name, request)
            component = self._find_inference_component(name, deployment, request)
            if component is None:
                variant = deployment.choose_variant(headers.get(TARGET_VARIANT))
                log_group_arn = account_region.make_endpoint_log_arn(name)
            else:
                variant = self._find_copies_of_component(component, headers, stack)
                log_group_arn = account_region.make_component_log_arn(component.name)
            limit_bytes = variant.payload_limit_bytes
            if request.length_bytes > limit_bytes:
                raise api_errors.make_payload_too_large_error(request.length_bytes, limit_bytes)
            metrics = InvocationMetrics(
                account_region.region,
                name,
                variant.name,
                self._clock.now(),
                "refused",
                component=component.name if component else "",
            )
            call = _Call(
                headers,
                request.body.read(),
                received,
                metrics,
                log_group_arn,
                deployment.capture,
            )
            if is_streamed and call.capture is not None:
                raise api_errors.make_not_served_error(
                    "InvokeEndpointWithResponseStream for an endpoint with data capture, because "
                    "a streamed answer is not captured"
                )
            self._copy_to_shadows(call, variant, deployment)
            if is_streamed:
                return self._stream_from_variant(call, variant, stack)
            return self._invoke_variant(call, variant)

    def _copy_to_shadows(
        self, call: _Call, variant: Variant, deployment: EndpointDeployment
    ) -> None:
        """Begin to send copies of a request to shadow variants, whose answers are discarded.

        For each shadow variant, chance decides whether it gets a copy of this request.
        """
        for shadow in deployment.shadows:
            if choose_whether_to_copy(variant.weight, shadow.weight):
                self._shadows.send_copy(
                    partial(self._invoke_shadow_and_discard_answer, call, shadow),
                    shadow.name,
                    deployment.keep_open_for_invocation(),
                )

    def _invoke_shadow_and_discard_answer(self, call: _Call, shadow: Variant) -> None:
        metrics = replace(call.metrics, variant=shadow.name)
        received = self._clock.monotonic()
        self._invoke_variant(replace(call, metrics=metrics, received=received), shadow)

    def _find_inference_component(
        self, endpoint: str, deployment: EndpointDeployment, request: ServiceRequest
    ) -> InferenceComponent | None:
        """Return the component that a request names; None if the endpoint hosts no components."""
        name = request.headers.get(COMPONENT)
        if not hosts_components(deployment.config.request):
            if name is not None:
                raise api_errors.make_validation_error(COMPONENT_IS_SUPERFLUOUS)
            return None
        if name is None:
            raise api_errors.make_validation_error(COMPONENT_IS_MISSING)
        member = READ_HEADERS[COMPONENT]
        refuse_invalid_value(_load_members_of_invoke_request()[member], name, member)
        component = self._control_plane.components.find_exact(name)
        if component is None or component.endpoint != endpoint:
            raise api_errors.make_validation_error(
                f"Inference Component {name} of endpoint {endpoint} not found."
            )
        return component

    def _find_copies_of_component(
        self,
        component: InferenceComponent,
        headers: Mapping[str, str],
        stack: contextlib.ExitStack,
    ) -> Variant:
        """Return the copies of a component; they are not stopped before ``stack`` is closed.

        Raises:
            ApiError: The component has no copies, or the request names a variant that does not host
                it.
        """
        target = headers.get(TARGET_VARIANT, component.variant)
        if target != component.variant:
            raise api_errors.make_validation_error(
                f"Variant {target} does not host inference component {component.name}."
            )
        deployment = stack.enter_context(component.hold_deployment_in_service())
        copies = deployment.copies if deployment is not None else None
        if copies is None or not copies.pool.workers():
            metrics = InvocationMetrics(
                self._control_plane.account_region.region,
                component.endpoint,
                component.variant,
                self._clock.now(),
                "refused",
                component=component.name,
            )
            raise self._record_no_capacity(metrics)
        return copies

    def _record_no_capacity(self, metrics: InvocationMetrics) -> ApiError:
        self._metrics.queue_metrics(replace(metrics, is_without_capacity=True))
        return api_errors.make_validation_error(NO_CAPACITY)

    def _invoke_variant(self, call: _Call, variant: Variant) -> ServiceResponse:
        lease = self._lease_worker(call, variant)
        load = variant.pool.measure_load()
        metrics = replace(call.metrics, setup_s=lease.setup_s, load=load)
        call = replace(call, metrics=metrics)
        is_broken = True
        begin = self._clock.monotonic()
        try:
            answer = lease.worker.client.send_request(
                "POST",
                "/invocations",
                call.body,
                call.headers,
                timeout_s=self._timeout_s,
                max_bytes=variant.payload_limit_bytes,
            )
            model_s = self._clock.monotonic() - begin
            is_broken = False
        except InstanceTimeout as err:
            # The worker counts as broken. It may still be computing the answer, although nobody
            # waits for the answer any more, and the next request would have to wait.
            raise self._record_model_error(call, 0, TIMED_OUT) from err
        except InstanceAnswerTooLarge as err:
            is_broken = False
            limit_bytes = variant.payload_limit_bytes
            reason = f"The container's response is larger than {limit_bytes} bytes"
            raise self._record_model_error(call, 500, reason) from err
        except InstanceConnectionLost as err:
            reason = explain_lost_connection(lease.worker, self._clock, err)
            raise self._record_model_error(call, 500, reason) from err
        finally:
            variant.pool.return_worker(lease, broken=is_broken)

        is_success = 200 <= answer.status < 300
        self._metrics.queue_metrics(
            replace(
                call.metrics,
                outcome="ok" if is_success else "4xx" if 400 <= answer.status < 500 else "5xx",
                model_s=model_s,
                overhead_s=self._clock.monotonic() - call.received - model_s,
                memory_share=lease.worker.instance.read_memory_share,
            )
        )
        if not is_success:
            message = answer.body[:ORIGINAL_MESSAGE_BYTES_MAX].decode(errors="replace")
            raise api_errors.make_model_error(
                answer.status, message, log_group_arn=call.log_group_arn
            )
        headers = {
            "Content-Type": answer.headers.get("content-type", "application/octet-stream"),
            "x-Amzn-Invoked-Production-Variant": variant.name,
            "x-amzn-RequestId": str(uuid.uuid4()),
        }
        if call.capture is not None:
            self._captures.queue_invocation(
                CapturedInvocation(
                    call.capture,
                    call.metrics.endpoint,
                    variant.name,
                    call.metrics.at,
                    call.headers.get(INFERENCE_ID),
                    (call.headers.get("Content-Type", ""), call.body),
                    (headers["Content-Type"], answer.body),
                )
            )
        attributes = answer.headers.get(CUSTOM_ATTRIBUTES.lower())
        if attributes is not None:
            headers[CUSTOM_ATTRIBUTES] = attributes
        return ServiceResponse(200, headers, answer.body)

    def _stream_from_variant(
        self, call: _Call, variant: Variant, stack: contextlib.ExitStack
    ) -> ServiceResponse:
        """Answer with an event stream; the worker stays reserved until the stream ends."""
        lease = self._lease_worker(call, variant)
        load = variant.pool.measure_load()
        call = replace(call, metrics=replace(call.metrics, setup_s=lease.setup_s, load=load))
        begin = self._clock.monotonic()
        try:
            answer = lease.worker.client.open_stream(
                "POST", "/invocations", call.body, call.headers, timeout_s=self._timeout_s
            )
            is_success = 200 <= answer.status < 300
            message = "" if is_success else _read_refusal_message(answer)
        except InstanceTimeout as err:
            variant.pool.return_worker(lease, broken=True)
            raise self._record_model_error(call, 0, TIMED_OUT) from err
        except InstanceConnectionLost as err:
            reason = explain_lost_connection(lease.worker, self._clock, err)
            variant.pool.return_worker(lease, broken=True)
            raise self._record_model_error(call, 500, reason) from err
        if not is_success:
            variant.pool.return_worker(lease, broken=False)
            raise self._record_refusal(call, answer.status, message)
        headers = {
            "Content-Type": event_stream.CONTENT_TYPE,
            "X-Amzn-SageMaker-Content-Type": answer.headers.get(
                "content-type", "application/octet-stream"
            ),
            "x-Amzn-Invoked-Production-Variant": variant.name,
            "x-amzn-RequestId": str(uuid.uuid4()),
        }
        attributes = answer.headers.get(CUSTOM_ATTRIBUTES.lower())
        if attributes is not None:
            headers[CUSTOM_ATTRIBUTES] = attributes
        held = stack.pop_all()
        stream = _Stream(call, variant, lease, answer, begin)
        return ServiceResponse(200, headers, self._yield_events(stream, held))

    def _yield_events(self, stream: _Stream, held: contextlib.ExitStack) -> Iterator[bytes]:
        """Yield the parts of an answer as events; if the answer breaks off, end with an error."""
        overhead_s = stream.begin - stream.call.received
        metrics = replace(
            stream.call.metrics, outcome="ok", mid_stream_errors=0, overhead_s=overhead_s
        )
        is_broken = True
        try:
            while part := stream.answer.read_part():
                took_s = self._clock.monotonic() - stream.begin
                if metrics.first_part_s is None:
                    metrics = replace(metrics, first_part_s=(took_s, overhead_s))
                _raise_timeout_if_late(took_s)
                yield event_stream.encode_payload_part(part)
            is_broken = False
        except InstanceTimeout:
            metrics = replace(metrics, outcome="5xx", mid_stream_errors=1)
            yield event_stream.encode_model_stream_error(
                "ModelInvocationTimeExceeded", STREAM_IS_LATE
            )
        except InstanceConnectionLost as err:
            metrics = replace(metrics, outcome="5xx", mid_stream_errors=1)
            reason = explain_lost_connection(stream.lease.worker, self._clock, err)
            yield event_stream.encode_model_stream_error("StreamBroken", reason)
        finally:
            # This also runs if the client has gone. The worker may then still be sending, so it
            # counts as broken and is examined.
            stream.answer.close()
            stream.variant.pool.return_worker(stream.lease, broken=is_broken)
            held.close()
            model_s = self._clock.monotonic() - stream.begin
            self._metrics.queue_metrics(replace(metrics, model_s=model_s))

    def _record_refusal(self, call: _Call, status: int, message: str) -> ApiError:
        outcome: CountedOutcome = "4xx" if 400 <= status < 500 else "5xx"
        self._metrics.queue_metrics(replace(call.metrics, outcome=outcome))
        return api_errors.make_model_error(status, message, log_group_arn=call.log_group_arn)

    def _lease_worker(self, call: _Call, variant: Variant) -> WorkerLease:
        """Reserve a free worker; if there is none, raise the error that AWS would raise."""
        try:
            return variant.pool.lease_worker(self._timeout_s)
        except ConcurrencyLimitReached as err:
            self._metrics.queue_metrics(
                replace(call.metrics, load=variant.pool.measure_load(), is_throttled=True)
            )
            limit = variant.request["ServerlessConfig"]["MaxConcurrency"]
            raise api_errors.make_throttled_error(
                call.metrics.endpoint, variant.name, limit
            ) from err
        except WorkerNotReady as err:
            if call.metrics.component:
                raise self._record_no_capacity(call.metrics) from err
            self._metrics.queue_metrics(call.metrics)
            raise api_errors.make_not_ready_error(call.metrics.endpoint, variant.name) from err
        except ServiceStopping as err:
            raise ApiError("ServiceUnavailable", f"{err.what}.", status=503) from err
        except PlatformFailed as err:
            raise ApiError("InternalDependencyException", f"{err.what}.", status=530) from err
        except StartFailed as err:
            raise self._record_model_error(call, 500, err.what) from err

    def _record_model_error(self, call: _Call, status: int, message: str) -> ApiError:
        self._metrics.queue_metrics(replace(call.metrics, outcome="5xx"))
        return api_errors.make_model_error(status, message, log_group_arn=call.log_group_arn)


def is_member_served(member: str) -> bool:
    """Return whether the local service supports a member of ``InvokeEndpoint`` requests."""
    return member not in _find_headers_not_served().values()


def make_refusal_of_member(member: str, endpoint: str) -> ApiError:
    """Return the error for a member of ``InvokeEndpoint`` that the local service does not offer."""
    for other, lack, target in HEADERS_OF_OTHER_ENDPOINTS.values():
        if other == member:
            return api_errors.make_validation_error(
                f"Endpoint {endpoint} {lack} and does not support target {target} header. "
                f"Leave {member} out."
            )
    return api_errors.make_not_served_error(member)


def _raise_timeout_if_late(took_s: float) -> None:
    if took_s > STREAM_S:
        raise InstanceTimeout(f"the answer took longer than {STREAM_S:g} s")


def _read_refusal_message(answer: InstanceStream) -> str:
    """Return the beginning of the error message that a container sent."""
    body = b""
    while len(body) < ORIGINAL_MESSAGE_BYTES_MAX and (part := answer.read_part()):
        body += part
    answer.close()
    return body[:ORIGINAL_MESSAGE_BYTES_MAX].decode(errors="replace")


def _select_headers_to_forward(
    request: ServiceRequest, *, is_streamed: bool = False
) -> dict[str, str]:
    """Return the headers that the container receives, after checking the value of each header."""
    members = _load_members_of_invoke_request()
    for header, member in _find_headers_not_served().items():
        if header in request.headers and header not in HEADERS_OF_OTHER_ENDPOINTS:
            raise make_refusal_of_member(member, "")
    headers = {}
    for header, member in FORWARDED_HEADERS.items():
        is_renamed = is_streamed and header == "Accept"
        value = request.headers.get(STREAM_ACCEPT if is_renamed else header)
        if value is not None:
            refuse_invalid_value(members[member], value, member)
            headers[header] = value
    return headers


def _refuse_headers_of_other_endpoints(name: str, request: ServiceRequest) -> None:
    for header, (member, _, _) in HEADERS_OF_OTHER_ENDPOINTS.items():
        if header in request.headers:
            raise make_refusal_of_member(member, name)


@cache
def _find_headers_not_served() -> dict[str, str]:
    """Return the headers that the local service refuses, each with its request member."""
    return {
        shape.serialization["name"]: member
        for member, shape in _load_members_of_invoke_request().items()
        if shape.serialization.get("location") == "header"
        and member not in {*FORWARDED_HEADERS.values(), *READ_HEADERS.values()}
    }


@cache
def _load_members_of_invoke_request() -> dict[str, Any]:
    shape: Any = load_service_model("sagemaker-runtime").shape_for("InvokeEndpointInput")
    return dict(shape.members)
