"""Loading models of every shape, and saying why one cannot be."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_models import described

from drdeploy.errors import InvalidInput, ModelLoadFailed, RuntimeUnavailable
from drdeploy.grader.artifacts import ModelArtifact, ModelManifest, extract_archive, pack_archive
from drdeploy.grader.fundus.transform import FundusTransform
from drdeploy.grader.inference import InferenceService
from drdeploy.grader.runtimes.classifier import Classifier
from drdeploy.grader.runtimes.model_loading import load_model_in_runtime

SIDE_PX = 8
PETS = ("cat", "dog", "eye")
SMALL = FundusTransform(height_px=SIDE_PX, width_px=SIDE_PX)
WEIGHTS = np.random.default_rng(5).normal(size=(3, 3)).astype(np.float32)


def write_onnx(path, *, shape=("n", SIDE_PX, SIDE_PX, 3), dtype=TensorProto.FLOAT, softmax=True):
    """Mean colour, times a matrix, through a softmax; channels where the shape has them."""
    kind = np.float16 if dtype == TensorProto.FLOAT16 else np.float32
    axes = [2, 3] if shape[1] == 3 else [1, 2]
    constants = [
        numpy_helper.from_array(WEIGHTS[: 1 if shape[-1] == 1 else 3].astype(kind), "w"),
        numpy_helper.from_array(np.array(axes, np.int64), "axes"),
    ]
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "w"], ["logits"]),
    ]
    nodes += [helper.make_node("Softmax", ["logits"], ["y"])] if softmax else []
    output = "y" if softmax else "logits"
    graph = helper.make_graph(
        nodes,
        "pets",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info(output, dtype, (shape[0], 3))],
        constants,
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


@pytest.fixture
def pets(tmp_path):
    """A classifier of three classes of its own, packed and extracted."""

    def build(**shape):
        model = write_onnx(tmp_path / "pets.onnx", **shape)
        output = "probabilities" if shape.get("softmax", True) else "logits"
        archive = tmp_path / "model.tar.gz"
        pack_archive(
            model, archive, described("pets", classes=PETS, transform=SMALL, output=output)
        )
        return extract_archive(archive, tmp_path / "model")

    return build


def expected(batch):
    logits = batch.mean(axis=(1, 2)) @ WEIGHTS
    powers = np.exp(logits)
    return powers / powers.sum(axis=1, keepdims=True)


BATCH = np.random.default_rng(6).uniform(-1, 1, (3, SIDE_PX, SIDE_PX, 3)).astype(np.float32)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"shape": ("n", 3, SIDE_PX, SIDE_PX)},
        {"shape": (1, SIDE_PX, SIDE_PX, 3)},
        {"shape": (2, 3, SIDE_PX, SIDE_PX)},
        {"dtype": TensorProto.FLOAT16},
        {"softmax": False},
    ],
    ids=["plain", "channels-first", "one-at-a-time", "two-at-a-time", "half-precision", "logits"],
)
def test_another_classifier_in_any_usual_shape_is_predicted(pets, shape, runtime):
    artifact = pets(**shape)
    got = Classifier(artifact, load_model_in_runtime(artifact, runtime=runtime)).predict(BATCH)
    probabilities = np.stack([one.probabilities for one in got])
    tolerance = 1e-2 if "dtype" in shape else 1e-3
    assert np.abs(probabilities - expected(BATCH)).max() < tolerance
    assert {one.classes for one in got} == {PETS}
    assert all(one.grade is None for one in got)


def save_pets(folder, *, input_name="pixels", signatures=("serving_default",)):
    """The classifier as a SavedModel; without signatures it can be called as ``serve``."""
    import tensorflow as tf

    spec = tf.TensorSpec((None, SIDE_PX, SIDE_PX, 3), tf.float32, name=input_name)
    module = tf.Module()
    module.w = tf.Variable(WEIGHTS)

    @tf.function(input_signature=[spec])
    def predict(pixels):
        return tf.nn.softmax(tf.linalg.matmul(tf.reduce_mean(pixels, axis=[1, 2]), module.w))

    module.serve = predict
    tf.saved_model.save(module, str(folder), signatures=dict.fromkeys(signatures, predict))


@pytest.mark.parametrize(
    "saved",
    [{"input_name": "another_name"}, {"signatures": ("predict",)}, {"signatures": ()}],
    ids=["named-input", "named-signature", "no-signature"],
)
def test_a_saved_model_is_called_by_whatever_way_it_has(tmp_path, saved):
    save_pets(tmp_path / "pets", **saved)
    pack_archive(
        tmp_path / "pets", tmp_path / "m.tar.gz", described("pets", classes=PETS, transform=SMALL)
    )
    artifact = extract_archive(tmp_path / "m.tar.gz", tmp_path / "model")
    assert np.abs(load_model_in_runtime(artifact).predict(BATCH) - expected(BATCH)).max() < 1e-3


def test_a_saved_model_with_nothing_to_call_is_refused(tmp_path):
    import tensorflow as tf

    module = tf.Module()
    module.w = tf.Variable(WEIGHTS)
    tf.saved_model.save(module, str(tmp_path / "pets"))
    pack_archive(
        tmp_path / "pets", tmp_path / "m.tar.gz", described("pets", classes=PETS, transform=SMALL)
    )
    artifact = extract_archive(tmp_path / "m.tar.gz", tmp_path / "model")
    with pytest.raises(ModelLoadFailed, match="no signature"):
        load_model_in_runtime(artifact)


@pytest.mark.parametrize("runtime", ["tensorflow", "openvino"])
def test_another_classifier_as_saved_model_is_predicted(tmp_path, runtime):
    save_pets(tmp_path / "pets")
    pack_archive(
        tmp_path / "pets", tmp_path / "m.tar.gz", described("pets", classes=PETS, transform=SMALL)
    )
    artifact = extract_archive(tmp_path / "m.tar.gz", tmp_path / "model")
    got = Classifier(artifact, load_model_in_runtime(artifact, runtime=runtime)).predict(BATCH)
    assert np.abs(np.stack([one.probabilities for one in got]) - expected(BATCH)).max() < 1e-3
    assert {one.classes for one in got} == {PETS}


def test_a_keras_export_without_manifest_is_predicted(tmp_path):
    import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input((224, 224, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(inputs)
    network = keras.Model(inputs, keras.layers.Dense(4, activation="softmax")(pooled))
    network.export(str(tmp_path / "model" / "1"), verbose=False)
    from drdeploy.grader.artifacts import open_artifact

    artifact = open_artifact(tmp_path / "model")
    batch = np.random.default_rng(1).uniform(-1, 1, (2, 224, 224, 3)).astype(np.float32)
    got = Classifier(artifact, load_model_in_runtime(artifact)).predict(batch)
    assert np.allclose(got[1].probabilities, network(batch).numpy()[1], atol=1e-4)
    assert got[0].classes == ("class_0", "class_1", "class_2", "class_3")


@pytest.mark.parametrize(
    ("fields", "shape", "reason"),
    [
        ({"transform": FundusTransform()}, {}, "does not fit the images"),
        ({"classes": ("cat", "dog")}, {}, "3 outputs, but the manifest names 2 classes"),
        ({}, {"shape": ("n", SIDE_PX, SIDE_PX, 1)}, "not a batch of RGB images"),
        ({}, {"shape": ("n", SIDE_PX, 3)}, "not a batch of RGB images"),
    ],
)
def test_a_model_that_does_not_fit_its_manifest_is_refused(tmp_path, fields, shape, reason):
    write_onnx(tmp_path / "model.onnx", **shape)
    manifest = {"name": "pets", "architecture": "x", "weights": "random", "entry": "model.onnx"}
    manifest |= {"model_format": "onnx", "classes": PETS, "transform": SMALL, **fields}
    with pytest.raises(ModelLoadFailed, match=reason):
        load_model_in_runtime(ModelArtifact(tmp_path, ModelManifest(**manifest), ""))


@pytest.mark.parametrize(
    ("model_format", "runtime", "reason"),
    [
        ("onnx", "onnxruntime", "ONNX Runtime cannot load the model: .*Protobuf parsing failed"),
        ("onnx", "openvino", "OpenVINO cannot load the model: Unable to read the model"),
        ("saved_model", "tensorflow", "TensorFlow cannot load the model: Cannot parse file"),
        ("saved_model", "openvino", "OpenVINO cannot load the model: .*cannot be parsed"),
    ],
)
def test_a_damaged_model_is_refused_with_the_reason(tmp_path, model_format, runtime, reason):
    path = tmp_path / "model" if model_format == "onnx" else tmp_path / "model" / "saved_model.pb"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"\x08\x07damaged" * 40)
    manifest = ModelManifest(
        name="x", architecture="x", weights="random", entry="model", model_format=model_format
    )
    with pytest.raises(ModelLoadFailed, match=reason):
        load_model_in_runtime(ModelArtifact(tmp_path, manifest, ""), runtime=runtime)


def test_a_format_that_the_runtime_does_not_read_names_the_one_that_does(pets):
    with pytest.raises(ModelLoadFailed, match="Choose the runtime onnxruntime"):
        load_model_in_runtime(pets(), runtime="tensorflow")


def test_an_unknown_runtime_is_refused(pets):
    with pytest.raises(InvalidInput, match="Choose one of tensorflow"):
        load_model_in_runtime(pets(), runtime="torch")


def test_zero_threads_are_refused(pets):
    artifact = pets()
    with pytest.raises(InvalidInput, match="0 threads"):
        load_model_in_runtime(artifact, threads=0)
    with pytest.raises(InvalidInput, match="-1 threads"):
        InferenceService.load(artifact.folder, threads_when_alone=-1)


def test_a_library_that_is_not_installed_is_named_with_its_extra(pets, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "drdeploy.grader.runtimes.openvino_runtime", raising=False)
    with pytest.raises(RuntimeUnavailable, match=r"pip install -e '\.\[openvino\]'"):
        load_model_in_runtime(pets(), runtime="openvino")


def test_idle_threads_wait_where_the_limit_is_below_their_number():
    from drdeploy.grader.runtimes.onnxruntime_runtime import choose_session_settings

    entry = "session.intra_op.allow_spinning"
    assert choose_session_settings(2, cpus=1.16)[entry] == "0"
    assert choose_session_settings(2, cpus=2.0)[entry] == "1"


def test_idle_threads_spin_no_longer_than_between_two_layers():
    # By default they go on for a millisecond after the last, which doubles the CPU of a request.
    from drdeploy.grader.runtimes.onnxruntime_runtime import choose_session_settings

    spin_us = choose_session_settings(2, cpus=2.0)["session.intra_op.spin_duration_us"]
    assert 0 < int(spin_us) <= 200


def test_onnx_is_loaded_without_importing_another_runtime(pets):
    artifact = pets()
    script = f"""
import sys
from pathlib import Path
from drdeploy.grader.artifacts import open_artifact
from drdeploy.grader.runtimes.model_loading import load_model_in_runtime
load_model_in_runtime(open_artifact(Path({str(artifact.folder)!r})))
heavy = {{"tensorflow", "openvino", "onnx", "PIL", "pydantic", "boto3", "keras"}}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=300
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@pytest.mark.parametrize(
    ("cpuinfo", "setting"),
    [
        ("processor : 0\nflags\t\t: fpu avx2 avx512f avx512_vnni\n", "0"),
        ("processor : 0\nflags\t\t: fpu avx2 avx_vnni\n", "0"),
        ("processor : 0\nflags\t\t: fpu avx2 avx512f\n", "1"),
        ("processor : 0\nFeatures\t: fp asimd\n", "1"),  # not x86
        (None, "1"),
    ],
)
def test_int8_sums_are_only_slowed_down_where_they_would_be_cut_off(
    cpuinfo, setting, tmp_path, monkeypatch
):
    from drdeploy.grader.runtimes import onnxruntime_runtime
    from drdeploy.grader.runtimes.processor import has_exact_int8_sums

    if cpuinfo is not None:
        (tmp_path / "proc").mkdir()
        others = 100 * "\nprocessor : 1\nflags : avx2\n"
        (tmp_path / "proc" / "cpuinfo").write_text(cpuinfo + others)
    monkeypatch.setattr(
        onnxruntime_runtime, "has_exact_int8_sums", lambda: has_exact_int8_sums(tmp_path)
    )
    settings = onnxruntime_runtime.choose_session_settings(1)
    assert settings["session.x64quantprecision"] == setting
