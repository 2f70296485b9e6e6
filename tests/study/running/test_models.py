"""Artifacts are taken where they are what would be built, and refused where they do not fit."""

import pickle

import pytest
from tiny_models import described, tiny_onnx

from drdeploy.errors import StudyError
from drdeploy.grader import box
from drdeploy.grader.artifacts import Provenance, pack_archive
from drdeploy.study.design.plan import make_plan
from drdeploy.study.design.study import ModelSpec, Study
from drdeploy.study.running import models
from drdeploy.study.running.models import (
    check_named_artifacts,
    choose_weights_to_build_with,
    find_or_build_artifacts,
)

STUDY = """
title = "t"
[models.mobilenet]
{model}
[images.lean]
tag = "drdeploy:lean"
profile = "{profile}"
[[trials]]
models = ["mobilenet"]
precisions = ["{precision}"]
images = ["lean"]
endpoints = [{{ kind = "serverless", memory_mb = 1024 }}]
scenarios = [{{ kind = "warm", n = 1, interval_s = 0 }}]
"""


@pytest.fixture(autouse=True)
def box_folder(monkeypatch, tmp_path):
    """A box of the test's own, empty unless it fills it."""
    folder = tmp_path / "box"
    folder.mkdir()
    monkeypatch.setattr(box, "FOLDER", folder)
    return folder


@pytest.fixture
def exports(monkeypatch):
    """What would be exported, instead of half a minute of TensorFlow."""
    asked = []

    def export(architecture, folder, weights, seed, model_format):
        asked.append((architecture, weights, seed, model_format))
        write(folder / f"{architecture.lower()}-fp32-{model_format}.tar.gz", weights, seed)

    monkeypatch.setattr(models, "_export_network_in_own_process", export)
    return asked


def write(archive, weights="random", seed=3, **fields):
    archive.parent.mkdir(parents=True, exist_ok=True)
    said = described(
        "mobilenet",
        architecture="MobileNet",
        weights=weights,
        provenance=Provenance(seed=seed),
        **fields,
    )
    pack_archive(tiny_onnx(archive.parent), archive, said)


def trials(
    tmp_path,
    model='architecture = "MobileNet"\nweights = "random"',
    precision="fp32",
    profile="lean",
):
    path = tmp_path / "t.toml"
    path.write_text(STUDY.format(model=model, precision=precision, profile=profile))
    return make_plan(Study.load(path)).trials


def test_a_missing_artifact_is_built_once(tmp_path, exports):
    for _ in range(2):
        (artifact,) = find_or_build_artifacts(
            trials(tmp_path), seed=3, folder=tmp_path / "a"
        ).values()
    assert exports == [("MobileNet", "random", 3, "onnx")]
    assert artifact.manifest.architecture == "MobileNet"
    assert len(artifact.sha256) == 64


@pytest.mark.parametrize(("weights", "seed"), [("imagenet", 3), ("random", 4)])
def test_an_artifact_with_other_weights_is_built_anew(tmp_path, exports, weights, seed):
    write(tmp_path / "mobilenet-fp32-onnx.tar.gz", weights, seed)
    find_or_build_artifacts(trials(tmp_path), seed=3, folder=tmp_path)
    assert len(exports) == 1


def test_a_truncated_artifact_is_built_anew(tmp_path, exports):
    archive = tmp_path / "mobilenet-fp32-onnx.tar.gz"
    write(archive)
    archive.write_bytes(archive.read_bytes()[:100])
    find_or_build_artifacts(trials(tmp_path), seed=3, folder=tmp_path)
    assert len(exports) == 1


def test_trained_weights_are_the_best_and_are_kept(tmp_path, exports):
    write(tmp_path / "mobilenet-fp32-onnx.tar.gz", "trained")
    plan = trials(tmp_path, 'architecture = "MobileNet"')
    find_or_build_artifacts(plan, seed=3, folder=tmp_path)
    assert exports == []


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_grader_in_the_box_goes_before_what_could_be_built(
    tmp_path, exports, box_folder, precision
):
    boxed = box_folder / f"mobilenet-idrid-{precision}.tar.gz"
    write(boxed, "trained", precision=precision)
    write(tmp_path / "mobilenet-fp32-onnx.tar.gz", "imagenet")
    plan = trials(tmp_path, 'architecture = "MobileNet"', precision)
    (artifact,) = find_or_build_artifacts(plan, seed=3, folder=tmp_path).values()
    assert artifact.path == boxed
    assert exports == []


@pytest.mark.parametrize(
    ("model", "profile"),
    [
        ('architecture = "MobileNet"\nweights = "random"', "lean"),
        ('architecture = "MobileNet"', "classic"),
        ('architecture = "MobileNetV2"', "lean"),
    ],
)
def test_the_box_is_left_shut_for_other_weights_formats_and_networks(
    tmp_path, exports, box_folder, model, profile
):
    write(box_folder / "mobilenet-idrid-fp32.tar.gz", "trained")
    plan = trials(tmp_path, model, profile=profile)
    find_or_build_artifacts(plan, seed=3, folder=tmp_path / "a")
    assert len(exports) == 1


def test_a_precision_that_was_not_made_is_refused(tmp_path, exports):
    with pytest.raises(StudyError, match="no artifact of MobileNet with the precision int8"):
        find_or_build_artifacts(trials(tmp_path, precision="int8"), seed=3, folder=tmp_path)
    assert exports == []


def test_ones_own_artifact_is_taken_as_it_is(tmp_path, exports):
    write(tmp_path / "own.tar.gz")
    plan = trials(tmp_path, 'artifact = "own.tar.gz"')
    (artifact,) = find_or_build_artifacts(plan, seed=3).values()
    assert artifact.path == tmp_path / "own.tar.gz"
    assert exports == []


def test_an_artifact_in_another_format_than_the_image_takes_is_refused(tmp_path):
    write(tmp_path / "own.tar.gz")
    plan = trials(tmp_path, 'artifact = "own.tar.gz"', profile="classic")
    with pytest.raises(StudyError, match=r"format saved_model, but .* format onnx"):
        find_or_build_artifacts(plan, seed=3)


def test_an_artifact_in_another_precision_than_the_trial_says_is_refused(tmp_path):
    """Both trials would measure one model, and the ids of one of them would be wrong."""
    write(tmp_path / "own.tar.gz", precision="int8")
    plan = trials(tmp_path, 'artifact = "own.tar.gz"')
    with pytest.raises(StudyError, match=r'fp32, but .* int8\. Write precisions = \["int8"\]'):
        check_named_artifacts(plan)
    check_named_artifacts(trials(tmp_path, 'artifact = "own.tar.gz"', precision="int8"))


def test_an_artifact_that_is_not_there_is_named(tmp_path):
    plan = trials(tmp_path, 'artifact = "own.tar.gz"')
    with pytest.raises(StudyError, match=r"own\.tar\.gz"):
        find_or_build_artifacts(plan, seed=3)


def test_a_plan_refuses_an_artifact_that_is_not_there(tmp_path):
    missing = trials(tmp_path, model='artifact = "mine.tar.gz"')
    with pytest.raises(StudyError, match="artifact does not exist"):
        check_named_artifacts(missing)


def test_best_weights_are_imagenets_where_a_folder_has_them(tmp_path):
    best = ModelSpec(architecture="MobileNet")
    assert (
        choose_weights_to_build_with(best, None)
        == choose_weights_to_build_with(best, tmp_path)
        == "random"
    )
    file = tmp_path / "mobilenet_1_0_224_imagenet_notop.weights.h5"
    file.touch()
    assert choose_weights_to_build_with(best, tmp_path) == file
    assert choose_weights_to_build_with(ModelSpec(architecture="MobileNetV2"), tmp_path) == "random"
    assert (
        choose_weights_to_build_with(
            ModelSpec(architecture="MobileNet", weights="random"), tmp_path
        )
        == "random"
    )


def test_a_folder_of_weights_that_is_not_there_is_refused(tmp_path, exports):
    plan = trials(tmp_path, 'architecture = "MobileNet"')
    with pytest.raises(StudyError, match=r"folder of weights does not exist.*--weights"):
        find_or_build_artifacts(
            plan, seed=3, weights_folder=tmp_path / "none", folder=tmp_path / "a"
        )
    assert exports == []


def test_an_error_of_the_exporting_process_arrives_whole():
    error = StudyError("It failed", where="there", remedy="Try this")
    arrived = pickle.loads(pickle.dumps(error))
    assert (str(arrived), arrived.what) == (str(error), "It failed")
