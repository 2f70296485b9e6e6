"""What clients read, for a grader and for any other classifier."""

import csv
import io

import pytest
from image_files import encoded, gradient
from tiny_models import described, onnx_artifact, tiny_onnx

from drdeploy.grader.artifacts import (
    Clinical,
    OperatingPoint,
    Rate,
    TestedRates,
    extract_archive,
    pack_archive,
)
from drdeploy.grader.fundus.gradability import SENTENCES
from drdeploy.grader.fundus.gradability_limits import GradabilityLimits
from drdeploy.grader.synthetic.photograph import paint_synthetic_photograph

ANIMALS = ("cat", "dog", "horse")


@pytest.fixture(scope="module")
def animals_dir(tmp_path_factory):
    return onnx_artifact(tmp_path_factory.mktemp("animals"), classes=ANIMALS)


def test_another_classifier_has_labels_but_no_grade(animals_dir, serve, photo):
    server = serve(animals_dir)
    answer = server.invoke(photo).json()
    assert set(answer["probabilities"]) == set(ANIMALS)
    assert answer["label"] in ANIMALS
    assert not {"grade", "referable"} & set(answer)
    rows = list(csv.reader(io.StringIO(server.invoke(photo, accept="text/csv").text)))
    assert rows[0] == ["class", "label", *ANIMALS]
    assert ANIMALS[int(rows[1][0])] == rows[1][1] == answer["label"]


def test_a_batch_container_says_how_large_its_files_may_be(model_dir, serve):
    server = serve(model_dir, SAGEMAKER_BATCH="true", DRDEPLOY_CONCURRENCY=3)
    answer = server.client.get("/execution-parameters").json()
    assert answer == {
        "MaxConcurrentTransforms": 3,
        "BatchStrategy": "SINGLE_RECORD",
        "MaxPayloadInMB": 20,
    }


@pytest.fixture(scope="module")
def grader_dir(tmp_path_factory):
    """A tiny grader with operating points that looks at the quality first."""
    folder = tmp_path_factory.mktemp("grader")
    rate = Rate(0.9, 0.8, 0.95, 100)
    points = tuple(
        OperatingPoint(
            name=name, at_or_above=grade, threshold=threshold, sensitivity=rate, specificity=rate
        )
        for name, grade, threshold in [("high_sensitivity", 2, 0.0), ("balanced", 2, 1.0)]
    )
    clinical = Clinical(chosen_on="nothing", operating_points=points)
    said = described(gradability=GradabilityLimits(), clinical=clinical)
    pack_archive(tiny_onnx(folder), folder / "model.tar.gz", said)
    return extract_archive(folder / "model.tar.gz", folder / "model").folder


@pytest.fixture(scope="module")
def eye():
    return paint_synthetic_photograph(1, width_px=1072, height_px=712)


def test_a_photograph_that_cannot_be_graded_is_answered_with_the_reason(grader_dir, serve, photo):
    answer = serve(grader_dir).invoke(photo)  # a few colours, no fundus
    assert answer.status_code == 200
    said = answer.json()
    assert said["gradable"] is False
    assert said["ungradable_reason"] in SENTENCES
    assert said["ungradable_message"].endswith(".")
    assert said["predictions"] == [None]
    assert not {"grade", "label", "referable", "screening", "probabilities"} & set(said)
    assert said["notice"] == "For research use. Not a medical device."


def test_a_gradable_photograph_says_which_operating_points_flag_it(grader_dir, serve, eye):
    said = serve(grader_dir).invoke(eye).json()
    assert said["gradable"] is True
    assert said["screening"] == {"referable": {"high_sensitivity": True, "balanced": False}}
    assert said["referable"] is True  # the high-sensitivity point decides, whatever the grade
    assert said["referable_rule"].startswith("P(grade >= 2) >= 0 at the high-sensitivity point")
    assert "the sensitivity was 0.90 and the specificity 0.90" in said["referable_rule"]
    # This grader was never tested, and promises nothing.
    assert "How good it is on other photographs is not recorded." in said["referable_rule"]
    assert "promises" not in said["referable_rule"]
    rates = said["referable_rates"]
    assert (rates["target_sensitivity"], rates["tested"]) == (None, None)
    assert rates["sensitivity"] == {"value": 0.9, "low": 0.8, "high": 0.95, "n": 100}


def test_the_rule_says_what_it_promises_and_what_it_keeps(tmp_path, serve, eye):
    point = OperatingPoint(
        name="high_sensitivity",
        at_or_above=2,
        threshold=0.0,
        sensitivity=Rate(0.94, 0.9, 0.96, 254),
        specificity=Rate(0.78, 0.7, 0.84, 151),
        target_sensitivity=0.95,
        tested=TestedRates(
            on="84 photographs of new sessions",
            sensitivity=Rate(0.8723, 0.7436, 0.9412, 47),
            specificity=Rate(0.4865, 0.3211, 0.6548, 37),
        ),
    )
    clinical = Clinical(chosen_on="nothing", operating_points=(point,))
    archive = tmp_path / "model.tar.gz"
    pack_archive(tiny_onnx(tmp_path), archive, described(clinical=clinical))
    said = serve(extract_archive(archive, tmp_path / "model").folder).invoke(eye).json()
    assert said["referable_rule"] == (
        "P(grade >= 2) >= 0 at the high-sensitivity point, which promises a sensitivity of 0.95. "
        "On 84 photographs of new sessions, the sensitivity was 0.87 (0.74 to 0.94) and the "
        "specificity 0.49 (0.32 to 0.65). On the photographs that were used to choose the point, "
        "the sensitivity was 0.94 and the specificity 0.78; expect lower values on other cameras"
    )
    rates = said["referable_rates"]
    assert rates["target_sensitivity"] == 0.95
    assert rates["tested"]["specificity"] == {
        "value": 0.4865, "low": 0.3211, "high": 0.6548, "n": 37,
    }  # fmt: skip


def test_each_of_several_photographs_has_its_own_answer(grader_dir, serve, eye, photo):
    server = serve(grader_dir)
    files = [("image", ("a.jpg", body, "image/jpeg")) for body in (eye, photo)]
    said = server.client.post("/invocations", files=files).json()
    assert [one["gradable"] for one in said["results"]] == [True, False]
    assert [row is None for row in said["predictions"]] == [False, True]


def test_a_csv_answer_has_a_row_for_a_photograph_that_cannot_be_graded(grader_dir, serve, photo):
    text = serve(grader_dir).invoke(photo, accept="text/csv").text
    header, row = list(csv.reader(io.StringIO(text)))
    assert len(header) == len(row) == 7
    assert row[0] == ""
    assert row[1].startswith("ungradable: ")


def test_the_metadata_says_how_decisions_are_made(grader_dir, serve):
    said = serve(grader_dir).client.get("/metadata").json()
    assert said["clinical"]["operating_points"][0]["name"] == "high_sensitivity"
    assert said["gradability"]["min_eye_px"] > 0


def test_without_limits_in_the_manifest_nothing_is_refused(model_dir, serve, photo):
    said = serve(model_dir).invoke(photo).json()
    assert "gradable" not in said
    assert "grade" in said


def test_a_file_with_several_pictures_is_refused_with_the_decoders_reason(model_dir, serve):
    pages = encoded(gradient(), "TIFF", save_all=True, append_images=[gradient()])
    stereo = encoded(gradient(), "MPO", save_all=True, append_images=[gradient()])
    server = serve(model_dir)
    for body, name in ((pages, "TIFF"), (stereo, "JPEG")):
        answer = server.invoke(body)
        assert answer.status_code == 415
        assert f"The {name} holds more than one picture" in answer.text


def test_a_jpeg_without_its_end_marker_is_answered_with_a_note(model_dir, serve, photo):
    server = serve(model_dir)
    answer = server.invoke(photo[:-2]).json()
    assert answer["note"] == "The JPEG lacks its end marker; its picture is complete."
    assert "note" not in server.invoke(photo).json()
