"""Photographs are grouped by patient, study and eye, and the worst eye decides."""

import os
from dataclasses import replace

import numpy as np
import pytest
from dicom_files import as_bytes, encapsulate, make_dataset, shrink_eye

if os.environ.get("CI") != "true":  # CI has it
    pytest.importorskip("pydicom", reason="needs the extra clinic")

from drdeploy.clinic.patients import (
    GradedPhotograph,
    grade_dicom_file,
    group_by_study,
    sort_by_urgency,
)
from drdeploy.clinic.referral_rules import ReferralRules, find_most_urgent_outcome
from drdeploy.errors import InvalidInput, UnreadableImage
from drdeploy.grader.artifacts import open_artifact
from drdeploy.grader.box import box_artifact
from drdeploy.grader.grading import Prediction
from drdeploy.grader.grading.grade import ICDR_CLASSES
from drdeploy.grader.inference import Inference

HEALTHY = (0.95, 0.03, 0.01, 0.005, 0.005)
MODERATE = (0.05, 0.05, 0.85, 0.03, 0.02)
DOUBTFUL = (0.30, 0.25, 0.35, 0.05, 0.05)
PROLIFERATIVE = (0.0, 0.0, 0.1, 0.1, 0.8)


@pytest.fixture(scope="module")
def manifest():
    return open_artifact(box_artifact()).manifest


@pytest.fixture(scope="module")
def rules():
    return ReferralRules.load()


def photograph(eye, probabilities, *, patient="1", study="1.2", **fields):
    dataset = make_dataset(
        np.zeros((2, 2), np.uint8), PatientID=patient, StudyInstanceUID=study, **fields
    )
    prediction = None
    if probabilities:
        prediction = Prediction(np.array(probabilities, np.float32), ICDR_CLASSES)
    return GradedPhotograph(dataset, 1, eye, prediction, "" if prediction else "It is too dark.")


@pytest.mark.parametrize(
    ("right", "left", "outcome"),
    [
        ([HEALTHY], [HEALTHY], "no referral"),
        ([HEALTHY], [HEALTHY, MODERATE], "refer"),
        ([HEALTHY], [PROLIFERATIVE, HEALTHY], "urgent"),
        ([HEALTHY], [None], "refer"),
        ([HEALTHY], [None, HEALTHY], "no referral"),
        ([None], [PROLIFERATIVE], "urgent"),
        ([HEALTHY], [], "repeat photographs"),
        ([], [MODERATE], "refer"),
    ],
)
def test_the_most_pressing_eye_decides(right, left, outcome, rules, manifest):
    photographs = [photograph("right", one) for one in right]
    photographs += [photograph("left", one) for one in left]
    (study,) = group_by_study(photographs, rules, manifest)
    assert study.outcome == outcome


def test_an_eye_has_the_grade_of_its_worst_photograph_and_doubts_are_marked(rules, manifest):
    photographs = [photograph("left", one) for one in (HEALTHY, DOUBTFUL, None)]
    (study,) = group_by_study(photographs, rules, manifest)
    left = study.eyes[1]
    assert (left.eye, left.worst_prediction.index, len(left.photographs)) == ("left", 2, 3)
    assert left.marks == ("low certainty", "photographs disagree")


@pytest.mark.parametrize(("rule", "outcome"), [("as graded", "no referral"), ("refer", "refer")])
def test_a_photograph_unlike_the_training_photographs_marks_the_eye(
    rule, outcome, manifest, tmp_path
):
    from drdeploy.clinic.referral_rules import DEFAULT_RULES

    file = tmp_path / "rules.toml"
    text = DEFAULT_RULES.read_text()
    file.write_text(text.replace('unlike_training = "as graded"', f'unlike_training = "{rule}"'))
    flagged = replace(photograph("left", HEALTHY), is_unlike_training=True)
    photographs = [photograph("right", HEALTHY), flagged]
    (study,) = group_by_study(photographs, ReferralRules.load(file), manifest)
    assert study.eyes[0].marks == ()
    assert study.eyes[1].marks == ("unlike the training photographs",)
    assert study.outcome == outcome


def test_patients_with_one_number_at_two_clinics_are_two(rules, manifest):
    studies = group_by_study(
        [
            photograph("left", HEALTHY, IssuerOfPatientID="North"),
            photograph("left", HEALTHY, IssuerOfPatientID="South"),
            photograph("left", HEALTHY, IssuerOfPatientID="South", study="1.3"),
            photograph("right", HEALTHY, IssuerOfPatientID="South", study="1.3"),
        ],
        rules,
        manifest,
    )
    assert len(studies) == 3


def test_the_worst_patient_comes_first(rules, manifest):
    found = {"1": HEALTHY, "2": PROLIFERATIVE, "3": MODERATE, "4": None}
    photographs = [
        photograph(eye, one, patient=patient, study=f"1.{patient}")
        for patient, one in found.items()
        for eye in ("left", "right")
    ]
    order = sort_by_urgency(group_by_study(photographs, rules, manifest))
    assert [str(study.dataset.PatientID) for study in order] == ["2", "3", "4", "1"]
    assert find_most_urgent_outcome(study.outcome for study in order) == "urgent"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("[marks]", "[mark]"), "rules file has an error"),
        (('ungradable = "refer"', 'ungradable = "no referral"'), "rules file has an error"),
        (("[[rules]]", "[[rules"), "rules file has an error"),
        (("at_or_above = 3", "at_or_above = 4"), "rules file has an error"),
        (("[[rules]]", "[[other]]"), "rules file has an error"),
    ],
)
def test_rules_that_are_not_understood_are_refused(change, reason, tmp_path):
    from drdeploy.clinic.referral_rules import DEFAULT_RULES

    file = tmp_path / "rules.toml"
    file.write_text(DEFAULT_RULES.read_text().replace(*change))
    with pytest.raises(InvalidInput, match=reason):
        ReferralRules.load(file)


def test_a_grader_without_the_operating_points_of_the_rules_is_refused(rules, manifest):
    import msgspec

    with pytest.raises(InvalidInput, match="no operating point balanced at grade 3"):
        rules.check_grader(msgspec.structs.replace(manifest, clinical=None))


class OneFailure:
    """A grader that cannot decode the second photograph that it gets."""

    def __init__(self):
        self.asked = 0

    def infer(self, images):
        self.asked += 1
        if self.asked == 2:
            raise UnreadableImage("The picture ends too early")
        prediction = Prediction(np.array(HEALTHY, np.float32), ICDR_CLASSES)
        return [Inference(prediction, None, False, 0.0, 0.0, 0.0) for _ in images]


def grade_frames(frames, pixels):
    dataset = make_dataset(pixels, photometric="YBR_FULL_422")
    data = as_bytes(encapsulate(dataset, frames, "1.2.840.10008.1.2.4.50"))
    return list(grade_dicom_file(OneFailure(), data))


def test_no_frame_of_a_file_is_lost_behind_a_damaged_one():
    content, pixels = shrink_eye()
    # The grader refuses a frame: the others are graded.
    found = grade_frames([content] * 3, pixels)
    assert [(one.frame_number, one.prediction is None) for one in found] == [
        (1, False), (2, True), (3, False)
    ]  # fmt: skip
    assert found[1].ungradable == "The picture ends too early."
    # A frame cannot be taken out of the file: those behind it are not read.
    found = grade_frames([content, bytes(3) + content[3:], content, content], pixels)
    assert [(one.frame_number, one.prediction is None) for one in found] == [
        (1, False), (2, True), (3, True), (4, True)
    ]  # fmt: skip
    unread = "The frame was not read, because frame 2 of its file cannot be decoded."
    assert [one.ungradable == unread for one in found] == [False, False, True, True]
