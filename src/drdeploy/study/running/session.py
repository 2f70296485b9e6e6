"""One ``study run``: prepare, find a place to run, measure, and leave nothing behind."""

from __future__ import annotations

import secrets
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from drdeploy.hosting.deployment.account import Account
from drdeploy.hosting.deployment.configuration import ready_terraform
from drdeploy.hosting.engine import Engine
from drdeploy.hosting.sagemaker import Clock
from drdeploy.study.measurements.environment import (
    BUSY_PERCENT,
    EnvironmentFile,
    cpu_busy_percent,
    host_facts,
)
from drdeploy.study.measurements.journal import Journal, read_measurements
from drdeploy.study.running.models import ensure_artifacts
from drdeploy.study.running.photographs import find_album
from drdeploy.study.running.progress import missing_sequences, runs_by_trial
from drdeploy.study.running.provisioned import (
    always_on_first,
    hosted_tag,
    study_endpoints,
    study_workspace,
)
from drdeploy.study.running.runner import ProgressReporter, Runner, RunOutcome, TrialInputs
from drdeploy.study.running.target import (
    aws_target,
    build_images,
    image_digests,
    local_target,
    own_local_service,
    prepare_isolation,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from drdeploy.study.design.plan import Plan, Trial
    from drdeploy.study.measurements.results import Results
    from drdeploy.study.running.provisioned import Provisioning
    from drdeploy.study.running.target import Isolation, Target

PHOTOGRAPHS_CACHE = Path("build/photographs")


class RunProgress(ProgressReporter, Protocol):
    """Is told of the preparations too."""

    def note(self, text: str) -> None:
        """Something worth a line."""


@dataclass(frozen=True)
class RunOptions:
    """How to run a plan.

    Attributes:
        images: Folder with photographs; None takes the example photographs, or synthetic ones.
        weights: Folder with ImageNet weights for models whose weights are to be the best.
        endpoint_url: A local service that is there; None starts one.
        aws: Run there instead; Terraform creates the endpoints.
        provisioning: Let Terraform create the endpoints, on a local service too.
        isolation: What a local service of our own holds containers with.
        fresh: Set earlier measurements aside first.
    """

    results: Results
    seed: int
    images: Path | None = None
    weights: Path | None = None
    endpoint_url: str | None = None
    aws: bool = False
    provisioning: Provisioning | None = None
    isolation: Isolation = "auto"
    fresh: bool = False


@dataclass(frozen=True)
class TrialProgress:
    """How far one trial is."""

    trial: Trial
    measured: int


def study_progress(plan: Plan, results: Results) -> tuple[TrialProgress, ...]:
    """How far each trial is, told from the rows alone; may be asked while a run goes on."""
    rows = read_measurements(results.measurements)
    return tuple(
        TrialProgress(trial, trial.scenario.n - len(missing_sequences(trial, rows)))
        for trial in plan.trials
    )


def run_plan(plan: Plan, options: RunOptions, narrator: RunProgress) -> RunOutcome:
    """Measure what of the plan is missing.

    Raises:
        StudyError: Something that the trials need is missing, or the folder holds rows that
            new ones must not be mixed with.
        EndpointError: The place where they should run does not answer.
    """
    clock = Clock()
    with ExitStack() as stack:
        stack.enter_context(options.results.locked())
        if options.fresh:
            options.results.set_aside(clock.now())
        journal = stack.enter_context(Journal(options.results.measurements))
        rows = journal.read()
        environment = EnvironmentFile(options.results.environment)
        definitions = {trial.id: {"definition": trial.fingerprint} for trial in plan.trials}
        known = {"seed": options.seed, "trials": definitions}
        environment.refuse_another_setting(known, runs_by_trial(rows))
        if not any(missing_sequences(trial, rows) for trial in plan.trials):
            narrator.note("every trial is measured already")
            if study_workspace(options.results).exists:
                narrator.note("an earlier run left something: `drdeploy study delete` deletes it")
            return RunOutcome(tuple(trial.id for trial in plan.trials), {})
        _refuse_early(plan, options)
        supplies = _supplies(plan, options, narrator)
        target = stack.enter_context(_target(plan, options, narrator))
        if options.provisioning:
            plan = always_on_first(plan)
            unfinished = tuple(one for one in plan.trials if missing_sequences(one, rows))
            needed = replace(plan, trials=unfinished)
            target = stack.enter_context(
                _provisioned(
                    needed, supplies, target, options, partial(_is_complete, plan, journal)
                )
            )
        runner = Runner(
            plan=plan,
            target=target,
            supplies=supplies,
            journal=journal,
            run_id=_run_id(clock.now()),
            observer=narrator,
            clock=clock,
        )
        busy_percent = cpu_busy_percent()
        if busy_percent > BUSY_PERCENT:
            narrator.note(
                f"other work keeps the CPU {busy_percent:.0f} % busy: that is measured too"
            )
        return _run(runner, environment, target, busy_percent)


def _run(
    runner: Runner, environment: EnvironmentFile, target: Target, busy_percent: float
) -> RunOutcome:
    tags = {trial.image.tag for trial in runner.plan.trials}
    is_contained = target.isolation == "container"
    runner.begin(
        environment,
        {
            **host_facts(),
            **target.facts,
            "started_at": runner.clock.now().isoformat(),
            "cpu_busy_percent_before": busy_percent,
            "image_digests": image_digests(tags) if is_contained else {},
        },
    )
    try:
        outcome = runner.run()
        environment.record(runner.run_id, {"cpu_busy_percent_after": cpu_busy_percent()})
        return outcome
    finally:
        environment.record(runner.run_id, {"ended_at": runner.clock.now().isoformat()})


def _supplies(plan: Plan, options: RunOptions, narrator: RunProgress) -> TrialInputs:
    album = find_album(
        options.images,
        limit_bytes=min(trial.endpoint.payload_limit_bytes for trial in plan.trials),
        seed=options.seed,
        cache=PHOTOGRAPHS_CACHE,
    )
    narrator.note(f"{len(album.photographs)} photographs ({album.source})")
    if album.left_out:
        narrator.note(f"too large to send, left out: {', '.join(album.left_out)}")
    artifacts = ensure_artifacts(
        plan.trials, seed=options.seed, weights_folder=options.weights, note=narrator.note
    )
    return TrialInputs(artifacts, album, options.seed)


def _refuse_early(plan: Plan, options: RunOptions) -> None:
    """Before artifacts and images are built, which takes minutes: what would end the run anyway.

    Raises:
        TerraformUnavailable: It is needed, and it or its AWS provider is not installed.
        EndpointError: AWS refuses the credentials.
    """
    if options.provisioning:
        account = Account(options.endpoint_url, plan.study.region)
        ready_terraform("study", study_workspace(options.results), account)
    if options.aws:
        Account(region=plan.study.region).check()


@contextmanager
def _target(plan: Plan, options: RunOptions, narrator: RunProgress) -> Iterator[Target]:
    """Where the trials run: AWS, a local service that is there, or one of our own."""
    tags = {hosted_tag(trial, on_aws=options.aws) for trial in plan.trials}
    if options.aws:
        build_images(Engine.require(), tags, narrator.note)
        yield aws_target(plan.study.region)
        return
    region = plan.study.region if options.provisioning else None
    if options.endpoint_url:
        target = local_target(options.endpoint_url, region)
        if options.provisioning and target.isolation == "container":
            build_images(Engine.require(), tags, narrator.note)
        yield target
        return
    isolation = options.isolation
    if isolation == "auto":
        isolation = prepare_isolation(tags, narrator.note)
    with own_local_service(
        idle_s=plan.study.local.idle_s,
        isolation=isolation,
        log=options.results.service_log,
        note=narrator.note,
        region=region,
    ) as target:
        yield target


@contextmanager
def _provisioned(
    plan: Plan,
    supplies: TrialInputs,
    target: Target,
    options: RunOptions,
    is_complete: Callable[[], bool],
) -> Iterator[Target]:
    """The same place, with endpoints that Terraform created."""
    if options.provisioning is None:
        yield target
        return
    is_contained = target.platform == "aws" or target.isolation == "container"
    with study_endpoints(
        plan,
        supplies.artifacts,
        Account(target.endpoint_url, plan.study.region),
        engine=Engine.require() if is_contained else None,
        workspace=study_workspace(options.results),
        provisioning=options.provisioning,
        is_complete=is_complete,
    ) as endpoints:
        made = endpoints.provisioned
        facts = {
            "images": {tag: image.uri for tag, image in made.images.items()},
            "archives": {path.name: archive.uri for path, archive in made.archives.items()},
            "terraform": made.changes.summary,
        }
        yield replace(
            target,
            facts={**target.facts, **facts},
            endpoints=endpoints.names,
            trial_ended=endpoints.trial_ended,
        )


def _is_complete(plan: Plan, journal: Journal) -> bool:
    rows = journal.read()
    return not any(missing_sequences(trial, rows) for trial in plan.trials)


def _run_id(now: datetime) -> str:
    return f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
