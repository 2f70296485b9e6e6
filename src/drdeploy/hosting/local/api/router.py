"""Find out which service each request is for, and pass the request on.

On AWS, each service (such as S3 or IAM) has a host name of its own. The local service answers for
all of them on one port. The signature of a request names its AWS service and its region (credential
scope of Signature Version 4). If a request is not signed, its AWS service follows from the
``X-Amz-Target`` header (JSON protocol) or from the path (``InvokeEndpoint``, the image registry).

If the local service has no access key, it answers every program on this machine, and does not
verify signatures. If it has an access key, it is called a shared service: every request must carry
a signature made with the key. The image registry is different, because its clients send a password
instead of a signature. ECR's ``GetAuthorizationToken`` gives the password to clients that have the
key. Requests from web pages are always refused.
"""

from __future__ import annotations

import io
import json
import re
import threading
import uuid
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qs

from drdeploy.files import parse_json
from drdeploy.hosting.container_engine.ports import LOOPBACK
from drdeploy.hosting.local import api_errors
from drdeploy.hosting.local.api.asynchronous_invocations import (
    AsynchronousInvocations,
    find_inline_bytes_max,
)
from drdeploy.hosting.local.api.control_plane import ControlPlane
from drdeploy.hosting.local.api.failure_log import FailureLog
from drdeploy.hosting.local.api.invocations import InvocationLogs, Invocations
from drdeploy.hosting.local.api.kms_key_states import refuse_unusable_keys
from drdeploy.hosting.local.api.log_groups import drop_expired_events, make_group_condition
from drdeploy.hosting.local.api.overlooked_members import (
    list_members_with_effect,
    refuse_overlooked_members,
)
from drdeploy.hosting.local.api.refusals import (
    make_error_response,
    make_signature_refusal_response,
)
from drdeploy.hosting.local.api.s3_digests import refuse_wrong_digest
from drdeploy.hosting.local.api.scaling import (
    find_scaled_variant,
    has_scaled_resource,
    refuse_scaling_without_effect,
)
from drdeploy.hosting.local.api.signatures import SignatureRefused, SignatureVerifier, SignedClaim
from drdeploy.hosting.local.api.unserved_actions import (
    API_BODY_BYTES_MAX,
    find_name_of_action,
    find_name_of_runtime_operation,
    refuse_unserved_action,
    refuse_unserved_service,
)
from drdeploy.hosting.local.api_errors import ApiError
from drdeploy.hosting.local.http_server import AdmittedHead, ServiceRequest, ServiceResponse
from drdeploy.hosting.local.registry.ecr_login import (
    LOGIN_OPERATION,
    carries_registry_password,
    replace_registry_in_login,
)
from drdeploy.hosting.local.registry.routes import (
    MANIFEST_BYTES_MAX,
    ImageRegistry,
    is_manifest_path,
    make_login_required_response,
)
from drdeploy.hosting.local.registry.routes import PREFIX as REGISTRY_PREFIX
from drdeploy.hosting.local.resource_store import AccountRegion
from drdeploy.hosting.sagemaker import DEFAULT_REGION, api_limits
from drdeploy.units import GIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.hosting.local.access_key import AccessKey
    from drdeploy.hosting.local.api.asynchronous_metrics import BacklogSampler
    from drdeploy.hosting.local.api.simulated_aws import SimulatedAws
    from drdeploy.hosting.local.asynchronous_inference.queues import AsynchronousQueues
    from drdeploy.hosting.local.autoscaling.scaler import ScaledVariant
    from drdeploy.hosting.local.endpoints.fleet import InstanceFleet

R = TypeVar("R")

STATUS_PATH = "/_drdeploy/status"
TARGET_PREFIX = "SageMaker."
CREDENTIAL_SCOPE = re.compile(r"Credential=[^/]{1,128}/\d{8}/([\w-]+)/([\w-]+)/aws4_request")
"""Matches the part of a signature that names region and service. Without the limit for the key id,
the time to search a header would grow with the square of its length.
"""
ASYNCHRONOUS = "async-invocations"
STREAMED = "invocations-response-stream"
INVOCATION_PATH = re.compile(rf"/endpoints/([^/]+)/(invocations|{ASYNCHRONOUS}|{STREAMED})")
PORT = re.compile(r":\d*$")
AMZ_JSON = "application/x-amz-json-1.1"

OBJECT_BYTES_MAX = 5 * GIB
"""The largest number of bytes of an object that is uploaded in one request (Amazon S3 API,
``PutObject``).
"""
KMS_KEY_HEADER = "x-amz-server-side-encryption-aws-kms-key-id"
LAYER_BYTES_MAX = 10 * GIB
"""The largest number of bytes of one layer of a container image.

This is SageMaker's limit for a whole container image (developer guide, "Deploy models with Amazon
SageMaker Serverless Inference").
"""

_failures = FailureLog()


@dataclass(frozen=True)
class _Addressed:
    """The service, region and endpoint that a request is for.

    Attributes:
        region: The region that the signature names, or the default region.
        service: The signing name of the service; empty if the request is not signed.
        endpoint: The name of the endpoint to invoke, percent-encoded; empty if the request is
            not an invocation.
        kind: For an invocation, the last part of the path, for example ``invocations`` or
            ``async-invocations``.
        is_registry: Whether the request is for the image registry.
        claim: The request's signature. None if the local service is not shared, or if the request
            is for the image registry.
    """

    region: str
    service: str
    endpoint: str
    kind: str
    is_registry: bool
    claim: SignedClaim | None


class ApiRouter:
    """Answers all requests to the service's port.

    Args:
        fleet: The fleet that runs the instances of the endpoints.
        aws: The simulation that answers for every service except SageMaker.
        logs: The logs of invocations. The queued metrics are written to CloudWatch before
            CloudWatch is read.
        registry: The image registry, which stands for ECR's registry.
        status: A function that returns the answer to ``GET /_drdeploy/status``.
        queues: The queues of all asynchronous endpoints.
        backlogs: Writes the number of unfinished asynchronous requests (the backlog) of each
            endpoint to CloudWatch before CloudWatch is read.
        key: The key with which every request to a shared service must be signed; None if every
            program on this machine may send requests.
    """

    def __init__(
        self,
        fleet: InstanceFleet,
        aws: SimulatedAws,
        logs: InvocationLogs,
        registry: ImageRegistry,
        status: Callable[[], dict[str, Any]],
        *,
        queues: AsynchronousQueues,
        backlogs: BacklogSampler,
        key: AccessKey | None = None,
    ) -> None:
        self._fleet = fleet
        self._aws = aws
        self._logs = logs
        self._registry = registry
        self._status = status
        self._key = key
        self._verifier = SignatureVerifier(key, fleet.clock) if key is not None else None
        self._queues = queues
        self._backlogs = backlogs
        self._regions: dict[str, tuple[ControlPlane, Invocations, AsynchronousInvocations]] = {}
        self._scaled_resources: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def admit_request(self, request: ServiceRequest) -> AdmittedHead | ServiceResponse:
        """Decide from the headers whether to admit a request; if not, return the error response."""
        return _answer_errors_like_aws(request, lambda: self._admit_head(request))

    def list_control_planes(self) -> tuple[ControlPlane, ...]:
        """Return the control planes of all regions used so far."""
        with self._lock:
            return tuple(services[0] for services in self._regions.values())

    def find_variant(self, region: str, resource_id: str, dimension: str) -> ScaledVariant | None:
        """Return the variant that a scalable target names; None if there is no such variant.

        Args:
            region: The region of the endpoint.
            resource_id: The ``ResourceId`` of the scalable target.
            dimension: The scalable dimension.
        """
        with self._lock:
            services = self._regions.get(region)
        return find_scaled_variant(services[0], resource_id, dimension) if services else None

    def has_lost_scaled_resource(self, region: str, resource_id: str) -> bool:
        """Return whether a resource was registered for scaling, but no longer exists.

        Args:
            region: The region of the resource.
            resource_id: The ``ResourceId`` under which the resource was registered.
        """
        if (region, resource_id) not in self._scaled_resources:
            return False
        return not has_scaled_resource(self._get_or_make_services_of_region(region)[0], resource_id)

    def _admit_head(self, request: ServiceRequest) -> AdmittedHead | ServiceResponse:
        if _may_be_sent_by_web_page(request):
            raise api_errors.make_access_denied_error()
        addressed = self._find_addressed_service(request)
        if addressed.is_registry and self._key is not None:
            now_s = self._fleet.clock.now().timestamp()
            if not carries_registry_password(request.headers, self._key, now_s):
                return make_login_required_response()
        limit = _find_body_limit(addressed, request)

        def answer_complete_request(complete: ServiceRequest) -> ServiceResponse:
            return _answer_errors_like_aws(
                complete, lambda: self._route_request(addressed, complete)
            )

        def answer_too_large_request(longer: ServiceRequest) -> ServiceResponse:
            return _answer_errors_like_aws(
                longer, lambda: raise_too_large_error(longer.length_bytes)
            )

        def raise_too_large_error(length_bytes: int) -> ServiceResponse:
            if addressed.endpoint:
                raise api_errors.make_payload_too_large_error(length_bytes, limit)
            raise api_errors.make_request_too_large_error(length_bytes, limit)

        return AdmittedHead(limit, answer_complete_request, answer_too_large_request)

    def _find_addressed_service(self, request: ServiceRequest) -> _Addressed:
        """Find out to which region, service and endpoint a request is addressed.

        Raises:
            SignatureRefused: The local service is shared, and the request is not signed with its
                key.
        """
        region, service = _read_region_and_service(request)
        is_registry = not service and request.path.startswith(REGISTRY_PREFIX)
        claim = None
        # Clients of a registry do not sign their requests. A signed request for /v2/KEY is for an
        # object in a bucket that is named "v2".
        if self._verifier is not None and not is_registry:
            claim = self._verifier.check_head(request)
            region, service = claim.region, claim.service
        found = INVOCATION_PATH.fullmatch(request.path) if request.method == "POST" else None
        endpoint = found[1] if found and service in {"", "sagemaker"} else ""
        kind = found[2] if found and endpoint else ""
        return _Addressed(region, service, endpoint, kind, is_registry, claim)

    def _route_request(self, addressed: _Addressed, request: ServiceRequest) -> ServiceResponse:
        if self._verifier is not None and addressed.claim is not None:
            self._verifier.check_body(addressed.claim, request)
        target = request.headers.get("X-Amz-Target") or ""
        if addressed.endpoint:
            _, direct, queued = self._get_or_make_services_of_region(addressed.region)
            if addressed.kind == ASYNCHRONOUS:
                return queued.answer_invocation(addressed.endpoint, request)
            is_streamed = addressed.kind == STREAMED
            return direct.answer_invocation(addressed.endpoint, request, is_streamed=is_streamed)
        if request.path == STATUS_PATH:
            return _make_json_response(200, self._status(), "application/json")
        if addressed.is_registry:
            self._aws.import_moto()
            return self._registry.answer_request(request)
        if target.startswith(TARGET_PREFIX):
            return self._carry_out_json_operation(
                addressed.region, target.removeprefix(TARGET_PREFIX), request
            )
        if addressed.service == "sagemaker":
            raise api_errors.make_unknown_operation_error(find_name_of_runtime_operation(request))
        return self._pass_on_to_simulated_service(addressed, request)

    def _pass_on_to_simulated_service(
        self, addressed: _Addressed, request: ServiceRequest
    ) -> ServiceResponse:
        if addressed.service == "monitoring":
            self._logs.metrics.write_queued_metrics()
            self._backlogs.write_samples()
        if addressed.service == "logs":
            request = self._fetch_log_lines_before_answer(addressed.region, request)
        refuse_unserved_service(addressed.service, request)
        refuse_overlooked_members(addressed.service, request)
        if addressed.service == "s3":
            self._check_s3_request(addressed.region, request)
        if addressed.service == "kms":
            keys = self._aws.list_used_keys(addressed.region, list_members_with_effect(request))
            refuse_unusable_keys(find_name_of_action(request), keys)
        if addressed.service == "application-autoscaling":
            self._check_scaling_request(addressed.region, request)
        answer = refuse_unserved_action(
            addressed.service, request, lambda: self._aws.answer_request(request)
        )
        is_login = (request.headers.get("X-Amz-Target") or "").endswith(LOGIN_OPERATION)
        if is_login and answer.status == 200:
            host = request.headers.get("Host") or LOOPBACK
            return replace_registry_in_login(
                answer, host, self._key, self._fleet.clock.now().timestamp()
            )
        return answer

    def _fetch_log_lines_before_answer(
        self, region: str, request: ServiceRequest
    ) -> ServiceRequest:
        """Fetch the newest lines of the log groups that a request is about to read.

        Return the same request, with a body that can be read again.
        """
        body = request.body.read()
        self._fleet.logs.fetch_lines_of_groups(region, make_group_condition(body))
        drop_expired_events(region)
        return replace(request, body=io.BytesIO(body))

    def _check_s3_request(self, region: str, request: ServiceRequest) -> None:
        """Refuse a request to S3 that is damaged, or that asks for something impossible.

        Examples are an encryption key that cannot be used, and a header that cannot be sent.
        """
        refuse_wrong_digest(request)
        _refuse_headers_beyond_latin_1(request)
        key = request.headers.get(KMS_KEY_HEADER)
        problem, code = self._aws.find_problem_and_code_of_key(region, key) if key else ("", "")
        if problem:
            raise ApiError(f"KMS.{code}", f"The KMS key {key} {problem}.")

    def _check_scaling_request(self, region: str, request: ServiceRequest) -> None:
        value = _read_json_body(request)
        request.body.seek(0)  # for moto
        action = find_name_of_action(request)
        refuse_scaling_without_effect(
            action,
            value,
            self._get_or_make_services_of_region(region)[0],
            partial(self._aws.find_bounds_of_target, region),
        )
        if action == "RegisterScalableTarget":
            self._scaled_resources.add((region, value["ResourceId"]))

    def _carry_out_json_operation(
        self, region: str, operation: str, request: ServiceRequest
    ) -> ServiceResponse:
        value = _read_json_body(request)
        return _make_json_response(
            200,
            self._get_or_make_services_of_region(region)[0].carry_out_operation(operation, value),
        )

    def _get_or_make_services_of_region(
        self, name: str
    ) -> tuple[ControlPlane, Invocations, AsynchronousInvocations]:
        with self._lock:
            if name not in self._regions:
                control_plane = ControlPlane(AccountRegion(name), self._fleet, self._aws)
                invocations = Invocations(control_plane, self._logs, self._fleet)
                asynchronous = AsynchronousInvocations(
                    control_plane, self._queues, self._aws, self._fleet.clock
                )
                self._regions[name] = (control_plane, invocations, asynchronous)
            return self._regions[name]


def _answer_errors_like_aws(request: ServiceRequest, work: Callable[[], R]) -> R | ServiceResponse:
    """Return the result of ``work``; turn an error in it into the response that AWS would give."""
    try:
        return work()
    except SignatureRefused as err:
        refused = partial(make_signature_refusal_response, err)
    except ApiError as err:
        refused = partial(make_error_response, err)
    except Exception as err:  # noqa: BLE001 - a client must get a response
        _failures.log_failure(f"{request.method} {request.path}", err)
        refused = partial(make_error_response, api_errors.make_internal_failure_error())
    is_invocation = INVOCATION_PATH.fullmatch(request.path) is not None
    return refused(request, _read_region_and_service(request)[1], is_invocation=is_invocation)


def _read_json_body(request: ServiceRequest) -> Any:
    try:
        return parse_json(request.body.read() or b"{}")
    except ValueError as err:
        raise api_errors.make_malformed_error("The body is not valid JSON.") from err


def _refuse_headers_beyond_latin_1(request: ServiceRequest) -> None:
    """Refuse a download whose answer should have a header that HTTP cannot carry, as S3 does."""
    for name, values in parse_qs(request.target.partition("?")[2]).items():
        if name.startswith("response-"):
            try:
                values[0].encode("latin-1")
            except UnicodeEncodeError as err:
                raise ApiError(
                    "InvalidArgument", "Header value cannot be represented using ISO-8859-1."
                ) from err


def _find_body_limit(addressed: _Addressed, request: ServiceRequest) -> int:
    if addressed.is_registry:
        return MANIFEST_BYTES_MAX if is_manifest_path(request.path) else LAYER_BYTES_MAX
    if addressed.kind == ASYNCHRONOUS:
        return find_inline_bytes_max()
    if addressed.endpoint:
        return api_limits.REALTIME_PAYLOAD_BYTES
    # Clients of S3 state the hash of the body in the headers, so their signature has been verified
    # already. All other signatures are verified only after the body is read. Anybody can send such
    # a request, so its body must be short.
    is_verified = addressed.claim is None or addressed.claim.body_sha256 is not None
    is_api = addressed.service not in {"", "s3"} or "X-Amz-Target" in request.headers
    return OBJECT_BYTES_MAX if is_verified and not is_api else API_BODY_BYTES_MAX


def _read_region_and_service(request: ServiceRequest) -> tuple[str, str]:
    """Return the region and the service that a request's signature names, without verifying it."""
    header = CREDENTIAL_SCOPE.search(request.headers.get("Authorization") or "")
    presigned = parse_qs(request.target.partition("?")[2]).get("X-Amz-Credential", [""])[0]
    scope = header or CREDENTIAL_SCOPE.fullmatch(f"Credential={presigned}")
    return (scope[1], scope[2]) if scope else (DEFAULT_REGION, "")


def _may_be_sent_by_web_page(request: ServiceRequest) -> bool:
    """Return whether a browser may have sent a request on behalf of a web page.

    Any web page that the user visits can make the browser send requests to 127.0.0.1. The headers
    show that a request comes from a page:

    If a form or a script posts a request, the browser adds the header ``Origin``.

    IAM also accepts API calls with ``GET``. A page can therefore make an API call by showing a
    picture whose address is the URL of the call. The browser then adds ``Sec-Fetch-Site``; an old
    browser adds ``Referer`` instead (Fetch Metadata Request Headers, W3C). If ``Sec-Fetch-Site`` is
    ``none``, the request does not come from a page: the user has typed the address.

    With DNS rebinding, a page makes its own host name resolve to 127.0.0.1. The browser then adds
    none of these headers, but ``Host`` names the page's host.
    """
    host = PORT.sub("", request.headers.get("Host") or LOOPBACK).lower()
    is_this_machine = host in {LOOPBACK, "localhost"} or host.endswith(".localhost")
    return (
        not is_this_machine
        or "Origin" in request.headers
        or "Referer" in request.headers
        or request.headers.get("Sec-Fetch-Site", "none") != "none"
    )


def _make_json_response(status: int, value: Any, content_type: str = AMZ_JSON) -> ServiceResponse:
    headers = {"Content-Type": content_type, "x-amzn-RequestId": str(uuid.uuid4())}
    return ServiceResponse(status, headers, json.dumps(value, default=_encode_time).encode())


def _encode_time(value: Any) -> Any:
    # AWS's JSON protocols write a timestamp as seconds since 1970.
    if isinstance(value, datetime):
        return round(value.timestamp(), 3)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
