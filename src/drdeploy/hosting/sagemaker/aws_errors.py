"""What the control plane refuses, in words: what, where, remedy."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from drdeploy.errors import EndpointError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.exceptions import ClientError


class NoSuchResource(EndpointError):
    """The API says that there is nothing of that name."""


@contextmanager
def translated_errors(action: str, where: str) -> Iterator[None]:
    """Turn botocore's errors into ours.

    Args:
        action: Completes "Could not ...".
        where: The resource.

    Raises:
        NoSuchResource: There is nothing of that name.
        EndpointError: Everything else that boto3 raises.
    """
    from boto3.exceptions import S3UploadFailedError
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as err:
        raise _error_of(err, action, where) from err
    except (BotoCoreError, S3UploadFailedError) as err:
        raise EndpointError(
            f"Could not {action}: {err}",
            where=where,
            remedy="Check the endpoint URL, the credentials and the network",
        ) from err


def _error_of(error: ClientError, action: str, where: str) -> EndpointError:
    details = error.response.get("Error", {})
    code, message = details.get("Code", "Unknown"), details.get("Message", "")
    kind = NoSuchResource if _says_absent(code, message) else EndpointError
    return kind(f"Could not {action}: {code}: {message}", where=where, remedy=_remedy_for(code))


def _says_absent(code: str, message: str) -> bool:
    # SageMaker has no code of its own for "no such endpoint"; it says so in words.
    absent = ("could not find", "cannot find", "does not exist", "not found")
    is_about_names = code in {"ValidationException", "ValidationError", "ResourceNotFound"}
    return is_about_names and any(words in message.lower() for words in absent)


def _remedy_for(code: str) -> str:
    if "AccessDenied" in code or code in {"UnrecognizedClientException", "ExpiredToken"}:
        return "Allow that action to the credentials in use, or use others"
    if code == "ResourceLimitExceeded":
        return "Delete what is no longer used, or ask AWS for a higher quota"
    if "Throttling" in code:
        return "Wait a moment and try again"
    return ""
