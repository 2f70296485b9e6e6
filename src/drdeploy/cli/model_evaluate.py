"""``drdeploy model evaluate``: measure the quality of graders on labelled photographs."""

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
    format_figure_with_interval,
    format_figure_with_interval_and_n,
    print_facts,
    print_json,
    print_line,
    print_note,
    print_note_on_photograph_names,
    print_notice,
)
from drdeploy.cli.options import (
    JsonOption,
    NamesOption,
    RuntimeOption,
    SeedOption,
    parse_prevalence,
    refuse_options_without_effect,
)
from drdeploy.errors import InvalidInput
from drdeploy.files import write_json_file
from drdeploy.photograph_names import PhotographNames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.grader.evaluation.details import EvaluationOptions
    from drdeploy.grader.evaluation.graders import (
        Grader,
        GraderEvaluation,
        MatrixCell,
        PairedGraders,
        TestPhotographs,
    )
    from drdeploy.grader.runtimes.runtime import RuntimeName


def evaluate(
    context: typer.Context,
    artifacts: Annotated[
        list[Path] | None,
        typer.Argument(
            help=(
                "A model.tar.gz, or the folder it was extracted to; without --oof, the packaged "
                "grader by default. For several artifacts, the result is a table with a row for "
                "each artifact."
            )
        ),
    ] = None,
    *,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            help=(
                "Folder of labelled photographs. For several folders, the result is a table "
                "with a column for each folder."
            ),
        ),
    ] = None,
    oof: Annotated[
        Path | None,
        typer.Option(
            help="Evaluate the predictions in a CSV file that `drdeploy model train` wrote, with "
            "the thresholds of ARTIFACTS."
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help=(
                "Split to evaluate, or `all`. By default, the split `test` is evaluated; without "
                "a split `test`, all photographs are."
            )
        ),
    ] = None,
    new_sessions: Annotated[
        bool,
        typer.Option(
            "--new-sessions",
            help="Leave out photographs of a capture session that is also in another split.",
        ),
    ] = False,
    against: Annotated[
        Path | None,
        typer.Option(
            help=(
                "Compare photograph by photograph with a second grader. Give its artifact or, "
                "with --oof, the CSV file of its predictions."
            )
        ),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            help=(
                "How to divide the evaluation further. `patient` also evaluates each patient's "
                "worst eye. The name of a column in the table of labels, such as camera, site, "
                "field or quality, also evaluates each group of photographs with the same value. "
                "You may give the option several times."
            )
        ),
    ] = None,
    patient: Annotated[
        str | None,
        typer.Option(
            help=(
                "Column of the table of labels that names the patient. By default, the column that "
                "`drdeploy dataset inspect` recognises as patients or sessions."
            )
        ),
    ] = None,
    second_label: Annotated[
        str | None,
        typer.Option(
            help="Column of the table of labels with a second reader's grades, to measure how well "
            "two readers agree."
        ),
    ] = None,
    prevalence: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE|estimate",
            help=(
                "Share of eyes with grade 2 or worse where the grader will be used, for example "
                "0.1. Predictive values and probabilities are computed for this prevalence. With "
                "`estimate`, the prevalence is estimated from the grader's probabilities. By "
                "default, predictive values are computed for the share in the photographs."
            ),
        ),
    ] = None,
    runtime: RuntimeOption = None,
    seed: SeedOption = 0,
    out_dir: Annotated[
        Path | None,
        typer.Option(
            "--out",
            file_okay=False,
            help="Folder for the predictions, and for the evaluation as HTML and as JSON.",
        ),
    ] = None,
    names: NamesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Evaluate graders on photographs they were not trained on.

    Every number has a 95 % interval. The evaluation uses the thresholds in the artifact; it never
    chooses a threshold itself.

    For research use. Not a medical device.
    """
    from drdeploy.grader.evaluation.document import build_json_document

    _check_evaluation_options(artifacts, data, oof)
    if oof is not None:
        refuse_options_without_effect(
            context,
            ["split", "new_sessions", "runtime"],
            why="with --oof, whose predictions are made already",
            remedy="give photographs with --data instead of --oof",
        )
    options = _make_evaluation_options(by, second_label, prevalence, seed)
    if out_dir is not None:
        from drdeploy.grader.evaluation.page import check_page_packages_installed

        check_page_packages_installed()
        out_dir.mkdir(parents=True, exist_ok=True)
    settings = _Settings(
        options, patient, runtime, PhotographNames.choose_file_names_or_hashes(own=names)
    )
    if oof is not None:
        cells = [_evaluate_prediction_files(oof, against, artifacts, settings)]
    else:
        choices = _choose_test_photographs(data or [], split, settings, new_sessions=new_sessions)
        cells = _evaluate_by_predicting(artifacts, against, choices, settings)
    if out_dir is not None:
        from drdeploy.grader.evaluation.page import write_evaluation_page

        write_json_file(out_dir / "evaluation.json", build_json_document(cells))
        write_evaluation_page(cells, out_dir / "evaluation.html", written_at=datetime.now(UTC))
        for number, cell in enumerate(cells, 1):
            name = "predictions.csv" if len(cells) == 1 else f"predictions-{number}.csv"
            cell.evaluated.graded.write_csv(out_dir / name)
    if as_json:
        print_json(build_json_document(cells))
    else:
        _print_evaluations(cells, out_dir)
    print_note_on_photograph_names(own=names)


@dataclass(frozen=True)
class _Settings:
    options: EvaluationOptions
    patient: str | None
    runtime: RuntimeName | None
    names: PhotographNames


def _check_evaluation_options(
    artifacts: list[Path] | None, data: list[Path] | None, oof: Path | None
) -> None:
    if (oof is None) == (not data):
        raise InvalidInput(
            "An evaluation needs photographs or predictions"
            if oof is None
            else "--data and --oof cannot be combined",
            where="--data, --oof",
            remedy="Give a folder of labelled photographs with --data, or predictions with --oof",
        )
    if oof is not None and len(artifacts or []) > 1:
        raise InvalidInput(
            "--oof can be used with only one artifact, but several are given",
            where="ARTIFACTS",
            remedy="Give one artifact: its thresholds are applied to the predictions",
        )


def _make_evaluation_options(
    by: list[str] | None, second_label: str | None, prevalence: str | None, seed: int
) -> EvaluationOptions:
    from drdeploy.grader.evaluation.details import EvaluationOptions

    return EvaluationOptions(
        by=tuple(by or ()),
        second_label=second_label,
        prevalence=None if prevalence is None else parse_prevalence(prevalence),
        seed=seed,
    )


# ---- predictions in a file ----------------------------------------------------------------


def _evaluate_prediction_files(
    oof: Path, against: Path | None, artifacts: list[Path] | None, settings: _Settings
) -> MatrixCell:
    from drdeploy.grader.evaluation.evaluate import read_grader_from_artifact
    from drdeploy.grader.evaluation.graders import MatrixCell, evaluate_prediction_table

    lender = read_grader_from_artifact(artifacts[0]) if artifacts else None
    how: dict[str, Any] = {
        "names": settings.names,
        "options": settings.options,
        "patient": settings.patient,
    }
    other = None if against is None else evaluate_prediction_table(against, lender, **how)
    return MatrixCell.from_evaluated_graders(
        evaluate_prediction_table(oof, lender, **how), other, seed=settings.options.seed
    )


# ---- predicting ---------------------------------------------------------------------------


def _choose_test_photographs(
    folders: Sequence[Path], split: str | None, settings: _Settings, *, new_sessions: bool
) -> list[TestPhotographs]:
    from drdeploy.grader.datasets import load_dataset
    from drdeploy.grader.datasets.columns import group_by_patient_column
    from drdeploy.grader.evaluation.graders import choose_test_photographs, make_names_distinct

    names, patient = settings.names, settings.patient
    with err.status("Reading the photographs"):
        read = [load_dataset(folder, keep_unreadable=True, names=names) for folder in folders]
        if patient is not None:
            read = [group_by_patient_column(one, patient, names) for one in read]
        choices = [choose_test_photographs(one, split, new_sessions=new_sessions) for one in read]
    named = make_names_distinct([one.test_set for one in choices])
    return [replace(one, test_set=name) for one, name in zip(choices, named, strict=True)]


def _evaluate_by_predicting(
    artifacts: list[Path] | None,
    against: Path | None,
    choices: Sequence[TestPhotographs],
    settings: _Settings,
) -> list[MatrixCell]:
    from drdeploy.grader.box import box_artifact
    from drdeploy.grader.evaluation.evaluate import read_grader_from_artifact
    from drdeploy.grader.evaluation.graders import MatrixCell, make_names_distinct

    paths = [*(artifacts or [box_artifact()]), *([against] if against else [])]
    rows = [
        _evaluate_one_grader(grader, choices, settings)
        for grader in make_names_distinct([*map(read_grader_from_artifact, paths)])
    ]
    reference = rows.pop() if against else [None] * len(choices)
    return [
        MatrixCell.from_evaluated_graders(one, other, seed=settings.options.seed)
        for row in rows
        for one, other in zip(row, reference, strict=True)
    ]


def _evaluate_one_grader(
    grader: Grader, choices: Sequence[TestPhotographs], settings: _Settings
) -> list[GraderEvaluation]:
    """Evaluate one grader on each of the sets of test photographs."""
    from drdeploy.grader.evaluation.evaluate import evaluate_grader_on_test_sets

    def show_progress_over_files(files: Sequence[Path]) -> Any:
        from rich.progress import track

        return track(files, f"grading with {grader.name}", console=err, transient=True)

    return evaluate_grader_on_test_sets(
        grader,
        choices,
        options=settings.options,
        runtime=settings.runtime,
        track=show_progress_over_files,
    )


# ---- the result ---------------------------------------------------------------------------


def _print_evaluations(cells: Sequence[MatrixCell], folder: Path | None) -> None:
    for cell in cells:
        _print_one_evaluation(cell.evaluated)
        if cell.paired is not None:
            _print_comparison(cell.paired)
    if len(cells) > 1:
        _print_kappa_of_graders_by_test_set(cells)
    if folder is not None:
        print_line(f"The page is at {folder / 'evaluation.html'}")
    print_notice()


def _print_one_evaluation(evaluated: GraderEvaluation) -> None:
    from drdeploy.cli.evaluation_details import (
        print_evaluation_details,
        print_rates_with_refused_referred,
    )
    from drdeploy.grader.evaluation.document import (
        describe_photograph_and_group_counts,
        estimate_as_dict,
    )

    found = evaluated.evaluation
    count = describe_photograph_and_group_counts(found.n, found.groups, evaluated.graded.group_unit)
    print_line(f"{evaluated.grader.name} on {evaluated.test_set.name}, {count}", style="bold")
    rows = [("kappa", found.kappa), ("accuracy", found.accuracy)]
    promised: dict[str, float] = {}
    for detection in (found.referable, found.vision_threatening):
        at = f"grade >= {int(detection.at_or_above)}"
        rows += [
            (f"AUROC, {at}", detection.auroc),
            (f"sensitivity, {at}", detection.sensitivity),
            (f"specificity, {at}", detection.specificity),
            (f"observed / expected, {at}", detection.calibration.observed_over_expected),
            (f"calibration slope, {at}", detection.calibration.slope),
        ]
        for quality in detection.operating_points:
            name = quality.point.name.replace("_", " ")
            rows += [
                (f"  {name}: sensitivity", quality.sensitivity),
                (f"  {name}: specificity", quality.specificity),
            ]
            if (target := quality.point.target_sensitivity) is not None:
                promised[f"  {name}: sensitivity"] = target
    rows += [("calibration error", found.ece), ("ungradable", found.ungradable)]
    print_facts(
        (
            name,
            format_figure_with_interval_and_n(estimate_as_dict(estimate))
            + (f"; promised {promised[name]:.2f}" if name in promised else ""),
        )
        for name, estimate in rows
    )
    if found.ungradable.value:
        print_rates_with_refused_referred(found)
    for position in found.missed:
        grade = int(evaluated.graded.labels[position])
        print_line(f"grade {grade}, graded 0: {evaluated.graded.files[position]}", indent=2)
    print_evaluation_details(evaluated.details)
    if aside := evaluated.test_set.set_aside:
        print_line(f"set aside: {len(aside)} (--json and --out list them)", indent=2)
    for note in (*evaluated.notes, *evaluated.test_set.notes):
        print_note(note)


def _print_comparison(paired: PairedGraders) -> None:
    from drdeploy.grader.evaluation.document import estimate_as_dict

    found = paired.comparison
    print_line(
        f"against {paired.reference.name}, on the {found.n} photographs that both graded:", indent=2
    )
    facts = [("change of kappa", format_figure_with_interval_and_n(estimate_as_dict(found.kappa)))]
    for grade, sensitivity in found.sensitivity.items():
        rates = {"sensitivity": sensitivity, "specificity": found.specificity[grade]}
        for name, rate in rates.items():
            difference = format_figure_with_interval_and_n(estimate_as_dict(rate.difference))
            change = f"{difference}, {rate.gained} gained, {rate.lost} lost"
            facts.append((f"change of {name}, grade >= {int(grade)}", change))
    facts.append(("grades changed", str(len(found.changes))))
    facts.append(("new misses of grade >= 3", str(len(found.new_misses))))
    print_facts(facts, indent=4)


def _print_kappa_of_graders_by_test_set(cells: Sequence[MatrixCell]) -> None:
    from drdeploy.grader.evaluation.document import estimate_as_dict

    evaluated = [cell.evaluated for cell in cells]
    test_sets = dict.fromkeys(one.test_set.name for one in evaluated)
    table = Table([Column.of_names("kappa"), *map(Column, test_sets)])
    for grader in dict.fromkeys(one.grader.name for one in evaluated):
        row = [one.evaluation.kappa for one in evaluated if one.grader.name == grader]
        table.add_row(
            grader, *(format_figure_with_interval(estimate_as_dict(kappa)) for kappa in row)
        )
    table.print()
