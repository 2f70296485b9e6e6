"""Frozen networks on the same folds: heads that never saw what they predict, results that stay."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from photographs import photograph
from tiny_training import SIDE_PX, paint_eyes, tiny_network

from drdeploy.errors import InvalidInput
from drdeploy.grader.datasets import Fold, load_dataset
from drdeploy.grader.networks import export
from drdeploy.grader.networks.architectures import find_architecture
from drdeploy.grader.training import compare as module
from drdeploy.grader.training.baseline import train_heads_and_predict_out_of_fold
from drdeploy.grader.training.compare import PREDICTIONS, Candidate, NetworkComparison
from drdeploy.grader.training.prepared_photographs import prepare_photographs

MOBILENET = find_architecture("MobileNet").with_input_side(SIDE_PX)
CANDIDATE = Candidate(MOBILENET, "random")


def use_tiny_networks(monkeypatch):
    monkeypatch.setattr(export, "build_network", tiny_network)


def refuse(*_args, **_options):
    raise AssertionError("this has been done before")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return load_dataset(paint_eyes(tmp_path_factory.mktemp("eyes")))


@pytest.fixture(scope="module")
def comparison(dataset, tmp_path_factory):
    """One that has run, by a clock that ticks once a second when it is asked."""
    made = NetworkComparison(dataset, 3, 0, tmp_path_factory.mktemp("compare"))
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_networks(patch)
        made.measure_or_read_result(CANDIDATE, clock=itertools.count().__next__)
    return made


def test_every_photograph_is_predicted(comparison, dataset):
    probabilities = comparison.read_finished_result(CANDIDATE).out_of_fold.probabilities
    assert probabilities.shape == (len(dataset), 5)
    assert np.allclose(probabilities.sum(axis=1), 1)


def test_every_timed_prediction_is_kept(comparison):
    assert comparison.read_finished_result(CANDIDATE).measured.predict_s == (1.0,) * PREDICTIONS


def test_random_weights_are_called_random(comparison):
    assert comparison.read_finished_result(CANDIDATE).measured.weights == "random"


def test_what_is_finished_is_not_done_again(comparison, monkeypatch):
    first = comparison.read_finished_result(CANDIDATE)
    for name in (
        "build_network_with_weights",
        "train_heads_and_predict_out_of_fold",
        "_measure_size_and_speed",
    ):
        monkeypatch.setattr(module, name, refuse)
    again = comparison.measure_or_read_result(CANDIDATE)
    assert again.measured == first.measured
    assert np.array_equal(again.out_of_fold.probabilities, first.out_of_fold.probabilities)


def test_other_folds_need_no_network(comparison, monkeypatch):
    monkeypatch.setattr(module, "build_network_with_weights", refuse)
    other = replace(comparison, folds=2)
    assert other.read_finished_result(CANDIDATE) is None
    assert len(other.measure_or_read_result(CANDIDATE).out_of_fold) == len(comparison.dataset)


def test_other_photographs_and_other_weights_are_another_candidate(comparison, dataset):
    assert (
        replace(comparison, dataset=dataset.select_by_index(range(20))).read_finished_result(
            CANDIDATE
        )
        is None
    )
    assert comparison.read_finished_result(Candidate(MOBILENET, "imagenet")) is None
    assert replace(comparison, seed=1).read_finished_result(CANDIDATE) is None
    assert (
        comparison.read_finished_result(Candidate(MOBILENET.with_input_side(64), "random")) is None
    )


def test_the_same_seed_gives_the_same_predictions(comparison, tmp_path, monkeypatch):
    use_tiny_networks(monkeypatch)
    again = replace(comparison, folder=tmp_path).measure_or_read_result(CANDIDATE)
    first = comparison.read_finished_result(CANDIDATE)
    assert np.array_equal(again.out_of_fold.probabilities, first.out_of_fold.probabilities)


def test_a_result_that_cannot_be_read_is_named(comparison, dataset, tmp_path):
    broken = replace(comparison, folder=tmp_path)
    row = broken.path_of_result(CANDIDATE)
    row.parent.mkdir(parents=True)
    row.write_text("{")
    with pytest.raises(
        InvalidInput, match=r"random-0/.*seed-0\.json: The stored result cannot be read"
    ):
        broken.read_finished_result(CANDIDATE)


def test_weights_that_are_not_there_are_named(comparison, tmp_path):
    with pytest.raises(InvalidInput, match=r"absent\.h5: The weights file does not exist"):
        comparison.read_finished_result(Candidate(MOBILENET, tmp_path / "absent.h5"))


# ---- heads --------------------------------------------------------------------------------


def features_that_tell(values, count, random):
    """A feature for each value, and noise."""
    return (np.eye(count)[values] + random.normal(0, 0.1, (len(values), count))).astype(np.float32)


def halves(n):
    first, second = np.arange(n // 2), np.arange(n // 2, n)
    return (Fold(first, second), Fold(second, first))


def test_a_head_finds_grades_that_the_features_tell():
    random = np.random.default_rng(0)
    labels = random.integers(0, 5, 200)
    features = features_that_tell(labels, 5, random)
    answered = train_heads_and_predict_out_of_fold(features, labels, halves(200), seed=0).argmax(
        axis=1
    )
    assert (answered == labels).mean() > 0.95


def test_a_head_is_not_trained_on_what_it_predicts():
    """Every photograph has a feature of its own: it gives away the label if it was trained on."""
    labels = np.random.default_rng(0).integers(0, 5, 200)
    features = np.eye(200, dtype=np.float32)
    answered = train_heads_and_predict_out_of_fold(features, labels, halves(200), seed=0).argmax(
        axis=1
    )
    assert (answered == labels).mean() < 0.4


def test_a_grade_that_only_the_validated_fold_has_is_never_answered():
    labels = np.array([0, 1] * 10 + [2, 3] * 10)
    features = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    probabilities = train_heads_and_predict_out_of_fold(features, labels, halves(40), seed=0)
    assert np.all(probabilities[:20, [0, 1, 4]] == 0)
    assert np.all(probabilities[20:, [2, 3, 4]] == 0)
    assert np.allclose(probabilities.sum(axis=1), 1)


def test_photographs_that_were_made_again_from_their_originals_are_prepared_again(tmp_path):
    def make(side_px):
        folder = tmp_path / str(side_px)
        folder.mkdir()
        rows = ["file,icdr_grade,source_sha256"]
        for at in range(2):
            (folder / f"{at}.jpg").write_bytes(photograph(side_px, seed=at))
            rows.append(f"{at}.jpg,{at},{at:064}")
        (folder / "labels.csv").write_text("\n".join(rows))
        return load_dataset(folder)

    small, large = make(64), make(96)
    assert small.digest == large.digest
    cache = tmp_path / "cache"
    first, second = (prepare_photographs(one, MOBILENET.transform, cache) for one in (small, large))
    assert not np.array_equal(first.exact, second.exact)
    again = prepare_photographs(large, MOBILENET.transform, cache)
    assert np.array_equal(again.exact, second.exact)
