"""An export says what it is, agrees with its network, and is the same every time."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from drdeploy.errors import InvalidInput, ModelError
from drdeploy.grader.artifacts import extract_archive, read_manifest_in_archive, verify_archive
from drdeploy.grader.networks import export
from drdeploy.grader.networks.architectures import find_architecture
from drdeploy.grader.networks.convert import save_as_onnx

FORMATS = pytest.mark.parametrize("model_format", ["saved_model", "onnx"])


@FORMATS
def test_the_manifest_says_all_that_a_server_needs(exported, model_format):
    manifest = read_manifest_in_archive(exported("mobilenet")[model_format])
    assert (manifest.name, manifest.architecture) == ("mobilenet", "MobileNet")
    assert (manifest.model_format, manifest.precision) == (model_format, "fp32")
    assert manifest.transform == find_architecture("MobileNet").transform
    assert manifest.is_icdr


@FORMATS
def test_random_weights_are_admitted_in_the_manifest(exported, model_format):
    manifest = read_manifest_in_archive(exported("mobilenet")[model_format])
    assert (manifest.weights, manifest.provenance.seed) == ("random", 0)
    assert "mean nothing" in manifest.provenance.notes


@pytest.mark.parametrize(("name", "size_mb"), [("mobilenet", 13.5), ("vgg19", 80.4)])
@FORMATS
def test_every_weight_is_stored_once(exported, name, size_mb, model_format):
    files = verify_archive(exported(name)[model_format]).files
    assert sum(file.size_bytes for file in files) / 1e6 == pytest.approx(size_mb, rel=0.05)


def test_a_deep_network_exports_to_both_formats(tmp_path):
    """Each export is compared with its network; ``make architectures`` does this for all 27."""
    architecture = find_architecture("MobileNetV3Small")
    archives = export.build_and_export_model(architecture.name, tmp_path)
    for model_format in ("saved_model", "onnx"):
        manifest = verify_archive(archives[model_format])
        assert manifest.transform == architecture.transform
        assert manifest.transform.value_range == (0.0, 255.0)


def test_a_network_s_own_normalization_is_part_of_the_graph(tmp_path):
    import keras
    import onnxruntime

    inputs = keras.Input((8, 8, 3))
    normalization = keras.layers.Normalization()
    features = keras.layers.GlobalAveragePooling2D()(normalization(inputs))
    network = keras.Model(inputs, features)
    normalization.set_weights([np.array([1, 2, 3]), np.array([4, 9, 16]), np.array(0)])
    normalization.finalize_state()
    session = onnxruntime.InferenceSession(save_as_onnx(network, tmp_path))
    image = np.full((1, 8, 8, 3), 7, np.float32)
    (answered,) = session.run(None, {session.get_inputs()[0].name: image})
    assert len(session.get_inputs()) == 1
    assert answered[0] == pytest.approx([3, 5 / 3, 1])


SCRIPT = """
import runpy, sys
from pathlib import Path
from drdeploy.grader.networks.convert import CONVERTERS
from drdeploy.grader.networks.frameworks import import_tensorflow_and_keras

import_tensorflow_and_keras().keras.utils.set_random_seed(1)
network = runpy.run_path(sys.argv[1])["build_tiny"]()
for converter in CONVERTERS.values():
    converter(network, Path(sys.argv[2]))
"""


def test_two_processes_write_the_same_bytes(tmp_path):
    folders = [tmp_path / "first", tmp_path / "second"]
    runs = []
    for hash_seed, folder in enumerate(folders):
        folder.mkdir()
        environment = {"PYTHONHASHSEED": str(hash_seed), "PATH": ""}
        tiny = Path(__file__).parents[1] / "conftest.py"
        command = [sys.executable, "-c", SCRIPT, str(tiny), str(folder)]
        runs.append(subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL))
    assert [run.wait(timeout=300) for run in runs] == [0, 0]
    first, second = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}
        for folder in folders
    )
    assert Path("model.onnx") in first
    assert first == second


@FORMATS
def test_the_archive_answers_as_the_network_does(tiny, tmp_path, model_format):
    from drdeploy.grader.runtimes.model_loading import load_model_in_runtime

    archives = export.build_and_export_model("mobilenet", tmp_path, formats=[model_format])
    runtime = load_model_in_runtime(extract_archive(archives[model_format], tmp_path / "out"))
    batch = np.random.default_rng(2).uniform(-1, 1, (3, 224, 224, 3)).astype(np.float32)
    assert np.abs(runtime.predict(batch) - tiny(batch).numpy()).max() < 1e-4


@FORMATS
def test_an_export_that_disagrees_is_refused_and_not_written(
    tiny, tmp_path, monkeypatch, model_format
):
    def convert_another(network, folder):
        for variable in network.weights:
            variable.assign(variable * 1.5)
        return converter(network, folder)

    converter = export.CONVERTERS[model_format]
    monkeypatch.setitem(export.CONVERTERS, model_format, convert_another)
    with pytest.raises(ModelError, match="differ from those of its network by"):
        export.build_and_export_model("mobilenet", tmp_path / "out", formats=[model_format])
    assert not (tmp_path / "out").exists()


def test_an_unknown_architecture_is_refused_before_anything_is_built(tmp_path):
    with pytest.raises(InvalidInput):
        export.build_and_export_model("lenet", tmp_path / "out")
    assert not (tmp_path / "out").exists()
