"""The commands of ``drdeploy study``: plan, run, follow and delete."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drdeploy.cli.console import Column, Table, err, print_json, print_line
from drdeploy.cli.deployment import INTERRUPTED, TargetChoice, TerminalApprover, YesOption
from drdeploy.cli.options import IsolationOption, JsonOption
from drdeploy.errors import StudyError, UnknownPrice

if TYPE_CHECKING:
    from drdeploy.study.design.plan import Plan

app = typer.Typer(no_args_is_help=True)

StudyArgument = Annotated[
    str, typer.Argument(help="A study: its TOML file, or its name in studies/.")
]
OnlyOption = Annotated[
    str | None,
    typer.Option(help="Take the trials whose id contains this, or matches this pattern (* and ?)."),
]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Folder of the results. By default, results/STUDY.")
]


@app.command()
def plan(study: StudyArgument, only: OnlyOption = None, as_json: JsonOption = False) -> None:
    """Show the trials, how long they take and what they cost at worst.

    Nothing is run and nothing is sent.
    """
    chosen = _plan(study, only)
    if as_json:
        print_json(_plan_facts(chosen))
    else:
        _print_plan(chosen)


@app.command()
def run(
    study: StudyArgument,
    *,
    only: OnlyOption = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed, in place of the study's own.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder of photographs to send. By default, the example photographs.",
            file_okay=False,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            envvar="DRDEPLOY_WEIGHTS",
            help="Folder of ImageNet weights as Keras publishes them (.h5), for networks that "
            "have no trained ones. By default, weights are random.",
            file_okay=False,
        ),
    ] = None,
    out_dir: OutOption = None,
    endpoint_url: Annotated[
        str | None,
        typer.Option(help="Address of a running local service. By default, one is started."),
    ] = None,
    isolation: IsolationOption = "auto",
    target: Annotated[
        TargetChoice | None,
        typer.Option(
            help="Let Terraform create the endpoints, on AWS (which costs money) or in a local "
            "service. By default, they are created without Terraform, in a local service."
        ),
    ] = None,
    max_cost_usd: Annotated[
        float, typer.Option(help="On AWS: USD that the plan may cost at worst.", min=0)
    ] = 0.0,
    yes: YesOption = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="With --target: do not delete anything at the end.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Move earlier measurements aside and start anew.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a study, or what is missing of it.

    Every answer is kept at once. After an interruption, the same command measures what is missing.
    """
    from drdeploy.cli.study_progress import LiveProgress
    from drdeploy.hosting.sagemaker import PriceSheet
    from drdeploy.study.measurements.results import Results
    from drdeploy.study.running.provisioned import Provisioning, always_on_first
    from drdeploy.study.running.session import RunOptions, run_plan

    chosen = _plan(study, only)
    aws = target == "aws"
    if aws and (cost_usd := chosen.worst_case_cost_usd(PriceSheet.load())) > max_cost_usd:
        raise StudyError(
            f"At worst this costs {cost_usd:.2f} USD, and only {max_cost_usd:.2f} USD are allowed",
            remedy=f"Allow it with --max-cost-usd {cost_usd:.2f}, or take fewer trials with --only",
        )
    progress = LiveProgress(always_on_first(chosen) if target else chosen, err)
    approver = TerminalApprover(yes=yes, is_local=not aws, pause=progress.paused)
    options = RunOptions(
        results=Results(out_dir or _default_out(chosen)),
        seed=chosen.study.seed if seed is None else seed,
        images=images,
        weights=weights,
        endpoint_url=endpoint_url,
        aws=aws,
        provisioning=Provisioning(approver, PriceSheet.load(), keep=keep) if target else None,
        isolation=isolation,
        fresh=fresh,
    )
    # `kill` and a system that shuts down send SIGTERM.  It is handled like Ctrl-C, so that they
    # too delete the endpoints and stop the service.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with progress:
            outcome = run_plan(chosen, options, progress)
    except KeyboardInterrupt as interruption:
        for note in getattr(interruption, "__notes__", ()):
            print_line(note, to=err)
        print_line(
            "interrupted; what was measured is kept, and the same command goes on from there",
            to=err,
        )
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        facts = {"finished": list(outcome.finished), "problems": dict(outcome.problems)}
        print_json(facts | {"measurements": str(options.results.measurements)})
    else:
        print_line(
            f"{len(outcome.finished)} of {len(chosen.trials)} trials measured: "
            f"{options.results.measurements}"
        )
    if outcome.problems:
        raise typer.Exit(1)


@app.command()
def delete(study: StudyArgument, out_dir: OutOption = None) -> None:
    """Delete what a run with --target left behind."""
    from drdeploy.cli.deployment import interruptible, local_service_answers
    from drdeploy.study.measurements.results import Results
    from drdeploy.study.running.provisioned import delete_study, study_workspace

    chosen = _plan(study, None)
    workspace = study_workspace(Results(out_dir or _default_out(chosen)))
    if not workspace.exists:
        raise StudyError("Terraform created nothing for this study", where=str(workspace.folder))
    endpoint_url = workspace.record().endpoint_url
    if endpoint_url is not None and not local_service_answers(endpoint_url):
        print_line(f"the local service at {endpoint_url} is gone, and everything in it", to=err)
        workspace.delete()
        return
    is_local = endpoint_url is not None
    with interruptible("the same command goes on"):
        delete_study(workspace, TerminalApprover(yes=True, is_local=is_local))


@app.command()
def status(
    study: StudyArgument,
    only: OnlyOption = None,
    out_dir: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how much of each trial is measured, also during a run."""
    from drdeploy.study.measurements.results import Results
    from drdeploy.study.running.progress import study_progress

    chosen = _plan(study, only)
    progress = study_progress(chosen, Results(out_dir or _default_out(chosen)))
    if as_json:
        print_json(
            [
                {"trial": one.trial.id, "measured": one.measured, "of": one.trial.scenario.n}
                for one in progress
            ]
        )
        return
    table = Table([Column.name("trial"), Column.number("measured"), Column.number("of")])
    for one in progress:
        table.add(one.trial.id, str(one.measured), str(one.trial.scenario.n))
    table.print()
    finished = sum(one.measured == one.trial.scenario.n for one in progress)
    print_line(f"{finished} of {len(progress)} trials are finished")


def _plan(study: str, only: str | None) -> Plan:
    from drdeploy.study.design.plan import make_plan
    from drdeploy.study.design.study import Study
    from drdeploy.study.running.models import check_own_artifacts

    chosen = make_plan(Study.load(study)).only(only)
    check_own_artifacts(chosen.trials)
    return chosen


def _default_out(plan: Plan) -> Path:
    return Path("results") / plan.study.name


def _plan_facts(plan: Plan) -> dict[str, Any]:
    cost_usd, unknown = _worst_case_cost_usd(plan)
    return {
        "study": plan.study.name,
        "title": plan.study.title,
        "invocations": plan.invocations,
        "expected_duration_s": plan.expected_duration_s,
        "worst_case_cost_usd": cost_usd,
        "unknown_prices": unknown,
        "notes": list(plan.notes),
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
                "invocations": trial.invocations,
                "expected_duration_s": trial.expected_duration_s,
            }
            for trial in plan.trials
        ],
    }


def _worst_case_cost_usd(plan: Plan) -> tuple[float | None, list[str]]:
    from drdeploy.hosting.sagemaker import PriceSheet

    try:
        return plan.worst_case_cost_usd(PriceSheet.load()), []
    except UnknownPrice as unknown:
        return None, [str(unknown)]


def _print_plan(plan: Plan) -> None:
    numbers = map(Column.number, ("vCPU", "requests", "about"))
    table = Table([Column.name("trial"), Column.name("image"), *numbers])
    for trial in plan.trials:
        duration = _duration(trial.expected_duration_s)
        table.add(trial.id, trial.image.tag, f"{trial.vcpu:.2f}", str(trial.invocations), duration)
    table.print()
    cost_usd, unknown = _worst_case_cost_usd(plan)
    cost = "at a cost that is not known" if cost_usd is None else f"at most {cost_usd:.2f} USD"
    print_line(
        f"{len(plan.trials)} trials, {plan.invocations} requests, about "
        f"{_duration(plan.expected_duration_s)}; free on this machine, on AWS {cost} "
        f"({plan.study.region})"
    )
    for note in (*plan.notes, *unknown):
        print_line(f"note: {note}")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
