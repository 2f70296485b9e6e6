"""Run a study from beginning to end. To read this package's code, begin with this file.

:func:`run_plan` calls all steps of a run. The functions below :func:`run_plan` are the steps, in
order.
"""

from __future__ import annotations

import secrets
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from drdeploy.errors import EndpointError, StudyError, format_count
from drdeploy.files import path_of_shipped_file
from drdeploy.hosting.container_engine import ContainerEngine
from drdeploy.hosting.container_engine.ports import LOOPBACK
from drdeploy.hosting.deployment.account import AwsAccount
from drdeploy.hosting.deployment.configuration import prepare_terraform_folder
from drdeploy.hosting.sagemaker import Clock
from drdeploy.photograph_names import PhotographNames
from drdeploy.study.design.scenarios import Batch
from drdeploy.study.measurements.environment import (
    BUSY_PERCENT,
    EnvironmentFile,
    collect_host_facts,
    measure_cpu_busy_percent,
)
from drdeploy.study.measurements.journal import Journal
from drdeploy.study.running.models import find_or_build_artifacts
from drdeploy.study.running.photographs import read_or_paint_photographs
from drdeploy.study.running.progress import (
    group_run_ids_by_trial,
    list_trials_to_measure,
    list_unfinished_trials,
)
from drdeploy.study.running.provisioned import (
    choose_image_tag_of_trial,
    create_and_delete_study_endpoints,
    delete_study_resources,
    locate_terraform_workspace,
    sort_always_on_trials_first,
)
from drdeploy.study.running.runner import Runner, RunOutcome, TrialInputs, delete_leftover_endpoints
from drdeploy.study.running.target import (
    build_images_and_choose_isolation,
    build_own_images,
    connect_to_aws,
    connect_to_local_service,
    look_up_image_ids,
    start_and_stop_local_service,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from drdeploy.hosting.local.options import IsolationChoice
    from drdeploy.study.design.plan import Plan
    from drdeploy.study.measurements.results import ResultsFolder
    from drdeploy.study.running.provisioned import Provisioning
    from drdeploy.study.running.runner import ProgressReporter
    from drdeploy.study.running.target import Target

PHOTOGRAPHS_CACHE = Path("build/photographs")


@dataclass(frozen=True)
class RunOptions:
    """The options for running a plan.

    Attributes:
        results: The results folder, to which rows are added.
        seed: The seed of arrival times, of the order of photographs and of random weights.
        images: The folder of photographs. None means the example photographs, or synthetic
            photographs if the examples are not installed.
        weights: The folder of ImageNet weights for models with ``weights = "best"``.
        endpoint_url: The address of a running local service; if None, one is started.
        aws: Whether to run on AWS, where Terraform creates the endpoints.
        provisioning: How Terraform creates the endpoints. If None, each trial's endpoint is
            created through the API of the local service.
        isolation: How the local service hosts endpoints, if this run starts the service: in
            containers or as processes. ``auto`` uses containers if possible.
        batch_bucket: On AWS, the bucket of transform jobs; empty if the plan has none.
        batch_role: On AWS, the ARN of the role of transform jobs; empty if the plan has none.
        fresh: Whether to move the rows of earlier runs to another place first, and measure
            everything again.
        names: How the rows name photographs.
    """

    results: ResultsFolder
    seed: int
    images: Path | None = None
    weights: Path | None = None
    endpoint_url: str | None = None
    aws: bool = False
    provisioning: Provisioning | None = None
    isolation: IsolationChoice = "auto"
    batch_bucket: str = ""
    batch_role: str = ""
    fresh: bool = False
    names: PhotographNames = field(default_factory=PhotographNames.with_user_key)


def run_plan(plan: Plan, options: RunOptions, progress: ProgressReporter) -> RunOutcome:
    """Measure the missing rows of a plan, and repeat measurements that do not count.

    Raises:
        StudyError: An artifact or the photographs are missing, or the folder holds rows that were
            measured under other conditions.
        ArtifactError: The study names a file that is not an artifact.
        EndpointError: The local service or AWS does not answer.
        DeploymentError: Terraform cannot create or delete a resource.
    """
    results, clock = options.results, Clock()
    with ExitStack() as stack:
        stack.enter_context(results.hold_folder_lock())
        if options.fresh:
            results.move_earlier_files_aside(clock.now())
        journal = stack.enter_context(Journal(results.measurements))
        environment = EnvironmentFile(results.environment)
        _refuse_rows_of_another_study(plan, options, journal, environment)
        if not list_trials_to_measure(plan, journal.read_rows()):
            progress.note("every trial is measured already")
            if locate_terraform_workspace(results).has_deployment_record:
                _delete_or_mention_resources_of_earlier_run(options, progress)
            elif options.endpoint_url:
                with suppress(EndpointError):  # a service that is gone has no endpoints
                    hosting = connect_to_local_service(options.endpoint_url).hosting
                    delete_leftover_endpoints(hosting, plan.trials, progress)
            return RunOutcome(finished=tuple(trial.id for trial in plan.trials), problems={})
        earlier_runs = {row.run_id for row in journal.read_rows()}
        environment.refuse_other_photograph_names(
            options.names.description_of_photograph_names, earlier_runs
        )
        _check_access_before_building(plan, options)
        inputs = _find_artifacts_and_photographs(plan, options, progress)
        target = stack.enter_context(_open_target_of_run(plan, options, progress))
        if options.provisioning:
            plan = sort_always_on_trials_first(plan)
            unfinished = list_trials_to_measure(plan, journal.read_rows())
            target = stack.enter_context(
                _add_provisioned_endpoints_to_target(
                    target,
                    replace(plan, trials=unfinished),
                    inputs,
                    options,
                    options.provisioning,
                    is_complete=lambda: not list_unfinished_trials(plan, journal.read_rows()),
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
        return _run_trials_and_record_facts(runner, environment)


def _delete_or_mention_resources_of_earlier_run(
    options: RunOptions, progress: ProgressReporter
) -> None:
    """Delete the resources of an earlier run that was killed before it could delete them.

    The resources are kept if they belong to another account or local service, or if this run was
    told to keep its own resources. A note then says how to delete them.

    Raises:
        DeploymentError: A resource cannot be deleted; the message names the resources that exist.
    """
    workspace, provisioning = locate_terraform_workspace(options.results), options.provisioning
    record = workspace.read_record()
    is_same_target = options.aws == (record.endpoint_url is None)
    is_same_target &= record.matches_target(options.endpoint_url, None)
    if provisioning is None or provisioning.keep or not is_same_target:
        progress.note("an earlier run left resources: `drdeploy study delete` deletes them")
        return
    progress.note("an earlier run left resources, which are deleted now")
    delete_study_resources(workspace, provisioning.approver)


def _refuse_rows_of_another_study(
    plan: Plan, options: RunOptions, journal: Journal, environment: EnvironmentFile
) -> None:
    """Refuse to add rows to the results of another study, or of a study that has changed.

    The machine and the artifacts are compared later, when the trials begin, because they are not
    known yet.
    """
    definitions = {trial.id: {"definition": trial.fingerprint} for trial in plan.trials}
    facts = {"seed": options.seed, "trials": definitions}
    environment.refuse_rows_under_other_conditions(
        facts, group_run_ids_by_trial(journal.read_rows())
    )


def _check_access_before_building(plan: Plan, options: RunOptions) -> None:
    """Check Terraform and the AWS account before container images are built.

    Building the images takes minutes, so a wrong setting should be found first.
    """
    if options.provisioning:
        # The local service may not have started yet, but only the platform matters here.
        url = None if options.aws else options.endpoint_url or f"http://{LOOPBACK}"
        account = AwsAccount(url, plan.study.region)
        prepare_terraform_folder("study", locate_terraform_workspace(options.results), account)
    if options.aws:
        _require_place_of_jobs_on_aws(plan, options)
        AwsAccount(region=plan.study.region).check_credentials()


def _require_place_of_jobs_on_aws(plan: Plan, options: RunOptions) -> None:
    jobs = [trial.id for trial in plan.trials if isinstance(trial.scenario, Batch)]
    if jobs and not (options.batch_bucket and options.batch_role):
        raise StudyError(
            "On AWS, transform jobs need a bucket and a role",
            where=jobs[0],
            remedy="Give --batch-bucket and --batch-role. The Terraform module "
            f"{path_of_shipped_file('infrastructure/modules/batch-transform')} creates both",
        )


def _find_artifacts_and_photographs(
    plan: Plan, options: RunOptions, progress: ProgressReporter
) -> TrialInputs:
    photographs = read_or_paint_photographs(
        options.images,
        limit_bytes=min(trial.endpoint.payload_limit_bytes for trial in plan.trials),
        seed=options.seed,
        cache=PHOTOGRAPHS_CACHE,
        names=options.names,
    )
    progress.note(
        f"{format_count(len(photographs.photographs), 'photograph')} ({photographs.source})"
    )
    for left_out in photographs.left_out:
        progress.note(left_out)
    artifacts = find_or_build_artifacts(
        plan.trials, seed=options.seed, weights_folder=options.weights, note=progress.note
    )
    return TrialInputs(artifacts, photographs, options.seed)


@contextmanager
def _open_target_of_run(
    plan: Plan, options: RunOptions, progress: ProgressReporter
) -> Iterator[Target]:
    """Yield the target of the run: AWS, the running local service, or a new local service."""
    tags = {choose_image_tag_of_trial(trial, on_aws=options.aws) for trial in plan.trials}
    if options.aws:
        build_own_images(ContainerEngine.find_or_raise(), tags, progress.note)
        yield connect_to_aws(
            plan.study.region,
            batch_bucket=options.batch_bucket,
            batch_role=options.batch_role,
        )
        return
    region = plan.study.region if options.provisioning else None
    if options.endpoint_url:
        target = connect_to_local_service(options.endpoint_url, region)
        if options.provisioning and target.isolation == "container":
            build_own_images(ContainerEngine.find_or_raise(), tags, progress.note)
        yield target
        return
    isolation = options.isolation
    if isolation == "auto":
        isolation = build_images_and_choose_isolation(tags, progress.note)
    with start_and_stop_local_service(
        idle_s=plan.study.local.idle_s,
        isolation=isolation,
        log=options.results.service_log,
        note=progress.note,
        region=region,
    ) as target:
        yield target


@contextmanager
def _add_provisioned_endpoints_to_target(
    target: Target,
    plan: Plan,
    inputs: TrialInputs,
    options: RunOptions,
    provisioning: Provisioning,
    *,
    is_complete: Callable[[], bool],
) -> Iterator[Target]:
    """Create endpoints with Terraform, yield the target with them, and delete them at the end."""
    has_images = target.platform == "aws" or target.isolation == "container"
    with create_and_delete_study_endpoints(
        plan,
        inputs.artifacts,
        AwsAccount(target.endpoint_url, plan.study.region),
        engine=ContainerEngine.find_or_raise() if has_images else None,
        workspace=locate_terraform_workspace(options.results),
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
            images={tag: image.uri for tag, image in created.images.items()}
            if target.platform == "aws"
            else {},
            trial_ended=endpoints.trial_ended,
        )


def _run_trials_and_record_facts(runner: Runner, environment: EnvironmentFile) -> RunOutcome:
    """Write facts about the run, such as the machine, to disk, and run the trials."""
    busy_percent = measure_cpu_busy_percent()
    if busy_percent > BUSY_PERCENT:
        runner.progress.note(
            f"other programs keep the CPUs {busy_percent:.0f} % busy, which affects the latencies"
        )
    tags = {trial.image.tag for trial in runner.plan.trials}
    is_contained = runner.target.isolation == "container"
    runner.record_conditions_of_run(
        environment,
        {
            **collect_host_facts(),
            **runner.target.facts,
            "started_at": runner.clock.now().isoformat(),
            "cpu_busy_percent_before": busy_percent,
            "image_digests": look_up_image_ids(tags) if is_contained else {},
        },
    )
    try:
        outcome = runner.measure_missing_rows()
        environment.record_facts_of_run(
            runner.run_id, {"cpu_busy_percent_after": measure_cpu_busy_percent()}
        )
        return outcome
    finally:
        environment.record_facts_of_run(runner.run_id, {"ended_at": runner.clock.now().isoformat()})
