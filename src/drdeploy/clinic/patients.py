"""Group photographs by patient, study and eye, and grade each eye by its worst photograph."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from drdeploy.clinic.referral_rules import (
    OUTCOMES,
    ReferralOutcome,
    ReferralRules,
    find_most_urgent_outcome,
)
from drdeploy.errors import (
    RequestRefused,
    UnsupportedImage,
    turn_import_error_into_missing_extra,
)
from drdeploy.grader.dicom.photographs import DicomFile
from drdeploy.grader.fundus.gradability import SENTENCES
from drdeploy.grader.grading.grade import Grade

with turn_import_error_into_missing_extra("clinic", "A DICOM file"):
    from pydicom.uid import UID

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pydicom

    from drdeploy.grader.artifacts import ModelManifest
    from drdeploy.grader.dicom.photographs import DicomPhotograph
    from drdeploy.grader.grading import Prediction
    from drdeploy.grader.inference import InferenceService

_FIRST_TAG_OF_PIXELS = 0x7FE00000
_PATIENT_NUMBER_MAX = 256
"""The longest patient number that is accepted, in characters. It is longer than the 64 characters
of the DICOM standard (PS3.5, 6.2: LO).
"""

EyeLaterality = Literal["left", "right"]
EYES: tuple[EyeLaterality, ...] = ("right", "left")
"""Both eyes, in the order in which clinics write them."""

UncertaintyMark = Literal[
    "low certainty", "photographs disagree", "unlike the training photographs"
]


@dataclass(frozen=True)
class GradedPhotograph:
    """A photograph of a patient's eye, graded or not.

    Attributes:
        dataset: The DICOM file's data elements, which name the patient.
        frame_number: The frame's number in the file, counted from 1.
        eye: The eye that the photograph shows.
        prediction: The grade, or None for an ungradable photograph.
        ungradable: Why there is no grade, as a sentence.
        is_unlike_training: Whether the photograph is unlike the photographs that the grader was
            trained on.
    """

    dataset: pydicom.Dataset = field(repr=False)
    frame_number: int
    eye: EyeLaterality
    prediction: Prediction | None
    ungradable: str = ""
    is_unlike_training: bool = False


@dataclass(frozen=True)
class GradedEye:
    """The grades and the outcome of one eye.

    Attributes:
        eye: The left or the right eye.
        photographs: All photographs of the eye; may be empty.
        outcome: The outcome of the eye by the referral rules.
        marks: Reasons to doubt the grade, so that somebody should look at the eye again.
    """

    eye: EyeLaterality
    photographs: tuple[GradedPhotograph, ...]
    outcome: ReferralOutcome
    marks: tuple[UncertaintyMark, ...] = ()

    @property
    def worst_prediction(self) -> Prediction | None:
        """The worst grade among the eye's photographs, or None if all are ungradable."""
        graded = [one.prediction for one in self.photographs if one.prediction is not None]
        return max(graded, key=_sort_key_of_severity, default=None)

    @property
    def ungradable_reasons(self) -> list[str]:
        """Why photographs of the eye have no grade, as sentences."""
        return sorted({one.ungradable for one in self.photographs} - {""})

    @property
    def reasons_to_look_again(self) -> list[str]:
        """All reasons to look at the eye again: the marks, and the ungradable photographs."""
        return [*self.marks, *self.ungradable_reasons] if self.photographs else ["no photograph"]


@dataclass(frozen=True)
class GradedStudy:
    """A patient's photographs of one visit.

    Attributes:
        dataset: The data elements of one DICOM file of the study. They name the patient.
        eyes: The right and the left eye.
        outcome: The more urgent outcome of the two eyes.
    """

    dataset: pydicom.Dataset = field(repr=False)
    eyes: tuple[GradedEye, ...]
    outcome: ReferralOutcome

    @property
    def patient_identity(self) -> str:
        """A text that identifies the patient. Only a keyed hash of it is shown."""
        return identify_patient(self.dataset)


def sort_by_urgency(studies: Iterable[GradedStudy]) -> list[GradedStudy]:
    """Return the studies in the order in which somebody should see the patients."""
    return sorted(
        studies,
        key=lambda study: (
            OUTCOMES.index(study.outcome),
            [
                -share
                for share in max(
                    map(_sort_key_of_severity, _list_worst_predictions_of_eyes(study)),
                    default=(0.0, 0.0),
                )
            ],
            study.patient_identity,
        ),
    )


def grade_dicom_file(
    service: InferenceService, data: bytes, *, eye: EyeLaterality | None = None
) -> Iterator[GradedPhotograph]:
    """Grade the frames of a DICOM file; a frame that cannot be decoded is ungradable.

    The frames after it may not be read. They then count as ungradable, too.

    Args:
        service: The grader.
        data: Content of the file.
        eye: The eye that the file shows. It is used only if the file does not name the eye.

    Raises:
        RequestRefused: The file's data elements cannot be read, or do not say which eye it shows.
    """
    file = DicomFile.open(data)
    shown = file.laterality or eye
    if shown is None:
        raise UnsupportedImage(
            "The DICOM file does not say which eye it shows",
            remedy="Give the files of one eye, with --eye left or --eye right",
        )
    check_dicom_identifiers(file.dataset)
    header = file.dataset[:_FIRST_TAG_OF_PIXELS]  # without pixels, thousands fit into memory
    number = 0
    try:
        for photograph in file.decode_photographs():
            number = photograph.frame_number
            yield _grade_frame(service, photograph, header, shown)
    except RequestRefused as error:
        # The frame may show the worst lesion, so the eye must not count as one without photographs.
        yield GradedPhotograph(header, number + 1, shown, None, error.sentence)
        unread = describe_unread_frame(number + 1)
        for later in range(number + 2, file.pixels.frames + 1):
            yield GradedPhotograph(header, later, shown, None, unread)


def _grade_frame(
    service: InferenceService,
    photograph: DicomPhotograph,
    header: pydicom.Dataset,
    eye: EyeLaterality,
) -> GradedPhotograph:
    number = photograph.frame_number
    try:
        found = service.infer([photograph.data])[0]
    except RequestRefused as error:
        return GradedPhotograph(header, number, eye, None, error.sentence)
    why = "" if found.ungradable is None else f"{SENTENCES[found.ungradable]}."
    is_unlike = bool(found.is_unlike_training)
    return GradedPhotograph(header, number, eye, found.prediction, why, is_unlike)


def describe_unread_frame(damaged: int) -> str:
    """Return why a frame of a DICOM file was not read, as a sentence.

    Args:
        damaged: The number of the earlier frame that cannot be decoded.
    """
    return f"The frame was not read, because frame {damaged} of its file cannot be decoded."


def check_dicom_identifiers(dataset: pydicom.Dataset) -> None:
    """Check that the DICOM identifiers in a file are valid, so that results can refer to it.

    Raises:
        UnsupportedImage: The identifier of the photograph, its series or its study is missing or
            invalid, or the patient's number is too long.
    """
    for name in ("PatientID", "IssuerOfPatientID"):
        value = str(dataset.get(name) or "")
        if len(value) > _PATIENT_NUMBER_MAX or "\0" in value:
            raise UnsupportedImage(
                f"The DICOM file's {name} contains NUL, or over {_PATIENT_NUMBER_MAX} characters",
                remedy="Export the photograph from the archive or the camera again",
            )
    for name in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        if not UID(str(dataset.get(name) or "")).is_valid:
            raise UnsupportedImage(
                f"The DICOM file has no {name}, or its {name} is not a valid identifier",
                remedy="Export the photograph from the archive or the camera again",
            )


def group_by_study(
    photographs: Iterable[GradedPhotograph], rules: ReferralRules, manifest: ModelManifest
) -> list[GradedStudy]:
    """Group photographs by patient and study, and apply the referral rules to each study."""
    groups: dict[tuple[str, str], list[GradedPhotograph]] = {}
    for photograph in photographs:
        dataset = photograph.dataset
        key = (identify_patient(dataset), str(dataset.StudyInstanceUID))
        groups.setdefault(key, []).append(photograph)
    return [_decide_outcome_of_study(group, rules, manifest) for group in groups.values()]


def _decide_outcome_of_study(
    photographs: list[GradedPhotograph], rules: ReferralRules, manifest: ModelManifest
) -> GradedStudy:
    eyes = tuple(
        _decide_outcome_of_eye(eye, [one for one in photographs if one.eye == eye], rules, manifest)
        for eye in EYES
    )
    return GradedStudy(
        photographs[0].dataset, eyes, find_most_urgent_outcome(one.outcome for one in eyes)
    )


def _decide_outcome_of_eye(
    eye: EyeLaterality,
    photographs: list[GradedPhotograph],
    rules: ReferralRules,
    manifest: ModelManifest,
) -> GradedEye:
    graded = [one.prediction for one in photographs if one.prediction is not None]
    if not photographs:
        return GradedEye(eye, (), rules.eyes.missing)
    if not graded:
        return GradedEye(eye, tuple(photographs), rules.eyes.ungradable)
    marks: list[UncertaintyMark] = []
    worst = max(graded, key=_sort_key_of_severity)
    if float(worst.probabilities[worst.index]) < rules.marks.low_certainty_below:
        marks.append("low certainty")
    grades = [one.index for one in graded]
    if max(grades) - min(grades) >= rules.marks.disagreement_from:
        marks.append("photographs disagree")
    outcome = rules.decide_outcome_of_eye(graded, manifest)
    if any(one.is_unlike_training for one in photographs):
        marks.append("unlike the training photographs")
        outcome = find_most_urgent_outcome([outcome, rules.eyes.outcome_if_unlike_training])
    return GradedEye(eye, tuple(photographs), outcome, tuple(marks))


def _sort_key_of_severity(prediction: Prediction) -> tuple[float, float, float]:
    return (
        float(prediction.index),
        prediction.probability_at_or_above(Grade.SEVERE),
        prediction.probability_at_or_above(Grade.MODERATE),
    )


def describe_eye_outcomes(study: GradedStudy) -> dict[str, dict[str, Any]]:
    """Return the findings in each eye, for JSON, without the patient's name."""
    return {eye.eye: _describe_eye_outcome(eye) for eye in study.eyes}


def _describe_eye_outcome(eye: GradedEye) -> dict[str, Any]:
    worst = eye.worst_prediction
    return {
        "photographs": len(eye.photographs),
        "gradable": sum(one.prediction is not None for one in eye.photographs),
        "grade": None if worst is None else worst.index,
        "label": "" if worst is None else worst.label,
        "probabilities": None
        if worst is None
        else [round(float(share), 4) for share in worst.probabilities],
        "outcome": eye.outcome,
        "marks": list(eye.marks),
        "ungradable_reasons": eye.ungradable_reasons,
    }


def _list_worst_predictions_of_eyes(study: GradedStudy) -> list[Prediction]:
    return [eye.worst_prediction for eye in study.eyes if eye.worst_prediction is not None]


def identify_patient(dataset: pydicom.Dataset) -> str:
    """Return a text that identifies a patient: the patient's number and the issuer of the number.

    If there is no number, the study's identifier is returned. The name is not used, because two
    patients may have the same name. The issuer is needed, because two clinics may give the same
    number to different patients.
    """
    number = str(dataset.get("PatientID") or "").strip()
    issuer = str(dataset.get("IssuerOfPatientID") or "").strip()
    return f"{issuer}\n{number}" if number else str(dataset.StudyInstanceUID)
