"""Find photographs in an archive (QIDO-RS) and fetch them (WADO-RS)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from drdeploy.clinic.dicomweb_storage import make_authorization, make_error_of_refused_storage
from drdeploy.clinic.http_exchange import (
    UnusableAnswer,
    remove_path_from_url,
    send_http_request,
)
from drdeploy.errors import ClinicError, InvalidInput, RequestRefused
from drdeploy.files import parse_json, sha256_of_bytes
from drdeploy.grader.dicom.opening import read_patient_number
from drdeploy.grader.fundus.formats.foreign import is_dicom
from drdeploy.grader.fundus.limits import LOCAL_FILE_LIMITS
from drdeploy.units import KIB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date
    from pathlib import Path

ENTRIES_PER_PAGE = 100
ENTRIES_MAX = 100_000
"""The largest number of entries that are read from an archive's list. A camera makes a few thousand
series in a year, but the list of a broken archive may never end."""
_STUDY, _SERIES, _INSTANCE = "0020000D", "0020000E", "00080018"
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_PATIENT_CHARACTERS_MAX = 64
_ENVELOPE_BYTES = 64 * KIB
"""The largest number of bytes that an answer may have besides the file: headers and separators of
its parts.
"""


@dataclass(frozen=True)
class PhotographQuery:
    """The search for photographs.

    Attributes:
        first: The earliest date of a study; None for no earliest date.
        last: The latest date of a study; None for no latest date.
        station: The name of the camera (Station Name); empty for all cameras.
        patient: The patient's number (Patient ID); empty for all patients.
        modality: The modality of the series.
    """

    first: date | None = None
    last: date | None = None
    station: str = ""
    patient: str = field(default="", repr=False)
    modality: str = "OP"

    def make_parameters(self) -> dict[str, str]:
        """Return the parameters of the query's URL (PS3.18, 8.3.4)."""
        parameters = {"Modality": self.modality}
        if self.first is not None or self.last is not None:
            ends = ("" if day is None else f"{day:%Y%m%d}" for day in (self.first, self.last))
            parameters["StudyDate"] = "-".join(ends)
        if self.station:
            parameters["StationName"] = self.station
        if self.patient:
            parameters["PatientID"] = self.patient
        return parameters


@dataclass(frozen=True)
class ArchivedFile:
    """A file in an archive.

    Attributes:
        study: The Study Instance UID.
        series: The Series Instance UID.
        instance: The SOP Instance UID.
        patient: The patient's number in the query; empty if the query was for all patients.
    """

    study: str
    series: str
    instance: str
    patient: str = field(default="", repr=False)

    @property
    def file_name(self) -> str:
        """Name of the file on this machine, without an identifier of the patient."""
        return f"{sha256_of_bytes(self.instance.encode())[:32]}.dcm"


def read_patients(file: Path) -> list[str]:
    """Read the patients' numbers from a file with one number per line; repeated numbers count once.

    Raises:
        InvalidInput: The file cannot be read, is empty, or has a line that is not the number of a
            patient.
    """
    try:
        lines = [line.strip() for line in file.read_text("utf-8-sig").splitlines()]
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise InvalidInput(
            f"The list of patients cannot be read: {reason}",
            where=str(file),
            remedy="Give a text file in UTF-8 with one patient's number in each line",
        ) from error
    for number, line in enumerate(lines, 1):
        # To an archive, * and ? stand for any characters, so it would list other patients too. A
        # number in quotation marks was copied from a table, and matches no patient.
        if len(line) > _PATIENT_CHARACTERS_MAX or not line.isprintable() or {*line} & {*'*?\\"'}:
            raise InvalidInput(
                f"Line {number} is not a patient's number",
                where=str(file),
                remedy=f"Write one number in each line, with at most {_PATIENT_CHARACTERS_MAX} "
                'printable characters, and no *, ?, " or backslash',
            )
    patients = list(dict.fromkeys(filter(None, lines)))
    if not patients:
        raise InvalidInput(
            "The list of patients is empty",
            where=str(file),
            remedy="Write one patient's number in each line, or omit --worklist",
        )
    return patients


def list_archived_files(url: str, query: PhotographQuery) -> Iterator[ArchivedFile]:
    """Ask an archive for the files of all series that match a query.

    Raises:
        ClinicError: The archive cannot be reached, or its answer cannot be used.
    """
    base = url.rstrip("/")
    for series in _list_search_results_of_archive(
        f"{base}/series", query.make_parameters(), _SERIES
    ):
        parents = (
            _read_and_check_uid(base, series, _STUDY),
            _read_and_check_uid(base, series, _SERIES),
        )
        path = f"{base}/studies/{parents[0]}/series/{parents[1]}/instances"
        for instance in _list_search_results_of_archive(path, {}, _INSTANCE):
            found = _read_and_check_uid(base, instance, _INSTANCE)
            yield ArchivedFile(*parents, found, query.patient)


def fetch_archived_file(url: str, file: ArchivedFile) -> bytes | str:
    """Fetch a file as the archive keeps it, without changing its transfer syntax.

    Returns:
        The file, or a sentence that says why there is none.

    Raises:
        ClinicError: The archive cannot be reached, or refuses this sender.
    """
    try:
        answer = send_http_request(
            "GET",
            f"{url.rstrip('/')}/studies/{file.study}/series/{file.series}/instances/{file.instance}",
            server="archive",
            headers={
                "Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*',
                **make_authorization(),
            },
            max_answer_bytes=LOCAL_FILE_LIMITS.max_bytes + _ENVELOPE_BYTES,
        )
    except UnusableAnswer as error:  # the other files may arrive
        return error.sentence
    if answer.status in {401, 403}:
        raise make_error_of_refused_storage(url, answer)
    if not answer.is_success:
        return f"The archive answers with status {answer.status}."
    data = _extract_only_part_of_multipart(answer.content_type, answer.body)
    if not is_dicom(data):
        return "The archive answers with something other than a DICOM file."
    return find_wrong_patient(file, data) or data


def find_wrong_patient(file: ArchivedFile, data: bytes) -> str:
    """Return a sentence if a file is not of the patient who was asked for; otherwise "".

    An archive may ignore the Patient ID of a query, and list the files of every patient.
    """
    if not file.patient:
        return ""
    try:
        is_right = read_patient_number(data, LOCAL_FILE_LIMITS) == file.patient
    except RequestRefused as error:
        return error.sentence
    return "" if is_right else "The file belongs to another patient."


def _extract_only_part_of_multipart(content_type: str, body: bytes) -> bytes:
    """Return the content of a multipart answer with exactly one part (RFC 2046, 5.1).

    If the answer has no part, or more than one, the result is empty.
    """
    named = re.search(r'boundary="?([^";]+)', content_type)
    if named is None:
        return b""
    mark = b"--" + named[1].strip().encode()
    head = body.find(b"\r\n\r\n", body.find(mark))
    end = body.rfind(b"\r\n" + mark)
    # is_dicom() would not notice a second part, which could be another file or a piece of one.
    is_single = body.count(b"\r\n" + mark, head) == 1 if head >= 0 else False
    return body[head + 4 : end] if is_single else b""


def _list_search_results_of_archive(
    url: str, parameters: dict[str, str], tag: str
) -> Iterator[dict[str, Any]]:
    """Yield the entries of all result pages, each entry once."""
    known: set[str] = set()
    while True:
        page = {"limit": str(ENTRIES_PER_PAGE), "offset": str(len(known))}
        # A space is sent as %20, because + means a space only in HTML forms (RFC 3986, 2.1).
        asked = urlencode(parameters | page, quote_via=quote)
        entries = _search_archive_once(f"{url}?{asked}", url)
        fresh = {_read_and_check_uid(url, entry, tag): entry for entry in entries}
        fresh = {
            identifier: entry for identifier, entry in fresh.items() if identifier not in known
        }
        known |= fresh.keys()
        if len(known) > ENTRIES_MAX:
            raise ClinicError(
                f"The archive lists more than {ENTRIES_MAX:,} entries",
                where=remove_path_from_url(url),
                remedy="Ask for fewer days, with --since and --until, or for one --station",
            )
        yield from fresh.values()
        if not fresh:  # a short page may not be the last: an archive may limit pages
            return


def _search_archive_once(address: str, url: str) -> list[Any]:
    answer = send_http_request(
        "GET",
        address,
        server="archive",
        headers={"Accept": "application/dicom+json", **make_authorization()},
    )
    if answer.status == 204:
        return []
    if not answer.is_success:
        raise make_error_of_refused_storage(url, answer)
    try:
        entries = parse_json(answer.body)
    except ValueError:
        entries = None
    if not isinstance(entries, list):
        raise _explain_unusable_answer_of_archive(url)
    return entries


def _read_and_check_uid(url: str, entry: Any, tag: str) -> str:
    """Return a DICOM identifier (UID) from an entry of the archive's list, after checking it.

    The check is needed because the identifier becomes part of an address.
    """
    try:
        value = entry[tag]["Value"][0]
    except (KeyError, TypeError, IndexError) as err:
        raise _explain_unusable_answer_of_archive(url) from err
    if not isinstance(value, str) or len(value) > 64 or not _UID.fullmatch(value):
        raise _explain_unusable_answer_of_archive(url)
    return value


def _explain_unusable_answer_of_archive(url: str) -> ClinicError:
    return ClinicError(
        "The archive's list of photographs cannot be used",
        where=remove_path_from_url(url),
        remedy="Check that the address belongs to a DICOMweb service",
    )
