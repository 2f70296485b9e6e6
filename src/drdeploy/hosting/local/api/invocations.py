"""``InvokeEndpoint``: check, find a worker, pass the request on, pass the answer back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from drdeploy.hosting.local import api_errors
from drdeploy.hosting.local.api.metrics import InvocationMetrics
from drdeploy.hosting.local.api.request_validation import check, service_model
from drdeploy.hosting.local.endpoints.instance_client import (
    InstanceAnswerTooLarge,
    InstanceConnectionLost,
    InstanceTimeout,
)
from drdeploy.hosting.local.endpoints.pool import ConcurrencyLimitReached, WorkerNotReady
from drdeploy.hosting.local.http_server import ServiceResponse
from drdeploy.hosting.local.instances.instance import PlatformFailed, ServiceStopping, StartFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from drdeploy.hosting.local.api.control_plane import ControlPlane
    from drdeploy.hosting.local.api.metrics import MetricLog
    from drdeploy.hosting.local.endpoints.deployment import Variant
    from drdeploy.hosting.local.endpoints.instance_client import InstanceAnswer
    from drdeploy.hosting.local.endpoints.pool import WorkerLease
    from drdeploy.hosting.local.endpoints.worker import InstanceWorker
    from drdeploy.hosting.local.http_server import ServiceRequest
    from drdeploy.hosting.sagemaker.clock import Clock

CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
TARGET_VARIANT = "X-Amzn-SageMaker-Target-Variant"

FORWARDED = {
    "Content-Type": "ContentType",
    "Accept": "Accept",
    CUSTOM_ATTRIBUTES: "CustomAttributes",
    "X-Amzn-SageMaker-Inference-Id": "InferenceId",
    "X-Amzn-SageMaker-Target-Model": "TargetModel",
    TARGET_VARIANT: "TargetVariant",
    "X-Amzn-SageMaker-Target-Container-Hostname": "TargetContainerHostname",
}
"""The headers that reach the container, and the members of ``InvokeEndpointInput`` they are."""

TIMED_OUT = (
    "Your invocation timed out while waiting for a response from container primary. Review the "
    "latency metrics for each container in Amazon CloudWatch, resolve the issue, and try again."
)
ORIGINAL_MESSAGE_BYTES = 4096


@dataclass(frozen=True)
class _Call:
    """An invocation under way."""

    endpoint: str
    headers: Mapping[str, str]
    body: bytes
    received: float
    observation: InvocationMetrics
    log_stream_arn: str


class Invocations:
    """Answers ``InvokeEndpoint`` for one region.

    Args:
        control: Knows the endpoints.
        metrics: Is told of every invocation.
        timeout_s: How long a container may take to answer, and a request for a worker.
        clock: Measures.
    """

    def __init__(
        self, control: ControlPlane, metrics: MetricLog, timeout_s: float, clock: Clock
    ) -> None:
        self._control = control
        self._metrics = metrics
        self._timeout_s = timeout_s
        self._clock = clock

    def answer(self, name: str, request: ServiceRequest) -> ServiceResponse:
        """Answer ``POST /endpoints/NAME/invocations``.

        Raises:
            ApiError: As AWS would.
        """
        received, place = self._clock.monotonic(), self._control.place
        name = unquote(name)
        headers = _forwarded(request)
        endpoint = self._control.endpoints.find(name)
        if endpoint is None:
            raise api_errors.no_such_endpoint(name, place.account)
        with endpoint.serving() as deployment:
            if deployment is None:
                raise api_errors.no_such_endpoint(name, place.account)
            variant = deployment.choose(headers.get(TARGET_VARIANT))
            _check_length(request.length_bytes, variant)
            call = _Call(
                name,
                headers,
                request.body.read(),
                received,
                InvocationMetrics(place.region, name, variant.name, self._clock.now(), "refused"),
                place.log_stream_arn(name),
            )
            return self._invoke(call, variant)

    def _invoke(self, call: _Call, variant: Variant) -> ServiceResponse:
        try:
            lease = variant.pool.acquire(self._timeout_s)
        except ConcurrencyLimitReached as err:
            self._metrics.note(replace(call.observation, utilization=1.0))
            raise api_errors.throttled(call.endpoint, variant.name, int(str(err))) from err
        except WorkerNotReady as err:
            self._metrics.note(call.observation)
            raise api_errors.not_ready(call.endpoint, variant.name) from err
        except ServiceStopping as err:
            raise api_errors.unavailable(f"{err.what}.") from err
        except PlatformFailed as err:
            raise api_errors.dependency_failed(f"{err.what}.") from err
        except StartFailed as err:
            self._note_failure(call)
            raise api_errors.model_error(500, err.what, log_stream_arn=call.log_stream_arn) from err
        utilization = variant.pool.utilization()
        observation = replace(call.observation, setup_s=lease.setup_s, utilization=utilization)
        return self._ask(replace(call, observation=observation), variant, lease)

    def _ask(self, call: _Call, variant: Variant, lease: WorkerLease) -> ServiceResponse:
        is_broken = True
        begin = self._clock.monotonic()
        try:
            answer = lease.worker.channel.send(
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
            self._note_failure(call)
            raise api_errors.model_error(0, TIMED_OUT, log_stream_arn=call.log_stream_arn) from err
        except InstanceAnswerTooLarge as err:
            is_broken = False
            self._note_failure(call)
            reason = f"The container's response is larger than {variant.payload_limit_bytes} bytes"
            raise api_errors.model_error(500, reason, log_stream_arn=call.log_stream_arn) from err
        except InstanceConnectionLost as err:
            self._note_failure(call)
            raise api_errors.model_error(
                500, _death_of(lease.worker, self._clock, err), log_stream_arn=call.log_stream_arn
            ) from err
        finally:
            variant.pool.release(lease, broken=is_broken)
        memory_share = lease.worker.instance.memory_share
        return self._pass_on(call, variant, answer, model_s, memory_share)

    def _pass_on(
        self,
        call: _Call,
        variant: Variant,
        answer: InstanceAnswer,
        model_s: float,
        memory_share: Callable[[], float | None],
    ) -> ServiceResponse:
        is_success = 200 <= answer.status < 300
        self._metrics.note(
            replace(
                call.observation,
                outcome="ok" if is_success else "4xx" if 400 <= answer.status < 500 else "5xx",
                model_s=model_s,
                overhead_s=self._clock.monotonic() - call.received - model_s,
                memory_share=memory_share,
            )
        )
        if not is_success:
            message = answer.body[:ORIGINAL_MESSAGE_BYTES].decode(errors="replace")
            raise api_errors.model_error(answer.status, message, log_stream_arn=call.log_stream_arn)
        headers = {
            "Content-Type": answer.headers.get("content-type", "application/octet-stream"),
            "x-Amzn-Invoked-Production-Variant": variant.name,
        }
        attributes = answer.headers.get(CUSTOM_ATTRIBUTES.lower())
        if attributes is not None:
            headers[CUSTOM_ATTRIBUTES] = attributes
        return ServiceResponse(200, headers, answer.body)

    def _note_failure(self, call: _Call) -> None:
        self._metrics.note(replace(call.observation, outcome="5xx"))


def _forwarded(request: ServiceRequest) -> dict[str, str]:
    """The headers for the container, within botocore's limits."""
    members = _input_members()
    headers = {}
    for header, member in FORWARDED.items():
        value = request.headers.get(header)
        if value is not None:
            check(members[member], value, member)
            headers[header] = value
    return headers


@cache
def _input_members() -> dict[str, Any]:
    shape: Any = service_model("sagemaker-runtime").shape_for("InvokeEndpointInput")
    return dict(shape.members)


def _check_length(length_bytes: int, variant: Variant) -> None:
    if length_bytes > variant.payload_limit_bytes:
        raise api_errors.payload_too_large(length_bytes, variant.payload_limit_bytes)


def _death_of(worker: InstanceWorker, clock: Clock, err: InstanceConnectionLost) -> str:
    if not worker.is_lost(clock):
        return f"The container closed the connection before it answered ({err})."
    if worker.instance.ran_out_of_memory():
        return "The container ran out of memory and was stopped; it is replaced."
    return "The container ended before it answered; it is replaced."
