"""Which grader was evaluated on which photographs, and what limits the meaning of the figures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from drdeploy.errors import InvalidInput
from drdeploy.grader.datasets import deduplicate, leaking_groups
from drdeploy.grader.evaluation.comparison import compare
from drdeploy.grader.evaluation.evaluation import evaluate_graded
from drdeploy.grader.evaluation.predictions import GradedSet
from drdeploy.grader.grading.prediction import grades_of
from drdeploy.grader.networks.notes import RANDOM

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from drdeploy.grader.artifacts import Clinical, ModelManifest
    from drdeploy.grader.datasets import Dataset, SetAside
    from drdeploy.grader.evaluation.comparison import GraderComparison
    from drdeploy.grader.evaluation.evaluation import Evaluation

TEST = "test"
ALL = "all"


@dataclass(frozen=True)
class Grader:
    """A grader to evaluate.

    Attributes:
        name: What tables call it.
        source: The path of the artifact, or of the file of predictions.
        manifest: None if only its predictions are known.
    """

    name: str
    source: str
    manifest: ModelManifest | None = None

    @property
    def clinical(self) -> Clinical | None:
        """The thresholds that its manifest holds, if any."""
        return None if self.manifest is None else self.manifest.clinical

    @property
    def grade_thresholds(self) -> tuple[float, ...] | None:
        """See :class:`drdeploy.grader.grading.Prediction`."""
        return None if self.clinical is None else self.clinical.grade_thresholds


@dataclass(frozen=True)
class TestSet:
    """A description of the photographs that graders are evaluated on.

    Attributes:
        name: What tables call it.
        source: The path of the folder, or of the file of predictions.
        split: Which part of it; ``all`` if it has no splits or all are used.
        set_aside: Photographs of that part that are not used, and why.
        notes: What limits the figures, in sentences.
    """

    __test__ = False  # the name is not pytest's

    name: str
    source: str
    split: str = ALL
    set_aside: tuple[SetAside, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TestPhotographs:
    """The photographs that graders are evaluated on.

    Attributes:
        test_set: Their description.
        photographs: Each once.
        whole: The data set that they belong to.
    """

    test_set: TestSet
    photographs: Dataset
    whole: Dataset


@dataclass(frozen=True, eq=False)
class GraderEvaluation:
    """The evaluation of one grader on one set of photographs.

    Attributes:
        grader: Which grader.
        test_set: Which photographs.
        graded: Its predictions.
        evaluation: Every figure.
        notes: What limits the figures of this grader on these photographs, in sentences.
    """

    grader: Grader
    test_set: TestSet
    graded: GradedSet
    evaluation: Evaluation
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class MatrixCell:
    """One cell of the matrix of graders (rows) and sets of photographs (columns).

    Attributes:
        evaluated: That grader on those photographs.
        against: A reference grader on the same photographs, if there is one.
        paired: The comparison of the two.
    """

    evaluated: GraderEvaluation
    against: GraderEvaluation | None = None
    paired: PairedGraders | None = None

    @classmethod
    def of(
        cls, evaluated: GraderEvaluation, against: GraderEvaluation | None, *, seed: int = 0
    ) -> MatrixCell:
        """Make a cell, and compare the two graders if there is a reference."""
        if against is None:
            return cls(evaluated)
        return cls(evaluated, against, compare_pairwise(against, evaluated, seed=seed))


@dataclass(frozen=True, eq=False)
class PairedGraders:
    """Two graders compared on the photographs that both graded.

    Attributes:
        reference: The first of the comparison.
        other: The second.
        comparison: The differences, second minus first.
        graded: The photographs in the order of the comparison, with the second's probabilities.
        left_out: How many photographs one of them did not grade or was not given.
    """

    reference: Grader
    other: Grader
    comparison: GraderComparison
    graded: GradedSet
    left_out: int


def choose_photographs(
    dataset: Dataset, split: str | None = None, *, new_sessions: bool = False
) -> TestPhotographs:
    """Choose the photographs of a data set to evaluate on, each once.

    Args:
        dataset: The whole data set.
        split: A split or ``all``; if None, ``test`` if there is one and otherwise ``all``.
        new_sessions: Set aside photographs whose session or patient is in another split too.

    Raises:
        InvalidInput: There is no such split, or no photograph is left.
    """
    chosen = split or (TEST if TEST in dataset.splits else ALL)
    once = deduplicate(dataset)
    part = once if chosen == ALL else once.of_split(chosen)
    shared = set() if chosen == ALL else set(leaking_groups(dataset))
    known = [at for at, one in enumerate(part.photographs) if one.group in shared]
    if new_sessions:
        reason = "its session or patient is in another split too"
        part = part.setting_aside(dict.fromkeys(known, reason), "group")
    if not len(part):
        raise InvalidInput("No photograph is left to evaluate on", where=str(dataset.folder))
    notes = list(dataset.notes)
    if known and not new_sessions:
        notes.append(
            f"{len(known)} of the {len(part)} photographs share a session or patient with "
            "another split. A grader that was trained on that split knows these eyes; "
            "--new-sessions leaves them out."
        )
    if not dataset.knows_groups:
        notes.append(
            "Sessions and patients are not known, so the intervals take the photographs as "
            "independent and may be too narrow."
        )
    # Copies were set aside in the whole data set: those of other splits are not this part's.
    elsewhere = {str(one.file) for one in dataset.photographs if chosen not in {ALL, one.split}}
    aside = tuple(one for one in part.set_aside if one.file not in elsewhere)
    test_set = TestSet(part.name, str(dataset.folder), chosen, aside, tuple(notes))
    return TestPhotographs(test_set, part, dataset)


def evaluate_grader(
    grader: Grader,
    test_set: TestSet,
    graded: GradedSet,
    *,
    prevalence: float | None = None,
    seed: int = 0,
    notes: tuple[str, ...] = (),
) -> GraderEvaluation:
    """Evaluate a grader's predictions with the thresholds in its manifest.

    Args:
        grader: Whose predictions they are.
        test_set: Of which photographs.
        graded: The predictions.
        prevalence: Share of referable eyes where the grader is used, for the predictive values.
        seed: Of the bootstrap intervals.
        notes: What limits the figures, in sentences.
    """
    evaluation = evaluate_graded(graded, grader.clinical, prevalence=prevalence, seed=seed)
    return GraderEvaluation(grader, test_set, graded, evaluation, notes)


def evaluate_file(
    path: Path, lender: Grader | None, *, prevalence: float | None = None, seed: int = 0
) -> GraderEvaluation:
    """Evaluate predictions in a file, for example out-of-fold ones.

    Args:
        path: A table that :meth:`GradedSet.read` reads.
        lender: A grader whose thresholds are used; if None, the most probable grade counts.
        prevalence: Share of referable eyes where the grader is used, for the predictive values.
        seed: Of the bootstrap intervals.

    Raises:
        InvalidInput: There is no such table.
    """
    graded = GradedSet.read(path)
    name = f"{path.absolute().parent.name}/{path.name}"
    grader = Grader(name, str(path), None if lender is None else lender.manifest)
    test_set = TestSet(f"{len(graded)} predictions", str(path))
    note = _note_on_thresholds(lender)
    return evaluate_grader(
        grader, test_set, graded, prevalence=prevalence, seed=seed, notes=(note,)
    )


def _note_on_thresholds(lender: Grader | None) -> str:
    if lender is None or lender.clinical is None:
        whose = "No artifact lends" if lender is None else f"{lender.name} has no"
        return f"{whose} thresholds, so the most probable grade is the answer."
    return (
        f"The thresholds are those of {lender.name}, chosen on {lender.clinical.chosen_on}. If "
        "these are the same predictions, the figures at operating points are optimistic."
    )


def notes_on(grader: Grader, choice: TestPhotographs) -> tuple[str, ...]:
    """Say why figures of this grader on these photographs mean less than they seem to."""
    if grader.manifest is None:
        return ()
    notes = [RANDOM] if grader.manifest.weights == "random" else []
    trained_on = _training_photographs(grader.manifest, choice.whole)
    known = sum(one.sha256 in trained_on for one in choice.photographs.photographs)
    if known:
        notes.append(
            f"The grader was trained on {known} of the {len(choice.photographs)} photographs: "
            "these figures flatter it and say nothing about new eyes."
        )
    return tuple(notes)


def _training_photographs(manifest: ModelManifest, whole: Dataset) -> frozenset[str]:
    """Digests of the photographs that the model was trained on, if they belong to this data set.

    The manifest names the training photographs by a digest over all of them, so a part of this
    data set is recognised only as a whole.
    """
    once = deduplicate(whole)
    for part in (once.training_part(), once.training_part(apart_from=TEST)):
        if part.digest in manifest.provenance.dataset:
            return frozenset(one.sha256 for one in part.photographs)
    return frozenset()


def compare_pairwise(
    reference: GraderEvaluation, other: GraderEvaluation, *, seed: int = 0
) -> PairedGraders:
    """Compare two graders photograph by photograph, on those that both graded.

    Raises:
        InvalidInput: Their labels differ, or they have no graded photograph in common.
    """
    places = {file: at for at, file in enumerate(other.graded.files)}
    common = [at for at, file in enumerate(reference.graded.files) if file in places]
    first = reference.graded.take(common)
    second = other.graded.take([places[file] for file in first.files])
    if not np.array_equal(first.labels, second.labels):
        at = int(np.flatnonzero(first.labels != second.labels)[0])
        raise InvalidInput(f"The two have different labels for {first.files[at]}")
    both = np.flatnonzero(first.is_gradable & second.is_gradable)
    if not both.size:
        raise InvalidInput(
            "The two have no graded photograph in common",
            where=f"{reference.grader.source}, {other.grader.source}",
        )
    comparison = compare(
        first.labels[both],
        grades_of(first.probabilities[both], reference.grader.grade_thresholds),
        grades_of(second.probabilities[both], other.grader.grade_thresholds),
        groups=first.groups[both],
        seed=seed,
    )
    asked = len(set(reference.graded.files) | set(other.graded.files))
    return PairedGraders(
        reference.grader, other.grader, comparison, second.take(both), asked - both.size
    )


Named = TypeVar("Named", Grader, TestSet)


def with_distinct_names(named: Sequence[Named]) -> list[Named]:
    """Rename those that share a name: they are called by their source instead."""
    names = [one.name for one in named]
    return [replace(one, name=one.source) if names.count(one.name) > 1 else one for one in named]
