"""A capture session is on one side of every split."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from drdeploy.errors import InvalidInput
from drdeploy.grader.datasets import (
    Dataset,
    LabelledPhotograph,
    find_leaking_groups,
    load_dataset,
    set_copies_aside,
    split_into_grouped_folds,
    split_once_by_group,
)
from drdeploy.grader.grading import Grade


def made_of(*rows):
    """A data set of ``(grade, group)`` without files."""
    photographs = tuple(
        LabelledPhotograph(Path(f"{at}.jpg"), str(at), Grade(grade), None, str(group), str(at))
        for at, (grade, group) in enumerate(rows)
    )
    return Dataset("made", Path("made"), "labels.csv", photographs)


ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 15)), min_size=20, max_size=60)
"""Photographs of up to 16 sessions."""


def or_none(split, *arguments):
    """The folds, or nothing where the sessions are too few; any other error is one."""
    try:
        return split(*arguments)
    except InvalidInput:
        return None


@settings(deadline=None)
@given(rows=ROWS, k=st.integers(2, 6), seed=st.integers(0, 2**32 - 1))
def test_every_photograph_validates_once_and_no_group_is_on_both_sides(rows, k, seed):
    dataset = made_of(*rows)
    folds = or_none(split_into_grouped_folds, dataset, k, seed)
    assume(folds)
    assert len(folds) == k
    for fold in folds:
        assert len(fold.validation) > 0
        assert not set(dataset.groups[fold.train]) & set(dataset.groups[fold.validation])
        both = np.concatenate([fold.train, fold.validation])
        assert sorted(both) == list(range(len(dataset)))
    validated = np.concatenate([fold.validation for fold in folds])
    assert sorted(validated) == list(range(len(dataset)))


@settings(deadline=None)
@given(rows=ROWS, share=st.floats(0.01, 0.99), seed=st.integers(0, 2**32 - 1))
def test_one_split_leaves_neither_side_empty_and_keeps_groups_together(rows, share, seed):
    dataset = made_of(*rows)
    fold = or_none(split_once_by_group, dataset, share, seed)
    assume(fold)
    assert len(fold.train) > 0
    assert len(fold.validation) > 0
    assert not set(dataset.groups[fold.train]) & set(dataset.groups[fold.validation])
    assert sorted([*fold.train, *fold.validation]) == list(range(len(dataset)))


@pytest.mark.parametrize("share", [0.05, 0.15, 0.2, 0.25, 0.3, 0.5, 0.8])
def test_a_share_is_met_where_the_groups_allow_it(share):
    dataset = made_of(*((at % 5, at // 2) for at in range(400)))
    assert len(split_once_by_group(dataset, share).validation) == pytest.approx(share * 400, abs=8)


def test_the_same_seed_gives_the_same_folds_and_another_seed_others():
    dataset = made_of(*((at % 5, at // 2) for at in range(100)))

    def validated(seed):
        return [fold.validation.tolist() for fold in split_into_grouped_folds(dataset, seed=seed)]

    assert validated(0) == validated(0)
    assert validated(0) != validated(1)


def test_folds_of_the_real_photographs_have_every_grade_in_its_share(shared):
    dataset = set_copies_aside(load_dataset(shared / "data" / "idrid_512")).select_training_part()
    share = np.bincount(dataset.grades) / len(dataset)
    for fold in split_into_grouped_folds(dataset):
        in_fold = np.bincount(dataset.grades[fold.validation]) / len(fold.validation)
        assert in_fold == pytest.approx(share, abs=0.02)


def test_more_folds_than_sessions_are_refused():
    with pytest.raises(InvalidInput, match=r"in 3 groups cannot .* 5 folds. Choose 2 to 3 folds"):
        split_into_grouped_folds(made_of((0, "a"), (0, "b"), (0, "c"), (0, "c")))


def test_one_session_cannot_be_split_at_all():
    with pytest.raises(InvalidInput, match="Use more photographs"):
        split_once_by_group(made_of((0, "a"), (1, "a")))


@pytest.mark.parametrize("share", [0, 1, 1.5, float("nan")])
def test_a_share_that_leaves_a_side_empty_is_refused(share):
    with pytest.raises(InvalidInput, match="between 0 and 1"):
        split_once_by_group(made_of((0, "a"), (0, "b")), share)


def test_sessions_across_the_real_splits_are_found(shared):
    assert len(find_leaking_groups(load_dataset(shared / "data" / "idrid_512"))) == 19


def test_the_training_part_can_be_kept_apart_from_the_sessions_of_the_test_part(shared):
    dataset = set_copies_aside(load_dataset(shared / "data" / "idrid_512"))
    apart = dataset.select_training_part(apart_from="test")
    assert not set(apart.groups) & set(dataset.select_split("test").groups)
    dropped = len(dataset.select_training_part()) - len(apart)
    assert dropped == sum("also has photographs in 'test'" in o.reason for o in apart.set_aside) > 0


def test_without_splits_all_of_a_data_set_is_its_training_part():
    dataset = made_of((0, "a"), (1, "b"))
    assert dataset.select_training_part(apart_from="test") is dataset
