"""A Keras file is converted, or the layer or input is named that forbids it."""

import json
import shutil
import zipfile

import h5py
import keras
import numpy as np
import pytest
from tiny_models import described

from drdeploy.errors import ModelLoadFailed
from drdeploy.grader.importing import pack_model
from drdeploy.grader.importing.keras_files import convert_keras_file_to_saved_model


def network(outputs=1, inputs=1, extra=()):
    taken = [keras.Input((8, 8, 3), name=f"in{at}") for at in range(inputs)]
    x = keras.layers.Concatenate()(taken) if inputs > 1 else taken[0]
    for layer in extra:
        x = layer(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    made = [keras.layers.Dense(5, "softmax", name=f"out{at}")(x) for at in range(outputs)]
    return keras.Model(taken if inputs > 1 else taken[0], made if outputs > 1 else made[0])


@pytest.fixture
def refused(tmp_path):
    def refuse(file, match):
        (tmp_path / "scratch").mkdir()
        with pytest.raises(ModelLoadFailed, match=match):
            convert_keras_file_to_saved_model(file, tmp_path / "scratch")

    return refuse


@pytest.mark.parametrize("name", ["m.keras", "M.KERAS", "m.h5", "m.hdf5", "M.H5"])
def test_every_kind_of_keras_file_is_converted_and_answers_alike(tmp_path, name):
    import tensorflow as tf

    theirs = network()
    lower = tmp_path / f"saved{name.lower()[1:]}"
    theirs.save(lower)
    file = shutil.move(lower, tmp_path / name)
    (tmp_path / "scratch").mkdir()
    folder = convert_keras_file_to_saved_model(file, tmp_path / "scratch")
    batch = np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 3)).astype(np.float32)
    signature = tf.saved_model.load(folder).signatures["serving_default"]
    (answer,) = signature(tf.constant(batch)).values()
    assert answer.numpy() == pytest.approx(theirs(batch).numpy(), abs=1e-5)


@pytest.mark.parametrize("kind", ["keras", "h5"])
def test_a_keras_file_is_known_by_its_content(tmp_path, kind):
    network().save(tmp_path / f"m.{kind}")
    for name in ("model", "model.zip", "model.onnx"):
        file = shutil.copy(tmp_path / f"m.{kind}", tmp_path / name)
        packed = pack_model(file, tmp_path / "model.tar.gz", described("theirs"))
        assert packed.manifest.model_format == "saved_model"


def test_a_saved_model_without_its_weights_is_refused(tmp_path):
    network().export(tmp_path / "exported", verbose=False)
    shutil.rmtree(tmp_path / "exported" / "variables")
    with pytest.raises(ModelLoadFailed, match=r"lacks its folder 'variables'.*whole folder"):
        pack_model(tmp_path / "exported", tmp_path / "model.tar.gz", described("theirs"))


def test_one_of_several_outputs_is_chosen(tmp_path):
    network(outputs=2).save(tmp_path / "m.keras")
    archive = tmp_path / "model.tar.gz"
    with pytest.raises(ModelLoadFailed, match=r"'out0' .*'out1' .*--output-name"):
        pack_model(tmp_path / "m.keras", archive, described())
    packed = pack_model(tmp_path / "m.keras", archive, described(output_name="out1"))
    assert packed.manifest.output_name == "out1"
    assert packed.manifest.transform.height_px == 8


def test_several_inputs_are_named(tmp_path, refused):
    network(inputs=2).save(tmp_path / "m.keras")
    refused(tmp_path / "m.keras", "takes 2 inputs, not one image: 'in0', 'in1'")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_lambda_layer_is_named_and_not_run(tmp_path, refused, suffix):
    scale = keras.layers.Lambda(lambda x: x / 255, name="scale", output_shape=(8, 8, 3))
    network(extra=[scale]).save(tmp_path / f"m{suffix}")
    refused(
        tmp_path / f"m{suffix}", "The layer 'scale' is a Lambda, whose code drdeploy does not run"
    )


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_layer_of_one_s_own_class_is_named(tmp_path, refused, suffix):
    @keras.saving.register_keras_serializable("mine")
    class Mine(keras.layers.Layer):
        def call(self, x):
            return x * 2

    network(extra=[Mine(name="doubling")]).save(tmp_path / f"m{suffix}")
    refused(tmp_path / f"m{suffix}", "The layer 'doubling' is of the class '.*Mine', whose code")


def test_a_network_without_a_size_of_input_says_so(tmp_path, refused):
    keras.Sequential([keras.layers.GlobalAveragePooling2D()]).save(tmp_path / "m.keras")
    refused(tmp_path / "m.keras", r"does not declare the size of its input\. Call model\.build")


def test_what_keras_2_wrote_without_effect_is_put_right(tmp_path):
    import h5py

    depthwise = keras.layers.DepthwiseConv2D(3, name="depthwise")
    network(extra=[depthwise]).save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "DepthwiseConv2D":
                layer["config"]["groups"] = 1
        file.attrs["model_config"] = json.dumps(config)
    (tmp_path / "scratch").mkdir()
    assert (
        convert_keras_file_to_saved_model(tmp_path / "m.h5", tmp_path / "scratch")
        / "saved_model.pb"
    ).exists()


def test_weights_alone_are_no_network(tmp_path, refused):
    network().save_weights(tmp_path / "m.weights.h5")
    refused(tmp_path / "m.weights.h5", "holds only weights.*model.save")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"junk" * 9, "neither a .keras nor an HDF5 file"),
        (b"PK\3\4 cut", "damaged or incomplete"),
        (b"\x89HDF\r\n\x1a\n cut", "damaged or incomplete"),
    ],
)
def test_what_is_no_keras_file_is_refused(tmp_path, refused, content, what):
    (tmp_path / "m.keras").write_bytes(content)
    refused(tmp_path / "m.keras", what)


def test_a_zip_of_something_else_is_refused(tmp_path, refused):
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as file:
        file.writestr("notes.txt", "x")
    refused(tmp_path / "m.keras", "holds only weights")


def test_a_damaged_part_of_a_compressed_keras_file_is_called_damaged(tmp_path, refused):
    with zipfile.ZipFile(tmp_path / "m.keras", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("config.json", json.dumps({"layers": list(range(1000))}))
    data = bytearray((tmp_path / "m.keras").read_bytes())
    start = data.index(b"config.json") + len("config.json")
    data[start : start + 8] = b"\xff" * 8
    (tmp_path / "m.keras").write_bytes(data)
    refused(tmp_path / "m.keras", "damaged or incomplete")


def test_a_description_that_is_no_text_is_no_network(tmp_path, refused):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = 7
    refused(tmp_path / "m.h5", "holds only weights")
