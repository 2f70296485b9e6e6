"""Make the errors of the API, with AWS's codes and messages.

The control plane (``CreateEndpoint`` and the like) refuses a request with the code
``ValidationException``, which the waiters of botocore and Terraform expect. The runtime
(``InvokeEndpoint`` and the like) uses the code ``ValidationError``. Errors of ``InvokeEndpoint``
have the codes and statuses of botocore's ``sagemaker-runtime`` service model, except in two cases.
A throttled request gets ``ThrottlingException``, which this service model lacks, and a request with
too long a body gets the status 413.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

FAILURE_REASON_LENGTH_MAX = 1024
"""The largest number of characters of ``FailureReason`` that botocore's service model allows."""

CONTROL_PLANE_REFUSAL = "ValidationException"
RUNTIME_REFUSAL = "ValidationError"


class ApiError(Exception):
    """An error of the API, which the client receives.

    Attributes:
        code: The code of the error, for example ``ValidationException``.
        message: The message for the client.
        status: The HTTP status.
        details: Further members of the error response, by name.
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


def make_validation_error(message: str) -> ApiError:
    """Return the error with which the control plane refuses a request (``ValidationException``)."""
    return ApiError(CONTROL_PLANE_REFUSAL, message)


def convert_error_code_for_runtime(err: ApiError) -> ApiError:
    """Turn an error of the control plane into the runtime's error for the same problem."""
    code = RUNTIME_REFUSAL if err.code == CONTROL_PLANE_REFUSAL else err.code
    return ApiError(code, err.message, status=err.status, details=err.details)


def make_not_served_error(what: str) -> ApiError:
    """Return the error for a feature that SageMaker offers and the local service does not."""
    return make_validation_error(f"The local service does not serve {what}.")


def make_limit_exceeded_error(*, limit: str, maximum: int, used: int, delta: int) -> ApiError:
    """Return the error for a request that would exceed a quota."""
    return ApiError(
        "ResourceLimitExceeded",
        f"The account-level service limit '{limit}' is {maximum}, with current utilization of "
        f"{used} and a request delta of {delta}. Please use AWS Service Quotas to request an "
        "increase for this quota.",
    )


def make_unknown_operation_error(operation: str) -> ApiError:
    """Return the error for an operation that the local service does not offer."""
    return ApiError("UnknownOperationException", f"The local service does not serve {operation}.")


def make_malformed_error(message: str) -> ApiError:
    """Return the error for a body that is not a valid request for the operation."""
    return ApiError("SerializationException", message)


def make_payload_too_large_error(length_bytes: int, limit_bytes: int) -> ApiError:
    """Return the error for an invocation whose body exceeds the payload limit."""
    return ApiError(
        RUNTIME_REFUSAL,
        f"1 validation error detected: Value at 'body' failed to satisfy constraint: Member must "
        f"have length less than or equal to {limit_bytes}. Request is larger than {limit_bytes} "
        f"bytes: {length_bytes}",
        status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    )


def make_request_too_large_error(length_bytes: int, limit_bytes: int) -> ApiError:
    """Return the error for a request other than an invocation, if its body is too long."""
    return ApiError(
        "RequestEntityTooLargeException",
        f"The request has {length_bytes} bytes, and at most {limit_bytes} are allowed.",
        status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    )


def make_throttled_error(endpoint: str, variant: str, max_concurrency: int) -> ApiError:
    """Return the error for an invocation while ``MaxConcurrency`` others are in progress."""
    return ApiError(
        "ThrottlingException",
        f"Rate exceeded: variant {variant} of endpoint {endpoint} already processes its "
        f"MaxConcurrency of {max_concurrency} invocations.",
        status=HTTPStatus.TOO_MANY_REQUESTS,
    )


def make_not_ready_error(endpoint: str, variant: str) -> ApiError:
    """Return the error for an invocation for which no instance became ready in time."""
    return ApiError(
        "ModelNotReadyException",
        f"Variant {variant} of endpoint {endpoint} is still being provisioned. Wait and try your "
        "request again.",
        status=HTTPStatus.TOO_MANY_REQUESTS,
    )


def make_model_error(
    original_status: int, original_message: str, *, log_group_arn: str
) -> ApiError:
    """Return the error for a request that the model refuses, fails to process or does not answer.

    If the model did not answer, ``original_status`` is 0. As on AWS, the error's ``LogStreamArn``
    is the ARN of a log group.
    """
    side = "client" if 400 <= original_status < 500 else "server"
    group = log_group_arn.rsplit(":log-group:", maxsplit=1)[-1]
    account = log_group_arn.split(":")[4]
    return ApiError(
        "ModelError",
        f"Received {side} error ({original_status}) from primary with message "
        f'"{original_message}". See {group} in account {account} for more information.',
        status=HTTPStatus.FAILED_DEPENDENCY,
        details={
            "ErrorCode": f"{side.upper()}_ERROR_FROM_MODEL",
            "LogStreamArn": log_group_arn,
            "OriginalMessage": original_message,
            "OriginalStatusCode": original_status,
        },
    )


def make_access_denied_error() -> ApiError:
    """Return the error for a request that comes from a web page or has a wrong Host header."""
    return ApiError(
        "AccessDeniedException",
        "The local service answers programs on this machine only, at 127.0.0.1 or localhost.",
        status=HTTPStatus.FORBIDDEN,
    )


def make_internal_failure_error() -> ApiError:
    """Return the error for a bug in the service; the log has the traceback of the bug."""
    return ApiError(
        "InternalFailure",
        "The request processing has failed because of an unknown error. The service's log has "
        "the traceback.",
        status=HTTPStatus.INTERNAL_SERVER_ERROR,
    )
