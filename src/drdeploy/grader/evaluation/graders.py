"""Evaluate graders on sets of photographs, and note what limits the results."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from drdeploy.errors import InvalidInput
from drdeploy.grader.datasets import find_leaking_groups, set_copies_aside
from drdeploy.grader.datasets.tables import is_missing_value
from drdeploy.grader.evaluation.comparison import compare_grades
from drdeploy.grader.evaluation.details import (
    EvaluationOptions,
    compute_evaluation_details,
    resolve_prevalence,
)
from drdeploy.grader.evaluation.evaluation import evaluate_graded_set
from drdeploy.grader.evaluation.predictions import GradedSet
from drdeploy.grader.evaluation.training_photographs import (
    KnownPhotographs,
    count_known_photographs,
)
from drdeploy.grader.grading.prediction import grades_from_probabilities
from drdeploy.grader.networks.notes import RANDOM
from drdeploy.photograph_names import PhotographNames

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from drdeploy.grader.artifacts import Clinical, ModelManifest, Recalibration
    from drdeploy.grader.datasets import Dataset, SetAside
    from drdeploy.grader.evaluation.comparison import GraderComparison
    from drdeploy.grader.evaluation.details import EvaluationDetails
    from drdeploy.grader.evaluation.evaluation import Evaluation

TEST = "test"
ALL = "all"


@dataclass(frozen=True)
class Grader:
    """A grader to evaluate.

    Attributes:
        name: The name in tables.
        source: The path of the artifact, or of the file of predictions.
        manifest: The grader's manifest; None if the predictions were read from a table, and no
            grader was named whose thresholds apply.
    """

    name: str
    source: str
    manifest: ModelManifest | None = None

    @property
    def clinical_thresholds(self) -> Clinical | None:
        """The rules in the grader's manifest that turn probabilities into grades, or None."""
        return None if self.manifest is None else self.manifest.clinical

    @property
    def grade_thresholds(self) -> tuple[float, ...] | None:
        """The grade thresholds in the grader's manifest, or None."""
        return (
            None if self.clinical_thresholds is None else self.clinical_thresholds.grade_thresholds
        )

    @property
    def recalibration(self) -> Recalibration | None:
        """How the grader was adapted to a clinic's photographs, or None."""
        return None if self.manifest is None else self.manifest.recalibration


@dataclass(frozen=True)
class TestSet:
    """A description of the photographs that graders are evaluated on.

    Attributes:
        name: The name in tables.
        source: The path of the folder, or of the file of predictions.
        split: Name of the split; ``all`` if the whole data set is used.
        shared: How many of the photographs share a session or patient with another split, or None
            if sessions and patients are not known.
        set_aside: Photographs of the split that are not used, with the reasons.
        notes: Sentences about what limits the results.
    """

    __test__ = False  # the name is not pytest's

    name: str
    source: str
    split: str = ALL
    shared: int | None = None
    set_aside: tuple[SetAside, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TestPhotographs:
    """The photographs on which graders are evaluated, without copies."""

    test_set: TestSet
    photographs: Dataset
    whole: Dataset


@dataclass(frozen=True, eq=False)
class GraderEvaluation:
    """The evaluation of one grader on one set of photographs.

    Attributes:
        grader: The grader.
        test_set: The set of photographs.
        graded: The predictions.
        evaluation: The results.
        details: The results in addition to ``evaluation``, for example by patient and by subgroup.
        notes: Sentences about what limits the results of this grader on these photographs.
        known: How many of the photographs the grader knew before, or None if the evaluation read a
            table of predictions.
    """

    grader: Grader
    test_set: TestSet
    graded: GradedSet
    evaluation: Evaluation
    details: EvaluationDetails
    notes: tuple[str, ...] = ()
    known: KnownPhotographs | None = None


@dataclass(frozen=True, eq=False)
class MatrixCell:
    """One cell of the matrix of graders (rows) and sets of photographs (columns).

    Attributes:
        evaluated: Evaluation of the cell's grader on the cell's photographs.
        against: Evaluation of a reference grader on the same photographs, or None without a
            reference.
        paired: Comparison of the two graders, or None without a reference.
    """

    evaluated: GraderEvaluation
    against: GraderEvaluation | None = None
    paired: PairedGraders | None = None

    @classmethod
    def from_evaluated_graders(
        cls, evaluated: GraderEvaluation, against: GraderEvaluation | None, *, seed: int = 0
    ) -> MatrixCell:
        """Make a cell of the matrix. If there is a reference grader, compare the two graders."""
        if against is None:
            return cls(evaluated)
        return cls(evaluated, against, compare_on_common_photographs(against, evaluated, seed=seed))


@dataclass(frozen=True, eq=False)
class PairedGraders:
    """The comparison of two graders on the photographs that both graded.

    Attributes:
        reference: The first grader of the comparison.
        other: The second grader of the comparison.
        comparison: The differences, second grader minus first grader.
        graded: The photographs in the order of the comparison, with the second grader's
            predictions.
        left_out: Number of photographs that are not compared, because one or both graders did not
            grade them.
    """

    reference: Grader
    other: Grader
    comparison: GraderComparison
    graded: GradedSet
    left_out: int


def choose_test_photographs(
    dataset: Dataset,
    split: str | None = None,
    *,
    new_sessions: bool = False,
    offers_new_sessions: bool = True,
) -> TestPhotographs:
    """Choose the photographs of a data set for an evaluation, without copies.

    ``split`` is the name of a split, or ``all``. If ``split`` is None, the split ``test`` is used
    if there is one, otherwise all photographs.  With ``new_sessions``, photographs whose session or
    patient is also in another split are set aside. ``offers_new_sessions`` says whether the user's
    command has the option ``--new-sessions``, so that a note may recommend it.

    Raises:
        InvalidInput: The data set does not have the split, or no photograph is left.
    """
    chosen = split or (TEST if dataset.has_split(TEST) else ALL)
    once = set_copies_aside(dataset)
    part = once if chosen == ALL else once.select_split(chosen)
    shared = set() if chosen == ALL else set(find_leaking_groups(dataset))
    known = [at for at, one in enumerate(part.photographs) if one.group in shared]
    if new_sessions:
        reason = "the session or patient is in another split too"
        part = part.set_photographs_aside(dict.fromkeys(known, reason), "group")
    if not len(part):
        raise InvalidInput(
            "No photographs are left for the evaluation",
            where=str(dataset.folder),
            remedy=("Leave --new-sessions out, or choose" if new_sessions else "Choose")
            + " another split with --split",
        )
    notes = list(dataset.notes)
    if known and not new_sessions:
        notes.append(
            "Photographs that share a session or patient with another split: "
            f"{len(known)} of {len(part)}. A grader that was trained on the other split has seen "
            "these eyes."
            + (" Leave these photographs out with --new-sessions." if offers_new_sessions else "")
        )
    if new_sessions and chosen == ALL:
        notes.append(
            "--new-sessions leaves no photograph out, because the photographs of all splits are "
            "evaluated."
            if dataset.splits
            else "--new-sessions leaves no photograph out, because the data set has no splits."
        )
    if not dataset.knows_groups:
        notes.append(
            "Sessions and patients are not known. The intervals assume that photographs are "
            "independent, so the intervals may be too narrow."
        )
    test_set = TestSet(
        part.name,
        str(dataset.folder),
        chosen,
        shared=(0 if new_sessions else len(known)) if dataset.knows_groups else None,
        set_aside=part.set_aside,
        notes=tuple(notes),
    )
    return TestPhotographs(test_set, part, dataset)


def evaluate_prediction_table(
    path: Path,
    lender: Grader | None,
    *,
    options: EvaluationOptions = EvaluationOptions(),
    patient: str | None = None,
    names: PhotographNames | None = None,
) -> GraderEvaluation:
    """Evaluate the predictions in a table, which :meth:`GradedSet.read_csv` reads.

    The thresholds of the grader ``lender`` turn the probabilities into grades. If ``lender`` is
    None, the most probable grade is the answer. ``patient`` names the column with the patients, if
    its name is not recognised. If ``names`` is None, the names of photographs are hashed with the
    user's key.

    Raises:
        InvalidInput: The table does not exist or cannot be read.
    """
    wanted = options.columns | ({patient: "--patient"} if patient else {})
    read = GradedSet.read_csv(path, wanted)
    if patient:
        if any(map(is_missing_value, read.columns[patient].tolist())):
            raise InvalidInput(
                f"The column '{patient}' is empty in some rows",
                where=str(path),
                remedy="Fill the column, or leave --patient out",
            )
        further = {name: cells for name, cells in read.columns.items() if name in options.columns}
        read = replace(read, groups=read.columns[patient], group_unit="patient", columns=further)
    graded = read.with_photograph_names(names or PhotographNames.with_user_key())
    name = f"{path.absolute().parent.name}/{path.name}"
    grader = Grader(name, str(path), None if lender is None else lender.manifest)
    test_set = TestSet(f"{len(graded)} predictions", str(path))
    options = use_prevalence_of_grader(options, grader)
    share = resolve_prevalence(
        graded, grader.clinical_thresholds, options.prevalence, grader.recalibration
    )
    evaluation = evaluate_graded_set(
        graded, grader.clinical_thresholds, prevalence=share, seed=options.seed
    )
    details = compute_evaluation_details(
        graded, grader.clinical_thresholds, options, recalibration=grader.recalibration
    )
    notes = (
        _note_origin_of_thresholds(lender),
        *_note_unchanged_probabilities(lender),
        *_note_repeated_names(graded),
    )
    return GraderEvaluation(grader, test_set, graded, evaluation, details, notes)


def _note_origin_of_thresholds(lender: Grader | None) -> str:
    if lender is None or lender.clinical_thresholds is None:
        whose = "no artifact provides" if lender is None else f"{lender.name} has no"
        return f"The most probable grade is the answer, because {whose} thresholds."
    return (
        f"The thresholds are those of {lender.name}, chosen on "
        f"{lender.clinical_thresholds.chosen_on}. If the thresholds were chosen on these "
        "predictions, the results at operating points are optimistic."
    )


def _note_unchanged_probabilities(lender: Grader | None) -> list[str]:
    if lender is None or lender.recalibration is None:
        return []
    note = (
        f"The thresholds are those of a recalibrated grader, {lender.name}. The probabilities in "
        "the table are used as they are. The results are right only if the recalibrated grader "
        "wrote this table."
    )
    return [note]


def _note_repeated_names(graded: GradedSet) -> list[str]:
    repeated = find_repeated_names(graded)
    if not repeated:
        return []
    note = (
        f"Names that several rows of the table have: {len(repeated)}. Each row counts as a "
        "photograph of its own. If a photograph is listed twice, the intervals are too narrow."
    )
    return [note]


def use_prevalence_of_grader(options: EvaluationOptions, grader: Grader) -> EvaluationOptions:
    """Return the options with the prevalence in the grader's manifest, if the user gave none."""
    assumed = None if grader.manifest is None else grader.manifest.prevalence
    if options.prevalence is not None or assumed is None:
        return options
    return replace(options, prevalence=assumed.prevalence)


def find_known_photographs(grader: Grader, choice: TestPhotographs) -> KnownPhotographs | None:
    """Count the photographs that the grader knew before; None without a manifest."""
    if grader.manifest is None:
        return None
    return count_known_photographs(grader.manifest, choice.photographs, choice.whole)


def collect_notes_on_grader(grader: Grader, known: KnownPhotographs | None) -> tuple[str, ...]:
    """Return notes on what limits the meaning of a grader's results."""
    if grader.manifest is None or known is None:
        return ()
    notes = [RANDOM] if grader.manifest.weights == "random" else []
    if known.trained_on:
        notes.append(
            f"The grader was trained on {known.trained_on} of the {known.photographs} photographs. "
            "The results flatter the grader and say nothing about new eyes."
        )
    if known.recalibrated_on:
        notes.append(
            f"The grader was recalibrated on {known.recalibrated_on} of the {known.photographs} "
            "photographs. The results on these photographs look better than they are, because "
            "the probabilities and the thresholds were fitted to them. For results without this "
            "fault, see the output of `model recalibrate`."
        )
    assumed = grader.manifest.prevalence
    if assumed is not None:
        notes.append(
            f"The artifact has a prevalence of {assumed.prevalence:.1%} ({assumed.how}). Grades, "
            "decisions and the first row of the calibration follow from the grader's own "
            "probabilities. Predictive values, and the calibration at a stated prevalence, are "
            "computed for this prevalence, unless you give another with --prevalence."
        )
    if known.prevalence_estimated_on:
        notes.append(
            f"The prevalence was estimated from {known.prevalence_estimated_on} of the "
            f"{known.photographs} photographs. Therefore, the probabilities at this prevalence "
            "may look better calibrated than they are."
        )
    if known.recalibrated_on is None:
        notes.append(
            "The artifact does not list the photographs that it was recalibrated on. If some of "
            "them are among these photographs, the results look better than they are. To get an "
            "artifact that lists them, recalibrate the grader again."
        )
    return tuple(notes)


def compare_on_common_photographs(
    reference: GraderEvaluation, other: GraderEvaluation, *, seed: int = 0
) -> PairedGraders:
    """Compare two graders photograph by photograph, on the photographs that both graded.

    Raises:
        InvalidInput: The two evaluations have different labels, or no graded photograph in common.
            This error is also raised if an evaluation has two photographs with the same name.
    """
    for one in (reference, other):
        repeated = find_repeated_names(one.graded)
        if repeated:
            raise InvalidInput(
                f"Two rows have the name {repeated[0]}, so the photographs of the two graders "
                "cannot be matched",
                where=one.grader.source,
                remedy="Give each photograph a name of its own, and list it once",
            )
    places = {file: at for at, file in enumerate(other.graded.files)}
    common = [at for at, file in enumerate(reference.graded.files) if file in places]
    first = reference.graded.select_by_position(common)
    second = other.graded.select_by_position([places[file] for file in first.files])
    if not np.array_equal(first.labels, second.labels):
        at = int(np.flatnonzero(first.labels != second.labels)[0])
        raise InvalidInput(
            f"The two tables of predictions have different labels for {first.files[at]}",
            where=f"{reference.grader.source}, {other.grader.source}",
            remedy="Compare predictions on the same photographs with the same labels",
        )
    both = np.flatnonzero(first.is_gradable & second.is_gradable)
    if not both.size:
        raise InvalidInput(
            "The two graders have no graded photograph in common",
            where=f"{reference.grader.source}, {other.grader.source}",
            remedy="Compare predictions on the same photographs, with names by the same key",
        )
    comparison = compare_grades(
        first.labels[both],
        grades_from_probabilities(first.probabilities[both], reference.grader.grade_thresholds),
        grades_from_probabilities(second.probabilities[both], other.grader.grade_thresholds),
        groups=first.groups[both],
        seed=seed,
    )
    asked = len(set(reference.graded.files) | set(other.graded.files))
    return PairedGraders(
        reference.grader,
        other.grader,
        comparison,
        second.select_by_position(both),
        asked - both.size,
    )


def find_repeated_names(graded: GradedSet) -> list[str]:
    """Return each name that several photographs of a set of predictions have."""
    return [name for name, count in Counter(graded.files).items() if count > 1]


Named = TypeVar("Named", Grader, TestSet)


def make_names_distinct(named: Sequence[Named]) -> list[Named]:
    """Give each grader or set of photographs a name that no other has.

    If several share one name, each of them is named by the path that it was read from.
    """
    names = [one.name for one in named]
    return [replace(one, name=one.source) if names.count(one.name) > 1 else one for one in named]
