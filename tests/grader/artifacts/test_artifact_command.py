"""``drdeploy artifact``."""

import json

import pytest
from tiny_models import tiny_onnx
from typer.testing import CliRunner

from drdeploy.cli.artifact import app
from drdeploy.cli.console import print_errors_and_exit
from drdeploy.errors import InvalidInput, TruncatedArchive
from drdeploy.grader.artifacts import read_manifest_in_archive
from drdeploy.grader.box import box_artifact
from drdeploy.grader.fundus.gradability_limits import GradabilityLimits
from drdeploy.grader.fundus.transform import CAFFE_BGR_MEAN, FundusTransform
from drdeploy.grader.grading import ICDR_CLASSES


def run(*arguments):
    """Standard output of a command; its errors are raised."""
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False).stdout


@pytest.fixture
def packed(tmp_path, onnx_file):
    """Pack with options; gives the manifest that was written."""

    def pack_archive(*options, model=onnx_file):
        archive = tmp_path / "packed.tar.gz"
        run("pack", str(model), "--out", str(archive), *options)
        return read_manifest_in_archive(archive)

    return pack_archive


def test_classes_of_ones_own_are_named(packed, tmp_path):
    model = tiny_onnx(tmp_path, 3)
    assert packed("--classes", "cat, dog ,eye", model=model).classes == ("cat", "dog", "eye")


def test_icdr_makes_it_a_grader(packed):
    assert packed("--icdr").classes == ICDR_CLASSES


def test_a_grader_checks_gradability_unless_it_is_packed_without(packed):
    assert packed("--icdr").gradability == GradabilityLimits()
    assert packed("--icdr", "--no-gradability").gradability is None
    assert packed().gradability is None


def test_inspect_shows_how_a_grader_decides():
    shown = " ".join(run("inspect", box_artifact("int8")).split())
    assert "gradability: min_eye_px 160" in shown
    assert "grade >= 2, high_sensitivity from 0." in shown
    point = read_manifest_in_archive(box_artifact("int8")).clinical.operating_points[0]
    kept, chosen = point.tested.sensitivity.value, point.sensitivity.value
    assert f"promised sensitivity 0.95; on {point.tested.on}: sensitivity {kept:.3f} (" in shown
    assert f"when chosen: sensitivity {chosen:.3f} (" in shown
    verdict = read_manifest_in_archive(box_artifact("int8")).quantization.verdict
    assert f"quantization: verdict {verdict}" in shown


def test_without_class_names_there_are_none(packed):
    assert packed().classes == ()


def test_the_name_is_the_file_s_unless_given(packed):
    assert packed().name == "grader"
    assert packed("--name", "other").name == "other"


def test_the_model_can_be_described(packed):
    options = ["--weights", "trained", "--precision", "int8"]
    manifest = packed(*options, "--architecture", "ResNet50", "--notes", "mine")
    assert (manifest.weights, manifest.precision) == ("trained", "int8")
    assert (manifest.architecture, manifest.provenance.notes) == ("ResNet50", "mine")


def test_it_can_preprocess_as_a_known_network_does(packed):
    assert packed("--like", "VGG19").transform.mean == CAFFE_BGR_MEAN


@pytest.fixture
def any_size(tmp_path):
    """A model that takes images of any size."""
    return tiny_onnx(tmp_path, sides_px=("h", "w"))


def test_single_options_change_the_transform(packed, any_size):
    options = ["--height-px", "96", "--width-px", "128", "--crop", "none"]
    transform = packed(
        *options, "--value-range", "-1,1", "--std", "0.2,0.2,0.2", model=any_size
    ).transform
    assert (transform.height_px, transform.width_px, transform.crop) == (96, 128, "none")
    assert (transform.value_range, transform.std) == ((-1, 1), (0.2, 0.2, 0.2))


@pytest.mark.parametrize("numbers", ["1", "1,2,3", "low,high", ""])
def test_an_option_of_two_numbers_refuses_anything_else(onnx_file, tmp_path, numbers):
    options = ["--out", str(tmp_path / "x.tar.gz"), "--value-range", numbers]
    result = CliRunner().invoke(app, ["pack", str(onnx_file), *options])
    assert (result.exit_code, list(tmp_path.glob("*.tar.gz"))) == (2, [])
    assert "separated by" in " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.json", '{"height_px": 96, "filter": "graham"}'),
        ("t.toml", 'height_px = 96\nfilter = "graham"'),
    ],
)
def test_a_file_can_hold_the_transform(packed, any_size, tmp_path, name, text):
    (tmp_path / name).write_text(text)
    expected = FundusTransform(height_px=96, width_px=64, filter="graham")
    options = ["--transform", str(tmp_path / name), "--width-px", "64"]
    assert packed(*options, model=any_size).transform == expected


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("t.json", '{"crop": "circle"}', "crop"),
        ("t.json", "{", "truncated"),
        ("t.toml", "surplus = 1", "surplus"),
        ("t.toml", "height_px", "t.toml"),
    ],
)
def test_a_transform_that_cannot_be_read_says_why(packed, tmp_path, name, text, reason):
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidInput, match=reason):
        packed("--transform", str(tmp_path / name))


def test_classes_are_named_in_one_way(packed):
    with pytest.raises(InvalidInput, match="cannot be combined"):
        packed("--icdr", "--classes", "a,b")


def test_inspect_prints_the_manifest_as_json(archive):
    shown = json.loads(run("inspect", str(archive), "--json"))
    assert (shown["name"], shown["weights"]) == ("grader", "random")
    assert shown["transform"]["height_px"] == 224


def test_inspect_reads_well_without_json(archive):
    text = run("inspect", str(archive))
    assert "Moderate NPDR" in text
    assert "random" in text


def test_verify_counts_the_files(archive):
    shown = json.loads(run("verify", str(archive), "--json"))
    assert (shown["verified"], shown["files"]) == (True, 1)


def test_verify_refuses_what_is_damaged(archive):
    archive.write_bytes(archive.read_bytes()[:200])
    with pytest.raises(TruncatedArchive):
        run("verify", str(archive))


def test_a_keras_file_is_converted(tmp_path):
    import keras

    inputs = keras.Input((8, 8, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(inputs)
    network = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(pooled))
    network.save(tmp_path / "pets.keras")
    archive = tmp_path / "pets.tar.gz"
    options = ["--classes", "cat,dog", "--height-px", "8", "--width-px", "8"]
    run("pack", str(tmp_path / "pets.keras"), "--out", str(archive), *options)
    assert read_manifest_in_archive(archive).model_format == "saved_model"


def test_a_place_that_cannot_be_written_to_is_one_sentence(onnx_file, tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    with pytest.raises(SystemExit) as end, print_errors_and_exit():
        run("pack", str(onnx_file), "--out", str(blocked / "x.tar.gz"))
    message = capsys.readouterr().err
    assert end.value.code == 1
    assert str(blocked) in message
    assert "Traceback" not in message
