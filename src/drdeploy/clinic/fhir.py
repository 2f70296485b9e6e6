"""Write the grades of a study as FHIR R4 resources (hl7.org/fhir/R4).

A bundle holds the patient, the imaging study, and the grader as a device. A bundle also holds an
observation for each photographed eye, and a diagnostic report. The status of the observations and
of the report is ``preliminary``, because no person has confirmed them. A bundle has codes only for
what the grader assesses. For example, it has no code for macular oedema, and no code for a decision
of an autonomous system.

Identifiers are derived from the study, the grader and the grader's answers. If a bundle is sent
twice, the server creates nothing twice. If the answers change, the server creates new resources.
"""

from __future__ import annotations

import re
import uuid
from datetime import date
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from drdeploy.clinic.dicom_results import ResultIdentifiers
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE
from drdeploy.version import VERSION

if TYPE_CHECKING:
    from datetime import datetime

    import pydicom

    from drdeploy.clinic.patients import GradedEye, GradedStudy
    from drdeploy.grader.artifacts import ModelArtifact

LOINC = "http://loinc.org"
CODES_OF_EYES = {"left": "71490-7", "right": "71491-5"}
"""LOINC's codes of the severity of diabetic retinopathy in each eye."""
ANSWERS = ("LA18643-9", "LA18644-7", "LA18645-4", "LA18646-2", "LA18648-8")
"""LOINC's answer codes for the grades 0 to 4."""

_NAMESPACE = uuid.UUID("b0a4f7d0-1c5e-5b7e-9d53-6f0f6f1f5a10")
_URI = "urn:ietf:rfc:3986"
_ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
_DICOM_CODES = "http://dicom.nema.org/resources/ontology/DCM"

FhirResource = dict[str, Any]


def make_bundle(study: GradedStudy, artifact: ModelArtifact, *, issued: datetime) -> FhirResource:
    """Return a bundle (a FHIR transaction) with the resources of a study.

    Args:
        study: The graded study.
        artifact: The grader.
        issued: When the report was made, with its time zone.
    """
    uid = str(study.dataset.StudyInstanceUID)
    # A server keeps the resource that it already has under an identifier. Different answers
    # therefore get different identifiers.
    answers = ResultIdentifiers.from_graded_study(study, artifact).fingerprint
    names = {
        name: f"urn:uuid:{uuid.uuid5(_NAMESPACE, f'{name} {of_what}')}"
        for name, of_what in (
            ("patient", study.patient_identity), ("study", uid), ("device", artifact.digest),
            *((name, answers) for name in ("left", "right", "report")),
        )
    }  # fmt: skip
    eyes = [eye for eye in study.eyes if eye.photographs]
    resources: dict[str, FhirResource] = {
        "patient": _make_patient(study.dataset),
        "device": _make_device(artifact),
        "study": _make_imaging_study(study, names["patient"]),
        **{eye.eye: _make_observation(eye, study, names) for eye in eyes},
        "report": _make_diagnostic_report(study, names, issued),
    }
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "timestamp": issued.isoformat(timespec="seconds"),
        "entry": [
            _make_bundle_entry(
                names[name], resource, own_identifier=name not in {"patient", "study"}
            )
            for name, resource in resources.items()
        ],
    }


def _make_bundle_entry(name: str, resource: FhirResource, *, own_identifier: bool) -> FhirResource:
    if own_identifier:
        resource["identifier"] = [{"system": _URI, "value": name}]
    identifier = resource["identifier"][0]
    # A patient's number may contain any character, so it is escaped for FHIR's search, and then for
    # a URL.
    value = re.sub(r"([\\$,|])", r"\\\1", identifier["value"])
    known_by = f"{quote(identifier.get('system', ''), safe=':/')}|{quote(value, safe=':/')}"
    kind = resource["resourceType"]
    return {
        "fullUrl": name,
        "resource": resource,
        "request": {"method": "POST", "url": kind, "ifNoneExist": f"identifier={known_by}"},
    }


def _make_patient(dataset: pydicom.Dataset) -> FhirResource:
    """Return the patient resource, with the patient's number but without the name.

    A record system that needs the name can look it up by the number.
    """
    number = str(dataset.get("PatientID") or "").strip()
    if not number:
        return {
            "resourceType": "Patient",
            "identifier": [{"system": _URI, "value": f"urn:oid:{dataset.StudyInstanceUID}"}],
        }
    identifier: FhirResource = {"value": number}
    issuer = str(dataset.get("IssuerOfPatientID") or "").strip()
    if issuer:
        # A server finds a patient by system and value. Without a system, it would take another
        # patient, to whom another issuer gave the same number, for this one.
        system = uuid.uuid5(_NAMESPACE, f"issuer of patient numbers {issuer}").urn
        identifier |= {"system": system, "assigner": {"display": issuer}}
    return {"resourceType": "Patient", "identifier": [identifier]}


def _make_device(artifact: ModelArtifact) -> FhirResource:
    return {
        "resourceType": "Device",
        "deviceName": [{"name": artifact.manifest.name, "type": "model-name"}],
        "version": [
            {"type": {"text": "drdeploy"}, "value": VERSION},
            {"type": {"text": "digest of the model"}, "value": f"sha256:{artifact.digest}"},
        ],
        "note": [{"text": RESEARCH_USE_NOTICE}],
    }


def _make_imaging_study(study: GradedStudy, patient: str) -> FhirResource:
    series: dict[str, FhirResource] = {}
    for photograph in (one for eye in study.eyes for one in eye.photographs):
        dataset = photograph.dataset
        uid = str(dataset.SeriesInstanceUID)
        one = series.setdefault(
            uid,
            {
                "uid": uid,
                "modality": {"system": _DICOM_CODES, "code": str(dataset.get("Modality") or "OP")},
                "instance": [],
            },
        )
        instance = {
            "uid": str(dataset.SOPInstanceUID),
            "sopClass": {"system": _URI, "code": f"urn:oid:{dataset.SOPClassUID}"},
        }
        if instance not in one["instance"]:
            one["instance"].append(instance)
    return {
        "resourceType": "ImagingStudy",
        "identifier": [
            {"system": "urn:dicom:uid", "value": f"urn:oid:{study.dataset.StudyInstanceUID}"}
        ],
        "status": "available",
        "subject": {"reference": patient},
        "series": list(series.values()),
    }


def _make_observation(eye: GradedEye, study: GradedStudy, names: dict[str, str]) -> FhirResource:
    observation: FhirResource = {
        "resourceType": "Observation",
        "status": "preliminary",
        "code": {
            "coding": [{"system": LOINC, "code": CODES_OF_EYES[eye.eye]}],
            "text": f"Diabetic retinopathy severity, {eye.eye} eye",
        },
        "subject": {"reference": names["patient"]},
        "device": {"reference": names["device"]},
        "derivedFrom": [{"reference": names["study"]}],
    }
    day = _read_date(study.dataset)
    if day:
        observation["effectiveDateTime"] = day
    worst = eye.worst_prediction
    if worst is None:
        observation["dataAbsentReason"] = {
            "coding": [{"system": _ABSENT, "code": "not-performed"}],
            "text": " ".join(["Ungradable.", *eye.ungradable_reasons]),
        }
    else:
        observation["valueCodeableConcept"] = {
            "coding": [{"system": LOINC, "code": ANSWERS[worst.index]}],
            "text": worst.label,
        }
    doubts = [] if worst is None else eye.reasons_to_look_again
    observation["note"] = [{"text": text} for text in (*doubts, RESEARCH_USE_NOTICE)]
    return observation


def _make_diagnostic_report(
    study: GradedStudy, names: dict[str, str], issued: datetime
) -> FhirResource:
    eyes = [eye for eye in study.eyes if eye.photographs]
    report: FhirResource = {
        "resourceType": "DiagnosticReport",
        "status": "preliminary",
        "code": {"text": "Diabetic retinopathy severity in fundus photographs"},
        "subject": {"reference": names["patient"]},
        "issued": issued.isoformat(timespec="seconds"),
        "imagingStudy": [{"reference": names["study"]}],
        "result": [{"reference": names[eye.eye]} for eye in eyes],
        "conclusion": f"Suggested: {study.outcome}. {RESEARCH_USE_NOTICE}",
    }
    day = _read_date(study.dataset)
    if day:
        report["effectiveDateTime"] = day
    return report


def _read_date(dataset: pydicom.Dataset) -> str:
    """Return the study's date as FHIR writes dates; empty if there is none.

    A server would refuse the whole bundle because of a date like 2026-00-00.
    """
    text = str(dataset.get("StudyDate") or "")
    if not (len(text) == 8 and text.isascii() and text.isdigit()):
        return ""
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:])).isoformat()
    except ValueError:
        return ""
