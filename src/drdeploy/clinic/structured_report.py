"""Write the grades of a study as a DICOM structured report.

The report is a Comprehensive 3D SR that follows template TID 1500 (PS3.16), with a group of
measurements for each photographed eye. The report is marked as preliminary and as not verified.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from drdeploy.clinic.dicom_results import (
    CODING_SCHEME,
    MANUFACTURER,
    ResultIdentifiers,
    copy_patient_and_study_attributes,
    describe_grader_as_device,
    write_dates_of_result,
)
from drdeploy.clinic.fhir import ANSWERS, CODES_OF_EYES
from drdeploy.errors import turn_import_error_into_missing_extra
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE, Grade
from drdeploy.version import VERSION

with turn_import_error_into_missing_extra("clinic", "A structured report"):
    import pydicom
    from highdicom import sr
    from pydicom.sr.codedict import codes

if TYPE_CHECKING:
    from datetime import datetime

    from drdeploy.clinic.patients import GradedEye, GradedPhotograph, GradedStudy
    from drdeploy.grader.artifacts import ModelArtifact

SERIES_NUMBER = 9001
_SIDES = {"left": codes.SCT.Left, "right": codes.SCT.Right}
_CONTAINS = sr.RelationshipTypeValues.CONTAINS


def make_structured_report(
    study: GradedStudy, artifact: ModelArtifact, *, issued: datetime
) -> pydicom.Dataset:
    """Return the report of a study.

    Args:
        study: The graded study.
        artifact: The grader.
        issued: The time at which the report was made, with the time zone.

    Raises:
        UnreadableImage: The photographs' data elements are damaged.
    """
    identifiers = ResultIdentifiers.from_graded_study(study, artifact)
    device = describe_grader_as_device(artifact)
    report = sr.Comprehensive3DSR(
        evidence=[_make_photograph_reference(one) for eye in study.eyes for one in eye.photographs],
        content=_make_report_content(study, artifact, identifiers)[0],
        series_instance_uid=identifiers.make_uid("series of the structured report"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=identifiers.make_uid("structured report"),
        instance_number=1,
        manufacturer=device["Manufacturer"],
        manufacturer_model_name=device["ManufacturerModelName"],
        device_serial_number=device["DeviceSerialNumber"],
        software_versions=device["SoftwareVersions"],
        series_description="Severity of diabetic retinopathy, preliminary, for research use",
        is_complete=True,
        is_final=False,
        is_verified=False,
    )
    copy_patient_and_study_attributes(study.dataset, report)
    write_dates_of_result(report, issued)
    return report


def _make_photograph_reference(photograph: GradedPhotograph) -> pydicom.Dataset:
    """Return the DICOM identifiers of a photograph, so that the report can refer to it.

    The patient's name and other data are left empty, because the package highdicom may write them
    to the log.
    """
    reference = pydicom.Dataset()
    for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        setattr(reference, keyword, str(photograph.dataset[keyword].value))
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex"):
        setattr(reference, keyword, "")
    for keyword in ("AccessionNumber", "StudyID", "StudyDate", "StudyTime"):
        setattr(reference, keyword, "")
    return reference


def _make_report_content(
    study: GradedStudy, artifact: ModelArtifact, identifiers: ResultIdentifiers
) -> sr.MeasurementReport:
    observer = sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=f"2.25.{int(artifact.digest[:32], 16)}",
            name=artifact.manifest.name,
            manufacturer_name=MANUFACTURER,
            serial_number=artifact.digest,
        ),
    )
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=_make_drdeploy_code("FUNDUS-PHOTOGRAPHY", "Fundus photography"),
        imaging_measurements=[
            _make_answer_of_eye(eye, artifact, identifiers) for eye in study.eyes if eye.photographs
        ],
        language_of_content_item_and_descendants=sr.LanguageOfContentItemAndDescendants(
            language=sr.CodedConcept("en", "RFC5646", "English")
        ),
    )
    content[0].ContentSequence.append(_make_conclusion(study))
    return content


def _make_conclusion(study: GradedStudy) -> sr.ContainerContentItem:
    """Return the report's statements on the whole study (TID 1500, Qualitative Evaluations)."""
    conclusion = sr.ContainerContentItem(
        name=sr.CodedConcept("C0034375", "UMLS", "Qualitative Evaluations"),
        relationship_type=_CONTAINS,
    )
    conclusion.ContentSequence = sr.ContentSequence(
        [
            _make_text_item(_make_drdeploy_code("OUTCOME", "Suggested outcome"), study.outcome),
            *(
                _make_text_item(
                    _make_drdeploy_code("MARK", "Reason to look again"),
                    f"{eye.eye} eye: {text}",
                )
                for eye in study.eyes
                for text in eye.reasons_to_look_again
            ),
            _make_text_item(codes.DCM.Comment, RESEARCH_USE_NOTICE),
        ]
    )
    return conclusion


def _make_text_item(name: sr.CodedConcept, text: str) -> sr.TextContentItem:
    return sr.TextContentItem(name=name, value=text, relationship_type=_CONTAINS)


def _make_answer_of_eye(
    eye: GradedEye, artifact: ModelArtifact, identifiers: ResultIdentifiers
) -> sr.MeasurementsAndQualitativeEvaluations:
    """Return an eye's grade and the probabilities of its worst photograph (DICOM's TID 1501)."""
    worst = eye.worst_prediction
    severity = sr.CodedConcept(
        CODES_OF_EYES[eye.eye], "LN", f"Diabetic retinopathy severity, {eye.eye} eye"
    )
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=identifiers.make_uid(f"{eye.eye} eye"), identifier=f"{eye.eye} eye"
        ),
        algorithm_id=sr.AlgorithmIdentification(
            name=artifact.manifest.name,
            version=VERSION,
            parameters=[f"model sha256:{artifact.digest}"],
        ),
        finding_sites=[
            sr.FindingSite(anatomic_location=codes.SCT.Eye, laterality=_SIDES[eye.eye])
        ],
        source_images=_make_source_images(eye),
        measurements=None if worst is None else [
            sr.Measurement(
                name=_make_drdeploy_code(f"PROBABILITY-{grade:d}", f"Probability of {grade.label}"),
                value=round(float(worst.probabilities[grade]), 2),
                unit=codes.UCUM.NoUnits,
            )
            for grade in Grade
        ],
        qualitative_evaluations=[
            sr.QualitativeEvaluation(
                name=severity,
                value=_make_drdeploy_code("UNGRADABLE", "Ungradable")
                if worst is None
                else sr.CodedConcept(ANSWERS[worst.index], "LN", worst.label),
            )
        ],
    )  # fmt: skip


def _make_source_images(eye: GradedEye) -> list[sr.SourceImageForMeasurementGroup]:
    frames: dict[tuple[str, str], set[int]] = {}
    several = set()
    for one in eye.photographs:
        key = (str(one.dataset.SOPClassUID), str(one.dataset.SOPInstanceUID))
        frames.setdefault(key, set()).add(one.frame_number)
        if "NumberOfFrames" in one.dataset:
            several.add(key)
    return [
        sr.SourceImageForMeasurementGroup(
            *key, referenced_frame_numbers=sorted(numbers) if key in several else None
        )
        for key, numbers in frames.items()
    ]


def _make_drdeploy_code(value: str, meaning: str) -> sr.CodedConcept:
    return sr.CodedConcept(value, CODING_SCHEME, meaning)
