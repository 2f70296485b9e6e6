"""What came of one invocation: an answer, or a failure with its kind.

Nothing here is retried and nothing is raised: a failure is an observation.
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
"""How an invocation ended (API reference, ``InvokeEndpoint``, errors)."""

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
    """One request and what came of it.

    Attributes:
        outcome: ``ok`` or the kind of failure.
        status: HTTP status, 0 where no answer came.
        error: One line for a failure, otherwise empty.
        body: The answer's body, empty for a failure.
        content_type: Of the answer.
        payload_bytes: Size of the request's body.
        started_at: When it was sent, UTC.
        latency_s: From sending to the last byte of the answer, or to the failure.
    """

    outcome: InvocationOutcome
    status: int
    error: str
    body: bytes
    content_type: str
    payload_bytes: int
    started_at: datetime
    latency_s: float


@dataclass(frozen=True)
class Failure:
    """The part of an :class:`Invocation` that an exception tells."""

    outcome: InvocationOutcome
    status: int
    error: str


def failure_of_response(error: ClientError) -> Failure:
    """Read an error that the endpoint answered with."""
    response = cast("dict[str, Any]", error.response)
    code = str(response.get("Error", {}).get("Code", "Unknown"))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return Failure(_outcome_of(code, status), status, _line(code, response))


def failure_of_connection(error: Exception) -> Failure:
    """Read an error that kept any answer from coming."""
    from botocore.exceptions import ConnectTimeoutError, ParamValidationError, ReadTimeoutError

    text = " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(error, ReadTimeoutError | ConnectTimeoutError):
        return Failure("timeout", 0, text)
    if isinstance(error, ParamValidationError):
        return Failure("client_error", 0, text)
    return Failure("unavailable", 0, text)


def _outcome_of(code: str, status: int) -> InvocationOutcome:
    if code in _OUTCOME_OF_CODE:
        return _OUTCOME_OF_CODE[code]
    if status == 429:
        return "throttled"
    return "unavailable" if status >= 500 else "client_error"


def _line(code: str, response: dict[str, Any]) -> str:
    message = response.get("Error", {}).get("Message", "")
    original = response.get("OriginalMessage")
    container_status = response.get("OriginalStatusCode")
    container = f" (container answered {container_status}: {original})" if container_status else ""
    return " ".join(f"{code}: {message}{container}".split())
