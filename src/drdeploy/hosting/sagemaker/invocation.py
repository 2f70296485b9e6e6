"""The result of one invocation, which is an answer or a kind of failure.

A failed invocation is a measurement too. It is recorded like any other, so no exception is raised,
and the request is not sent again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from datetime import datetime

    from botocore.exceptions import ClientError

InvocationOutcome = Literal[
    "ok", "throttled", "model_error", "unavailable", "timeout", "client_error"
]
"""How an invocation ended (API reference, ``InvokeEndpoint``, "Errors")."""

_OUTCOME_OF_CODE: dict[str, InvocationOutcome] = {
    "ThrottlingException": "throttled",
    "Throttling": "throttled",
    "TooManyRequestsException": "throttled",
    "ModelError": "model_error",
    "ModelNotReadyException": "unavailable",
    "InternalDependencyException": "unavailable",
    "InternalFailure": "unavailable",
    "ServiceUnavailable": "unavailable",
}


@dataclass(frozen=True)
class Invocation:
    """One request and its result.

    Attributes:
        outcome: ``ok``, or the kind of failure.
        status: The HTTP status of the answer; 0 if there was no answer.
        error: The failure in one line; empty if the invocation succeeded.
        body: The answer's body; empty if the invocation failed.
        content_type: The answer's content type; empty if the invocation failed.
        payload_bytes: The size of the request's body.
        started_at: When the request was sent, UTC.
        latency_s: Seconds from sending the request to the answer's last byte, or to the failure.
    """

    outcome: InvocationOutcome
    status: int
    error: str
    body: bytes
    content_type: str
    payload_bytes: int
    started_at: datetime
    latency_s: float


def classify_error_response(error: ClientError) -> tuple[InvocationOutcome, int, str]:
    """Return the outcome, status and error of an invocation that was answered with an error."""
    response = cast("dict[str, Any]", error.response)
    code = str(response.get("Error", {}).get("Code", "Unknown"))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    message = response.get("Error", {}).get("Message", "")
    container_status = response.get("OriginalStatusCode")
    if container_status:
        original = response.get("OriginalMessage")
        message = f"{message} (container answered {container_status}: {original})"
    by_status: InvocationOutcome = (
        "throttled" if status == 429 else "unavailable" if status >= 500 else "client_error"
    )
    outcome = _OUTCOME_OF_CODE.get(code, by_status)
    return outcome, status, " ".join(f"{code}: {message}".split())


def classify_connection_error(error: Exception) -> tuple[InvocationOutcome, int, str]:
    """Return the outcome, status and error of an invocation that was not answered."""
    from botocore.exceptions import ConnectTimeoutError, ParamValidationError, ReadTimeoutError

    text = " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(error, ReadTimeoutError | ConnectTimeoutError):
        return "timeout", 0, text
    return "client_error" if isinstance(error, ParamValidationError) else "unavailable", 0, text
