"""The VGG19 that is written without TensorFlow is the one that TensorFlow writes."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from drdeploy.grader.artifacts import extract_archive
from drdeploy.grader.networks.architectures import find_architecture
from drdeploy.grader.networks.sample import make_sample_batch
from drdeploy.grader.networks.vgg19_onnx import export_random_vgg19_as_onnx
from drdeploy.grader.runtimes.model_loading import load_model_in_runtime


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vgg")
    return extract_archive(export_random_vgg19_as_onnx(folder, seed=0), folder / "ours")


def test_it_answers_as_the_network_that_tensorflow_exports(ours, exported, tmp_path):
    theirs = extract_archive(exported("vgg19")["onnx"], tmp_path / "theirs")
    batch = make_sample_batch(find_architecture("VGG19").transform)[:2]
    one, two = (load_model_in_runtime(artifact).predict(batch) for artifact in (ours, theirs))
    assert np.abs(one - two).max() < 1e-4
    assert ours.manifest.provenance.seed == theirs.manifest.provenance.seed == 0
    assert ours.manifest.weights == theirs.manifest.weights == "random"
    assert ours.manifest.transform == theirs.manifest.transform


def test_it_has_the_study_s_number_of_parameters(ours):
    tensors = onnx.load(ours.entry_path).graph.initializer
    assert sum(numpy_helper.to_array(one).size for one in tensors) == 20_107_205


def test_it_needs_no_tensorflow():
    script = (
        "import sys; import drdeploy.grader.networks.vgg19_onnx; print('tensorflow' in sys.modules)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )
    assert answer.stdout.strip() == "False"
