"""One run of a study, from beginning to end.  Read this file first.

:func:`run_plan` is the whole story; the functions below it are its steps, in order.
"""

from __future__ import annotations

import secrets
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from drdeploy.hosting.deployment.account import Account
from drdeploy.hosting.deployment.configuration import prepare_terraform
from drdeploy.hosting.engine import Engine
from drdeploy.hosting.sagemaker import Clock
from drdeploy.study.measurements.environment import (
    BUSY_PERCENT,
    EnvironmentFile,
    cpu_busy_percent,
    host_facts,
)
from drdeploy.study.measurements.journal import Journal
from drdeploy.study.running.models import ensure_artifacts
from drdeploy.study.running.photographs import find_photographs
from drdeploy.study.running.progress import runs_by_trial, unfinished_trials
from drdeploy.study.running.provisioned import (
    always_on_first,
    hosted_tag,
    study_endpoints,
    study_workspace,
)
from drdeploy.study.running.runner import Runner, RunOutcome, TrialInputs
from drdeploy.study.running.target import (
    aws_target,
    build_images,
    choose_isolation,
    image_digests,
    local_target,
    own_local_service,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from drdeploy.study.design.plan import Plan
    from drdeploy.study.measurements.results import Results
    from drdeploy.study.running.provisioned import Provisioning
    from drdeploy.study.running.runner import ProgressReporter
    from drdeploy.study.running.target import Isolation, Target

PHOTOGRAPHS_CACHE = Path("build/photographs")


@dataclass(frozen=True)
class RunOptions:
    """How to run a plan.

    Attributes:
        results: The folder that rows are appended in.
        seed: Of arrival times, the order of photographs and random weights.
        images: Folder with photographs; None takes the example photographs, or synthetic ones.
        weights: Folder with ImageNet weights for models whose weights are to be the best.
        endpoint_url: A local service that is running; None starts one.
        aws: Run on AWS instead, where Terraform creates the endpoints.
        provisioning: How Terraform creates the endpoints; None lets a local service do it.
        isolation: What a local service that is started runs containers in.
        fresh: Move earlier measurements aside first.
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


def run_plan(plan: Plan, options: RunOptions, progress: ProgressReporter) -> RunOutcome:
    """Measure what is missing of a plan.

    Raises:
        StudyError: Something that the trials need is missing, or the folder holds rows that
            new ones must not be mixed with.
        EndpointError: The place where the trials should run does not answer.
    """
    results, clock = options.results, Clock()
    with ExitStack() as stack:
        stack.enter_context(results.locked())
        if options.fresh:
            results.set_aside(clock.now())
        journal = stack.enter_context(Journal(results.measurements))
        environment = EnvironmentFile(results.environment)
        _refuse_another_study(plan, options, journal, environment)
        unfinished = unfinished_trials(plan, journal.read())
        if not unfinished:
            progress.note("every trial is measured already")
            if study_workspace(results).exists:
                progress.note("an earlier run left something: `drdeploy study delete` deletes it")
            return RunOutcome(tuple(trial.id for trial in plan.trials), {})
        _check_access(plan, options)
        inputs = _find_inputs(plan, options, progress)
        target = stack.enter_context(_find_target(plan, options, progress))
        if options.provisioning:
            plan = always_on_first(plan)
            unfinished = unfinished_trials(plan, journal.read())
            target = stack.enter_context(
                _with_provisioned_endpoints(
                    target,
                    replace(plan, trials=unfinished),
                    inputs,
                    options,
                    options.provisioning,
                    is_complete=lambda: not unfinished_trials(plan, journal.read()),
                )
            )
        runner = Runner(
            plan=plan,
            target=target,
            inputs=inputs,
            journal=journal,
            run_id=f"{clock.now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}",
            progress=progress,
            clock=clock,
        )
        return _measure(runner, environment)


def _refuse_another_study(
    plan: Plan, options: RunOptions, journal: Journal, environment: EnvironmentFile
) -> None:
    """Refuse to add rows to those of a study that was defined otherwise.

    What only a run can know (the machine, the artifacts) is compared when the trials begin.
    """
    definitions = {trial.id: {"definition": trial.fingerprint} for trial in plan.trials}
    facts = {"seed": options.seed, "trials": definitions}
    environment.refuse_other_conditions(facts, runs_by_trial(journal.read()))


def _check_access(plan: Plan, options: RunOptions) -> None:
    """Fail now where the run would fail later anyway: building what it needs takes minutes."""
    if options.provisioning:
        account = Account(options.endpoint_url, plan.study.region)
        prepare_terraform("study", study_workspace(options.results), account)
    if options.aws:
        Account(region=plan.study.region).check()


def _find_inputs(plan: Plan, options: RunOptions, progress: ProgressReporter) -> TrialInputs:
    photographs = find_photographs(
        options.images,
        limit_bytes=min(trial.endpoint.payload_limit_bytes for trial in plan.trials),
        seed=options.seed,
        cache=PHOTOGRAPHS_CACHE,
    )
    progress.note(f"{len(photographs.photographs)} photographs ({photographs.source})")
    if photographs.left_out:
        progress.note(f"too large to send, left out: {', '.join(photographs.left_out)}")
    artifacts = ensure_artifacts(
        plan.trials, seed=options.seed, weights_folder=options.weights, note=progress.note
    )
    return TrialInputs(artifacts, photographs, options.seed)


@contextmanager
def _find_target(plan: Plan, options: RunOptions, progress: ProgressReporter) -> Iterator[Target]:
    """Give the place to run: AWS, a local service that is running, or one for this run alone."""
    tags = {hosted_tag(trial, on_aws=options.aws) for trial in plan.trials}
    if options.aws:
        build_images(Engine.require(), tags, progress.note)
        yield aws_target(plan.study.region)
        return
    region = plan.study.region if options.provisioning else None
    if options.endpoint_url:
        target = local_target(options.endpoint_url, region)
        if options.provisioning and target.isolation == "container":
            build_images(Engine.require(), tags, progress.note)
        yield target
        return
    isolation = options.isolation
    if isolation == "auto":
        isolation = choose_isolation(tags, progress.note)
    with own_local_service(
        idle_s=plan.study.local.idle_s,
        isolation=isolation,
        log=options.results.service_log,
        note=progress.note,
        region=region,
    ) as target:
        yield target


@contextmanager
def _with_provisioned_endpoints(
    target: Target,
    plan: Plan,
    inputs: TrialInputs,
    options: RunOptions,
    provisioning: Provisioning,
    *,
    is_complete: Callable[[], bool],
) -> Iterator[Target]:
    """Give the same target with endpoints that Terraform creates, and deletes in the end."""
    has_images = target.platform == "aws" or target.isolation == "container"
    with study_endpoints(
        plan,
        inputs.artifacts,
        Account(target.endpoint_url, plan.study.region),
        engine=Engine.require() if has_images else None,
        workspace=study_workspace(options.results),
        provisioning=provisioning,
        is_complete=is_complete,
    ) as endpoints:
        created = endpoints.provisioned
        facts = {
            "images": {tag: image.uri for tag, image in created.images.items()},
            "archives": {path.name: archive.uri for path, archive in created.archives.items()},
            "terraform": created.changes.summary,
        }
        yield replace(
            target,
            facts={**target.facts, **facts},
            endpoints=endpoints.names,
            trial_ended=endpoints.trial_ended,
        )


def _measure(runner: Runner, environment: EnvironmentFile) -> RunOutcome:
    """Run the trials; the facts of the run are on disk before its first row is."""
    busy_percent = cpu_busy_percent()
    if busy_percent > BUSY_PERCENT:
        runner.progress.note(
            f"other work keeps the CPU {busy_percent:.0f} % busy: that is measured too"
        )
    tags = {trial.image.tag for trial in runner.plan.trials}
    is_contained = runner.target.isolation == "container"
    runner.begin(
        environment,
        {
            **host_facts(),
            **runner.target.facts,
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
