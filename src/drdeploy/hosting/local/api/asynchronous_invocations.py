"""Answer ``InvokeEndpointAsync``: check the request, queue it, and say where its result will be."""

from __future__ import annotations

import json
import uuid
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from drdeploy.hosting.local import api_errors
from drdeploy.hosting.local.api.request_validation import load_service_model, refuse_invalid_value
from drdeploy.hosting.local.api_errors import ApiError
from drdeploy.hosting.local.asynchronous_inference.request_queue import QueuedRequest
from drdeploy.hosting.local.http_server import ServiceRequest, ServiceResponse
from drdeploy.hosting.sagemaker import api_limits
from drdeploy.hosting.sagemaker.s3_uris import S3_SCHEME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.hosting.local.api.control_plane import ControlPlane
    from drdeploy.hosting.local.asynchronous_inference.processing import ResultStore
    from drdeploy.hosting.local.asynchronous_inference.queues import AsynchronousQueues
    from drdeploy.hosting.local.endpoints.asynchronous_settings import AsynchronousSettings
    from drdeploy.hosting.sagemaker import Clock

OPERATION = "InvokeEndpointAsync"
FORWARDED = {
    "ContentType": "Content-Type",
    "Accept": "Accept",
    "CustomAttributes": "X-Amzn-SageMaker-Custom-Attributes",
    "InferenceId": "X-Amzn-SageMaker-Inference-Id",
}
"""The request members that are passed on to the container, each with its HTTP header."""


class AsynchronousInvocations:
    """Answers ``InvokeEndpointAsync`` for one region.

    Args:
        control_plane: The control plane that holds the endpoints.
        queues: The queues of all asynchronous endpoints.
        store: S3, from which inputs are read.
        clock: The clock that gives the arrival time of each request.
    """

    def __init__(
        self,
        control_plane: ControlPlane,
        queues: AsynchronousQueues,
        store: ResultStore,
        clock: Clock,
    ) -> None:
        self._control_plane = control_plane
        self._queues = queues
        self._store = store
        self._clock = clock

    def answer_invocation(self, name: str, request: ServiceRequest) -> ServiceResponse:
        """Answer ``POST /endpoints/NAME/async-invocations``.

        Raises:
            ApiError: The endpoint does not exist, or the request is not valid or cannot be stored.
        """
        try:
            return self._answer_checked_invocation(unquote(name), request)
        except ApiError as err:
            raise api_errors.convert_error_code_for_runtime(err) from err

    def _answer_checked_invocation(self, name: str, request: ServiceRequest) -> ServiceResponse:
        account_region = self._control_plane.account_region
        endpoint = self._control_plane.endpoints.find_exact(name)
        if endpoint is None or not endpoint.is_serving:
            raise api_errors.make_validation_error(
                f"Endpoint {name} of account {account_region.account} not found."
            )
        with endpoint.hold_deployment_in_service() as deployment:
            settings = deployment.asynchronous if deployment is not None else None
        if settings is None:
            raise api_errors.make_validation_error(
                f"Endpoint {name} is not an asynchronous endpoint, and does not support "
                "InvokeEndpointAsync. Use InvokeEndpoint, or create the endpoint with an "
                "AsyncInferenceConfig."
            )
        body = request.body.read()
        members = _read_members_in_headers(request)
        location = _find_and_check_input_location(members, body)
        try:
            queue = self._queues.find_queue(account_region.region, endpoint)
            queued = self._make_queued_request(queue.make_request_number(), members, settings)
            queue.add_request(
                queued, body if location is None else self._copy_input_from_s3(location)
            )
        except OSError as err:
            raise ApiError(
                "ServiceUnavailable",
                f"The request cannot be stored: {err.strerror}.",
                status=HTTPStatus.SERVICE_UNAVAILABLE,
            ) from err
        return _make_accepted_answer(queued)

    def _make_queued_request(
        self, number: int, members: Mapping[str, Any], settings: AsynchronousSettings
    ) -> QueuedRequest:
        file_id = str(uuid.uuid4())
        folder = settings.output_path
        if "S3OutputPathExtension" in members:
            folder = f"{folder}/{members['S3OutputPathExtension'].strip('/')}"
        failure_folder = settings.failure_path
        identified = {"InferenceId": str(uuid.uuid4())} | dict(members)
        return QueuedRequest(
            number=number,
            run=self._queues.run,
            inference_id=identified["InferenceId"],
            received_s=self._clock.now().timestamp(),
            input_location=members.get("InputLocation"),
            headers={
                header: identified[member]
                for member, header in FORWARDED.items()
                if member in identified
            },
            # The file is not named after the inference id, because a client may use an id twice.
            output_location=f"{folder}/{members.get('Filename', f'{file_id}.out')}",
            failure_location=failure_folder and f"{failure_folder}/{file_id}-error.out",
            time_to_live_s=members.get("RequestTTLSeconds", api_limits.ASYNCHRONOUS_TIME_TO_LIVE_S),
            timeout_s=members.get("InvocationTimeoutSeconds", api_limits.ASYNCHRONOUS_TIMEOUT_S),
        )

    def _copy_input_from_s3(self, location: str) -> bytes | None:
        """Return the content of the input in S3, or None if it is missing or too large.

        The queue keeps a copy of the input, because the queue survives a restart of the service,
        but the local S3 does not. If the input is missing or too large, no error is raised: like
        SageMaker, the service accepts the request, and the request fails later.
        """
        try:
            if self._store.measure_object(location) > api_limits.ASYNCHRONOUS_PAYLOAD_BYTES:
                return None
            return self._store.read_object(location)
        except KeyError:
            return None


def load_members_of_asynchronous_request() -> dict[str, Any]:
    """Return the members of an ``InvokeEndpointAsync`` request, with their shapes in botocore."""
    shape: Any = load_service_model("sagemaker-runtime").operation_model(OPERATION).input_shape
    return dict(shape.members)


@cache
def find_inline_bytes_max() -> int:
    """Return the size in bytes of the largest input that may be sent in the request itself."""
    return int(load_members_of_asynchronous_request()["Body"].metadata["max"])


def _read_members_in_headers(request: ServiceRequest) -> dict[str, Any]:
    """Return the request members that are sent as headers, after checking each value."""
    members: dict[str, Any] = {}
    for member, shape in load_members_of_asynchronous_request().items():
        if shape.serialization.get("location") != "header":
            continue
        value: Any = request.headers.get(shape.serialization["name"])
        if value is None:
            continue
        if shape.type_name == "integer":
            value = _read_integer(member, value)
        refuse_invalid_value(shape, value, member)
        members[member] = value
    return members


def _read_integer(member: str, value: str) -> int:
    try:
        return int(value)
    except ValueError as err:
        raise api_errors.make_malformed_error(f"{member} is not a whole number: {value}.") from err


def _find_and_check_input_location(members: Mapping[str, Any], body: bytes) -> str | None:
    """Check and return the S3 location of a request's input; None if the body is the input."""
    location: str | None = members.get("InputLocation")
    if location is not None and body:
        raise api_errors.make_validation_error(
            "Body and InputLocation are mutually exclusive. Provide exactly one of them."
        )
    if location is None and not body:
        raise api_errors.make_validation_error(
            "The request has no input. Provide exactly one of Body and InputLocation."
        )
    if location is not None and not location.startswith(S3_SCHEME):
        raise api_errors.make_not_served_error(
            f"InputLocation={location!r}. Write the location as s3://BUCKET/KEY"
        )
    return location


def _make_accepted_answer(queued: QueuedRequest) -> ServiceResponse:
    headers = {
        "Content-Type": "application/json",
        "x-amzn-RequestId": str(uuid.uuid4()),
        "X-Amzn-SageMaker-OutputLocation": queued.output_location,
    }
    if queued.failure_location is not None:
        headers["X-Amzn-SageMaker-FailureLocation"] = queued.failure_location
    body = json.dumps({"InferenceId": queued.inference_id}).encode()
    return ServiceResponse(HTTPStatus.ACCEPTED, headers, body)
