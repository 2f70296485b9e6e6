"""Errors of AWS's APIs turned into this project's: what happened, where, what to do."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from drdeploy.errors import EndpointError

if TYPE_CHECKING:
    from collections.abc import Iterator


class NoSuchResource(EndpointError):
    """The API knows no resource of that name."""


@contextmanager
def translated_errors(action: str, where: str) -> Iterator[None]:
    """Turn the errors that boto3 raises in this block into ours.

    Args:
        action: What the block does, to complete "Could not ...".
        where: The resource that it does it to.

    Raises:
        NoSuchResource: There is no resource of that name.
        EndpointError: boto3 raised anything else.
    """
    from boto3.exceptions import S3UploadFailedError
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as err:
        details = err.response.get("Error", {})
        code, message = details.get("Code", "Unknown"), details.get("Message", "")
        # SageMaker has no code for "no such endpoint": it answers ValidationException, as for any
        # other bad request, and only the message says which it is.
        may_mean_absent = code in {"ValidationException", "ValidationError", "ResourceNotFound"}
        absent = ("could not find", "cannot find", "does not exist", "not found")
        is_absent = may_mean_absent and any(words in message.lower() for words in absent)
        kind = NoSuchResource if is_absent else EndpointError
        raise kind(
            f"Could not {action}: {code}: {message}", where=where, remedy=_remedy_for(code)
        ) from err
    except (BotoCoreError, S3UploadFailedError) as err:
        raise EndpointError(
            f"Could not {action}: {err}",
            where=where,
            remedy="Check the endpoint URL, the credentials and the network",
        ) from err


def _remedy_for(code: str) -> str:
    if "AccessDenied" in code or code in {"UnrecognizedClientException", "ExpiredToken"}:
        return "Grant that permission to the credentials in use, or use others"
    if code == "ResourceLimitExceeded":
        return "Delete what you no longer use, or ask AWS for a higher quota"
    if "Throttling" in code:
        return "Wait a moment and try again"
    return ""
