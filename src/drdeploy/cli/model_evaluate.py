"""``drdeploy model evaluate``: how good graders are, on labelled photographs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drdeploy.cli.console import (
    Column,
    Table,
    err,
    print_facts,
    print_json,
    print_line,
    print_note,
    print_notice,
)
from drdeploy.cli.figures import in_brief, in_full
from drdeploy.cli.options import JsonOption, RuntimeOption, SeedOption
from drdeploy.errors import InvalidInput
from drdeploy.files import write_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.grader.evaluation.graders import (
        Grader,
        GraderEvaluation,
        MatrixCell,
        PairedGraders,
        TestPhotographs,
    )
    from drdeploy.grader.runtimes.protocol import RuntimeName


def evaluate(
    artifacts: Annotated[
        list[Path] | None,
        typer.Argument(help="A model.tar.gz, or its extracted folder. Several make a matrix."),
    ] = None,
    *,
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", help="Folder of labelled photographs. Several make a matrix."),
    ] = None,
    oof: Annotated[
        Path | None,
        typer.Option(
            help="Evaluate the predictions in this CSV file, as `drdeploy model train` writes "
            "it, by the thresholds of ARTIFACTS."
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Split of the photographs, or all. By default, test if there is one."),
    ] = None,
    new_sessions: Annotated[
        bool,
        typer.Option(
            "--new-sessions",
            help="Leave out photographs whose capture session is in another split too.",
        ),
    ] = False,
    against: Annotated[
        Path | None,
        typer.Option(help="Artifact, or CSV file with --oof, to compare with eye by eye."),
    ] = None,
    prevalence: Annotated[
        float,
        typer.Option(help="Share of referable eyes among the screened, for predictive values."),
    ] = 0.2,
    runtime: RuntimeOption = None,
    seed: SeedOption = 0,
    out_dir: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for a page, the same as JSON, and the predictions."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Evaluate graders on photographs they were not trained on.

    Every figure has its 95 % interval. The thresholds are those in the artifact; none is chosen
    here.

    For research use. Not a medical device.
    """
    from drdeploy.grader.evaluation.document import document_of

    _check(artifacts, data, oof, prevalence)
    if out_dir is not None:
        from drdeploy.grader.evaluation.page import check_can_draw

        check_can_draw()
        out_dir.mkdir(parents=True, exist_ok=True)
    settings = _Settings(prevalence, seed, runtime)
    if oof is not None:
        cells = [_from_files(oof, against, artifacts, settings)]
    else:
        choices = _choices(data or [], split, new_sessions=new_sessions)
        cells = _by_predicting(artifacts, against, choices, settings)
    if out_dir is not None:
        from drdeploy.grader.evaluation.page import write_page

        write_json(out_dir / "evaluation.json", document_of(cells))
        write_page(cells, out_dir / "evaluation.html", written_at=datetime.now(UTC))
        for number, cell in enumerate(cells, 1):
            name = "predictions.csv" if len(cells) == 1 else f"predictions-{number}.csv"
            cell.evaluated.graded.write(out_dir / name)
    if as_json:
        print_json(document_of(cells))
    else:
        _print(cells, out_dir)


@dataclass(frozen=True)
class _Settings:
    prevalence: float
    seed: int
    runtime: RuntimeName | None


def _check(
    artifacts: list[Path] | None, data: list[Path] | None, oof: Path | None, prevalence: float
) -> None:
    if (oof is None) == (not data):
        raise InvalidInput(
            "Either photographs or predictions are needed",
            where="--data, --oof",
            remedy="Give a folder of labelled photographs with --data, or predictions with --oof",
        )
    if oof is not None and len(artifacts or []) > 1:
        raise InvalidInput("--oof takes the thresholds of one artifact, and several are named")
    if not 0 < prevalence < 1:
        raise InvalidInput(
            f"A prevalence of {prevalence:g} is not between 0 and 1", where="--prevalence"
        )


# ---- predictions in a file ----------------------------------------------------------------


def _from_files(
    oof: Path, against: Path | None, artifacts: list[Path] | None, settings: _Settings
) -> MatrixCell:
    from drdeploy.grader.evaluation.evaluate import open_grader
    from drdeploy.grader.evaluation.graders import MatrixCell, evaluate_file

    lender = open_grader(artifacts[0]) if artifacts else None
    how: dict[str, Any] = {"prevalence": settings.prevalence, "seed": settings.seed}
    other = None if against is None else evaluate_file(against, lender, **how)
    return MatrixCell.of(evaluate_file(oof, lender, **how), other, seed=settings.seed)


# ---- predicting ---------------------------------------------------------------------------


def _choices(
    folders: Sequence[Path], split: str | None, *, new_sessions: bool
) -> list[TestPhotographs]:
    from drdeploy.grader.datasets import load_dataset
    from drdeploy.grader.evaluation.graders import choose_photographs, with_distinct_names

    with err.status("Reading the photographs"):
        choices = [
            choose_photographs(
                load_dataset(folder, keep_unreadable=True), split, new_sessions=new_sessions
            )
            for folder in folders
        ]
    named = with_distinct_names([one.test_set for one in choices])
    return [replace(one, test_set=name) for one, name in zip(choices, named, strict=True)]


def _by_predicting(
    artifacts: list[Path] | None,
    against: Path | None,
    choices: Sequence[TestPhotographs],
    settings: _Settings,
) -> list[MatrixCell]:
    from drdeploy.grader.box import box_artifact
    from drdeploy.grader.evaluation.evaluate import open_grader
    from drdeploy.grader.evaluation.graders import MatrixCell, with_distinct_names

    paths = [*(artifacts or [box_artifact()]), *([against] if against else [])]
    rows = [
        _row(grader, choices, settings)
        for grader in with_distinct_names([*map(open_grader, paths)])
    ]
    reference = rows.pop() if against else [None] * len(choices)
    return [
        MatrixCell.of(one, other, seed=settings.seed)
        for row in rows
        for one, other in zip(row, reference, strict=True)
    ]


def _row(
    grader: Grader, choices: Sequence[TestPhotographs], settings: _Settings
) -> list[GraderEvaluation]:
    """Evaluate one grader on every set of photographs."""
    from drdeploy.grader.evaluation.evaluate import evaluate_on

    def tracked(files: Sequence[Path]) -> Any:
        from rich.progress import track

        return track(files, f"grading with {grader.name}", console=err, transient=True)

    return evaluate_on(
        grader,
        choices,
        runtime=settings.runtime,
        prevalence=settings.prevalence,
        seed=settings.seed,
        track=tracked,
    )


# ---- the result ---------------------------------------------------------------------------


def _print(cells: Sequence[MatrixCell], folder: Path | None) -> None:
    for cell in cells:
        _print_evaluated(cell.evaluated)
        if cell.paired is not None:
            _print_paired(cell.paired)
    if len(cells) > 1:
        _print_matrix(cells)
    if folder is not None:
        print_line(f"The page is at {folder / 'evaluation.html'}")
    print_notice()


def _print_evaluated(evaluated: GraderEvaluation) -> None:
    from drdeploy.grader.evaluation.document import figure

    found = evaluated.evaluation
    print_line(f"{evaluated.grader.name} on {evaluated.test_set.name}, n = {found.n}", style="bold")
    rows = [("kappa", found.kappa), ("accuracy", found.accuracy)]
    for detection in (found.referable, found.vision_threatening):
        at = f"grade >= {int(detection.at_or_above)}"
        rows += [
            (f"AUROC, {at}", detection.auroc),
            (f"sensitivity, {at}", detection.sensitivity),
            (f"specificity, {at}", detection.specificity),
        ]
        for quality in detection.operating_points:
            name = quality.point.name.replace("_", " ")
            rows += [
                (f"  {name}: sensitivity", quality.sensitivity),
                (f"  {name}: specificity", quality.specificity),
            ]
    rows += [("calibration error", found.ece), ("ungradable", found.ungradable)]
    print_facts((name, in_full(figure(estimate))) for name, estimate in rows)
    for position in found.missed:
        grade = int(evaluated.graded.labels[position])
        print_line(f"grade {grade}, graded 0: {evaluated.graded.files[position]}", indent=2)
    if aside := evaluated.test_set.set_aside:
        print_line(f"set aside: {len(aside)} (--json and --out list them)", indent=2)
    for note in (*evaluated.notes, *evaluated.test_set.notes):
        print_note(note)


def _print_paired(paired: PairedGraders) -> None:
    from drdeploy.grader.evaluation.document import figure

    found = paired.comparison
    print_line(
        f"against {paired.reference.name}, on the {found.n} photographs that both graded:", indent=2
    )
    facts = [("change of kappa", in_full(figure(found.kappa)))]
    for grade, rate in found.sensitivity.items():
        change = f"{in_full(figure(rate.difference))}, {rate.gained} gained, {rate.lost} lost"
        facts.append((f"change of sensitivity, >= {int(grade)}", change))
    facts.append(("grades changed", str(len(found.changes))))
    facts.append(("new misses of grade >= 3", str(len(found.new_misses))))
    print_facts(facts, indent=4)


def _print_matrix(cells: Sequence[MatrixCell]) -> None:
    from drdeploy.grader.evaluation.document import figure

    evaluated = [cell.evaluated for cell in cells]
    test_sets = dict.fromkeys(one.test_set.name for one in evaluated)
    table = Table([Column.name("kappa"), *map(Column, test_sets)])
    for grader in dict.fromkeys(one.grader.name for one in evaluated):
        row = [one.evaluation.kappa for one in evaluated if one.grader.name == grader]
        table.add(grader, *(in_brief(figure(kappa)) for kappa in row))
    table.print()
