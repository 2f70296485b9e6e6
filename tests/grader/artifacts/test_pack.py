"""The same model makes the same archive, and it comes out as it went in."""

import hashlib
import os
import shutil
import tarfile

import numpy as np
import onnx
import pytest
from tiny_models import described, tiny_onnx

from drdeploy.errors import ArtifactError, ManifestError
from drdeploy.grader.artifacts import (
    extract_archive,
    open_artifact,
    pack_archive,
    read_manifest_in_archive,
    verify_archive,
)
from drdeploy.grader.artifacts.onnx_file import read_paths_of_external_weights
from drdeploy.grader.fundus.transform import FundusTransform
from drdeploy.grader.runtimes.model_loading import load_model_in_runtime


def test_the_same_model_makes_the_same_bytes(tmp_path, saved_model):
    first, second = tmp_path / "a.tar.gz", tmp_path / "b.tar.gz"
    pack_archive(saved_model, first, described("grader"))
    for path in saved_model.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o700)
    pack_archive(saved_model, second, described("grader"))
    assert first.read_bytes() == second.read_bytes()


def test_the_manifest_comes_first_so_that_inspecting_reads_little(archive):
    with tarfile.open(archive) as tar:
        assert tar.getnames() == ["manifest.json", "model.onnx"]


def test_a_saved_model_comes_out_as_it_went_in(tmp_path, saved_model):
    pack_archive(saved_model, tmp_path / "model.tar.gz", described("grader"))
    artifact = extract_archive(tmp_path / "model.tar.gz", tmp_path / "out")
    for path in saved_model.rglob("*.*"):
        packed = artifact.entry_path / path.relative_to(saved_model)
        assert packed.read_bytes() == path.read_bytes()


def test_what_the_caller_says_about_the_model_is_kept(tmp_path, onnx_file):
    transform = FundusTransform(height_px=96, width_px=96, channel_order="bgr")
    said = described(
        "pets",
        weights="trained",
        precision="int8",
        classes=("cat", "dog"),
        output="logits",
        transform=transform,
    )
    written = pack_archive(onnx_file, tmp_path / "model.tar.gz", said)
    read = read_manifest_in_archive(tmp_path / "model.tar.gz")
    assert read == written
    assert (read.classes, read.transform, read.output) == (("cat", "dog"), transform, "logits")


def test_inspect_verify_extract_and_open_agree(tmp_path, archive):
    artifact = extract_archive(archive, tmp_path / "out")
    assert read_manifest_in_archive(archive) == verify_archive(archive) == artifact.manifest
    assert open_artifact(tmp_path / "out") == artifact


def test_the_digest_is_that_of_the_manifest(tmp_path, archive):
    artifact = extract_archive(archive, tmp_path / "out")
    manifest = (tmp_path / "out" / "manifest.json").read_bytes()
    assert artifact.digest == hashlib.sha256(manifest).hexdigest()


@pytest.fixture
def scattered(tmp_path):
    """Make an ONNX file that names a file for its weights."""

    def scatter(location, folder=tmp_path / "scattered"):
        folder.mkdir(exist_ok=True)
        path = tiny_onnx(folder)
        model = onnx.load(path)
        tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "w")
        weights = tensor.raw_data
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        path.write_bytes(model.SerializeToString())
        return path, weights

    return scatter


@pytest.mark.parametrize("name", ["weights.bin", "tiny.onnx.data", "sub/w.bin", "./w.bin"])
def test_weights_beside_an_onnx_file_are_packed_whatever_they_are_called(tmp_path, scattered, name):
    path, weights = scattered(name)
    (path.parent / name).parent.mkdir(exist_ok=True)
    (path.parent / name).write_bytes(weights)
    pack_archive(path, tmp_path / "model.tar.gz", described("grader"))
    artifact = extract_archive(tmp_path / "model.tar.gz", tmp_path / "out")
    assert (artifact.folder / name).read_bytes() == weights
    assert load_model_in_runtime(artifact).predict(
        np.zeros((1, 224, 224, 3), np.float32)
    ).shape == (1, 5)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("weights.bin", "'weights.bin', which is missing"),
        ("../weights.bin", "hidden or outside the model's folder"),
        ("/etc/hostname", "hidden or outside the model's folder"),
        (".ssh/id_rsa", "hidden or outside the model's folder"),
        ("manifest.json", "this name is reserved for another file"),
        ("model.onnx", "this name is reserved for another file"),
    ],
)
def test_weights_that_are_missing_or_elsewhere_are_named(tmp_path, scattered, name, what):
    (tmp_path / "weights.bin").write_bytes(b"outside")
    path, _ = scattered(name)
    with pytest.raises(ArtifactError, match=what):
        pack_archive(path, tmp_path / "model.tar.gz", described("grader"))
    assert not (tmp_path / "model.tar.gz").exists()


def test_a_link_out_of_the_folder_is_not_packed(tmp_path, scattered, saved_model):
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    path, _ = scattered("w.bin")
    (path.parent / "w.bin").symlink_to(secret)
    (saved_model / "assets" / "vocabulary.txt").symlink_to(secret)
    for model in (path, saved_model):
        with pytest.raises(ArtifactError, match=r"outside the model's folder.*cp -rL"):
            pack_archive(model, tmp_path / "model.tar.gz", described("grader"))


def test_a_link_to_a_folder_is_not_left_out(tmp_path, saved_model):
    shutil.move(saved_model / "variables", tmp_path / "variables")
    (saved_model / "variables").symlink_to(tmp_path / "variables")
    with pytest.raises(ArtifactError, match=r"'variables' is a link to a folder.*cp -rL"):
        pack_archive(saved_model, tmp_path / "model.tar.gz", described("grader"))


def test_weights_inside_a_subgraph_are_found(tmp_path):
    tensor = onnx.TensorProto(name="w", dims=[1], data_type=1, data_location=1)
    tensor.external_data.add(key="location", value="w.bin")
    node = onnx.helper.make_node("Constant", [], ["c"], value=tensor)
    inner = onnx.helper.make_graph([node], "inner", [], [])
    outer = onnx.helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
    model = onnx.helper.make_model(onnx.helper.make_graph([outer], "outer", [], []))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert read_paths_of_external_weights(tmp_path / "m.onnx") == ("w.bin",)


def test_what_a_mac_leaves_in_a_saved_model_is_not_packed(tmp_path, saved_model):
    (saved_model / "._saved_model.pb").write_bytes(b"x")
    (saved_model / ".DS_Store").write_bytes(b"x")
    manifest = pack_archive(saved_model, tmp_path / "model.tar.gz", described("grader"))
    assert len(manifest.files) == 3


@pytest.mark.parametrize("name", ["m.ONNX", "model", "m.pb"])
def test_onnx_is_known_by_what_it_is(tmp_path, onnx_file, name):
    manifest = pack_archive(
        onnx_file.rename(tmp_path / name), tmp_path / "m.tar.gz", described("grader")
    )
    assert (manifest.model_format, manifest.entry) == ("onnx", "model.onnx")


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("notes.txt", b"hello", "neither a SavedModel's folder nor an ONNX file"),
        ("m.pth", b"PK\3\4", "a PyTorch file.*torch.onnx.export"),
        ("m.pt", b"\x80\x02", "a PyTorch file"),
        ("m.pkl", b"\x80\x04", "a Python pickle.*runs code"),
        ("m.tflite", b"\x1c\0\0\0TFL3", "a TensorFlow Lite model.*tf.saved_model.save"),
        ("m.onnx", b"\x1c\0\0\0TFL3", "a TensorFlow Lite model"),
        ("m.pb", b"\n\x05graph", "a frozen graph of TensorFlow 1"),
        ("m.safetensors", b"{}", "a file of weights.*whole model"),
        ("m.mlmodel", b"\x08\x05", "a Core ML model"),
        ("m.onnx", b"version https://git-lfs.github.com/spec/v1", "Git LFS.*git lfs pull"),
        ("m.onnx", b"<!DOCTYPE html>", "a web page"),
        ("m.onnx", b"\xff\xd8\xff", "a picture"),
        ("m.onnx", b"", "The file is empty"),
        ("m.onnx", b"junk" * 9, "not ONNX, or is damaged"),
        ("m.onnx", b"\x08\x07", "not ONNX, or is damaged"),
    ],
)
def test_what_is_no_model_is_called_what_it_is(tmp_path, name, content, what):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ArtifactError, match=what):
        pack_archive(tmp_path / name, tmp_path / "model.tar.gz", described("grader"))


def test_a_model_that_is_not_there_is_named(tmp_path):
    for path, what in ((tmp_path, "holds no SavedModel"), (tmp_path / "a", "does not exist")):
        with pytest.raises(ArtifactError, match=what):
            pack_archive(path, tmp_path / "model.tar.gz", described("grader"))


def test_a_refused_manifest_leaves_no_archive(tmp_path, onnx_file):
    with pytest.raises(ManifestError):
        pack_archive(onnx_file, tmp_path / "model.tar.gz", described(""))
    assert not list(tmp_path.glob("*.tar.gz*"))


def test_extracting_into_a_folder_in_use_is_refused(tmp_path, archive):
    extract_archive(archive, tmp_path / "out")
    with pytest.raises(ArtifactError, match="not empty"):
        extract_archive(archive, tmp_path / "out")
