"""What the API refuses, as AWS codes and words it.

Which code: a request that could never be granted is a ``ValidationError``; one that the present
state forbids (no such endpoint, name taken, update under way) is a ``ValidationException``,
the code that botocore's waiters and Terraform look for.  The runtime's codes and statuses are
those of botocore's ``sagemaker-runtime`` model.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

REASON_LENGTH_MAX = 1024
"""Longest ``FailureReason`` that botocore's model allows."""


class ApiError(Exception):
    """An answer other than success.

    Attributes:
        code: For example ``ValidationException``.
        message: As the client sees it.
        status: HTTP status.
        details: Further members of the error's shape.
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
    """The request asks for what there cannot be."""
    return ApiError("ValidationError", message)


def forbidden_now(message: str) -> ApiError:
    """The state of things does not allow the request."""
    return ApiError("ValidationException", message)


def not_found(kind: str, arn: str) -> ApiError:
    """Nothing of that name."""
    return forbidden_now(f'Could not find {kind} "{arn}".')


def already_exists(kind: str, arn: str) -> ApiError:
    """The name is taken."""
    return forbidden_now(f'Cannot create already existing {kind} "{arn}".')


def limit_exceeded(limit: str, maximum: int, used: int, delta: int) -> ApiError:
    """A quota of the account."""
    return ApiError(
        "ResourceLimitExceeded",
        f"The account-level service limit '{limit}' is {maximum}, with current utilization of "
        f"{used} and a request delta of {delta}. Please use AWS Service Quotas to request an "
        "increase for this quota.",
    )


def no_such_endpoint(name: str, account: str) -> ApiError:
    """``InvokeEndpoint`` of what is not there, or not in service yet."""
    return invalid(f"Endpoint {name} of account {account} not found.")


def payload_too_large(length_bytes: int, limit_bytes: int) -> ApiError:
    """The body of an invocation is over the limit."""
    return ApiError(
        "ValidationError",
        f"1 validation error detected: Value at 'body' failed to satisfy constraint: Member must "
        f"have length less than or equal to {limit_bytes}. Request is larger than {limit_bytes} "
        f"bytes: {length_bytes}",
        status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    )


def throttled(endpoint: str, variant: str, max_concurrency: int) -> ApiError:
    """All of ``MaxConcurrency`` is in use."""
    return ApiError(
        "ThrottlingException",
        f"Rate exceeded: variant {variant} of endpoint {endpoint} already processes its "
        f"MaxConcurrency of {max_concurrency} invocations.",
        status=HTTPStatus.TOO_MANY_REQUESTS,
    )


def not_ready(endpoint: str, variant: str) -> ApiError:
    """The resources are still being provisioned."""
    return ApiError(
        "ModelNotReadyException",
        f"Variant {variant} of endpoint {endpoint} is still being provisioned. Wait and try your "
        "request again.",
        status=HTTPStatus.TOO_MANY_REQUESTS,
    )


def model_error(
    original_status: int, original_message: str, *, log_stream_arn: str, message: str = ""
) -> ApiError:
    """The container refused, failed or did not answer (then ``original_status`` is 0)."""
    side = "client" if 400 <= original_status < 500 else "server"
    group = log_stream_arn.rsplit(":log-group:", maxsplit=1)[-1]
    account = log_stream_arn.split(":")[4]
    received = (
        f"Received {side} error ({original_status}) from primary with message "
        f'"{original_message}". See {group} in account {account} for more information.'
    )
    return ApiError(
        "ModelError",
        message or received,
        status=HTTPStatus.FAILED_DEPENDENCY,
        details={
            "ErrorCode": f"{side.upper()}_ERROR_FROM_MODEL",
            "LogStreamArn": log_stream_arn,
            "OriginalMessage": original_message,
            "OriginalStatusCode": original_status,
        },
    )


def dependency_failed(message: str) -> ApiError:
    """What the service itself leans on (container engine, control groups) failed."""
    return ApiError("InternalDependencyException", message, status=530)


def unavailable(message: str) -> ApiError:
    """The service is going down, or nothing can take the request."""
    return ApiError("ServiceUnavailable", message, status=HTTPStatus.SERVICE_UNAVAILABLE)


def access_denied() -> ApiError:
    """A request from a web page, or by a name that is not this machine's."""
    return ApiError(
        "AccessDeniedException",
        "The local service answers programs of this machine only, at 127.0.0.1 or localhost.",
        status=HTTPStatus.FORBIDDEN,
    )


def internal_failure() -> ApiError:
    """A mistake of this service; the traceback is in its log."""
    return ApiError(
        "InternalFailure",
        "The request processing has failed because of an unknown error. The service's log tells "
        "more.",
        status=HTTPStatus.INTERNAL_SERVER_ERROR,
    )
