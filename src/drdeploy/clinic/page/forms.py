"""Read the photographs, reasons and grades that a browser sends, and check all of them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from drdeploy.clinic.patients import EYES
from drdeploy.errors import InvalidInput, turn_import_error_into_missing_extra
from drdeploy.grader.fundus.limits import LOCAL_FILE_LIMITS
from drdeploy.grader.grading.grade import ICDR_CLASSES
from drdeploy.units import KIB

with turn_import_error_into_missing_extra("clinic", "The worklist page"):
    from starlette.datastructures import UploadFile
    from starlette.exceptions import HTTPException
    from starlette.formparsers import MultiPartException, MultiPartParser

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.requests import Request

    from drdeploy.clinic.records.worklist import ListedStudy

UPLOAD_BYTES_MAX = LOCAL_FILE_LIMITS.max_bytes + 64 * KIB
"""Largest size of an upload: the photograph, and the rest of its form."""
REASON_CHARACTERS_MAX = 1000


class _MemoryParser(MultiPartParser):
    """Keeps an uploaded photograph in memory, so that it never gets into a temporary file."""

    spool_max_size = UPLOAD_BYTES_MAX


async def read_photograph_upload(request: Request) -> tuple[bytes, dict[str, str]]:
    """Read the form of an upload: one file, and the fields of the form, such as patient and eye.

    Raises:
        HTTPException: The body is not a form, is too large, or names its file by a path.
    """
    received = 0

    async def receive_body_within_limit() -> AsyncGenerator[bytes, None]:
        nonlocal received
        async for chunk in request.stream():
            received += len(chunk)
            if received > UPLOAD_BYTES_MAX:
                raise HTTPException(413, "The photograph is too large.")
            yield chunk

    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise HTTPException(415, "A photograph must be sent in a form (multipart/form-data).")
    try:
        parser = _MemoryParser(
            request.headers, receive_body_within_limit(), max_files=1, max_fields=4
        )
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError, UnicodeDecodeError):
        raise HTTPException(400, "The form is damaged.") from None
    file = form.get("photograph")
    fields = {name: value for name, value in form.items() if isinstance(value, str)}
    if not isinstance(file, UploadFile):
        raise HTTPException(400, "The form has no photograph.")
    name = file.filename or ""
    # The name is never used. No browser sends a name with a path.
    if any(mark in name for mark in "/\\\0") or name in {".", ".."}:
        raise HTTPException(400, "The file's name has a path in it.")
    content = await file.read()
    with suppress(OSError):
        await form.close()
    return content, fields


def read_study_number_from_path(request: Request) -> int:
    """Return the study's number from the URL of a request.

    Raises:
        HTTPException: The number is too large for the database, so no study can have it.
    """
    number: int = request.path_params["study"]
    if number >= 2**31:
        raise HTTPException(404)
    return number


def read_reason_of_decision(fields: dict[str, str]) -> str:
    """Return the reason for a decision.

    Raises:
        InvalidInput: The reason is too long, or has characters that cannot be stored.
    """
    # A browser counts a line break as one character, but sends two.
    reason = fields.get("reason", "").replace("\r\n", "\n").strip()
    if len(reason) > REASON_CHARACTERS_MAX:
        raise InvalidInput(
            f"A reason has at most {REASON_CHARACTERS_MAX} characters", where="reason"
        )
    if not reason.replace("\n", "").replace("\t", "").isprintable():
        raise InvalidInput("The reason has characters that cannot be shown", where="reason")
    return reason


def read_grades(fields: dict[str, str], study: ListedStudy) -> dict[str, int | None]:
    """Return the grades that a person gave to eyes; a grade of None means ungradable.

    Raises:
        HTTPException: A value is not a grade, or belongs to an eye without photographs.
    """
    grades: dict[str, int | None] = {}
    for eye in EYES:
        text = fields.get(f"grade-{eye}", "")
        if not text:
            continue
        if not study.eyes.get(eye, {}).get("photographs"):
            raise HTTPException(400)
        if text == "ungradable":
            grades[eye] = None
        elif text in {str(grade) for grade in range(len(ICDR_CLASSES))}:
            grades[eye] = int(text)
        else:
            raise HTTPException(400)
    return grades
