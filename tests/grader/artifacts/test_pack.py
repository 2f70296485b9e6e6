"""The same model makes the same archive, and it comes out as it went in."""

import hashlib
import os
import tarfile

import pytest

from drdeploy.errors import ArtifactError, ManifestError
from drdeploy.grader.artifacts import extract, inspect, open_artifact, pack, verify
from drdeploy.grader.fundus.transform import FundusTransform


def test_the_same_model_makes_the_same_bytes(tmp_path, saved_model):
    first, second = tmp_path / "a.tar.gz", tmp_path / "b.tar.gz"
    pack(saved_model, first, name="grader")
    for path in saved_model.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o700)
    pack(saved_model, second, name="grader")
    assert first.read_bytes() == second.read_bytes()


def test_the_manifest_comes_first_so_that_inspecting_reads_little(archive):
    with tarfile.open(archive) as tar:
        assert tar.getnames() == ["manifest.json", "model.onnx"]


def test_a_saved_model_comes_out_as_it_went_in(tmp_path, saved_model):
    pack(saved_model, tmp_path / "model.tar.gz", name="grader")
    artifact = extract(tmp_path / "model.tar.gz", tmp_path / "out")
    for path in saved_model.rglob("*.*"):
        packed = artifact.entry_path / path.relative_to(saved_model)
        assert packed.read_bytes() == path.read_bytes()


def test_what_the_caller_says_about_the_model_is_kept(tmp_path, onnx_file):
    transform = FundusTransform(height_px=96, width_px=96, channel_order="bgr")
    written = pack(
        onnx_file,
        tmp_path / "model.tar.gz",
        name="pets",
        weights="trained",
        precision="int8",
        classes=("cat", "dog"),
        output="logits",
        transform=transform,
    )
    read = inspect(tmp_path / "model.tar.gz")
    assert read == written
    assert (read.classes, read.transform, read.output) == (("cat", "dog"), transform, "logits")


def test_inspect_verify_extract_and_open_agree(tmp_path, archive):
    artifact = extract(archive, tmp_path / "out")
    assert inspect(archive) == verify(archive) == artifact.manifest
    assert open_artifact(tmp_path / "out") == artifact


def test_the_digest_is_that_of_the_manifest(tmp_path, archive):
    artifact = extract(archive, tmp_path / "out")
    manifest = (tmp_path / "out" / "manifest.json").read_bytes()
    assert artifact.digest == hashlib.sha256(manifest).hexdigest()


def test_an_onnx_model_keeps_the_data_beside_it(tmp_path, onnx_file):
    onnx_file.with_name("grader.onnx.data").write_bytes(b"weights")
    pack(onnx_file, tmp_path / "model.tar.gz", name="grader")
    artifact = extract(tmp_path / "model.tar.gz", tmp_path / "out")
    assert (artifact.folder / "grader.onnx.data").read_bytes() == b"weights"


def test_what_is_no_model_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    for path in (tmp_path, tmp_path / "notes.txt", tmp_path / "absent"):
        with pytest.raises(ArtifactError, match="neither"):
            pack(path, tmp_path / "model.tar.gz", name="grader")


def test_a_refused_manifest_leaves_no_archive(tmp_path, onnx_file):
    with pytest.raises(ManifestError):
        pack(onnx_file, tmp_path / "model.tar.gz", name="")
    assert not list(tmp_path.glob("*.tar.gz*"))


def test_extracting_into_a_folder_in_use_is_refused(tmp_path, archive):
    extract(archive, tmp_path / "out")
    with pytest.raises(ArtifactError, match="not empty"):
        extract(archive, tmp_path / "out")
