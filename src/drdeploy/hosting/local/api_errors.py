"""The errors that the API answers with, in AWS's codes and words.

Two codes look alike.  A request that is wrong in every state gets ``ValidationError``.  One that
is impossible only now (no such endpoint, name taken, update in progress) gets
``ValidationException``, the code that botocore's waiters and Terraform look for.  The runtime's
codes and statuses are those of botocore's ``sagemaker-runtime`` service model.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

FAILURE_REASON_LENGTH_MAX = 1024
"""Longest ``FailureReason``, in characters, that botocore's service model allows."""


class ApiError(Exception):
    """An error that a client receives.

    Attributes:
        code: For example ``ValidationException``.
        message: What the client reads.
        status: HTTP status.
        details: Further members of the error's shape, by name.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int = HTTPStatus.BAD_REQUEST,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = int(status)
        self.details = dict(details or {})


def invalid(message: str) -> ApiError:
    """The error for a request that could never be granted."""
    return ApiError("ValidationError", message)


def forbidden_now(message: str) -> ApiError:
    """The error for a request that only the present state of the resources forbids."""
    return ApiError("ValidationException", message)


def limit_exceeded(limit: str, maximum: int, used: int, delta: int) -> ApiError:
    """The error for a request that would exceed a quota of the account."""
    return ApiError(
        "ResourceLimitExceeded",
        f"The account-level service limit '{limit}' is {maximum}, with current utilization of "
        f"{used} and a request delta of {delta}. Please use AWS Service Quotas to request an "
        "increase for this quota.",
    )


def unknown_operation(operation: str) -> ApiError:
    """The error for an operation that SageMaker may have and the local service does not."""
    return ApiError("UnknownOperationException", f"The local service does not serve {operation}.")


def malformed(message: str) -> ApiError:
    """The error for a body that cannot be read as the operation's request."""
    return ApiError("SerializationException", message)


def payload_too_large(length_bytes: int, limit_bytes: int) -> ApiError:
    """The error for an invocation whose body exceeds the payload limit."""
    return ApiError(
        "ValidationError",
        f"1 validation error detected: Value at 'body' failed to satisfy constraint: Member must "
        f"have length less than or equal to {limit_bytes}. Request is larger than {limit_bytes} "
        f"bytes: {length_bytes}",
        status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    )


def throttled(endpoint: str, variant: str, max_concurrency: int) -> ApiError:
    """The error for an invocation beyond ``MaxConcurrency``."""
    return ApiError(
        "ThrottlingException",
        f"Rate exceeded: variant {variant} of endpoint {endpoint} already processes its "
        f"MaxConcurrency of {max_concurrency} invocations.",
        status=HTTPStatus.TOO_MANY_REQUESTS,
    )


def not_ready(endpoint: str, variant: str) -> ApiError:
    """The error for an invocation that waited in vain for an instance to become ready."""
    return ApiError(
        "ModelNotReadyException",
        f"Variant {variant} of endpoint {endpoint} is still being provisioned. Wait and try your "
        "request again.",
        status=HTTPStatus.TOO_MANY_REQUESTS,
    )


def model_error(original_status: int, original_message: str, *, log_stream_arn: str) -> ApiError:
    """The error for a container that refused, failed, or gave no answer (then status 0)."""
    side = "client" if 400 <= original_status < 500 else "server"
    group = log_stream_arn.rsplit(":log-group:", maxsplit=1)[-1]
    account = log_stream_arn.split(":")[4]
    return ApiError(
        "ModelError",
        f"Received {side} error ({original_status}) from primary with message "
        f'"{original_message}". See {group} in account {account} for more information.',
        status=HTTPStatus.FAILED_DEPENDENCY,
        details={
            "ErrorCode": f"{side.upper()}_ERROR_FROM_MODEL",
            "LogStreamArn": log_stream_arn,
            "OriginalMessage": original_message,
            "OriginalStatusCode": original_status,
        },
    )


def access_denied() -> ApiError:
    """The error for a request from a web page, or addressed to another host name."""
    return ApiError(
        "AccessDeniedException",
        "The local service answers programs of this machine only, at 127.0.0.1 or localhost.",
        status=HTTPStatus.FORBIDDEN,
    )


def internal_failure() -> ApiError:
    """The error for a bug in the service itself, which has logged the traceback."""
    return ApiError(
        "InternalFailure",
        "The request processing has failed because of an unknown error. The service's log has "
        "the traceback.",
        status=HTTPStatus.INTERNAL_SERVER_ERROR,
    )
