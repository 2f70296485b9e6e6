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
    from drdeploy.grader.evaluation.details import EvaluationDetails
    from drdeploy.grader.evaluation.evaluation import Evaluation
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
                    ("wrong about grade >= 2, if flagged", flag.risk_flagged),
                    ("wrong about grade >= 2, if not flagged", flag.risk_unflagged),
                    ("kappa, if flagged", flag.kappa_flagged),
                    ("kappa, if not flagged", flag.kappa_unflagged),
                )
            ),
            indent=4,
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
        heads = [name for name, _ in _list_main_results(found_subgroups[0].evaluation)]
        table = Table([Column.of_names(column), Column("n"), *map(Column, heads)])
        for subgroup in found_subgroups:
            table.add_row(
                subgroup.value or "(empty)",
                str(subgroup.evaluation.n),
                *(_format_with_interval(one) for _, one in _list_main_results(subgroup.evaluation)),
            )
        table.print()
    second = details.second_reader
    if second is not None:
        print_line(f"second reader ({second.column}), {second.n} photographs", indent=2)
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


def _list_main_results(evaluation: Evaluation) -> list[tuple[str, Estimate]]:
    found = evaluation.referable
    return [
        ("kappa", evaluation.kappa),
        ("AUROC, >= 2", found.auroc),
        ("sensitivity, >= 2", found.sensitivity),
        ("specificity, >= 2", found.specificity),
    ]


def _format_with_interval(estimate: Estimate, *, counted: bool = False) -> str:
    from drdeploy.grader.evaluation.document import estimate_as_dict

    shown = estimate_as_dict(estimate)
    if counted:
        return format_figure_with_interval_and_n(shown)
    return format_figure_with_interval(shown)
