"""Opening what SageMaker extracted."""

import shutil
import tarfile

import pytest

from drdeploy.errors import ArtifactError, DigestMismatch, ManifestError, UnsafeArchive
from drdeploy.files import sha256_of_file
from drdeploy.grader.artifacts import (
    ArchiveLimits,
    extract_archive,
    open_artifact,
    read_manifest_in_archive,
    verify_archive,
)
from drdeploy.grader.fundus.transform import STUDY_TRANSFORM


@pytest.fixture
def opened(tmp_path, archive):
    return extract_archive(archive, tmp_path / "model")


def bare(saved_model, path, place):
    """An archive as the original study's: a SavedModel somewhere, and no manifest."""
    with tarfile.open(path, "w:gz") as tar:
        tar.add(saved_model, arcname=place)
    return path


def test_a_changed_byte_is_found(opened):
    content = bytearray(opened.entry_path.read_bytes())
    content[10] ^= 1
    opened.entry_path.write_bytes(content)
    with pytest.raises(DigestMismatch, match=r"model\.onnx"):
        open_artifact(opened.folder)


def test_digests_are_not_computed_without_verification(opened):
    content = bytearray(opened.entry_path.read_bytes())
    content[10] ^= 1
    opened.entry_path.write_bytes(content)
    assert open_artifact(opened.folder, verify=False) == opened


def test_a_shortened_file_is_found_even_then(opened):
    opened.entry_path.write_bytes(b"short")
    with pytest.raises(DigestMismatch):
        open_artifact(opened.folder, verify=False)


def test_a_missing_file_is_named(opened):
    opened.entry_path.unlink()
    with pytest.raises(ManifestError, match=r"model\.onnx"):
        open_artifact(opened.folder)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ArtifactError, match="nowhere"):
        open_artifact(tmp_path / "nowhere")


@pytest.mark.parametrize("place", [".", "model", "1", "export/Servo/1"])
def test_a_bare_saved_model_gets_the_study_s_preprocessing(tmp_path, saved_model, place):
    archive = bare(saved_model, tmp_path / "bare.tar.gz", place)
    artifact = extract_archive(archive, tmp_path / "model")
    assert (artifact.entry_path / "saved_model.pb").is_file()
    assert artifact.manifest.transform == STUDY_TRANSFORM
    assert (artifact.manifest.weights, artifact.manifest.classes) == ("unknown", ())
    assert artifact.manifest.output == "probabilities"


def test_a_bare_archive_looks_the_same_from_every_side(tmp_path, saved_model):
    archive = bare(saved_model, tmp_path / "bare.tar.gz", "1")
    artifact = extract_archive(archive, tmp_path / "model")
    opened = open_artifact(tmp_path / "model")
    assert read_manifest_in_archive(archive) == verify_archive(archive) == artifact.manifest
    assert (opened.digest, opened.manifest.entry) == (artifact.digest, artifact.manifest.entry)
    assert opened.digest == sha256_of_file(saved_model / "saved_model.pb")


def test_the_newest_of_numbered_versions_is_taken(tmp_path, saved_model):
    for version in ("2", "10", "9"):
        shutil.copytree(saved_model, tmp_path / "model" / version)
    assert open_artifact(tmp_path / "model").manifest.entry == "10"


def test_several_saved_models_are_refused(tmp_path, saved_model):
    for name in ("left", "right"):
        shutil.copytree(saved_model, tmp_path / "model" / name)
    with pytest.raises(ManifestError, match="2 SavedModels instead of one: 'left/"):
        open_artifact(tmp_path / "model")


def test_a_folder_without_a_model_is_refused(tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(ManifestError, match="neither"):
        open_artifact(tmp_path / "model")


def test_a_bare_archive_is_bounded_too(tmp_path, saved_model):
    archive = bare(saved_model, tmp_path / "bare.tar.gz", ".")
    with pytest.raises(UnsafeArchive):
        read_manifest_in_archive(archive, limits=ArchiveLimits(max_bytes=4096))


def test_an_archive_opens_into_a_folder_that_goes_with_the_artifact(archive, onnx_file):
    artifact = open_artifact(str(archive))
    folder = artifact.folder
    assert artifact.entry_path.read_bytes() == onnx_file.read_bytes()
    del artifact
    assert not folder.exists()


def test_a_refused_archive_leaves_no_folder_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    (tmp_path / "model.tar.gz").write_bytes(b"no archive")
    with pytest.raises(ArtifactError):
        open_artifact(tmp_path / "model.tar.gz")
    assert not any((tmp_path / "scratch").iterdir())
