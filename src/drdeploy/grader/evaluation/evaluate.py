"""Evaluate artifacts on folders of labelled photographs: load, grade, compute every figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from drdeploy.errors import InvalidInput
from drdeploy.grader.artifacts import inspect, open_artifact
from drdeploy.grader.box import box_artifact
from drdeploy.grader.datasets import load_dataset
from drdeploy.grader.evaluation.evaluation import PREVALENCE
from drdeploy.grader.evaluation.graders import Grader, choose_photographs, evaluate_grader, notes_on
from drdeploy.grader.evaluation.predictions import predict_dataset
from drdeploy.grader.grading import Grade
from drdeploy.grader.inference import InferenceService

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from drdeploy.grader.evaluation.graders import GraderEvaluation, TestPhotographs
    from drdeploy.grader.runtimes.protocol import RuntimeName

DEFAULT_PREVALENCE = PREVALENCE[Grade.MODERATE]


def evaluate(
    data: Path | str,
    artifact: Path | str | None = None,
    *,
    split: str | None = None,
    new_sessions: bool = False,
    prevalence: float = DEFAULT_PREVALENCE,
    seed: int = 0,
) -> GraderEvaluation:
    """Evaluate a grader on labelled photographs; every figure has its 95 % interval.

    ::

        found = evaluate("examples/photographs")
        found.evaluation.kappa.value, found.evaluation.kappa.low, found.evaluation.kappa.high

    Args:
        data: A folder with ``labels.csv``, or in another layout that ``drdeploy dataset inspect``
            reads.
        artifact: A ``model.tar.gz``, or its extracted folder; the grader in the box if None.
        split: A split or ``all``; if None, ``test`` if there is one and otherwise ``all``.
        new_sessions: Leave out photographs whose capture session is in another split too.
        prevalence: Share of referable eyes where the grader is used, for the predictive values.
        seed: Of the bootstrap intervals.

    Raises:
        InvalidInput: The folder has none of the layouts, or the model does not grade
            retinopathy.
        ArtifactError: The artifact cannot be used.
        ModelError: The model's runtime is missing, or refuses the model.
    """
    grader = open_grader(artifact or box_artifact())
    choice = choose_photographs(
        load_dataset(Path(data), keep_unreadable=True), split, new_sessions=new_sessions
    )
    [evaluated] = evaluate_on(grader, [choice], prevalence=prevalence, seed=seed)
    return evaluated


def open_grader(model: Path | str) -> Grader:
    """Read an artifact's manifest, without loading its model.

    Raises:
        InvalidInput: There is no such artifact.
        ArtifactError: Its manifest cannot be read.
    """
    path = Path(model)
    if path.is_dir():
        manifest = open_artifact(path, verify=False).manifest
        return Grader(path.resolve().name, str(path), manifest)
    if not path.is_file():
        raise InvalidInput("There is no such artifact", where=str(path))
    return Grader(path.name.removesuffix(".tar.gz"), str(path), inspect(path))


def evaluate_on(
    grader: Grader,
    choices: Sequence[TestPhotographs],
    *,
    runtime: RuntimeName | None = None,
    prevalence: float = DEFAULT_PREVALENCE,
    seed: int = 0,
    track: Callable[[Sequence[Path]], Sequence[Path]] = lambda files: files,
) -> list[GraderEvaluation]:
    """Load one grader and evaluate it on several sets of photographs.

    Args:
        grader: From :func:`open_grader`.
        choices: The sets of photographs.
        runtime: Which library runs the model; the default of its format if None.
        prevalence: Share of referable eyes, for the predictive values.
        seed: Of the bootstrap intervals.
        track: Wraps the files that are graded, to show progress.
    """
    service = InferenceService.load(grader.source, runtime=runtime)
    graded = [predict_dataset(service, one.photographs, track=track) for one in choices]
    return [
        evaluate_grader(
            grader,
            choice.test_set,
            predictions,
            prevalence=prevalence,
            seed=seed,
            notes=notes_on(grader, choice),
        )
        for choice, predictions in zip(choices, graded, strict=True)
    ]
