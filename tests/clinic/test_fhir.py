"""What is written is FHIR R4, and claims nothing that was not assessed."""

import json
import os
from datetime import UTC, datetime

import numpy as np
import pytest
from dicom_files import PATIENT, make_dataset

if os.environ.get("CI") != "true":  # CI has it
    pytest.importorskip("pydicom", reason="needs the extra clinic")
    pytest.importorskip("fhirclient", reason="needs fhirclient")

from fhirclient.models.bundle import Bundle
from fhirclient.models.fhirabstractbase import FHIRValidationError

from drdeploy.clinic.fhir import make_bundle
from drdeploy.clinic.patients import GradedPhotograph, group_by_study
from drdeploy.clinic.referral_rules import ReferralRules
from drdeploy.grader.artifacts import open_artifact
from drdeploy.grader.box import box_artifact
from drdeploy.grader.grading import Prediction
from drdeploy.grader.grading.grade import ICDR_CLASSES

ISSUED = datetime(2026, 11, 28, 14, 0, tzinfo=UTC)
ANSWERS = ["LA18643-9", "LA18644-7", "LA18645-4", "LA18646-2", "LA18648-8"]


@pytest.fixture(scope="module")
def artifact():
    return open_artifact(box_artifact())


def bundle(artifact, grades, **fields):
    dataset = make_dataset(np.zeros((2, 2), np.uint8), StudyInstanceUID="1.2.3", **fields)
    photographs = []
    for eye, grade in grades.items():
        prediction = None
        if grade is not None:
            prediction = Prediction(np.eye(5, dtype=np.float32)[grade], ICDR_CLASSES)
        why = "" if prediction else "The photograph is too dark."
        photographs.append(GradedPhotograph(dataset, 1, eye, prediction, why))
    (study,) = group_by_study(photographs, ReferralRules.load(), artifact.manifest)
    return make_bundle(study, artifact, issued=ISSUED)


def resources(document, kind):
    found = (entry["resource"] for entry in document["entry"])
    return [one for one in found if one["resourceType"] == kind]


@pytest.mark.parametrize(
    ("grades", "fields"),
    [
        ({"left": 4, "right": 0}, {"StudyDate": "20261128", "IssuerOfPatientID": "North"}),
        ({"left": None, "right": 2}, {"StudyDate": "yesterday"}),
        ({"left": 1}, {"PatientID": ""}),
        ({"left": 1}, {"StudyDate": "20260231"}),
        ({"left": 1}, {"StudyDate": "00000000"}),
    ],
)
def test_a_bundle_is_valid_r4(grades, fields, artifact):
    document = bundle(artifact, grades, **fields)
    read = Bundle(document, strict=True)  # wrong names, types and counts raise
    # The library writes times in its own way: what it read is what it writes, but for these.
    assert [one["resource"]["resourceType"] for one in read.as_json()["entry"]] == [
        entry["resource"]["resourceType"] for entry in document["entry"]
    ]


def test_the_validator_refuses_what_is_not_r4(artifact):
    document = bundle(artifact, {"left": 1})
    del resources(document, "DiagnosticReport")[0]["status"]
    with pytest.raises(FHIRValidationError):
        Bundle(document, strict=True)


@pytest.mark.parametrize("grade", range(5))
def test_each_eye_has_an_observation_with_the_code_of_its_grade(grade, artifact):
    document = bundle(artifact, {"left": grade, "right": 0})
    found = {
        one["code"]["coding"][0]["code"]: one["valueCodeableConcept"]["coding"][0]["code"]
        for one in resources(document, "Observation")
    }
    assert found == {"71490-7": ANSWERS[grade], "71491-5": "LA18643-9"}


def test_an_ungradable_eye_has_no_grade_but_a_reason(artifact):
    (observation,) = resources(bundle(artifact, {"left": None}), "Observation")
    assert "valueCodeableConcept" not in observation
    assert observation["dataAbsentReason"]["text"] == "Ungradable. The photograph is too dark."


def test_an_eye_with_a_grade_and_an_ungradable_photograph_has_a_note(artifact):
    dataset = make_dataset(np.zeros((2, 2), np.uint8), StudyInstanceUID="1.2.3")
    sound = Prediction(np.eye(5, dtype=np.float32)[0], ICDR_CLASSES)
    photographs = [
        GradedPhotograph(dataset, 1, "left", sound),
        GradedPhotograph(dataset, 2, "left", None, "The photograph is too dark."),
    ]
    (study,) = group_by_study(photographs, ReferralRules.load(), artifact.manifest)
    (observation,) = resources(make_bundle(study, artifact, issued=ISSUED), "Observation")
    notes = [one["text"] for one in observation["note"]]
    assert notes == ["The photograph is too dark.", "For research use. Not a medical device."]


def test_everything_is_preliminary_and_for_research_use_and_names_the_model(artifact):
    document = bundle(artifact, {"left": 3, "right": 3})
    (report,) = resources(document, "DiagnosticReport")
    (device,) = resources(document, "Device")
    results = [report, *resources(document, "Observation")]
    assert {one["status"] for one in results} == {"preliminary"}
    assert "For research use. Not a medical device." in report["conclusion"]
    assert report["conclusion"].startswith("Suggested: urgent.")
    assert [one["value"] for one in device["version"]][1] == f"sha256:{artifact.digest}"
    text = json.dumps(document)
    assert "105914-6" not in text
    assert not any(part in text for part in PATIENT.split("^"))


def test_every_reference_leads_to_a_resource_of_the_bundle(artifact):
    document = bundle(artifact, {"left": 3, "right": None})
    known = {entry["fullUrl"] for entry in document["entry"]}
    text = json.dumps(document)
    referred = {part.split('"')[0] for part in text.split('"reference": "')[1:]}
    assert referred
    assert referred <= known


def test_a_server_does_not_take_one_number_of_two_issuers_for_one_patient(artifact):
    def find(**fields):
        document = bundle(artifact, {"left": 0}, PatientID="4711", **fields)
        return document["entry"][0]["request"]["ifNoneExist"]

    north, south, none = find(IssuerOfPatientID="North"), find(IssuerOfPatientID="South"), find()
    assert len({north, south, none}) == 3
    assert north == find(IssuerOfPatientID="North ")
    assert none == "identifier=|4711"


def test_the_same_study_twice_has_the_same_identifiers_and_other_answers_have_others(artifact):
    first, second, worse = (
        bundle(artifact, {"left": grade}, SOPInstanceUID="1.2.3.4") for grade in (1, 1, 4)
    )
    assert resources(first, "DiagnosticReport") != resources(worse, "DiagnosticReport")
    (report,) = resources(first, "DiagnosticReport")
    (later,) = resources(worse, "DiagnosticReport")
    assert report["identifier"] != later["identifier"]
    conditions = [entry["request"]["ifNoneExist"] for entry in first["entry"]]
    assert conditions == [entry["request"]["ifNoneExist"] for entry in second["entry"]]
    assert len({*conditions}) == len(conditions)
