"""Only what can be served is packed; the models are those of strangers."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_models import described

from drdeploy.errors import ArtifactError, ModelLoadFailed, RuntimeUnavailable
from drdeploy.grader.artifacts import extract_archive
from drdeploy.grader.fundus.transform import FundusTransform
from drdeploy.grader.importing import pack_model
from drdeploy.grader.inference import WARM_UP_PHOTOGRAPH, InferenceService

CHANNELS_FIRST = ("n", 3, 224, 224)
PIXELS = FundusTransform(value_range=(0, 255))


@pytest.fixture
def model(tmp_path):
    """Make an ONNX file of a network that pools colours; its input and its end are given."""

    def make(shape=CHANNELS_FIRST, dtype=TensorProto.FLOAT, classes=5, end=("Softmax",), **fields):
        weights = np.random.default_rng(3).normal(size=(classes, 3, 3, 3)).astype(np.float32)
        is_last = shape[-1] == 3
        nodes = [helper.make_node("Cast", ["x"], ["float"], to=TensorProto.FLOAT)]
        turn = helper.make_node("Transpose", ["float"], ["turned"], perm=[0, 3, 1, 2])
        nodes += [turn] if is_last else []
        conv = helper.make_node("Conv", ["turned" if is_last else "float", "w"], ["c"])
        pool = helper.make_node("GlobalAveragePool", ["c"], ["g"])
        nodes += [conv, pool, helper.make_node("Flatten", ["g"], ["v0"])]
        nodes += [
            helper.make_node(operator, [f"v{at}"], [f"v{at + 1}"])
            for at, operator in enumerate([*end, "Identity"])
        ]
        answer = f"v{len(end) + 1}"
        outputs = [(answer, [shape[0], classes]), *fields.pop("outputs", [])]
        inputs = [("x", dtype, shape), *fields.pop("inputs", [])]
        graph = helper.make_graph(
            nodes,
            "theirs",
            [helper.make_tensor_value_info(*one) for one in inputs],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, of) for name, of in outputs],
            [numpy_helper.from_array(weights, "w")],
        )
        opsets = [helper.make_opsetid("", fields.pop("opset", 18))]
        opsets += [helper.make_opsetid(name, 1) for name in fields.pop("domains", [])]
        path = tmp_path / "theirs.onnx"
        fields = {"ir_version": 9} | fields
        onnx.save(helper.make_model(graph, opset_imports=opsets, **fields), str(path))
        return path

    return make


@pytest.fixture
def served(tmp_path):
    """Pack a model, and predict with it as a server does."""

    def serve(path, *, size_px=(None, None), **fields):
        archive = tmp_path / "model.tar.gz"
        packed = pack_model(path, archive, described("theirs", **fields), size_px=size_px)
        extract_archive(archive, tmp_path / "opt-ml-model")
        service = InferenceService.load(tmp_path / "opt-ml-model")
        (found,) = service.infer([WARM_UP_PHOTOGRAPH.read_bytes()])
        assert found.prediction is not None
        return packed

    return serve


@pytest.fixture
def refused(tmp_path):
    def refuse(path, match, *, size_px=(None, None), **fields):
        archive = tmp_path / "model.tar.gz"
        with pytest.raises((ModelLoadFailed, ArtifactError), match=match) as error:
            pack_model(path, archive, described("theirs", **fields), size_px=size_px)
        assert not archive.exists()
        return error.value

    return refuse


@pytest.mark.parametrize(
    "shape",
    [
        CHANNELS_FIRST,
        ("n", 224, 224, 3),
        ("n", "c", 224, 224),
        (1, 3, 224, 224),
        (8, 3, 224, 224),
    ],
)
def test_either_order_of_sides_and_any_batch_is_served(model, served, shape):
    assert served(model(shape)).manifest.transform.height_px == 224


def test_percentages_are_called_so(model, refused):
    path = model(end=["Softmax", "Mul"])
    theirs = onnx.load(path)
    theirs.graph.initializer.append(numpy_helper.from_array(np.float32(100), "hundred"))
    next(node for node in theirs.graph.node if node.op_type == "Mul").input.append("hundred")
    onnx.save(theirs, path)
    for output in ("probabilities", "logits"):
        refused(path, r"percentages.*[Dd]ivide the outputs by 100", output=output)


def test_one_output_fewer_than_classes_may_be_ordinal(model, refused):
    refused(model(classes=4, end=["Sigmoid"]), r"ordinal model \(CORAL, CORN\).*inside the model")


def test_logits_that_always_fall_are_noted(model, served):
    path = model(end=["Add"])
    theirs = onnx.load(path)
    falling = np.array([900, 600, 300, 0, -300], np.float32)
    theirs.graph.initializer.append(numpy_helper.from_array(falling, "falling"))
    next(node for node in theirs.graph.node if node.op_type == "Add").input.append("falling")
    onnx.save(theirs, path)
    (note,) = served(path, output="logits").notes
    assert "the answer is always the first class" in note


def test_an_answer_that_does_not_depend_on_the_image_is_refused(model, refused):
    path = model(end=["Mul", "Softmax"])
    theirs = onnx.load(path)
    theirs.graph.initializer.append(numpy_helper.from_array(np.float32(0), "zero"))
    next(node for node in theirs.graph.node if node.op_type == "Mul").input.append("zero")
    onnx.save(theirs, path)
    refused(path, "the same answer for an eye, for noise.*--value-range")


def test_missing_and_incomplete_weights_are_named(model, refused):
    path = model()
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="w", size_threshold=0)
    (path.parent / "w").write_bytes(b"cut")
    error = refused(path, "out of bounds.*together with the files that hold its weights")
    assert ".cc:" not in str(error)
    (path.parent / "w").unlink()
    refused(path, "keeps its weights in 'w', which is missing")


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.onnx", b"", "is empty"),
        ("a.onnx", b"junk", "not ONNX, or is damaged"),
        ("a.onnx", b"\x1f\x8b\x08", "compressed with gzip.*extract the file"),
        (
            "a.zip",
            b"PK\3\4",
            "a zip archive.*Extract the archive, and pack the model that is inside",
        ),
        ("a.onnx", b"PK\3\4".ljust(30, b"\0") + b"archive/data.pkl", "a PyTorch file.*torch.onnx"),
        ("a.pt2", b"PK\3\4", "a PyTorch file.*torch.onnx.export"),
        ("a.mar", b"PK\3\4", "TorchServe.*torch.onnx.export"),
        ("a.xml", b"<?xml version='1.0'?><Error><Code>AccessDenied", "a server's error message"),
        ("ckpt-1.data-00000-of-00001", b"x", "a checkpoint.*whole model"),
        ("saved_model.pb", b"x", "only a part of a SavedModel.*Name the folder"),
    ],
)
def test_what_is_no_model_is_named_with_a_remedy_that_helps(
    tmp_path, refused, name, content, match
):
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, match)


def test_an_empty_and_a_half_copied_saved_model_are_named(tmp_path, refused):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "saved_model.pb").touch()
    refused(tmp_path / "empty", r"saved_model\.pb: The file is empty")
    (tmp_path / "unzipped").mkdir()
    (tmp_path / "unzipped" / "model.weights.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    refused(tmp_path / "unzipped", r"'model\.weights\.h5'.*whole model")


def test_the_size_is_the_model_s_own(model, served):
    transform = served(model(("n", 3, 96, 64))).manifest.transform
    assert (transform.height_px, transform.width_px) == (96, 64)


@pytest.mark.parametrize("shape", [("n", 3, "h", "w"), ("n", "h", "w", 3), ("n", "c", "h", "w")])
def test_an_open_size_is_asked_for(model, served, refused, shape):
    path = model(shape)
    refused(path, "does not declare the image size.*--height-px 224")
    transform = served(path, size_px=(96, 96)).manifest.transform
    assert (transform.height_px, transform.width_px) == (96, 96)


def test_the_side_of_the_channels_is_found_out_by_trying(model, served):
    packed = served(model(("n", "c", "h", "w")), size_px=(64, 64))
    assert packed.manifest.input_layout == "nchw"


def test_a_size_that_the_model_does_not_take_is_refused(model, refused):
    refused(model(), "does not fit the images of 64 x 64.*--height-px", size_px=(64, 64))


def test_a_layout_that_the_model_does_not_have_is_refused(model, refused):
    refused(model(), "a different order of axes than 'nhwc'", input_layout="nhwc")


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_other_floating_point_numbers_are_served(model, served, dtype):
    served(model(dtype=dtype))


@pytest.mark.parametrize("dtype", [TensorProto.UINT8, TensorProto.INT32, TensorProto.INT64])
def test_a_model_of_whole_numbers_gets_whole_numbers_or_is_refused(model, served, refused, dtype):
    path = model(dtype=dtype)
    refused(path, "takes whole numbers.*--value-range 0,255")
    served(path, transform=PIXELS)


def test_one_of_several_outputs_is_chosen_by_its_name(model, served, refused):
    path = model(outputs=[("c", ["n", 5, 222, 222])])
    refused(path, r"2 outputs: 'v2' \(any x 5\), 'c' \(any x 5 x 222 x 222\).*--output-name")
    refused(path, "no output 'grades'", output_name="grades")
    refused(path, "does not have one row per image", output_name="c")
    assert served(path, output_name="v2").manifest.output_name == "v2"


def test_a_second_input_is_named(model, refused):
    path = model(inputs=[("age", TensorProto.FLOAT, ["n", 1])])
    refused(path, r"takes 2 inputs, not one image: .*'age' \(any x 1\)")


@pytest.mark.parametrize("shape", [("n", 1, 224, 224), ("n", 4, 224, 224)])
def test_what_takes_no_rgb_images_is_refused(model, refused, shape):
    refused(model(shape), "not a batch of RGB images")


@pytest.mark.parametrize("output", ["probabilities", "logits"])
def test_separate_scores_are_no_probabilities_and_no_logits(model, refused, output):
    error = refused(model(end=["Sigmoid"]), "separate scores", output=output)
    assert "logits" not in error.remedy


@pytest.mark.parametrize("end", [(), ("Sigmoid",)])
@pytest.mark.parametrize("output", ["probabilities", "logits"])
def test_one_value_per_image_is_no_classifier(model, refused, end, output):
    refused(model(classes=1, end=end), "one value per image", output=output, classes=())


def test_logits_are_advised_where_they_help(model, served, refused):
    path = model(end=[])
    refused(path, "--output logits", output="probabilities")
    served(path, output="logits")


def test_logarithms_of_probabilities_are_called_so(model, refused):
    refused(model(end=["LogSoftmax"]), "logarithms of probabilities.*--output logits")


def test_probabilities_are_no_logits(model, refused):
    refused(model(), "probabilities already, not logits", output="logits")


@pytest.mark.parametrize("count", [2, 4, 7])
def test_another_number_of_classes_is_named_or_refused(model, served, refused, count):
    path = model(classes=count)
    refused(path, f"{count} outputs, but the manifest names 5 classes.*--classes")
    served(path, classes=tuple("abcdefg"[:count]))


def test_values_that_are_not_numbers_are_refused(model, refused):
    refused(model(end=["Log", "Log", "Softmax"]), "not numbers")


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"opset": 99}, "older opset"),
        ({"ir_version": 99}, "older opset"),
        ({"end": ["Custom"], "domains": ["com.example"]}, "own operators"),
    ],
)
def test_what_the_runtime_does_not_know_has_its_remedy(model, refused, fields, match):
    path = model(**fields)
    if "domains" in fields:
        theirs = onnx.load(path)
        next(node for node in theirs.graph.node if node.op_type == "Custom").domain = "com.example"
        onnx.save(theirs, path)
    assert ".cc:" not in str(refused(path, match))


def test_without_the_runtime_the_model_is_packed_and_that_is_said(model, served, monkeypatch):
    def missing(*_, **__):
        raise RuntimeUnavailable("The runtime onnxruntime is not installed", remedy="Install it")

    with monkeypatch.context() as patched:
        patched.setattr("drdeploy.grader.importing.trial_prediction.open_model", missing)
        packed = served(model())
    assert packed.notes == [
        "the model was not tried: The runtime onnxruntime is not installed; install it."
    ]


def test_a_folder_that_holds_a_model_file_names_it(model, refused):
    refused(model().parent, r"Give the file: .*theirs\.onnx")


def test_an_empty_folder_is_refused(tmp_path, refused):
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "holds no SavedModel")


def test_a_folder_of_weights_says_what_they_are(tmp_path, refused):
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "model.safetensors").write_bytes(b"x")
    refused(tmp_path / "hub", "'model.safetensors' is a file of weights.*whole model")
