"""Models of a few hundred bytes, and a SavedModel that is files to an archive and nothing more."""

import pytest
from tiny_models import described, tiny_onnx

from drdeploy.grader.artifacts import pack_archive


@pytest.fixture
def onnx_file(tmp_path):
    return tiny_onnx(tmp_path).rename(tmp_path / "grader.onnx")


@pytest.fixture
def saved_model(tmp_path):
    """A folder laid out as TensorFlow does."""
    folder = tmp_path / "saved"
    (folder / "variables").mkdir(parents=True)
    (folder / "assets").mkdir()
    (folder / "saved_model.pb").write_bytes(b"graph" * 99)
    (folder / "variables" / "variables.index").write_bytes(b"index")
    (folder / "variables" / "variables.data-00000-of-00001").write_bytes(b"\x01\x02" * 5000)
    return folder


@pytest.fixture
def archive(tmp_path, onnx_file):
    path = tmp_path / "model.tar.gz"
    pack_archive(onnx_file, path, described("grader", weights="random"))
    return path
