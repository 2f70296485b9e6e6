"""``drdeploy study``: plan, run, follow and delete a study."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drdeploy.cli.console import (
    Column,
    Table,
    err,
    print_json,
    print_line,
    print_note,
    print_note_on_photograph_names,
)
from drdeploy.cli.deployment import (
    BoundaryOption,
    DeleteCapturedOption,
    KmsKeyOption,
    TerminalApprover,
    UnknownPricesOption,
    YesOption,
)
from drdeploy.cli.interruption import exit_cleanly_on_interruption
from drdeploy.cli.options import (
    IsolationOption,
    JsonOption,
    NamesOption,
    PricesOption,
    refuse_options_without_effect,
)
from drdeploy.errors import StudyError, UnknownPrice, format_count
from drdeploy.hosting.sagemaker.platforms import HostingPlatform
from drdeploy.photograph_names import PhotographNames
from drdeploy.units import SECONDS_PER_HOUR, SECONDS_PER_MINUTE

if TYPE_CHECKING:
    from drdeploy.hosting.sagemaker import PriceSheet
    from drdeploy.study.design.plan import Plan

app = typer.Typer(no_args_is_help=True)

StudyArgument = Annotated[
    str, typer.Argument(help="The TOML file of a study, or the name of a study.")
]
OnlyOption = Annotated[
    str | None,
    typer.Option(
        help="Run only the trials whose id contains this text. With *, ? or [, the text is a "
        "pattern for the whole id."
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out", file_okay=False, help="Folder for the results; by default, results/STUDY."
    ),
]


@app.command()
def plan(study: StudyArgument, only: OnlyOption = None, as_json: JsonOption = False) -> None:
    """Show the trials of a study, with their duration and maximum cost.

    The command starts no endpoint and sends no request.
    """
    chosen = _make_plan_from_options(study, only)
    if as_json:
        print_json(_convert_plan_to_json(chosen))
    else:
        _print_plan(chosen)


@app.command()
def run(
    context: typer.Context,
    study: StudyArgument,
    *,
    only: OnlyOption = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Seed of all random numbers; by default, the study's seed."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder of photographs to send; by default, the example photographs.",
            exists=True,  # even if no photograph is needed
            file_okay=False,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            envvar="DRDEPLOY_WEIGHTS",
            help=(
                "Folder of ImageNet weights as Keras publishes them (.h5), for networks without "
                "trained weights. By default, networks without trained weights get random weights."
            ),
            exists=True,  # even if no network is built
            file_okay=False,
        ),
    ] = None,
    out_dir: OutOption = None,
    endpoint_url: Annotated[
        str | None,
        typer.Option(
            help="Address of a running local service; by default, a local service is started."
        ),
    ] = None,
    isolation: IsolationOption = "auto",
    target: Annotated[
        HostingPlatform | None,
        typer.Option(
            help=(
                "Let Terraform create the endpoints, on AWS (which costs money) or in a local "
                "service. By default, a local service creates the endpoints without Terraform."
            )
        ),
    ] = None,
    max_cost_usd: Annotated[
        float,
        typer.Option(
            help="On AWS: highest allowed cost of the plan in the worst case, in USD.", min=0
        ),
    ] = 0.0,
    prices: PricesOption = None,
    accept_unknown_prices: UnknownPricesOption = False,
    batch_bucket: Annotated[
        str,
        typer.Option(
            help="On AWS: bucket for the transform jobs of batch scenarios. The Terraform module "
            "batch-transform creates such a bucket."
        ),
    ] = "",
    batch_role: Annotated[
        str,
        typer.Option(
            help="On AWS: ARN of the role of the transform jobs. The Terraform module "
            "batch-transform creates such a role."
        ),
    ] = "",
    kms_key: KmsKeyOption = None,
    permissions_boundary: BoundaryOption = None,
    yes: YesOption = False,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep",
            help="With --target: delete nothing at the end. Endpoints with instances are still "
            "deleted after the last trial that uses one, because they cost money all the time.",
        ),
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Move earlier measurements aside and start over.")
    ] = False,
    names: NamesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run a study, or finish one that was interrupted.

    Every answer is written to disk at once. If you run the same command again, it makes the missing
    measurements. It also repeats measurements that failed or do not count, such as a cold start in
    a trial of warm starts. With --target, it also deletes the resources that an interrupted run
    left behind.
    """
    from drdeploy.cli.study_progress import LiveProgress
    from drdeploy.hosting.deployment.safeguards import Safeguards
    from drdeploy.hosting.sagemaker import PriceSheet
    from drdeploy.study.measurements.results import ResultsFolder
    from drdeploy.study.running.provisioned import Provisioning, sort_always_on_trials_first
    from drdeploy.study.running.session import RunOptions, run_plan

    chosen = _make_plan_from_options(study, only)
    aws = target == "aws"
    if aws or endpoint_url:
        refuse_options_without_effect(
            context,
            ["isolation"],
            why="with --target aws" if aws else "on a local service that runs already",
            remedy="let the study start a local service",
        )
    if aws:
        refuse_options_without_effect(
            context, ["endpoint_url"], why="with --target aws", remedy="give --target local"
        )
    if target is None:
        refuse_options_without_effect(
            context,
            ["kms_key", "permissions_boundary", "keep", "prices"],
            why="where Terraform creates nothing",
            remedy="add --target",
        )
    if not aws:
        refuse_options_without_effect(
            context,
            ["accept_unknown_prices", "max_cost_usd"],
            why="where nothing runs on AWS",
            remedy="add --target aws",
        )
    sheet = PriceSheet.load(prices)
    if aws:
        _refuse_study_above_cost_limit(
            chosen, sheet, max_cost_usd, accept_unknown=accept_unknown_prices
        )
    if batch_bucket or batch_role:
        _refuse_place_of_jobs_without_effect(chosen, aws=aws)
    progress = LiveProgress(sort_always_on_trials_first(chosen) if target else chosen, err)
    approver = TerminalApprover(yes=yes, is_local=not aws, pause=progress.pause_drawing)
    provisioning = Provisioning(
        approver,
        sheet,
        keep=keep,
        safeguards=Safeguards(kms_key, permissions_boundary),
        accept_unknown_prices=accept_unknown_prices,
    )
    options = RunOptions(
        results=ResultsFolder(out_dir or _locate_default_results_folder(chosen)),
        seed=chosen.study.seed if seed is None else seed,
        images=images,
        weights=weights,
        endpoint_url=endpoint_url,
        aws=aws,
        provisioning=provisioning if target else None,
        isolation=isolation,
        batch_bucket=batch_bucket,
        batch_role=batch_role,
        fresh=fresh,
        names=PhotographNames.choose_file_names_or_hashes(own=names),
    )
    advice = "all measured rows are kept; run the same command again to continue"
    with exit_cleanly_on_interruption(advice), progress:
        outcome = run_plan(chosen, options, progress)
    if as_json:
        facts = {"finished": list(outcome.finished), "problems": dict(outcome.problems)}
        print_json(facts | {"measurements": str(options.results.measurements)})
    else:
        print_line(
            f"{len(outcome.finished)} of {len(chosen.trials)} trials measured: "
            f"{options.results.measurements}"
        )
    print_note_on_photograph_names(own=names)
    if outcome.problems:
        raise typer.Exit(1)


@app.command()
def delete(
    study: StudyArgument,
    *,
    out_dir: OutOption = None,
    delete_captured: DeleteCapturedOption = False,
) -> None:
    """Delete the remaining resources of a run that used --target.

    If the bucket holds objects other than archives, it is kept, and the command ends with an error
    that names it. With --delete-captured, these objects and the bucket are deleted, too.
    """
    from drdeploy.study.measurements.results import ResultsFolder
    from drdeploy.study.running.provisioned import (
        delete_study_resources,
        locate_terraform_workspace,
    )

    # The artifacts are not checked: resources must not stay because a file was moved.
    chosen = _make_plan_from_options(study, None, has_artifacts=False)
    workspace = locate_terraform_workspace(
        ResultsFolder(out_dir or _locate_default_results_folder(chosen))
    )
    if not workspace.has_deployment_record:
        raise StudyError(
            "The folder has no record of resources that a run with --target created",
            where=str(workspace.folder),
            remedy="Give the results folder of that run with --out",
        )
    is_local = workspace.read_record().endpoint_url is not None
    with exit_cleanly_on_interruption("run the same command again to continue"):
        approver = TerminalApprover(yes=True, is_local=is_local)
        delete_study_resources(workspace, approver, others=delete_captured)


@app.command()
def status(
    study: StudyArgument,
    only: OnlyOption = None,
    out_dir: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how many measurements of each trial are done. This works during a run, too."""
    from drdeploy.study.measurements.results import ResultsFolder
    from drdeploy.study.running.progress import count_finished_measurements

    chosen = _make_plan_from_options(study, only, has_artifacts=False)
    counts = count_finished_measurements(
        chosen, ResultsFolder(out_dir or _locate_default_results_folder(chosen))
    )
    if as_json:
        print_json(
            [
                {"trial": trial.id, "measured": measured, "of": trial.scenario.n}
                for trial, measured in counts
            ]
        )
        return
    table = Table(
        [Column.of_names("trial"), Column.of_numbers("measured"), Column.of_numbers("of")]
    )
    for trial, measured in counts:
        table.add_row(trial.id, str(measured), str(trial.scenario.n))
    table.print()
    finished = sum(measured == trial.scenario.n for trial, measured in counts)
    print_line(f"trials finished: {finished} of {len(counts)}")


def _refuse_study_above_cost_limit(
    plan: Plan, sheet: PriceSheet, limit_usd: float, *, accept_unknown: bool
) -> None:
    """Raise an error if a study may cost more than the limit, or if its cost is not known."""
    try:
        cost_usd = plan.worst_case_cost_usd(sheet)
    except UnknownPrice as unknown:
        if not accept_unknown:
            raise UnknownPrice(
                unknown.what,
                where=unknown.where,
                remedy=f"{unknown.remedy}; or continue with --accept-unknown-prices",
            ) from unknown
        cost_usd, trials = plan.worst_case_known_cost_usd(sheet)
        print_note(
            f"--max-cost-usd does not limit the cost of {format_count(len(trials), 'trial')}, "
            f"because a price is not known: {', '.join(trials)}"
        )
    if cost_usd > limit_usd:
        # Rounded up, so that the cost that the message names is enough.
        enough_usd = f"{math.ceil(cost_usd * 100) / 100:.2f}"
        raise StudyError(
            f"The study may cost up to {enough_usd} USD, but only {limit_usd:.2f} USD are allowed",
            where="--max-cost-usd",
            remedy=(
                f"Allow the cost with --max-cost-usd {enough_usd}, or choose fewer trials with "
                "--only"
            ),
        )


def _refuse_place_of_jobs_without_effect(plan: Plan, *, aws: bool) -> None:
    from drdeploy.study.design.scenarios import Batch

    if not aws or not any(isinstance(trial.scenario, Batch) for trial in plan.trials):
        raise StudyError(
            "--batch-bucket and --batch-role are only for batch scenarios on AWS",
            where=plan.study.name,
            remedy=(
                "Leave these options out, or give --target aws with a study that has a batch "
                "scenario"
            ),
        )


def _make_plan_from_options(study: str, only: str | None, *, has_artifacts: bool = True) -> Plan:
    from drdeploy.study.design.plan import make_plan
    from drdeploy.study.design.study import Study
    from drdeploy.study.running.models import check_named_artifacts

    chosen = make_plan(Study.load(study)).select_trials_by_id(only)
    if has_artifacts:
        check_named_artifacts(chosen.trials)
    return chosen


def _locate_default_results_folder(plan: Plan) -> Path:
    return Path("results") / plan.study.name


def _convert_plan_to_json(plan: Plan) -> dict[str, Any]:
    cost_usd, unknown = _compute_cost_or_name_unknown_prices(plan)
    return {
        "study": plan.study.name,
        "title": plan.study.title,
        "invocations": plan.expected_invocation_count,
        "expected_duration_s": plan.expected_duration_s,
        "worst_case_cost_usd": cost_usd,
        "unknown_prices": unknown,
        "notes": list(plan.notes_on_foreign_images),
        "trials": [
            {
                "id": trial.id,
                "model": trial.model_name,
                "precision": trial.precision,
                "image": trial.image.tag,
                "profile": trial.image.profile,
                "endpoint": trial.endpoint.model_dump(),
                "vcpu": trial.vcpu,
                "scenario": trial.scenario.model_dump(exclude_none=True),
                "invocations": trial.expected_invocation_count,
                "expected_duration_s": trial.expected_duration_s,
            }
            for trial in plan.trials
        ],
    }


def _compute_cost_or_name_unknown_prices(plan: Plan) -> tuple[float | None, list[str]]:
    from drdeploy.hosting.sagemaker import PriceSheet

    try:
        return plan.worst_case_cost_usd(PriceSheet.load()), []
    except UnknownPrice as unknown:
        return None, [str(unknown)]


def _print_plan(plan: Plan) -> None:
    numbers = map(Column.of_numbers, ("vCPU", "requests", "about"))
    table = Table([Column.of_names("trial"), Column.of_names("image"), *numbers])
    for trial in plan.trials:
        duration = _format_duration(trial.expected_duration_s)
        table.add_row(
            trial.id,
            trial.image.tag,
            f"{trial.vcpu:.2f}",
            str(trial.expected_invocation_count),
            duration,
        )
    table.print()
    cost_usd, unknown = _compute_cost_or_name_unknown_prices(plan)
    cost = "at a cost that is not known" if cost_usd is None else f"at most {cost_usd:.2f} USD"
    print_line(
        f"{format_count(len(plan.trials), 'trial')}, "
        f"{format_count(plan.expected_invocation_count, 'request')}, about "
        f"{_format_duration(plan.expected_duration_s)}; free on this machine, on AWS {cost} "
        f"({plan.study.region})"
    )
    for note in (*plan.notes_on_foreign_images, *unknown):
        print_line(f"note: {note}")


def _format_duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return (
        f"{seconds / SECONDS_PER_MINUTE:.0f} min"
        if seconds < 5400
        else f"{seconds / SECONDS_PER_HOUR:.1f} h"
    )
