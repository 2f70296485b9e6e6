"""Print the details of an evaluation, for example by patient and for subgroups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drdeploy.cli.console import (
    Column,
    Table,
    format_figure_with_interval,
    format_figure_with_interval_and_n,
    print_facts,
    print_line,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.grader.evaluation.details import EvaluationDetails
    from drdeploy.grader.evaluation.evaluation import DecisionQuality, Evaluation
    from drdeploy.statistics.estimate import Estimate


def print_evaluation_details(details: EvaluationDetails) -> None:
    """Print the details that the user requested, such as the results of subgroups.

    Another detail is the calibration that the grader would have at a given prevalence of disease.
    """
    from drdeploy.grader.evaluation.document import name_group_unit

    for one in details.adjustments:
        shares = one.adjusted.shares.at_or_above
        for grade, found in one.calibration.items():
            print_line(
                f"grade >= {int(grade)} at the {one.adjusted.how} prevalence of "
                f"{shares[grade]:.1%}: observed / expected "
                f"{_format_with_interval(found.observed_over_expected)}",
                indent=2,
            )
    if details.flag is not None:
        flag = details.flag
        print_line("photographs unlike the training photographs of the grader", indent=2)
        print_facts(
            (
                (name, _format_with_interval(estimate, counted=True))
                for name, estimate in (
                    ("share flagged", flag.flagged),
                    ("kappa, if flagged", flag.kappa_flagged),
                    ("kappa, if not flagged", flag.kappa_unflagged),
                )
            ),
            indent=4,
        )
        _print_decisions(
            "at grade >= 2",
            [
                ("flagged, grade", flag.grade_flagged),
                ("others, grade", flag.grade_unflagged),
                ("flagged, referable", flag.high_sensitivity_flagged),
                ("others, referable", flag.high_sensitivity_unflagged),
            ],
        )
    patients = details.patients
    if patients is not None:
        unit = name_group_unit(patients.unit, patients.evaluation.n)
        print_line(
            f"by {patients.unit}: results for the worst eye of each of {patients.evaluation.n} "
            f"{unit}",
            indent=2,
        )
        print_facts(
            (
                (name, _format_with_interval(estimate, counted=True))
                for name, estimate in _list_main_results(patients.evaluation)
            ),
            indent=4,
        )
    for column, found_subgroups in details.subgroups.items():
        table = Table(
            [Column.of_names(column), Column("n"), Column("kappa"), Column("AUROC, >= 2")]
        )
        for subgroup in found_subgroups:
            table.add_row(
                subgroup.value or EMPTY,
                str(subgroup.evaluation.n),
                _format_with_interval(subgroup.evaluation.kappa),
                _format_with_interval(subgroup.evaluation.referable.auroc),
            )
        table.print()
        _print_rates(
            f"{column}, at >= 2",
            [
                (f"{subgroup.value or EMPTY}, {name}", rates)
                for subgroup in found_subgroups
                for name, rates in _list_decisions_at_grade_2(subgroup.evaluation)
            ],
        )
    second = details.second_reader
    if second is not None:
        print_line(f"second reader ({second.column}), photographs: {second.n}", indent=2)
        print_facts(
            [
                ("kappa, second reader and label", _format_with_interval(second.kappa)),
                ("kappa, grader and label", _format_with_interval(second.grader_kappa)),
                (
                    "kappa, grader and second reader",
                    _format_with_interval(second.grader_kappa_with_second),
                ),
            ],
            indent=4,
        )
        for grade, rates in second.decisions.items():
            rows = [
                ("second reader", rates),
                ("grader, grade", second.grader_decisions[grade]),
                ("grader, high sensitivity", second.grader_high_sensitivity.get(grade)),
            ]
            _print_rates(f"against the label, at >= {int(grade)}", rows)


EMPTY = "(empty)"
"""The name of the subgroup whose photographs have an empty cell in the column of subgroups."""


def print_rates_with_refused_referred(evaluation: Evaluation) -> None:
    """Print sensitivity and specificity if photographs without a grade count as referred."""
    rows: list[tuple[str, tuple[Estimate, Estimate] | None]] = []
    for detection in (evaluation.referable, evaluation.vision_threatening):
        at = f">= {int(detection.at_or_above)}"
        rates = (detection.sensitivity_referring, detection.specificity_referring)
        rows.append((f"{at}, grade", rates))
        for one in detection.operating_points:
            name = one.point.name.replace("_", " ")
            rates = (one.sensitivity_referring, one.specificity_referring)
            rows.append((f"{at}, {name}", rates))
    print_line("if photographs that cannot be graded count as referred:", indent=2)
    _print_rates("decision", rows)


def _list_decisions_at_grade_2(
    evaluation: Evaluation,
) -> list[tuple[str, tuple[Estimate, Estimate]]]:
    """Return sensitivity and specificity at grade 2 or worse: of the grade, and of ``referable``.

    ``referable`` is left out if the grader has no operating point that decides it.
    """
    found = evaluation.referable
    decisions = [("grade", (found.sensitivity, found.specificity))]
    if (point := found.high_sensitivity) is not None:
        decisions.append(("referable", (point.sensitivity, point.specificity)))
    return decisions


def _print_decisions(title: str, rows: Sequence[tuple[str, DecisionQuality | None]]) -> None:
    table = Table([
        Column.of_names(title), Column("wrong"), Column("sensitivity"), Column("specificity"),
    ])  # fmt: skip
    for name, found in rows:
        if found is not None:
            shown = (found.risk, found.sensitivity, found.specificity)
            table.add_row(name, *map(_format_with_interval, shown))
    table.print()


def _print_rates(title: str, rows: Sequence[tuple[str, tuple[Estimate, Estimate] | None]]) -> None:
    """Print a table of sensitivities and specificities, which fits into 80 columns."""
    table = Table([Column.of_names(title), Column("sensitivity"), Column("specificity")])
    for name, rates in rows:
        if rates is not None:
            table.add_row(name, *map(_format_with_interval, rates))
    table.print()


def _list_main_results(evaluation: Evaluation) -> list[tuple[str, Estimate]]:
    found = evaluation.referable
    return [
        ("kappa", evaluation.kappa),
        ("AUROC, >= 2", found.auroc),
        ("sensitivity, >= 2", found.sensitivity),
        ("specificity, >= 2", found.specificity),
        *(
            []
            if found.high_sensitivity is None
            else [
                ("sensitivity, referable", found.high_sensitivity.sensitivity),
                ("specificity, referable", found.high_sensitivity.specificity),
            ]
        ),
    ]


def _format_with_interval(estimate: Estimate, *, counted: bool = False) -> str:
    from drdeploy.grader.evaluation.document import estimate_as_dict

    shown = estimate_as_dict(estimate)
    if counted:
        return format_figure_with_interval_and_n(shown)
    return format_figure_with_interval(shown)
