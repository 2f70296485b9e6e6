"""Graders on labelled photographs: what is judged, by which rule, and what one must know of it."""

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

    from numpy.typing import NDArray

    from drdeploy.grader.artifacts import Clinical, ModelManifest
    from drdeploy.grader.datasets import Dataset, SetAside
    from drdeploy.grader.evaluation.comparison import GraderComparison
    from drdeploy.grader.evaluation.evaluation import Evaluation

TEST = "test"
ALL = "all"


@dataclass(frozen=True)
class Grader:
    """Whose answers are judged.

    Attributes:
        name: What tables call it.
        source: The artifact, or the file of predictions.
        manifest: None where only predictions are known.
    """

    name: str
    source: str
    manifest: ModelManifest | None = None

    @property
    def clinical(self) -> Clinical | None:
        """The decisions that were locked in beforehand, if any."""
        return None if self.manifest is None else self.manifest.clinical

    @property
    def grade_thresholds(self) -> tuple[float, ...] | None:
        """See :class:`drdeploy.grader.grading.Prediction`."""
        return None if self.clinical is None else self.clinical.grade_thresholds


@dataclass(frozen=True)
class TestSet:
    """The photographs that graders are judged on.

    Attributes:
        name: What tables call it.
        source: The folder, or the file of predictions.
        split: Which part of it; ``all`` where it has no parts or all are taken.
        set_aside: Of that part, what is not judged, and why.
        notes: What one must know of it, in sentences.
    """

    __test__ = False  # the name is not pytest's

    name: str
    source: str
    split: str = ALL
    set_aside: tuple[SetAside, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TestPhotographs:
    """Photographs to judge by.

    Attributes:
        test_set: What they are called.
        photographs: Each once.
        whole: The data set that they are a part of.
    """

    test_set: TestSet
    photographs: Dataset
    whole: Dataset


@dataclass(frozen=True, eq=False)
class GraderEvaluation:
    """One grader on one set of photographs.

    Attributes:
        notes: What one must know of the two together, in sentences.
    """

    grader: Grader
    test_set: TestSet
    graded: GradedSet
    evaluation: Evaluation
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class MatrixCell:
    """One field of the matrix of graders and sets of photographs.

    Attributes:
        against: Another grader on the same photographs.
        paired: The first against that one.
    """

    evaluated: GraderEvaluation
    against: GraderEvaluation | None = None
    paired: PairedGraders | None = None

    @classmethod
    def of(
        cls, evaluated: GraderEvaluation, against: GraderEvaluation | None, *, seed: int = 0
    ) -> MatrixCell:
        """Compared, where there is a grader to compare with."""
        if against is None:
            return cls(evaluated)
        return cls(evaluated, against, compare_pairwise(against, evaluated, seed=seed))


@dataclass(frozen=True, eq=False)
class PairedGraders:
    """Two graders on the photographs that both graded.

    Attributes:
        reference: The first of the comparison.
        other: The second.
        graded: The photographs, in the order of the comparison, with the second's probabilities.
        left_out: Photographs that only one of them graded, or that only one was asked.
    """

    reference: Grader
    other: Grader
    comparison: GraderComparison
    graded: GradedSet
    left_out: int


def choose_photographs(
    dataset: Dataset, split: str | None = None, *, new_sessions: bool = False
) -> TestPhotographs:
    """The photographs of a data set to judge by, each once.

    Args:
        dataset: What was loaded.
        split: ``test`` where there is such a split, else ``all``, if None.
        new_sessions: Set aside photographs whose session or patient stands in another split too.

    Raises:
        InvalidInput: There is no such split, or nothing is left of it.
    """
    chosen = split or (TEST if TEST in dataset.splits else ALL)
    once = deduplicate(dataset)
    part = once if chosen == ALL else once.of_split(chosen)
    shared = set() if chosen == ALL else set(leaking_groups(dataset))
    known = [at for at, one in enumerate(part.photographs) if one.group in shared]
    if new_sessions:
        reason = "its session or patient stands in another split too"
        part = part.setting_aside(dict.fromkeys(known, reason), "group")
    if not len(part):
        raise InvalidInput("No photograph is left to judge by", where=str(dataset.folder))
    notes = list(dataset.notes)
    if known and not new_sessions:
        notes.append(
            f"{len(known)} of the {len(part)} photographs share a session or patient with "
            "another split. A grader that was trained on that split knows these eyes: "
            "--new-sessions judges without them."
        )
    if not dataset.knows_groups:
        notes.append(
            "Sessions and patients are not known: intervals treat photographs as independent "
            "and may be too narrow."
        )
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
    """Judge predictions by the thresholds that the grader's manifest locks in.

    Args:
        grader: Whose they are.
        test_set: What they are of.
        graded: The predictions.
        prevalence: Of referable eyes, for the predictive values.
        seed: Of the bootstrap.
        notes: What else one must know.
    """
    evaluation = evaluate_graded(graded, grader.clinical, prevalence=prevalence, seed=seed)
    return GraderEvaluation(grader, test_set, graded, evaluation, notes)


def evaluate_file(
    path: Path, lender: Grader | None, *, prevalence: float | None = None, seed: int = 0
) -> GraderEvaluation:
    """Judge predictions that were made elsewhere, out-of-fold ones for example.

    Args:
        path: A table that :meth:`GradedSet.read` reads.
        lender: Its thresholds are used; the most probable grade counts if None.
        prevalence: Of referable eyes, for the predictive values.
        seed: Of the bootstrap.

    Raises:
        InvalidInput: It is no such table.
    """
    graded = GradedSet.read(path)
    name = f"{path.absolute().parent.name}/{path.name}"
    grader = Grader(name, str(path), None if lender is None else lender.manifest)
    test_set = TestSet(f"{len(graded)} predictions", str(path))
    note = _on_thresholds(lender)
    return evaluate_grader(
        grader, test_set, graded, prevalence=prevalence, seed=seed, notes=(note,)
    )


def _on_thresholds(lender: Grader | None) -> str:
    if lender is None or lender.clinical is None:
        whose = "No artifact lends" if lender is None else f"{lender.name} has no"
        return f"{whose} thresholds: the most probable grade is the answer."
    return (
        f"Thresholds are those of {lender.name}, chosen on {lender.clinical.chosen_on}. If these "
        "are the same predictions, figures at operating points are optimistic."
    )


def notes_on(grader: Grader, choice: TestPhotographs) -> tuple[str, ...]:
    """Why figures of this grader on these photographs mean less than they seem to."""
    if grader.manifest is None:
        return ()
    notes = [RANDOM] if grader.manifest.weights == "random" else []
    seen = _training_photographs(grader.manifest, choice.whole)
    known = sum(one.sha256 in seen for one in choice.photographs.photographs)
    if known:
        notes.append(
            f"{known} of the {len(choice.photographs)} photographs were trained on: these "
            "figures flatter the grader and say nothing of new eyes."
        )
    return tuple(notes)


def _training_photographs(manifest: ModelManifest, whole: Dataset) -> frozenset[str]:
    """Digests of the photographs that the model was trained on, if they are of this data set."""
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
        InvalidInput: They were judged by different labels, or have no photograph in common.
    """
    first, second = _aligned(reference.graded, other.graded)
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
        _grades(reference.grader, first.take(both)),
        _grades(other.grader, second.take(both)),
        groups=first.groups[both],
        seed=seed,
    )
    asked = len(set(reference.graded.files) | set(other.graded.files))
    return PairedGraders(
        reference.grader, other.grader, comparison, second.take(both), asked - both.size
    )


def _aligned(first: GradedSet, second: GradedSet) -> tuple[GradedSet, GradedSet]:
    """The photographs that stand in both, in the first's order."""
    places = {file: at for at, file in enumerate(second.files)}
    common = [at for at, file in enumerate(first.files) if file in places]
    return first.take(common), second.take([places[first.files[at]] for at in common])


def _grades(grader: Grader, graded: GradedSet) -> NDArray[np.intp]:
    return grades_of(graded.probabilities, grader.grade_thresholds)


Named = TypeVar("Named", Grader, TestSet)


def with_distinct_names(named: Sequence[Named]) -> list[Named]:
    """The same; those that share a name are called by where they come from."""
    names = [one.name for one in named]
    return [replace(one, name=one.source) if names.count(one.name) > 1 else one for one in named]
