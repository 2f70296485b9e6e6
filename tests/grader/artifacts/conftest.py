"""Models that are files to an archive and nothing more."""

import pytest

from drdeploy.grader.artifacts import pack


@pytest.fixture
def onnx_file(tmp_path):
    path = tmp_path / "grader.onnx"
    path.write_bytes(bytes(range(256)) * 64)
    return path


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
    pack(onnx_file, path, name="grader", weights="random")
    return path
