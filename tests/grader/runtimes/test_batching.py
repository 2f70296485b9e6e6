"""Batches of what several threads ask for at the same time."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from drdeploy.errors import InvalidInput, PredictionFailed
from drdeploy.grader.artifacts import open_artifact
from drdeploy.grader.box import box_artifact
from drdeploy.grader.runtimes.batching import BatchFormer, form_batches_in_runtime
from drdeploy.grader.runtimes.model_loading import load_model_in_runtime


class Model:
    """Doubles what it gets; its first batch waits until it is let go."""

    def __init__(self):
        self.sizes = []
        self.has_begun, self.go = threading.Event(), threading.Event()

    def run(self, data, output):
        self.sizes.append(len(data))
        self.has_begun.set()
        assert self.go.wait(120)
        if np.isnan(data).any():
            raise PredictionFailed("not a number")
        return data * 2 + output


def ask(former, values, threads):
    return [
        threads.submit(former.predict_in_shared_batch, np.full((1, 3), value), 0)
        for value in values
    ]


def wait_until_waiting(former, count):
    with former._changed:
        assert former._changed.wait_for(lambda: former._count_waiting_images() == count, 120)


def test_what_is_asked_while_a_batch_is_predicted_forms_the_next_batches():
    model = Model()
    former = BatchFormer(model.run, largest=4, wait_s=0)
    with ThreadPoolExecutor(8) as threads:
        first = ask(former, [0], threads)
        assert model.has_begun.wait(120)
        others = ask(former, range(1, 8), threads)
        wait_until_waiting(former, 7)
        model.go.set()
        answers = [one.result(30) for one in first + others]
    assert model.sizes == [1, 4, 3]
    for value, answer in enumerate(answers):
        assert np.array_equal(answer, np.full((1, 3), 2 * value))


def test_under_load_a_batch_waits_for_more_until_it_is_full():
    model = Model()
    former = BatchFormer(model.run, largest=2, wait_s=30)
    with ThreadPoolExecutor(3) as threads:
        first = ask(former, [0], threads)  # alone: it does not wait
        assert model.has_begun.wait(120)
        second = ask(former, [1], threads)
        wait_until_waiting(former, 1)
        model.go.set()
        first[0].result(30)
        third = ask(former, [2], threads)
        assert [one.result(30)[0, 0] for one in second + third] == [2, 4]
    assert model.sizes == [1, 2]


def test_a_wait_ends_although_nothing_comes():
    model = Model()
    model.go.set()
    former = BatchFormer(model.run, largest=8, wait_s=0.001)
    former._was_shared = True
    assert former.predict_in_shared_batch(np.ones((1, 3)), 0).tolist() == [[2, 2, 2]]
    assert not former._was_shared


def test_every_thread_of_a_failed_batch_hears_of_it_and_the_next_batch_works():
    model = Model()
    former = BatchFormer(model.run, largest=4, wait_s=0)
    with ThreadPoolExecutor(3) as threads:
        first = ask(former, [0], threads)
        assert model.has_begun.wait(120)
        failing = ask(former, [1, np.nan], threads)
        wait_until_waiting(former, 2)
        model.go.set()
        first[0].result(30)
        for one in failing:
            with pytest.raises(PredictionFailed):
                one.result(30)
    assert former.predict_in_shared_batch(np.ones((1, 3)), 1).tolist() == [[3, 3, 3]]


def test_a_batch_larger_than_the_largest_is_not_divided():
    model = Model()
    model.go.set()
    assert (
        len(BatchFormer(model.run, largest=2, wait_s=0).predict_in_shared_batch(np.ones((5, 3)), 0))
        == 5
    )
    assert model.sizes == [5]


def test_a_real_model_answers_the_same_in_batches():
    plain = load_model_in_runtime(open_artifact(box_artifact("fp32")), threads=1)
    formed = form_batches_in_runtime(plain, largest=4, wait_s=0.002)
    random = np.random.default_rng(7)
    given = [random.random((1, 224, 224, 3), np.float32) * 255 for _ in range(8)]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(formed.predict, given))
    for data, answer in zip(given, answers, strict=True):
        assert np.allclose(answer, plain.predict(data), atol=1e-5)


def test_a_model_of_one_batch_size_is_refused():
    plain = load_model_in_runtime(open_artifact(box_artifact("fp32")), threads=1)
    fixed = replace(plain, signature=replace(plain.signature, batch_size=1))
    with pytest.raises(InvalidInput, match="only takes batches of size 1"):
        form_batches_in_runtime(fixed, largest=4, wait_s=0.002)
