"""Send DICOM files to an archive over DICOMweb (PS3.18)."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Any

from drdeploy.clinic.http_exchange import ServerAnswer, remove_path_from_url, send_http_request
from drdeploy.errors import ClinicError
from drdeploy.files import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

AUTHORIZATION_VARIABLE = "DRDEPLOY_ARCHIVE_AUTHORIZATION"
"""Environment variable with the value of the header ``Authorization`` for archives."""

_DUPLICATE = 0x0111
"""The failure reason by which an archive says that it has the object already (PS3.4, B.2.3)."""
_LARGEST_REASON = 0xFFFF
"""The largest failure reason, which is an unsigned number of 16 bits (PS3.3, C.14.1)."""
_REASONS_SHOWN = 5
_FAILED, _REASON = "00081198", "00081197"
_INCOMPLETE = 202
_OF_THE_OBJECT = frozenset({_INCOMPLETE, 400, 409, 413, 415})
"""Statuses with which an archive refuses an object, although it accepts the sender."""


def store_file(url: str, data: bytes) -> str:
    """Send a DICOM file to an archive (STOW-RS).

    Args:
        url: The base address of the archive's DICOMweb service.
        data: The file.

    Returns:
        A sentence that says why the archive refuses the file; empty if it accepts the file.

    Raises:
        ClinicError: The archive cannot be reached, or refuses this sender.
    """
    boundary = secrets.token_hex(16)
    answer = send_http_request(
        "POST",
        f"{url.rstrip('/')}/studies",
        server="archive",
        headers={
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Accept": "application/dicom+json",
            **make_authorization(),
        },
        body=b"".join(
            [
                f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode(),
                data,
                f"\r\n--{boundary}--\r\n".encode(),
            ]
        ),
    )
    failures = _list_failures(answer)
    reasons = {reason for one in failures if (reason := _read_failure_reason(one)) is not None}
    if reasons - {_DUPLICATE}:
        numbers = ", ".join(f"{one:04X}H" for one in sorted(reasons)[:_REASONS_SHOWN])
        return f"The archive refuses the file with failure reason {numbers}."
    # With 202, the archive says that it has not stored everything. Only this file was sent.
    is_stored = answer.is_success and not (answer.status == _INCOMPLETE and failures)
    if is_stored or reasons:
        return ""
    if answer.status in _OF_THE_OBJECT:
        return f"The archive refuses the file with status {answer.status}."
    raise make_error_of_refused_storage(url, answer)


def _list_failures(answer: ServerAnswer) -> list[Any]:
    """Return the objects that the archive did not store, according to its answer.

    The answer is untrusted. If the answer has no valid list, the result is empty.
    """
    try:
        failed = parse_json(answer.body)[_FAILED]["Value"]
    except (ValueError, KeyError, TypeError, IndexError):
        return []
    return failed if isinstance(failed, list) else []


def _read_failure_reason(failure: Any) -> int | None:
    """Return the code that says why an object was not stored; None if there is no valid code."""
    try:
        reason = int(failure[_REASON]["Value"][0])
    except (ValueError, KeyError, TypeError, IndexError, OverflowError):
        return None
    return reason if 0 <= reason <= _LARGEST_REASON else None


def make_authorization() -> Mapping[str, str]:
    """Return the header ``Authorization``, with the credentials that an environment variable holds.

    If the variable is not set, there is no header.

    Raises:
        ClinicError: The value has characters that no header may have.
    """
    value = os.environ.get(AUTHORIZATION_VARIABLE, "").strip()
    if not (value.isascii() and value.isprintable()):
        raise ClinicError(
            "The value of the header Authorization has characters that no header may have",
            where=AUTHORIZATION_VARIABLE,
            remedy="Set it to one line of ASCII, for example `Basic`, a space and the encoded "
            "credentials",
        )
    return {"Authorization": value} if value else {}


def make_error_of_refused_storage(url: str, answer: ServerAnswer) -> ClinicError:
    """Return the error to raise when an archive refuses this sender."""
    remedy = "Check the archive's log, and run the same command again"
    if answer.status in {401, 403}:
        remedy = (
            f"Set {AUTHORIZATION_VARIABLE} to the value of the header Authorization, for example "
            "`Basic …`"
        )
    return ClinicError(
        f"The archive answers with status {answer.status}",
        where=remove_path_from_url(url),
        remedy=remedy,
    )
