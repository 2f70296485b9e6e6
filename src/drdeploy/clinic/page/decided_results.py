"""After a person has decided about a study, make new results for the servers that got the old ones.

An archive gets a new PDF, and a FHIR server a new bundle. They state the decision, or that the
decision was undone. The structured report does not change, because it says only what the grader
found.
"""

from __future__ import annotations

import io
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pydicom

from drdeploy.clinic.dicom_results import encode_result, write_dates_of_result
from drdeploy.clinic.page.exports import make_fhir_bundle_with_decision, make_pdf_page_of_study
from drdeploy.files import encode_json_document, parse_json

if TYPE_CHECKING:
    from drdeploy.clinic.records.worklist import ListedStudy

_NAMESPACE = uuid.UUID("9be60b1c-7d0a-5c50-93b6-5a4f6e0b1c52")
_TITLE = "Severity of diabetic retinopathy, with a person's decision"


def decide_result(kind: str, content: bytes, study: ListedStudy, changed_s: float) -> bytes:
    """Make a new PDF or bundle that states a person's decision about a study.

    Args:
        kind: ``page`` or ``bundle``.
        content: The PDF or bundle that was made when the study was graded.
        study: The study. It has no decision if the decision was undone.
        changed_s: When the decision was made or undone, in seconds since 1970.
    """
    changed = datetime.fromtimestamp(changed_s, UTC)
    if kind == "page":
        return _decide_page(content, study, changed)
    return _decide_bundle(content, study, changed)


def _decide_page(content: bytes, study: ListedStudy, changed: datetime) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(content))
    page = make_pdf_page_of_study(study, "en")
    # An archive keeps the object that it already has under an identifier, so the new PDF needs a
    # new identifier.
    name = uuid.uuid5(_NAMESPACE, f"{dataset.SOPInstanceUID} {changed.timestamp()!r}")
    dataset.SOPInstanceUID = f"2.25.{name.int}"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.DocumentTitle = _TITLE
    dataset.EncapsulatedDocumentLength = len(page)
    dataset.EncapsulatedDocument = page + bytes(len(page) % 2)
    series = (dataset.SeriesDate, dataset.SeriesTime)
    write_dates_of_result(dataset, changed)
    dataset.SeriesDate, dataset.SeriesTime = series  # the first PDF is in this series, too
    return encode_result(dataset)


def _decide_bundle(content: bytes, study: ListedStudy, changed: datetime) -> bytes:
    document = parse_json(make_fhir_bundle_with_decision(content, study))
    issued = changed.isoformat(timespec="seconds")
    document["timestamp"] = issued
    for entry in document["entry"]:
        resource = entry["resource"]
        if resource["resourceType"] == "DiagnosticReport":
            resource["issued"] = issued
            if study.decision is None:
                resource["conclusion"] += " Nobody has decided: an earlier decision was undone."
            earlier = entry["fullUrl"]
            name = uuid.uuid5(_NAMESPACE, f"{earlier} {changed.timestamp()!r}").urn
            entry["fullUrl"] = name
            resource["identifier"][0]["value"] = name
            known_by = entry["request"]["ifNoneExist"]
            entry["request"]["ifNoneExist"] = known_by.replace(earlier, name)
    return encode_json_document(document).encode()
