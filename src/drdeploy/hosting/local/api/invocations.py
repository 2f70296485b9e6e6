"""``InvokeEndpoint``: check the request, lease a worker, forward the request, return its answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from drdeploy.hosting.local import api_errors
from drdeploy.hosting.local.api.metrics import InvocationMetrics, MetricLog
from drdeploy.hosting.local.api.request_validation import check, service_model
from drdeploy.hosting.local.api_errors import ApiError
from drdeploy.hosting.local.endpoints.instance_client import (
    InstanceAnswerTooLarge,
    InstanceConnectionLost,
    InstanceTimeout,
)
from drdeploy.hosting.local.endpoints.pool import ConcurrencyLimitReached, WorkerNotReady
from drdeploy.hosting.local.http_server import ServiceRequest, ServiceResponse
from drdeploy.hosting.local.instances.instance import PlatformFailed, ServiceStopping, StartFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.hosting.local.api.control_plane import ControlPlane
    from drdeploy.hosting.local.endpoints.deployment import Variant
    from drdeploy.hosting.local.endpoints.fleet import InstanceFleet
    from drdeploy.hosting.local.endpoints.pool import WorkerLease
    from drdeploy.hosting.local.endpoints.worker import InstanceWorker
    from drdeploy.hosting.sagemaker import Clock

CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
TARGET_VARIANT = "X-Amzn-SageMaker-Target-Variant"

FORWARDED_HEADERS = {
    "Content-Type": "ContentType",
    "Accept": "Accept",
    CUSTOM_ATTRIBUTES: "CustomAttributes",
    "X-Amzn-SageMaker-Inference-Id": "InferenceId",
    "X-Amzn-SageMaker-Target-Model": "TargetModel",
    TARGET_VARIANT: "TargetVariant",
    "X-Amzn-SageMaker-Target-Container-Hostname": "TargetContainerHostname",
}
"""The headers that the container receives, each with the member of ``InvokeEndpointInput`` that
bounds its value.  SageMaker strips all others (API reference, ``InvokeEndpoint``)."""

TIMED_OUT = (
    "Your invocation timed out while waiting for a response from container primary. Review the "
    "latency metrics for each container in Amazon CloudWatch, resolve the issue, and try again."
)
ORIGINAL_MESSAGE_BYTES_MAX = 4096
"""How much of a failing container's answer the error repeats."""


@dataclass(frozen=True)
class _Call:
    """An invocation in progress."""

    headers: Mapping[str, str]
    body: bytes
    received: float
    metrics: InvocationMetrics
    log_stream_arn: str


class Invocations:
    """Answers ``InvokeEndpoint`` for one region.

    Args:
        control_plane: Knows the endpoints.
        metrics: Receives the metrics of every invocation.
        fleet: Has the clock, and the time that a request waits for a worker and for its answer.
    """

    def __init__(
        self, control_plane: ControlPlane, metrics: MetricLog, fleet: InstanceFleet
    ) -> None:
        self._control_plane = control_plane
        self._metrics = metrics
        self._timeout_s = fleet.options.invocation_timeout_s
        self._clock = fleet.clock

    def answer(self, name: str, request: ServiceRequest) -> ServiceResponse:
        """Answer ``POST /endpoints/NAME/invocations``.

        Raises:
            ApiError: The request is refused, or the model failed.
        """
        received = self._clock.monotonic()
        account_region = self._control_plane.account_region
        name = unquote(name)
        headers = _forwarded(request)
        no_such_endpoint = api_errors.invalid(
            f"Endpoint {name} of account {account_region.account} not found."
        )
        endpoint = self._control_plane.endpoints.find_exact(name)
        if endpoint is None:
            raise no_such_endpoint
        with endpoint.serving() as deployment:
            if deployment is None:
                raise no_such_endpoint
            variant = deployment.choose(headers.get(TARGET_VARIANT))
            limit_bytes = variant.payload_limit_bytes
            if request.length_bytes > limit_bytes:
                raise api_errors.payload_too_large(request.length_bytes, limit_bytes)
            now = self._clock.now()
            call = _Call(
                headers,
                request.body.read(),
                received,
                InvocationMetrics(account_region.region, name, variant.name, now, "refused"),
                account_region.log_stream_arn(name),
            )
            return self._invoke(call, variant)

    def _invoke(self, call: _Call, variant: Variant) -> ServiceResponse:
        lease = self._lease(call, variant)
        utilization = variant.pool.utilization()
        metrics = replace(call.metrics, setup_s=lease.setup_s, utilization=utilization)
        call = replace(call, metrics=metrics)
        is_broken = True
        begin = self._clock.monotonic()
        try:
            answer = lease.worker.client.send(
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
            # The worker counts as broken: it may still be computing the answer nobody waits for,
            # and would make the next request wait behind it.
            raise self._model_failed(call, 0, TIMED_OUT) from err
        except InstanceAnswerTooLarge as err:
            is_broken = False
            limit_bytes = variant.payload_limit_bytes
            reason = f"The container's response is larger than {limit_bytes} bytes"
            raise self._model_failed(call, 500, reason) from err
        except InstanceConnectionLost as err:
            reason = _cause_of_loss(lease.worker, self._clock, err)
            raise self._model_failed(call, 500, reason) from err
        finally:
            variant.pool.release(lease, broken=is_broken)

        is_success = 200 <= answer.status < 300
        self._metrics.record(
            replace(
                call.metrics,
                outcome="ok" if is_success else "4xx" if 400 <= answer.status < 500 else "5xx",
                model_s=model_s,
                overhead_s=self._clock.monotonic() - call.received - model_s,
                memory_share=lease.worker.instance.memory_share,
            )
        )
        if not is_success:
            message = answer.body[:ORIGINAL_MESSAGE_BYTES_MAX].decode(errors="replace")
            raise api_errors.model_error(answer.status, message, log_stream_arn=call.log_stream_arn)
        headers = {
            "Content-Type": answer.headers.get("content-type", "application/octet-stream"),
            "x-Amzn-Invoked-Production-Variant": variant.name,
        }
        attributes = answer.headers.get(CUSTOM_ATTRIBUTES.lower())
        if attributes is not None:
            headers[CUSTOM_ATTRIBUTES] = attributes
        return ServiceResponse(200, headers, answer.body)

    def _lease(self, call: _Call, variant: Variant) -> WorkerLease:
        """Lease a worker, or say in AWS's terms why there is none."""
        try:
            return variant.pool.acquire(self._timeout_s)
        except ConcurrencyLimitReached as err:
            self._metrics.record(replace(call.metrics, utilization=1.0))
            limit = variant.request["ServerlessConfig"]["MaxConcurrency"]
            raise api_errors.throttled(call.metrics.endpoint, variant.name, limit) from err
        except WorkerNotReady as err:
            self._metrics.record(call.metrics)
            raise api_errors.not_ready(call.metrics.endpoint, variant.name) from err
        except ServiceStopping as err:
            raise ApiError("ServiceUnavailable", f"{err.what}.", status=503) from err
        except PlatformFailed as err:
            raise ApiError("InternalDependencyException", f"{err.what}.", status=530) from err
        except StartFailed as err:
            raise self._model_failed(call, 500, err.what) from err

    def _model_failed(self, call: _Call, status: int, message: str) -> ApiError:
        self._metrics.record(replace(call.metrics, outcome="5xx"))
        return api_errors.model_error(status, message, log_stream_arn=call.log_stream_arn)


def _forwarded(request: ServiceRequest) -> dict[str, str]:
    """Return the headers that the container receives, each checked against its bounds."""
    members = _input_members()
    headers = {}
    for header, member in FORWARDED_HEADERS.items():
        value = request.headers.get(header)
        if value is not None:
            check(members[member], value, member)
            headers[header] = value
    return headers


@cache
def _input_members() -> dict[str, Any]:
    shape: Any = service_model("sagemaker-runtime").shape_for("InvokeEndpointInput")
    return dict(shape.members)


def _cause_of_loss(worker: InstanceWorker, clock: Clock, err: InstanceConnectionLost) -> str:
    if not worker.turns_out_dead(clock):
        return f"The container closed the connection before it answered ({err})."
    if worker.instance.ran_out_of_memory():
        return "The container ran out of memory and was stopped; it is replaced."
    return "The container ended before it answered; it is replaced."
