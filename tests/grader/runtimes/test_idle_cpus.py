"""A photograph on its own may use the CPUs that other workers leave idle."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from drdeploy.errors import ModelLoadFailed
from drdeploy.grader.artifacts import extract_archive
from drdeploy.grader.box import box_artifact
from drdeploy.grader.inference import InferenceService
from drdeploy.grader.runtimes.idle_cpus import ModelForIdleCpus
from drdeploy.grader.runtimes.photographs_in_progress import PhotographsInProgress
from drdeploy.grader.runtimes.runtime import OpenedModel

EXAMPLES = sorted(Path(__file__).parents[3].glob("examples/photographs/*.jpg"))


def model_that_answers(value):
    return OpenedModel("onnxruntime", "1", (), (), lambda data, output: np.array([value]))


@pytest.fixture
def in_progress():
    return PhotographsInProgress()


@pytest.fixture
def model(in_progress):
    return ModelForIdleCpus(model_that_answers(1), lambda: model_that_answers(4), in_progress)


def threads_used(model):
    return model.run(np.zeros(1), 0)[0]


def test_a_photograph_on_its_own_uses_all_cpus_once_the_second_model_is_loaded(model, in_progress):
    with in_progress:
        assert threads_used(model) == 1
        model.load_if_worthwhile(1.0)
        assert threads_used(model) == 4


def test_a_fast_model_is_loaded_only_once(in_progress):
    model = ModelForIdleCpus(model_that_answers(1), pytest.fail, in_progress)
    model.load_if_worthwhile(0.004)
    with in_progress:
        assert threads_used(model) == 1


def test_several_photographs_share_the_cpus(model, in_progress):
    model.load_if_worthwhile(1.0)
    with in_progress:
        with in_progress:
            assert threads_used(model) == 1
        assert threads_used(model) == 4


def test_photographs_of_another_worker_count():
    cells = [0, 0, 0]
    mine, others = PhotographsInProgress(cells, 1), PhotographsInProgress(cells, 2)
    with mine:
        assert not mine.are_several
        with others:
            assert mine.are_several
            assert others.are_several
        assert not mine.are_several
    assert cells == [0, 0, 0]


def test_a_photograph_that_fails_is_counted_no_longer(in_progress):
    with pytest.raises(ZeroDivisionError), in_progress:
        1 / 0  # noqa: B018
    with in_progress:
        assert not in_progress.are_several


def test_many_threads_lose_no_count(in_progress):
    def count():
        for _ in range(2000):
            with in_progress:
                pass

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with in_progress:
        assert not in_progress.are_several


def test_a_model_that_cannot_be_loaded_twice_still_predicts(in_progress):
    def refuse():
        raise ModelLoadFailed("no memory")

    model = ModelForIdleCpus(model_that_answers(1), refuse, in_progress)
    with pytest.raises(ModelLoadFailed):
        model.load_if_worthwhile(1.0)
    with in_progress:
        assert threads_used(model) == 1


@pytest.mark.parametrize("path", EXAMPLES[:4], ids=lambda path: path.stem)
def test_the_answer_is_the_same_bit_for_bit_on_one_thread_and_on_several(path, tmp_path):
    folder = extract_archive(box_artifact(), tmp_path / "model").folder
    shared = InferenceService.load(folder, threads=1)
    alone = InferenceService.load(folder, threads=1, threads_when_alone=2)
    assert alone.model_for_idle_cpus is not None
    alone.model_for_idle_cpus.load_if_worthwhile(1.0)
    data = path.read_bytes()
    ((expected,), (found,)) = shared.infer([data]), alone.infer([data])
    assert found.prediction.probabilities.tobytes() == expected.prediction.probabilities.tobytes()
    assert replace(found, prediction=None, decode_s=0, transform_s=0, predict_s=0) == replace(
        expected, prediction=None, decode_s=0, transform_s=0, predict_s=0
    )


def test_without_more_threads_the_model_is_loaded_once(tmp_path):
    folder = extract_archive(box_artifact(), tmp_path / "model").folder
    service = InferenceService.load(folder, threads=2, threads_when_alone=2)
    assert service.model_for_idle_cpus is None
    service.use_idle_cpus()
