"""Smaller graphs answer as their originals do, and their archives say what became of them."""

import json
import shutil

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_models import described
from typer.testing import CliRunner

from drdeploy.cli.app import build_app
from drdeploy.errors import InvalidInput, ModelLoadFailed
from drdeploy.grader.artifacts import (
    Clinical,
    OperatingPoint,
    Rate,
    extract_archive,
    pack_archive,
    read_manifest_in_archive,
)
from drdeploy.grader.grading import Grade
from drdeploy.grader.quantization import quantize as quantization
from drdeploy.grader.quantization.convert import (
    divide_onnx_logits_by_temperature,
    round_values_to_bf16,
    write_quantized_onnx,
)
from drdeploy.grader.runtimes.model_loading import load_model_in_runtime
from drdeploy.grader.synthetic.photograph import paint_synthetic_photograph

SIDE_PX = 224


def conv_net(folder, filters=64):
    """Two convolutions with kernels of very different ranges, pooling, five grades."""
    random = np.random.default_rng(0)
    spread = np.geomspace(0.02, 2, filters)
    weights = {
        "k1": random.normal(size=(filters, 3, 8, 8)) * spread[:, None, None, None] / 8,
        "k2": random.normal(size=(filters, filters, 3, 3)) / spread[None, :, None, None] / 60,
        "w": random.normal(size=(filters, 5)),
        "low": np.array(0.0),
        "high": np.array(6.0),
    }
    nodes = [
        helper.make_node("Transpose", ["image"], ["x"], "t", perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["x", "k1"], ["c1"], "c1", strides=[8, 8]),
        helper.make_node("Clip", ["c1", "low", "high"], ["r1"], "r1"),
        helper.make_node("Conv", ["r1", "k2"], ["c2"], "c2", pads=[1, 1, 1, 1]),
        helper.make_node("Clip", ["c2", "low", "high"], ["r2"], "r2"),
        helper.make_node("GlobalAveragePool", ["r2"], ["g"], "g"),
        helper.make_node("Flatten", ["g"], ["f"], "f"),
        helper.make_node("MatMul", ["f", "w"], ["l"], "l"),
        helper.make_node("Softmax", ["l"], ["probabilities"], "s", axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", SIDE_PX, SIDE_PX, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 5])],
        [
            numpy_helper.from_array(value.astype(np.float32), name)
            for name, value in weights.items()
        ],
    )
    path = folder / "net.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    return path


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    return conv_net(tmp_path_factory.mktemp("net"))


@pytest.fixture(scope="module")
def inputs():
    return np.random.default_rng(1).uniform(-1, 1, (6, SIDE_PX, SIDE_PX, 3)).astype(np.float32)


def answer(path, inputs):
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": inputs})[0]


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("int8", 0.1), ("bf16", 0.01), ("fp16", 0.01)]
)
def test_a_smaller_graph_answers_nearly_the_same(net, inputs, tmp_path, precision, tolerance):
    small = write_quantized_onnx(net, tmp_path / "s.onnx", precision, [one[None] for one in inputs])
    before, after = answer(net, inputs), answer(small, inputs)
    assert np.abs(before - after).max() < tolerance
    assert not np.array_equal(before, after)


def test_int8_moves_no_logit_in_one_direction(net, inputs, tmp_path):
    small = write_quantized_onnx(net, tmp_path / "s.onnx", "int8", [one[None] for one in inputs])
    before, after = (np.log(answer(path, inputs)) for path in (net, small))
    centred = [one - one.mean(axis=1, keepdims=True) for one in (before, after)]
    assert (centred[1] - centred[0]).mean(axis=0) == pytest.approx(np.zeros(5), abs=1e-5)


def test_int8_is_a_quarter_of_the_size_and_per_channel(net, inputs, tmp_path):
    small = write_quantized_onnx(net, tmp_path / "s.onnx", "int8", [inputs[:1]])
    assert small.stat().st_size < 0.65 * net.stat().st_size  # k1 and the head are a third
    tensors = {one.name: one for one in onnx.load(small).graph.initializer}
    scales = numpy_helper.to_array(tensors["k2_scale"])
    assert scales.shape == (64,)
    assert len(np.unique(scales)) > 32


def test_the_first_convolution_and_the_head_stay_in_float(net, inputs, tmp_path):
    small = write_quantized_onnx(net, tmp_path / "s.onnx", "int8", [inputs[:1]])
    types = {one.name: one.data_type for one in onnx.load(small).graph.initializer}
    assert types["k1"] == types["w"] == TensorProto.FLOAT
    assert types["k2_quantized"] == TensorProto.INT8


def test_probabilities_sum_to_one(net, inputs, tmp_path):
    small = write_quantized_onnx(net, tmp_path / "s.onnx", "int8", [inputs[:1]])
    assert answer(small, inputs).sum(axis=1) == pytest.approx(np.ones(6), abs=1e-6)


def test_bf16_rounds_to_the_nearest_with_ties_to_even():
    values = np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-7, 3.14159], np.float32)
    expected = [1.0, 1.0, 1 + 2**-6, -1 - 2**-7, 3.140625]
    assert round_values_to_bf16(values).tolist() == expected


def test_an_unknown_precision_is_refused(net, tmp_path):
    with pytest.raises(InvalidInput, match="int4"):
        write_quantized_onnx(net, tmp_path / "s.onnx", "int4", [])


def test_a_file_that_is_no_graph_is_refused(tmp_path):
    (tmp_path / "no.onnx").write_bytes(b"no graph")
    with pytest.raises(ModelLoadFailed):
        write_quantized_onnx(tmp_path / "no.onnx", tmp_path / "s.onnx", "bf16", [])


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """Forty small synthetic photographs with grades."""
    folder = tmp_path_factory.mktemp("labelled")
    lines = ["file,icdr_grade"]
    for at in range(40):
        grade = Grade(at % 5)
        data = paint_synthetic_photograph(at, grade=grade, width_px=320, height_px=240)
        (folder / f"{at}.jpg").write_bytes(data)
        lines.append(f"{at}.jpg,{int(grade)}")
    (folder / "labels.csv").write_text("\n".join(lines))
    return folder


@pytest.fixture
def archive(net, tmp_path):
    path = tmp_path / "net-fp32.tar.gz"
    clinical = Clinical(chosen_on="nothing", grade_thresholds=(0.5, 0.5, 0.5, 0.5))
    pack_archive(net, path, described("net", clinical=clinical))
    return path


def run(*arguments):
    return CliRunner().invoke(build_app(), ["model", "quantize", *map(str, arguments)])


def test_the_command_writes_an_archive_that_says_what_it_is(archive, labelled):
    result = run(archive, "--calibration", labelled, "--images", 5, "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == 0, result.output
    assert document["verdict"] == "undecided"
    assert document["images_needed"] > 40
    manifest = read_manifest_in_archive(archive.with_name("net-int8.tar.gz"))
    assert manifest.precision == "int8"
    assert manifest.quantization.verdict == "undecided"
    assert (
        manifest.clinical.chosen_on
        == f"predictions of this model for 35 photographs of {labelled.name}"
    )
    assert manifest.clinical.grade_thresholds == (0.5, 0.5, 0.5, 0.5)
    assert len(manifest.clinical.operating_points) == 4
    assert {test["measure"] for test in document["tests"]} >= {"specificity at grade >= 2"}
    assert archive.with_name("net-int8-quantization.json").is_file()


def test_both_runtimes_give_the_same_grades(archive, labelled, inputs, tmp_path):
    run(archive, "--calibration", labelled, "--images", 5)
    artifact = extract_archive(archive.with_name("net-int8.tar.gz"), tmp_path / "int8")
    one, two = (
        load_model_in_runtime(artifact, runtime=name) for name in ("onnxruntime", "openvino")
    )
    assert np.array_equal(one.predict(inputs).argmax(axis=1), two.predict(inputs).argmax(axis=1))


def test_a_refused_model_is_not_written_unless_forced(archive, labelled, monkeypatch):
    def spoilt(model, out, precision, batches):
        loaded = onnx.load(model)
        (weights,) = (one for one in loaded.graph.initializer if one.name == "w")
        healthy = np.zeros((64, 5), np.float32)
        healthy[:, 0] = 1.0
        weights.CopyFrom(numpy_helper.from_array(healthy, "w"))
        onnx.save(loaded, out)
        return out

    monkeypatch.setattr(quantization, "write_quantized_onnx", spoilt)
    target = archive.with_name("net-int8.tar.gz")
    result = run(archive, "--calibration", labelled, "--json")
    assert (json.loads(result.stdout)["verdict"], result.exit_code) == ("refused", 1)
    assert not target.exists()
    forced = run(archive, "--calibration", labelled, "--force")
    assert forced.exit_code == 0
    assert read_manifest_in_archive(target).quantization.verdict == "refused"


def test_the_verdict_judges_the_decisions_at_the_operating_points(net, labelled, tmp_path):
    """The original flags no eye, and the quantized grader is to find 95 % of the diseased eyes."""
    path = tmp_path / "net-fp32.tar.gz"
    unknown = Rate(0.9, 0.8, 0.95, 100)
    point = OperatingPoint(
        name="high_sensitivity",
        at_or_above=2,
        threshold=0.9999,
        sensitivity=unknown,
        specificity=unknown,
    )
    clinical = Clinical(
        chosen_on="nothing", grade_thresholds=(0.5, 0.5, 0.5, 0.5), operating_points=(point,)
    )
    pack_archive(net, path, described("net", clinical=clinical))
    document = json.loads(run(path, "--calibration", labelled, "--images", 5, "--json").stdout)
    changes = {test["measure"]: test["change"] for test in document["tests"]}
    assert document["verdict"] == "refused"
    assert changes["sensitivity at the high-sensitivity point, grade >= 2"] >= 0.95
    assert changes["specificity at the high-sensitivity point, grade >= 2"] < -0.02
    assert "specificity at the high-sensitivity point, grade >= 2" in document["reason"]


def test_what_is_no_fp32_onnx_archive_is_refused(archive, labelled):
    run(archive, "--calibration", labelled, "--precision", "bf16", "--images", 5)
    again = run(archive.with_name("net-bf16.tar.gz"), "--calibration", labelled)
    assert isinstance(again.exception, InvalidInput)
    assert "not onnx in bf16" in str(again.exception)
    missing = run(archive.with_name("none.tar.gz"), "--calibration", labelled)
    assert isinstance(missing.exception, InvalidInput)
    assert str(missing.exception).startswith(str(archive.with_name("none.tar.gz")))


def test_a_folder_of_photographs_is_all_that_the_library_needs(archive, labelled):
    outcome = quantization.quantize(str(archive), str(labelled), images=5, seed=1)
    assert outcome.archive == archive.with_name("net-int8.tar.gz")
    assert outcome.calibrated_on == f"5 photographs of {labelled.name}"
    assert outcome.validated_on == f"35 photographs of {labelled.name}"
    assert read_manifest_in_archive(outcome.archive).quantization.verdict == outcome.verdict.outcome


def test_a_damaged_photograph_is_set_aside_and_that_is_said(archive, labelled, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(labelled, folder)
    for file in folder.glob("*.jpg"):  # whichever are chosen, some of them are damaged
        if int(file.stem) % 2:
            data = file.read_bytes()
            file.write_bytes(data[: len(data) // 2])
    outcome = quantization.quantize(archive, folder, images=10)
    assert outcome.calibrated_on != f"10 photographs of {folder.name}"
    assert any("set aside" in note and "unreadable" in note for note in outcome.notes)
    assert outcome.document["notes"] == list(outcome.notes)


def test_the_original_is_not_overwritten_and_no_split_is_ignored(archive, labelled):
    before = archive.read_bytes()
    with pytest.raises(InvalidInput, match="would overwrite the original"):
        quantization.quantize(archive, labelled, archive)
    with pytest.raises(InvalidInput, match="only among the photographs of --validation"):
        quantization.quantize(archive, labelled, split="test")
    with pytest.raises(InvalidInput, match="calibrated on -1 photographs"):
        quantization.quantize(archive, labelled, images=-1)
    assert archive.read_bytes() == before


def predict_gray(archive, folder):
    """What a packed model answers to a gray picture."""
    runtime = load_model_in_runtime(extract_archive(archive, folder))
    return runtime.predict(np.zeros((1, SIDE_PX, SIDE_PX, 3), np.float32))


def test_the_smaller_model_is_calibrated_on_its_own_predictions(archive, labelled, tmp_path):
    outcome = quantization.quantize(archive, labelled, validation=labelled, images=5, force=True)
    assert read_manifest_in_archive(outcome.archive).clinical.temperature == 1  # 40 are too few
    before = predict_gray(outcome.archive, tmp_path / "plain")
    folder = tmp_path / "more"
    folder.mkdir()
    lines = ["file,icdr_grade"]
    for at in range(60):
        data = paint_synthetic_photograph(
            100 + at, grade=Grade(at % 5), width_px=320, height_px=240
        )
        (folder / f"{at}.jpg").write_bytes(data)
        lines.append(f"{at}.jpg,{at % 5}")
    (folder / "labels.csv").write_text("\n".join(lines))
    calibrated = quantization.quantize(archive, labelled, validation=folder, images=5, force=True)
    manifest = read_manifest_in_archive(calibrated.archive)
    assert manifest.clinical.temperature != 1
    after = predict_gray(calibrated.archive, tmp_path / "calibrated")
    logits = np.log(before) / manifest.clinical.temperature
    expected = np.exp(logits) / np.exp(logits).sum()
    assert after == pytest.approx(expected, abs=1e-5)


def test_the_temperature_is_inside_every_precision(net, inputs, tmp_path):
    for precision in ("int8", "bf16", "fp16"):
        small = write_quantized_onnx(net, tmp_path / "t.onnx", precision, [inputs[:1]])
        plain = answer(small, inputs)
        divide_onnx_logits_by_temperature(small, 2.0)
        softened = np.sqrt(plain)
        assert answer(small, inputs) == pytest.approx(
            softened / softened.sum(axis=1, keepdims=True), abs=2e-3
        )
