"""Evaluate artifacts on folders of labelled photographs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from drdeploy.errors import InvalidInput
from drdeploy.grader.artifacts import open_artifact, read_manifest_in_archive
from drdeploy.grader.box import box_artifact
from drdeploy.grader.datasets import load_dataset
from drdeploy.grader.datasets.columns import group_by_patient_column
from drdeploy.grader.evaluation.details import (
    EvaluationOptions,
    compute_evaluation_details,
    resolve_prevalence,
)
from drdeploy.grader.evaluation.evaluation import evaluate_graded_set
from drdeploy.grader.evaluation.graders import (
    Grader,
    GraderEvaluation,
    choose_test_photographs,
    collect_notes_on_grader,
    find_known_photographs,
    use_prevalence_of_grader,
)
from drdeploy.grader.evaluation.predictions import predict_dataset
from drdeploy.grader.inference import InferenceService
from drdeploy.photograph_names import PhotographNames

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from drdeploy.grader.evaluation.graders import TestPhotographs
    from drdeploy.grader.runtimes.runtime import RuntimeName


def evaluate(
    data: Path | str,
    artifact: Path | str | None = None,
    *,
    split: str | None = None,
    new_sessions: bool = False,
    by: Sequence[str] = (),
    patient: str | None = None,
    second_label: str | None = None,
    prevalence: float | Literal["estimate"] | None = None,
    seed: int = 0,
    own_names: bool = False,
) -> GraderEvaluation:
    """Evaluate a grader on labelled photographs; every result has a 95 % interval.

    ::

        found = evaluate("examples/photographs")
        found.evaluation.kappa.value, found.evaluation.kappa.low, found.evaluation.kappa.high

    Args:
        data: A folder with a ``labels.csv``, or with another layout that ``drdeploy dataset
            inspect`` can read.
        artifact: A ``model.tar.gz``, or its extracted folder; None means the packaged grader.
        split: The name of a split, or ``all``. None takes the split ``test`` if there is one, and
            otherwise ``all``.
        new_sessions: Whether to leave out a photograph if another split has photographs of the same
            capture session or patient.
        by: Further results to compute. ``patient`` adds results by patient, for each patient's
            worst eye. A column of the table of labels, such as ``camera``, adds results for each
            value in this column.
        patient: The column with the patients, if its name is not recognised.
        second_label: The column with a second reader's grades, to measure how well two readers
            agree.
        prevalence: Share of patients with grade 2 or worse where the grader will be used.
            Predictive values and adjusted probabilities are computed for this share. ``"estimate"``
            means that the share is estimated from the probabilities. None takes the prevalence that
            is stored in the artifact, or the share among the photographs if none is stored.
        seed: Seed of the bootstrap intervals.
        own_names: Name photographs by their file names, instead of by hashes.

    Raises:
        InvalidInput: The folder has none of the layouts, the table lacks a column, or the model
            grades something other than retinopathy.
        ArtifactError: The artifact cannot be used.
        ModelError: The model's runtime is missing, or refuses the model.
    """
    grader = read_grader_from_artifact(artifact or box_artifact())
    names = PhotographNames.choose_file_names_or_hashes(own=own_names)
    dataset = load_dataset(Path(data), keep_unreadable=True, names=names)
    if patient is not None:
        dataset = group_by_patient_column(dataset, patient, names)
    choice = choose_test_photographs(dataset, split, new_sessions=new_sessions)
    options = EvaluationOptions(
        by=tuple(by), second_label=second_label, prevalence=prevalence, seed=seed
    )
    [evaluated] = evaluate_grader_on_test_sets(grader, [choice], options=options)
    return evaluated


def read_grader_from_artifact(model: Path | str) -> Grader:
    """Return the name and the thresholds of an artifact's grader, without loading the model.

    Raises:
        InvalidInput: The artifact does not exist.
        ArtifactError: The manifest of the artifact cannot be read.
    """
    path = Path(model)
    if path.is_dir():
        manifest = open_artifact(path, verify=False).manifest
        return Grader(path.resolve().name, str(path), manifest)
    if not path.is_file():
        raise InvalidInput(
            "The artifact does not exist",
            where=str(path),
            remedy="Give a model.tar.gz, or the folder to which it was extracted",
        )
    return Grader(path.name.removesuffix(".tar.gz"), str(path), read_manifest_in_archive(path))


def evaluate_grader_on_test_sets(
    grader: Grader,
    choices: Sequence[TestPhotographs],
    *,
    options: EvaluationOptions = EvaluationOptions(),
    runtime: RuntimeName | None = None,
    track: Callable[[Sequence[Path]], Sequence[Path]] = lambda files: files,
) -> list[GraderEvaluation]:
    """Load a grader and evaluate it on several sets of photographs, as :func:`evaluate` does.

    ``runtime`` is the library that runs the model; None uses the default of the model's format.
    ``track`` wraps the iteration over the files, to show progress.
    """
    service = InferenceService.load(grader.source, runtime=runtime)
    evaluated = []
    for choice in choices:
        graded = predict_dataset(service, choice.photographs, columns=options.columns, track=track)
        options = use_prevalence_of_grader(options, grader)
        share = resolve_prevalence(
            graded, grader.clinical_thresholds, options.prevalence, grader.recalibration
        )
        found = evaluate_graded_set(
            graded, grader.clinical_thresholds, prevalence=share, seed=options.seed
        )
        aside = choice.test_set.set_aside
        details = compute_evaluation_details(
            graded, grader.clinical_thresholds, options, aside, grader.recalibration
        )
        known = find_known_photographs(grader, choice)
        notes = collect_notes_on_grader(grader, known)
        evaluated.append(
            GraderEvaluation(grader, choice.test_set, graded, found, details, notes, known)
        )
    return evaluated
