"""Process one asynchronous request: read the input, get an answer, store the result, notify SNS.

Sources: SageMaker AI developer guide, "Check prediction results" (results in S3, messages of
SNS); API reference, ``AsyncInferenceOutputConfig``.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

from drdeploy.hosting.local.endpoints.asynchronous_settings import (
    ERROR_WITH_RESPONSE,
    SUCCESS_WITH_RESPONSE,
)
from drdeploy.hosting.local.endpoints.instance_client import (
    InstanceAnswerTooLarge,
    InstanceConnectionLost,
    InstanceTimeout,
)
from drdeploy.hosting.local.endpoints.instance_logs import InstanceOrigin, LogStreamName
from drdeploy.hosting.local.endpoints.worker import explain_lost_connection
from drdeploy.hosting.local.instances.instance import LogLine
from drdeploy.hosting.sagemaker import api_limits
from drdeploy.hosting.sagemaker.s3_uris import split_s3_uri
from drdeploy.units import KIB, MILLISECONDS_PER_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.hosting.local.asynchronous_inference.request_queue import (
        QueuedRequest,
        RequestQueue,
    )
    from drdeploy.hosting.local.endpoints.asynchronous_settings import AsynchronousSettings
    from drdeploy.hosting.local.endpoints.deployment import Variant
    from drdeploy.hosting.local.endpoints.instance_client import InstanceAnswer
    from drdeploy.hosting.local.endpoints.pool import WorkerLease
    from drdeploy.hosting.local.instances.instance import Instance
    from drdeploy.hosting.sagemaker import Clock

NOTIFIED_RESPONSE_BYTES_MAX = 128 * KIB
"""The longest answer that a message of SNS contains (API reference,
``AsyncInferenceNotificationConfig``)."""
LOGGED_RESPONSE_BYTES_MAX = 4096
"""The largest number of bytes of a model's error message that one line of the log quotes."""
TEXT = "text/plain; charset=utf-8"

ModelOutcome = Literal["ok", "4xx", "5xx", "none"]


class ResultStore(Protocol):
    """The AWS services that are needed to process a request: S3, SNS and CloudWatch Logs."""

    def read_object(self, uri: str) -> bytes:
        """Return an object; raises KeyError if it does not exist."""

    def measure_object(self, uri: str) -> int:
        """Return the size of an object in bytes; raises KeyError if it does not exist."""

    def put_object(
        self,
        region: str,
        bucket: str,
        key: str,
        body: bytes,
        kms_key_id: str | None,
        *,
        content_type: str | None = None,
    ) -> None:
        """Write an object; raises OSError if it cannot be written."""

    def publish_notification(self, topic: str, message: str) -> None:
        """Publish a message to a topic; raises OSError if that fails."""

    def put_log_lines(self, name: LogStreamName, lines: Sequence[LogLine]) -> None:
        """Append lines to a log stream, which is created if it does not exist."""


@dataclass(frozen=True)
class RequestOutcome:
    """How the processing of one request ended.

    Attributes:
        region: The region of the endpoint.
        endpoint: The name of the endpoint.
        variant: The name of the variant that processed the request.
        inference_id: The id of the request.
        at: When the processing ended, UTC.
        failure_reason: Why the request failed; empty if it was completed.
        model_outcome: The kind of the model's answer. ``none`` means that the model gave no answer
            or was not asked.
        is_expired: Whether the request waited longer than its time to live.
        has_download_failed: Whether the input could not be read.
        has_upload_failed: Whether the result could not be written.
        has_notification_failed: Whether the notification could not be published to SNS.
        backlog_s: Seconds that the request waited in the queue.
        download_s: How many seconds it took to read the input from S3; None if the input did not
            come from S3.
        model_s: Seconds until the model answered; None if it did not answer.
        upload_s: How many seconds it took to write the result; None if nothing was written.
        total_s: Seconds from the arrival of the request until its result was stored and SNS was
            notified.
    """

    region: str
    endpoint: str
    variant: str
    inference_id: str
    at: datetime
    failure_reason: str = ""
    model_outcome: ModelOutcome = "none"
    is_expired: bool = False
    has_download_failed: bool = False
    has_upload_failed: bool = False
    has_notification_failed: bool = False
    backlog_s: float = 0.0
    download_s: float | None = None
    model_s: float | None = None
    upload_s: float | None = None
    total_s: float = 0.0


@dataclass(frozen=True)
class _ModelResponse:
    """What is stored as a request's result: the model's answer, or the reason for a failure."""

    content_type: str
    body: bytes


class _InputTooLarge(Exception):
    """The input of a request is larger than SageMaker allows."""


class RequestProcessor:
    """Processes the requests of one endpoint; safe to use from several threads.

    Args:
        endpoint: The name of the endpoint.
        run: The name of this run of the service; each restart has a new name.
        store: S3, SNS and CloudWatch Logs.
        clock: The clock that measures durations and gives the time of each result.
    """

    def __init__(self, endpoint: str, run: str, store: ResultStore, clock: Clock) -> None:
        self._endpoint = endpoint
        self._run = run
        self._store = store
        self._clock = clock

    def process_request(
        self,
        request: QueuedRequest,
        queue: RequestQueue,
        settings: AsynchronousSettings,
        variant: Variant,
        lease: WorkerLease,
    ) -> tuple[RequestOutcome, _ModelResponse]:
        """Send the input of a request to the instance reserved for it, and return the result.

        Afterwards, the instance is free for the next request. :meth:`store_result` stores the
        result.
        """
        outcome = self._make_outcome_with_time_in_queue(request, settings, variant.name)
        is_broken = False
        try:
            begin = self._clock.monotonic()
            try:
                body = self._read_input_of_request(request, queue)
            except KeyError:
                reason = (
                    f"ClientError: Failed to download the input from {request.input_location}. "
                    "Please ensure that there is an object located at the URL and that the role "
                    "passed to CreateModel has permissions to download it."
                )
                return _make_failure_outcome(replace(outcome, has_download_failed=True), reason)
            except _InputTooLarge as err:
                reason = f"ClientError: {err}."
                return _make_failure_outcome(replace(outcome, has_download_failed=True), reason)
            if request.input_location is not None:
                outcome = replace(outcome, download_s=self._clock.monotonic() - begin)
            begin = self._clock.monotonic()
            is_broken = True
            answer = lease.worker.client.send_request(
                "POST",
                "/invocations",
                body,
                request.headers,
                timeout_s=request.timeout_s,
                max_bytes=api_limits.ASYNCHRONOUS_PAYLOAD_BYTES,
            )
            is_broken = False
            outcome = replace(outcome, model_s=self._clock.monotonic() - begin)
            return self._read_outcome_from_answer(outcome, answer)
        except InstanceTimeout:
            reason = (
                "ClientError: The model did not answer within the InvocationTimeoutSeconds of "
                f"{request.timeout_s:g}."
            )
            return _make_failure_outcome(outcome, reason)
        except InstanceAnswerTooLarge as err:
            is_broken = False
            return _make_failure_outcome(outcome, f"ClientError: The response is too large: {err}.")
        except InstanceConnectionLost as err:
            return _make_failure_outcome(
                outcome,
                f"InternalServerError: {explain_lost_connection(lease.worker, self._clock, err)}",
            )
        finally:
            variant.pool.return_worker(lease, broken=is_broken)

    def make_expired_outcome(
        self, request: QueuedRequest, settings: AsynchronousSettings, variant: str
    ) -> tuple[RequestOutcome, _ModelResponse]:
        """Return the outcome of a request that has waited too long."""
        outcome = replace(
            self._make_outcome_with_time_in_queue(request, settings, variant), is_expired=True
        )
        return _make_failure_outcome(
            outcome,
            "ClientError: The request expired: it waited longer than its RequestTTLSeconds of "
            f"{request.time_to_live_s:g}.",
        )

    def log_failure(
        self, outcome: RequestOutcome, response: _ModelResponse, instance: Instance
    ) -> None:
        """Write the reason for a failure to the instance's ``data-log`` stream, like SageMaker."""
        origin = InstanceOrigin(outcome.region, outcome.endpoint, outcome.variant)
        stream = origin.name_log_stream(instance)
        reason = outcome.failure_reason.partition(": ")[2]
        if outcome.model_outcome != "none":
            said = response.body[:LOGGED_RESPONSE_BYTES_MAX].decode(errors="replace")
            received = reason.partition(" from model.")[0]
            reason = f'{received} from primary with message "{said}"'
        now_s = self._current_epoch_s()
        stamp = _format_time(now_s).removesuffix("Z")
        line = LogLine(
            int(now_s * MILLISECONDS_PER_S),
            f"{stamp}:[sagemaker logs] [{outcome.inference_id}] {reason}",
        )
        name = LogStreamName(stream.region, stream.group, f"{stream.stream}/data-log")
        self._store.put_log_lines(name, (line,))

    def store_result(
        self,
        request: QueuedRequest,
        settings: AsynchronousSettings,
        outcome: RequestOutcome,
        response: _ModelResponse,
    ) -> RequestOutcome:
        """Write the result or the failure to S3, notify the SNS topic, and return the outcome."""
        begin = self._clock.monotonic()
        place = request.failure_location if outcome.failure_reason else request.output_location
        if place is not None:
            try:
                self._write_response_to_s3(place, settings, response)
                outcome = replace(outcome, upload_s=self._clock.monotonic() - begin)
            except OSError as err:
                outcome = replace(outcome, has_upload_failed=True)
                if not outcome.failure_reason:
                    reason = f"ClientError: Failed to upload the response to {place}: {err}."
                    outcome, response = _make_failure_outcome(outcome, reason)
                    return self.store_result(request, settings, outcome, response)
        topic = settings.error_topic if outcome.failure_reason else settings.success_topic
        if topic is not None:
            try:
                message = self._make_notification(request, settings, outcome, response)
                self._store.publish_notification(topic, json.dumps(message))
            except OSError:
                outcome = replace(outcome, has_notification_failed=True)
        total_s = max(0.0, self._current_epoch_s() - request.received_s)
        return replace(outcome, at=self._clock.now(), total_s=total_s)

    def _make_outcome_with_time_in_queue(
        self, request: QueuedRequest, settings: AsynchronousSettings, variant: str
    ) -> RequestOutcome:
        return RequestOutcome(
            region=settings.region,
            endpoint=self._endpoint,
            variant=variant,
            inference_id=request.inference_id,
            at=self._clock.now(),
            backlog_s=max(0.0, self._current_epoch_s() - request.received_s),
        )

    def _read_input_of_request(self, request: QueuedRequest, queue: RequestQueue) -> bytes:
        """Return the input of a request.

        Raises:
            KeyError: S3 does not have the input.
            _InputTooLarge: The input is larger than SageMaker allows, so it was not read.
        """
        is_of_earlier_run = request.run != self._run
        if request.input_location is None or is_of_earlier_run:
            stored = queue.read_stored_input(request)
            if stored is not None:
                return stored
        if request.input_location is None:
            raise KeyError(request.inference_id)
        length = self._store.measure_object(request.input_location)
        if length > api_limits.ASYNCHRONOUS_PAYLOAD_BYTES:
            raise _InputTooLarge(
                f"The input has {length} bytes, and at most "
                f"{api_limits.ASYNCHRONOUS_PAYLOAD_BYTES} are allowed"
            )
        return self._store.read_object(request.input_location)

    def _read_outcome_from_answer(
        self, outcome: RequestOutcome, answer: InstanceAnswer
    ) -> tuple[RequestOutcome, _ModelResponse]:
        content_type = answer.headers.get("content-type", "application/octet-stream")
        response = _ModelResponse(content_type, answer.body)
        if 200 <= answer.status < 300:
            return replace(outcome, model_outcome="ok"), response
        side = "client" if 400 <= answer.status < 500 else "server"
        reason = (
            f"ClientError: Received {side} error ({answer.status}) from model. See the SageMaker "
            "Endpoint logs in your account for more information."
        )
        kind: ModelOutcome = "4xx" if side == "client" else "5xx"
        return replace(outcome, failure_reason=reason, model_outcome=kind), response

    def _write_response_to_s3(
        self, place: str, settings: AsynchronousSettings, response: _ModelResponse
    ) -> None:
        bucket, key = split_s3_uri(place)
        self._store.put_object(
            settings.region,
            bucket,
            key,
            response.body,
            settings.kms_key_id,
            content_type=response.content_type,
        )

    def _make_notification(
        self,
        request: QueuedRequest,
        settings: AsynchronousSettings,
        outcome: RequestOutcome,
        response: _ModelResponse,
    ) -> dict[str, Any]:
        """Return the content of a notification for SNS, in the form that SageMaker sends."""
        has_failed = bool(outcome.failure_reason)
        asked = {
            "accept": request.headers.get("Accept"),
            "contentType": request.headers.get("Content-Type"),
            "customAttributes": request.headers.get("X-Amzn-SageMaker-Custom-Attributes"),
            "endpointName": self._endpoint,
            "inputLocation": request.input_location,
        }
        message: dict[str, Any] = {
            "awsRegion": settings.region,
            "eventTime": _format_time(self._current_epoch_s()),
            "receivedTime": _format_time(request.received_s),
            "invocationStatus": "Failed" if has_failed else "Completed",
        }
        if has_failed:
            message["failureReason"] = outcome.failure_reason
        message["requestParameters"] = {
            name: value for name, value in asked.items() if value is not None
        }
        place = request.failure_location if has_failed else request.output_location
        if place is not None and outcome.upload_s is not None:
            message["responseParameters"] = {
                "contentType": response.content_type,
                "outputLocation": place,
            }
        wanted = ERROR_WITH_RESPONSE if has_failed else SUCCESS_WITH_RESPONSE
        if (
            wanted in settings.includes_response_in
            and outcome.model_outcome != "none"
            and len(response.body) <= NOTIFIED_RESPONSE_BYTES_MAX
        ):
            message["responseBody"] = {
                "content": base64.b64encode(response.body).decode("ascii"),
                "message": "failed" if has_failed else "success",
                "encoding": "BASE64",
            }
        return message | {
            "inferenceId": request.inference_id,
            "eventVersion": "1.0",
            "eventSource": "aws:sagemaker",
            "eventName": "InferenceResult",
        }

    def _current_epoch_s(self) -> float:
        return self._clock.now().timestamp()


def _make_failure_outcome(
    outcome: RequestOutcome, reason: str
) -> tuple[RequestOutcome, _ModelResponse]:
    return replace(outcome, failure_reason=reason), _ModelResponse(TEXT, reason.encode())


def _format_time(moment_s: float) -> str:
    moment = datetime.fromtimestamp(moment_s, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
