"""A photograph unlike those that a grader was trained on is flagged wherever its grade is shown."""

import io
import json
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from PIL import Image, ImageFilter
from typer.testing import CliRunner

from drdeploy.cli.app import build_app
from drdeploy.errors import ManifestError
from drdeploy.grader.artifacts import open_artifact, pack_archive
from drdeploy.grader.box import box_artifact
from drdeploy.grader.datasets import load_dataset, set_copies_aside
from drdeploy.grader.evaluation.predictions import predict_dataset
from drdeploy.grader.fundus.familiarity import SENTENCE
from drdeploy.grader.fundus.transform import FundusTransform
from drdeploy.grader.inference import InferenceService
from drdeploy.grader.training.familiarity import choose_familiarity_rule
from drdeploy.hosting.serving.answer import make_classification, make_csv_answer
from drdeploy.photograph_names import OWN_NAMES

TRAINED_ON, SEEN_AFTERWARDS = 120, 24


@pytest.fixture(scope="module")
def idrid(shared):
    return set_copies_aside(load_dataset(shared / "data" / "idrid_512", names=OWN_NAMES))


@pytest.fixture(scope="module")
def rule(idrid):
    training = idrid.select_split("train")
    return choose_familiarity_rule(training.select_by_index(range(TRAINED_ON)), FundusTransform())


@pytest.fixture(scope="module")
def archive(rule, tmp_path_factory):
    """The packaged grader with the rule."""
    artifact = open_artifact(box_artifact())
    path = tmp_path_factory.mktemp("familiar") / "model.tar.gz"
    described = msgspec.structs.replace(artifact.manifest, familiarity=rule)
    pack_archive(artifact.entry_path, path, described)
    return path


@pytest.fixture(scope="module")
def service(archive):
    return InferenceService.load(archive)


@pytest.fixture(scope="module")
def photographs(idrid):
    """Photographs of the same camera, of patients that the rule does not know."""
    return [one.file for one in idrid.select_split("test").photographs[::4]][:SEEN_AFTERWARDS]


def tint(gains):
    levels = [min(255, int(level * gain)) for gain in gains for level in range(256)]
    return lambda eye: eye.point(levels)


def mask_outer_half(eye):
    """A narrower field of view: only the middle of the retina."""
    pixels = np.array(eye)
    y, x = (np.arange(side) - (side - 1) / 2 for side in pixels.shape[:2])
    pixels[np.hypot(y[:, None], x) > 0.35 * min(pixels.shape[:2])] = 0
    return Image.fromarray(pixels)


WITHIN_TRAINING = {"warmer": tint((1.05, 0.95, 0.9)), "darker": tint((0.9, 0.9, 0.9))}
OTHER_CAMERAS = {
    "soft": lambda eye: eye.filter(ImageFilter.GaussianBlur(2)),
    "narrow": mask_outer_half,
}


def as_jpeg(eye):
    stream = io.BytesIO()
    eye.save(stream, "JPEG", quality=92)
    return stream.getvalue()


def share_flagged(service, files, shift):
    images = []
    for file in files:
        with Image.open(file) as eye:
            images.append(as_jpeg(shift(eye.convert("RGB"))))
    graded = [one for one in service.infer(images) if one.prediction is not None]
    return np.mean([one.is_unlike_training for one in graded])


def test_few_photographs_of_the_same_camera_are_flagged(service, photographs):
    assert share_flagged(service, photographs, lambda eye: eye) <= 0.1


@pytest.mark.parametrize("change", WITHIN_TRAINING)
def test_changes_of_colour_that_training_makes_are_not_flagged(service, photographs, change):
    assert share_flagged(service, photographs[::3], WITHIN_TRAINING[change]) <= 0.25


@pytest.mark.parametrize("camera", OTHER_CAMERAS)
def test_most_photographs_of_another_camera_are_flagged(service, photographs, camera):
    assert share_flagged(service, photographs[::3], OTHER_CAMERAS[camera]) >= 0.75


def test_the_flag_is_shown_with_the_grade(service, archive, photographs, tmp_path):
    photograph = tmp_path / "narrow.jpg"
    for file in photographs:
        with Image.open(file) as eye:
            photograph.write_bytes(as_jpeg(mask_outer_half(eye)))
        [inference] = service.infer([photograph.read_bytes()])
        if inference.is_unlike_training:
            break
    answer = make_classification(inference, service.manifest)
    assert answer.unlike_training is True
    assert answer.unlike_training_message == f"{SENTENCE}."
    header, row = make_csv_answer([inference], service.manifest, has_header=True).splitlines()
    assert (header.split(b",")[-1], row.split(b",")[-1]) == (b"unlike_training", b"1")
    words = ["grade", str(photograph), "--artifact", str(archive)]
    shown = CliRunner().invoke(build_app(), words, catch_exceptions=False)
    assert SENTENCE in shown.stdout
    shown = CliRunner().invoke(build_app(), [*words, "--json"], catch_exceptions=False)
    assert json.loads(shown.stdout)["results"][0]["unlike_training"] is True


def test_without_a_rule_nothing_is_said(photographs, tmp_path):
    artifact = open_artifact(box_artifact())
    plain = msgspec.structs.replace(artifact.manifest, familiarity=None)
    pack_archive(artifact.entry_path, tmp_path / "model.tar.gz", plain)
    service = InferenceService.load(tmp_path / "model.tar.gz")
    [inference] = service.infer([photographs[0].read_bytes()])
    assert inference.is_unlike_training is None
    fields = msgspec.to_builtins(make_classification(inference, plain))
    assert not {"unlike_training", "unlike_training_message"} & set(fields)


def test_too_few_photographs_give_no_rule(idrid):
    few = idrid.select_split("train").select_by_index(range(99))
    assert choose_familiarity_rule(few, FundusTransform()) is None


def test_photographs_of_a_few_patients_give_a_rule_with_as_many_folds(idrid):
    training = idrid.select_split("train").select_by_index(range(100))
    of_three = tuple(replace(one, group=str(at % 3)) for at, one in enumerate(training.photographs))
    few = replace(training, photographs=of_three)
    assert choose_familiarity_rule(few, FundusTransform(), folds=3) is not None


def test_an_evaluation_is_split_by_the_flag(service, idrid):
    few = idrid.select_split("test").select_by_index(range(6))
    graded = predict_dataset(service, few)
    assert set(graded.columns["unlike_training"]) <= {"yes", "no"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("limit", float("inf")),
        ("limit", 0.0),
        ("means", (1.0, 2.0)),
        ("directions", ()),
        ("measurements", ("light",)),
    ],
)
def test_a_rule_that_cannot_be_applied_is_refused(archive, rule, tmp_path, field, value):
    artifact = open_artifact(archive)
    wrong = msgspec.structs.replace(rule, **{field: value})
    with pytest.raises(ManifestError, match=f"familiarity.{field}"):
        pack_archive(
            artifact.entry_path,
            tmp_path / "wrong.tar.gz",
            msgspec.structs.replace(artifact.manifest, familiarity=wrong),
        )
