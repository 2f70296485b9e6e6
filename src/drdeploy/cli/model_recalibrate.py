"""``drdeploy model recalibrate``: adapt a grader to a clinic's own graded photographs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

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
    ChangedArchiveOption,
    JsonOption,
    NamesOption,
    RuntimeOption,
    SeedOption,
    parse_prevalence,
)
from drdeploy.errors import InvalidInput
from drdeploy.files import write_json_file
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE

if TYPE_CHECKING:
    from drdeploy.grader.recalibration import RecalibrationOutcome


def recalibrate(
    artifact: Annotated[
        Path,
        typer.Argument(help="A model.tar.gz, or the folder it was extracted to."),
    ],
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            help=(
                "Folder of at least 50 photographs from one clinic, graded by experts. At "
                "least 10 must be below grade 2, and at least 10 at or above it. The same holds "
                "for grade 3."
            ),
        ),
    ],
    *,
    split: Annotated[
        str | None,
        typer.Option(
            help=(
                "Split to use, or `all`. By default, the split `test` is used; without a split "
                "`test`, all photographs are."
            )
        ),
    ] = None,
    patient: Annotated[
        str | None,
        typer.Option(
            help="Column of the table of labels that names the patient. By default, the column "
            "that `drdeploy dataset inspect` recognises as patients or sessions."
        ),
    ] = None,
    prevalence: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE",
            help=(
                "Share of eyes with grade 2 or worse among the clinic's patients, for example "
                "0.2; by default, the share in the photographs."
            ),
        ),
    ] = None,
    runtime: RuntimeOption = None,
    seed: SeedOption = 0,
    archive: ChangedArchiveOption = None,
    names: NamesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Adapt a grader to a clinic's own graded photographs.

    The command chooses a new temperature for the probabilities, a new weight for each grade, and
    new thresholds for the operating points. It does not change the network. The command reports the
    quality after the adaptation. This quality is not overestimated: for each patient's photographs,
    the temperature, weights and thresholds are chosen on photographs of other patients. Recalibrate
    a grader before you use it with a new camera.

    For research use. Not a medical device.
    """
    from rich.progress import track

    from drdeploy.grader.recalibration import recalibrate as recalibrate_grader

    outcome = recalibrate_grader(
        artifact,
        data,
        archive,
        split=split,
        patient=patient,
        prevalence=None if prevalence is None else _parse_stated_prevalence(prevalence),
        runtime=runtime,
        seed=seed,
        own_names=names,
        track=lambda files: cast(
            "Any", track(files, "grading", console=err, transient=True, total=len(files))
        ),
    )
    document = {"notice": RESEARCH_USE_NOTICE, **outcome.document}
    target = outcome.archive
    report = target.with_name(target.name.removesuffix(".tar.gz") + "-recalibration.json")
    write_json_file(report, document)
    if as_json:
        print_json(document)
    else:
        _print_recalibration(outcome, document)
        print_facts([("artifact", str(target)), ("details", str(report))])
        print_notice()
    for warning in outcome.warnings:
        print_line(f"Warning: {warning}", style="bold red", to=err)
    for note in outcome.notes:
        print_note(note)
    print_note_on_photograph_names(own=names)


def _parse_stated_prevalence(text: str) -> float:
    share = parse_prevalence(text, may_be_estimated=False)
    if share == "estimate":
        raise InvalidInput(
            "The photographs are graded, so the share of grade 2 or worse is counted among them "
            "and need not be estimated. If the share among your patients differs, it can only be "
            "estimated from other photographs",
            where="--prevalence estimate",
            remedy="Leave --prevalence out, or state the share as a number. To estimate the share "
            "from ungraded photographs of your patients, recalibrate first, and then run `drdeploy "
            "artifact set-prevalence --prevalence estimate --data DIR` on the new artifact",
        )
    return share


_OUTCOMES = {
    "better": ("green", "Recalibrated: the probabilities fit these photographs better"),
    "worse": ("red", "Recalibrated, but the probabilities fit these photographs worse"),
    "no difference shown": (
        "yellow",
        "Recalibrated, but these photographs do not show that the probabilities became better",
    ),
}


def _print_recalibration(outcome: RecalibrationOutcome, document: dict[str, Any]) -> None:
    colour, sentence = _OUTCOMES[outcome.gain.outcome]
    print_line(f"{sentence}.", style=f"bold {colour}")
    found = outcome.recalibration
    prevalence = f"{found.prevalence:.1%}, {'stated' if found.is_prevalence_stated else 'measured'}"
    weights = ", ".join(
        f"{grade}: {weight:.2f}" for grade, weight in enumerate(found.grade_weights)
    )
    gain = document["gain"]
    print_facts([
        ("adapted on", found.adapted_on),
        ("left out, not gradable", str(len(outcome.left_out))),
        ("temperature", f"{found.temperature:.3f}"),
        ("weights of the grades", weights),
        ("assumed share of grade >= 2", prevalence),
        ("change of the log loss", format_figure_with_interval_and_n(gain["log_loss_change"])),
    ])  # fmt: skip
    table = Table([Column.of_names("95 % intervals"), *map(Column, ("before", "after"))])
    before, after = (_list_estimates_of_state(gain[when]) for when in ("before", "after"))
    for name, figure in after.items():
        table.add_row(
            name,
            *(
                "-" if one is None else format_figure_with_interval(one)
                for one in (before.get(name), figure)
            ),
        )
    table.print()


def _list_estimates_of_state(state: dict[str, Any]) -> dict[str, dict[str, Any]]:
    calibration = state["calibration_at_grade_2"]
    figures = {
        "calibration intercept, grade >= 2 (right: 0)": calibration["intercept"],
        "calibration slope, grade >= 2 (right: 1)": calibration["slope"],
        "observed / expected, grade >= 2 (right: 1)": calibration["observed_over_expected"],
        "quadratic weighted kappa": state["kappa"],
    }
    for answer in state["answered_grade"]:
        name = f"answered grade, grade >= {answer['at_or_above']}"
        figures[f"{name}: sensitivity"] = answer["sensitivity"]
        figures[f"{name}: specificity"] = answer["specificity"]
    for point in state["operating_points"]:
        name = f"{point['name'].replace('_', ' ')}, grade >= {point['at_or_above']}"
        figures[f"{name}: sensitivity"] = point["sensitivity"]
        figures[f"{name}: specificity"] = point["specificity"]
    return figures
