"""What a request is for, and the shape of the answer: the front of the service."""

from __future__ import annotations

import json
import logging
import re
import threading
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

from drdeploy.hosting.engine.ports import LOOPBACK
from drdeploy.hosting.local import api_errors
from drdeploy.hosting.local.api.control_plane import ControlPlane
from drdeploy.hosting.local.api.invocations import Invocations
from drdeploy.hosting.local.api_errors import ApiError
from drdeploy.hosting.local.http_server import ServiceResponse
from drdeploy.hosting.local.registry.ecr_login import REGISTRY_LOGIN, pushing_here
from drdeploy.hosting.local.registry.routes import PREFIX as REGISTRY_PREFIX
from drdeploy.hosting.local.resource_store import AccountRegion
from drdeploy.hosting.sagemaker import DEFAULT_REGION

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.hosting.local.api.metrics import MetricLog
    from drdeploy.hosting.local.api.simulated_aws import SimulatedAws
    from drdeploy.hosting.local.endpoints.fleet import InstanceFleet
    from drdeploy.hosting.local.http_server import ServiceRequest
    from drdeploy.hosting.local.registry.routes import ImageRegistry

log = logging.getLogger(__name__)

STATUS_PATH = "/_drdeploy/status"
TARGET_PREFIX = "SageMaker."
OK = 200
CREDENTIAL = re.compile(r"Credential=[^/]+/\d{8}/([\w-]+)/([\w-]+)/aws4_request")
INVOCATION = re.compile(r"/endpoints/([^/]+)/invocations")
PORT = re.compile(r":\d*$")
JSON_TYPE = "application/x-amz-json-1.1"


class ApiRouter:
    """Answers every request that comes to the port.

    Args:
        machine: Where endpoints run.
        aws: Every other service.
        metrics: Written before CloudWatch is read.
        registry: Images, in place of ECR's.
        status: Facts for ``GET /_drdeploy/status``.
    """

    def __init__(
        self,
        machine: InstanceFleet,
        aws: SimulatedAws,
        metrics: MetricLog,
        registry: ImageRegistry,
        status: Callable[[], dict[str, Any]],
    ) -> None:
        self._machine = machine
        self._aws = aws
        self._metrics = metrics
        self._registry = registry
        self._status = status
        self._regions: dict[str, tuple[ControlPlane, Invocations]] = {}
        self._lock = threading.Lock()

    def answer(self, request: ServiceRequest) -> ServiceResponse:
        """Answer; whatever goes wrong becomes an answer as well."""
        if _is_of_a_browser(request):
            return _error_answer(api_errors.access_denied())
        invocation = INVOCATION.fullmatch(request.path) if request.method == "POST" else None
        region, service = _scope_of(request)
        try:
            if invocation and service in {"", "sagemaker"}:
                return self._region(region)[1].answer(invocation[1], request)
            return self._answer_other(request, region, service)
        except ApiError as err:
            return _error_answer(err)
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            return _error_answer(api_errors.internal_failure())

    def control_planes(self) -> tuple[ControlPlane, ...]:
        """Those of every region that was asked for."""
        with self._lock:
            return tuple(control for control, _ in self._regions.values())

    def _answer_other(self, request: ServiceRequest, region: str, service: str) -> ServiceResponse:
        if request.path == STATUS_PATH:
            return _json(200, self._status(), "application/json")
        if not service and request.path.startswith(REGISTRY_PREFIX):
            self._aws.warm_up()
            return self._registry.answer(request)
        target = request.headers.get("X-Amz-Target") or ""
        if target.startswith(TARGET_PREFIX):
            return self._control(region, target.removeprefix(TARGET_PREFIX), request)
        if service == "sagemaker":
            raise ApiError(
                "UnknownOperationException",
                f"The local service does not serve {request.method} {request.path}.",
            )
        if service == "monitoring":
            self._metrics.flush()
        answer = self._aws.answer(request)
        if target.endswith(REGISTRY_LOGIN) and answer.status == OK:
            return pushing_here(answer, request.headers.get("Host") or LOOPBACK)
        return answer

    def _control(self, region: str, operation: str, request: ServiceRequest) -> ServiceResponse:
        try:
            value = json.loads(request.body.read() or b"{}")
        except ValueError as err:
            raise ApiError("SerializationException", "The body is no JSON.") from err
        return _json(200, self._region(region)[0].call(operation, value))

    def _region(self, name: str) -> tuple[ControlPlane, Invocations]:
        with self._lock:
            if name not in self._regions:
                machine = self._machine
                control = ControlPlane(AccountRegion(name), machine, machine.clock)
                timeout_s = machine.options.invocation_timeout_s
                self._regions[name] = (
                    control,
                    Invocations(control, self._metrics, timeout_s, machine.clock),
                )
            return self._regions[name]


def _is_of_a_browser(request: ServiceRequest) -> bool:
    """A web page must not command this service, by another site's name for 127.0.0.1 neither."""
    host = PORT.sub("", request.headers.get("Host") or LOOPBACK)
    is_ours = host in {LOOPBACK, "localhost"} or host.endswith(".localhost")
    return not is_ours or "Origin" in request.headers


def _scope_of(request: ServiceRequest) -> tuple[str, str]:
    """Region and service that the request was signed for; the service is empty if it was not."""
    found = CREDENTIAL.search(request.headers.get("Authorization") or "")
    return (found[1], found[2]) if found else (DEFAULT_REGION, "")


def _error_answer(err: ApiError) -> ServiceResponse:
    """In the form that both protocols, JSON 1.1 and REST-JSON, read."""
    body = {"__type": err.code, "message": err.message, "Message": err.message, **err.details}
    answer = _json(err.status, body)
    return ServiceResponse(
        answer.status, {**dict(answer.header_items()), "x-amzn-ErrorType": err.code}, answer.body
    )


def _json(status: int, value: Any, content_type: str = JSON_TYPE) -> ServiceResponse:
    headers = {"Content-Type": content_type, "x-amzn-RequestId": str(uuid.uuid4())}
    return ServiceResponse(status, headers, json.dumps(value, default=_encode).encode())


def _encode(value: Any) -> Any:
    if isinstance(value, datetime):
        return round(value.timestamp(), 3)
    raise TypeError(f"{type(value).__name__} has no place in an answer")
