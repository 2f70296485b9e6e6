"""Every request enters here: find out which service it is for, and pass it on.

AWS gives each service a host name; here they share one port.  What distinguishes a request is its
signature (Signature Version 4 names region and service in the credential scope), its
``X-Amz-Target`` header (JSON protocol) or its path (``InvokeEndpoint``, the image registry).
Signatures are read, never verified: the service listens on the loopback interface only.
"""

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
from drdeploy.hosting.local.http_server import ServiceRequest, ServiceResponse
from drdeploy.hosting.local.registry.ecr_login import LOGIN_OPERATION, with_local_registry
from drdeploy.hosting.local.registry.routes import PREFIX as REGISTRY_PREFIX
from drdeploy.hosting.local.registry.routes import ImageRegistry
from drdeploy.hosting.local.resource_store import AccountRegion
from drdeploy.hosting.sagemaker import DEFAULT_REGION

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.hosting.local.api.metrics import MetricLog
    from drdeploy.hosting.local.api.simulated_aws import SimulatedAws
    from drdeploy.hosting.local.endpoints.fleet import InstanceFleet

log = logging.getLogger(__name__)

STATUS_PATH = "/_drdeploy/status"
TARGET_PREFIX = "SageMaker."
CREDENTIAL_SCOPE = re.compile(r"Credential=[^/]+/\d{8}/([\w-]+)/([\w-]+)/aws4_request")
INVOCATION_PATH = re.compile(r"/endpoints/([^/]+)/invocations")
PORT = re.compile(r":\d*$")
AMZ_JSON = "application/x-amz-json-1.1"


class ApiRouter:
    """Answers every request that comes to the port.

    Args:
        fleet: Runs the endpoints' instances.
        aws: Answers for every service other than SageMaker.
        metrics: Written out before CloudWatch is read.
        registry: Serves images in place of ECR's registry.
        status: Returns what ``GET /_drdeploy/status`` answers.
    """

    def __init__(
        self,
        fleet: InstanceFleet,
        aws: SimulatedAws,
        metrics: MetricLog,
        registry: ImageRegistry,
        status: Callable[[], dict[str, Any]],
    ) -> None:
        self._fleet = fleet
        self._aws = aws
        self._metrics = metrics
        self._registry = registry
        self._status = status
        self._regions: dict[str, tuple[ControlPlane, Invocations]] = {}
        self._lock = threading.Lock()

    def answer(self, request: ServiceRequest) -> ServiceResponse:
        """Answer a request; an error becomes a response too."""
        try:
            return self._route(request)
        except ApiError as err:
            return _error_response(err)
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            return _error_response(api_errors.internal_failure())

    def control_planes(self) -> tuple[ControlPlane, ...]:
        """Return the control planes of the regions that were used so far."""
        with self._lock:
            return tuple(control_plane for control_plane, _ in self._regions.values())

    def _route(self, request: ServiceRequest) -> ServiceResponse:
        if _may_come_from_a_web_page(request):
            raise api_errors.access_denied()
        scope = CREDENTIAL_SCOPE.search(request.headers.get("Authorization") or "")
        region, service = (scope[1], scope[2]) if scope else (DEFAULT_REGION, "")
        target = request.headers.get("X-Amz-Target") or ""
        invocation = INVOCATION_PATH.fullmatch(request.path) if request.method == "POST" else None
        if invocation and service in {"", "sagemaker"}:
            return self._region(region)[1].answer(invocation[1], request)
        if request.path == STATUS_PATH:
            return _json_response(200, self._status(), "application/json")
        # A registry's clients do not sign; a signed /v2/ is a key in a bucket of that name.
        if not service and request.path.startswith(REGISTRY_PREFIX):
            self._aws.warm_up()
            return self._registry.answer(request)
        if target.startswith(TARGET_PREFIX):
            return self._control(region, target.removeprefix(TARGET_PREFIX), request)
        if service == "sagemaker":
            raise api_errors.unknown_operation(f"{request.method} {request.path}")
        if service == "monitoring":
            self._metrics.flush()
        answer = self._aws.answer(request)
        if target.endswith(LOGIN_OPERATION) and answer.status == 200:
            return with_local_registry(answer, request.headers.get("Host") or LOOPBACK)
        return answer

    def _control(self, region: str, operation: str, request: ServiceRequest) -> ServiceResponse:
        try:
            value = json.loads(request.body.read() or b"{}")
        except (ValueError, RecursionError) as err:
            raise api_errors.malformed("The body is not valid JSON.") from err
        return _json_response(200, self._region(region)[0].call(operation, value))

    def _region(self, name: str) -> tuple[ControlPlane, Invocations]:
        with self._lock:
            if name not in self._regions:
                control_plane = ControlPlane(AccountRegion(name), self._fleet)
                invocations = Invocations(control_plane, self._metrics, self._fleet)
                self._regions[name] = (control_plane, invocations)
            return self._regions[name]


def _may_come_from_a_web_page(request: ServiceRequest) -> bool:
    """Return whether a browser may have sent a request on behalf of a web page.

    Any page that the user visits can make the browser send requests to 127.0.0.1; such requests
    carry ``Origin``.  By DNS rebinding (its own host name made to resolve to 127.0.0.1) a page can
    avoid that header, but then ``Host`` names the page's host.
    """
    host = PORT.sub("", request.headers.get("Host") or LOOPBACK)
    is_this_machine = host in {LOOPBACK, "localhost"} or host.endswith(".localhost")
    return not is_this_machine or "Origin" in request.headers


def _error_response(err: ApiError) -> ServiceResponse:
    # boto3 reads the code from __type for SageMaker (JSON 1.1) and from the header for its runtime
    # (REST-JSON), and the message under either spelling.
    body = {"__type": err.code, "message": err.message, "Message": err.message, **err.details}
    response = _json_response(err.status, body)
    headers = {**dict(response.header_items()), "x-amzn-ErrorType": err.code}
    return ServiceResponse(response.status, headers, response.body)


def _json_response(status: int, value: Any, content_type: str = AMZ_JSON) -> ServiceResponse:
    headers = {"Content-Type": content_type, "x-amzn-RequestId": str(uuid.uuid4())}
    return ServiceResponse(status, headers, json.dumps(value, default=_to_json).encode())


def _to_json(value: Any) -> Any:
    # AWS's JSON protocols write a timestamp as seconds since 1970.
    if isinstance(value, datetime):
        return round(value.timestamp(), 3)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
