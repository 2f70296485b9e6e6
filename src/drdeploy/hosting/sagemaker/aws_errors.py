"""Turn errors of AWS's APIs into errors of this package."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from drdeploy.errors import EndpointError

if TYPE_CHECKING:
    from collections.abc import Iterator


class NoSuchResource(EndpointError):
    """The API has no resource with the given name."""


@contextmanager
def translate_aws_errors(action: str, where: str) -> Iterator[None]:
    """Turn the errors that boto3 raises in a ``with`` block into errors of this package.

    Args:
        action: What the block does, for example ``describe the endpoint``. The message then says
            "Could not describe the endpoint".
        where: The resource that the block reads or changes.

    Raises:
        NoSuchResource: The resource does not exist.
        EndpointError: boto3 raised any other error.
    """
    from boto3.exceptions import S3UploadFailedError
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except ClientError as err:
        details = err.response.get("Error", {})
        code, message = details.get("Code", "Unknown"), details.get("Message", "")
        # SageMaker has no code for "no such endpoint". It answers ValidationException, as for any
        # other bad request, and only the message tells the two apart.
        may_mean_absent = code in {"ValidationException", "ValidationError", "ResourceNotFound"}
        absent = ("could not find", "cannot find", "does not exist", "not found")
        is_absent = may_mean_absent and any(words in message.lower() for words in absent)
        kind = NoSuchResource if is_absent else EndpointError
        raise kind(
            f"Could not {action}: AWS answered {code} ({message})",
            where=where,
            remedy=_find_remedy_for_error_code(code),
        ) from err
    except (BotoCoreError, S3UploadFailedError, ResponseParserError) as err:
        raise EndpointError(
            f"Could not {action}: {err}",
            where=where,
            remedy="Check the endpoint URL, the credentials and the network",
        ) from err
    except (LookupError, ValueError) as err:
        # botocore raises such an error if it gets an HTML page instead of a document of AWS.
        reason = f"it lacks {err}" if isinstance(err, KeyError) else str(err)
        raise EndpointError(
            f"Could not {action}: the answer does not come from AWS ({reason})",
            where=where,
            remedy="Check the endpoint URL and the network",
        ) from err


def _find_remedy_for_error_code(code: str) -> str:
    if "AccessDenied" in code or code in {"UnrecognizedClientException", "ExpiredToken"}:
        return "Use other credentials, or allow the action in the policies of your user or role"
    if code == "ResourceLimitExceeded":
        return "Delete endpoints that you no longer use, or ask AWS for a higher quota"
    if "Throttling" in code:
        return "Wait a moment and try again"
    return ""
