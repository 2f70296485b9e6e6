"""ONNX Runtime's C library answers as its Python extension does, and says what it refuses."""

import gc
import os
import threading

import numpy as np
import onnxruntime
import psutil
import pytest

from drdeploy.grader.artifacts import extract_archive
from drdeploy.grader.box import box_artifact
from drdeploy.grader.runtimes.onnxruntime_binding import BindingSession
from drdeploy.grader.runtimes.onnxruntime_library import (
    LibraryRefused,
    OnnxRuntimeLibrary,
    find_onnxruntime_library,
)


@pytest.fixture(scope="module")
def library():
    path = find_onnxruntime_library()
    if path is None:
        pytest.skip("the onnxruntime of this system carries no C library")
    return OnnxRuntimeLibrary(path)


@pytest.fixture(scope="module", params=["fp32", "int8"])
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    extract_archive(box_artifact(request.param), folder)
    return str(folder / "model.onnx")


def batches(count, size=1):
    random = np.random.default_rng(count)
    return [random.random((size, 224, 224, 3), dtype=np.float32) * 255 for _ in range(count)]


def test_both_ways_to_onnx_runtime_answer_the_same(library, model):
    here = library.load_onnx_file(model, threads=2, entries={})
    there = BindingSession(model, threads=2, entries={})
    assert library.version == onnxruntime.__version__
    assert here.inputs == there.inputs
    assert here.outputs == there.outputs
    for batch in [*batches(3), *batches(1, size=3)]:
        assert np.array_equal(here.run_batch(batch), there.run_batch(batch))


def test_several_threads_run_one_session(library, model):
    session = library.load_onnx_file(model, threads=1, entries={})
    given = batches(4)
    expected = [session.run_batch(batch) for batch in given]
    wrong = []

    def run(at):
        answers = [session.run_batch(given[at]) for _ in range(5)]
        wrong.extend(at for answer in answers if not np.array_equal(answer, expected[at]))

    threads = [threading.Thread(target=run, args=(at,)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_batch_of_another_shape_is_refused_and_the_next_is_predicted(library, model):
    session = library.load_onnx_file(model, threads=1, entries={})
    (batch,) = batches(1)
    for _ in range(20):
        with pytest.raises(LibraryRefused, match="Got: 100 Expected: 224"):
            session.run_batch(batch[:, :100])
    assert session.run_batch(batch).shape == (1, 5)


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x07" * 1000])
def test_what_is_no_model_is_refused(library, tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(LibraryRefused):
        library.load_onnx_file(str(path), threads=1, entries={})


def test_predictions_give_their_memory_back(library, model):
    session = library.load_onnx_file(model, threads=1, entries={})
    (batch,) = batches(1)
    for _ in range(20):
        session.run_batch(batch)
    gc.collect()
    before = psutil.Process(os.getpid()).memory_info().rss
    for _ in range(300):
        session.run_batch(batch)
    gc.collect()
    after = psutil.Process(os.getpid()).memory_info().rss
    assert after - before < 100 * batch.nbytes
