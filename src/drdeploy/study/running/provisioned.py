"""A study's endpoints through Terraform: created all at once, kept no longer than they are needed.

Trials with the same model, image and configuration share an endpoint.  The trials of always-on
endpoints are measured first, and these endpoints are deleted as soon as the last of those trials is
done; an endpoint that scales to zero costs nothing meanwhile.

What stays at the end depends on how the run ended.  A study that is measured completely leaves
nothing.  One that was interrupted leaves no endpoint, for endpoints may cost money, but image,
archives and Terraform's state, for the next run would need them again.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from drdeploy.errors import DrdeployError
from drdeploy.hosting.deployment.architectures import fitting_tag
from drdeploy.hosting.deployment.configuration import prepare_terraform
from drdeploy.hosting.deployment.desired import DesiredEndpoints, ModelSource
from drdeploy.hosting.deployment.provision import Provisioner
from drdeploy.hosting.deployment.teardown import tear_down
from drdeploy.hosting.deployment.variables import (
    NAME_MAX,
    EndpointVariables,
    Variables,
    is_always_on,
    key_of,
)
from drdeploy.hosting.deployment.workspace import Workspace
from drdeploy.study.running.models import artifact_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from drdeploy.hosting.deployment.account import Account
    from drdeploy.hosting.deployment.approval import Approver
    from drdeploy.hosting.deployment.provision import Provisioned
    from drdeploy.hosting.deployment.terraform import Terraform
    from drdeploy.hosting.engine import Engine
    from drdeploy.hosting.sagemaker import PriceSheet
    from drdeploy.study.design.plan import Plan, Trial
    from drdeploy.study.measurements.results import Results
    from drdeploy.study.running.models import Artifact, ArtifactKey

PREFIX_MAX = 20
"""Longest name prefix that the Terraform environments take."""

UPLOADS_STAY = (
    "the endpoints are deleted; images and archives stay for the next run "
    "(`drdeploy study delete` deletes them too)"
)


@dataclass(frozen=True)
class Provisioning:
    """How Terraform creates the endpoints of a study, and whether they stay.

    Attributes:
        approver: Follows what is done, and approves each plan with its cost.
        sheet: Prices, for the cost of a plan.
        accept_unknown_prices: Go on where a price is not known.
        keep: Delete nothing at the end.
    """

    approver: Approver
    sheet: PriceSheet
    accept_unknown_prices: bool = False
    keep: bool = False


@dataclass(frozen=True)
class DesiredStudy:
    """The endpoints that the trials of a plan need.

    Attributes:
        endpoints: Models and endpoints, each once.
        key_of_trial: For each trial id, the key of the endpoint that it is measured on.
    """

    endpoints: DesiredEndpoints
    key_of_trial: Mapping[str, str]

    @classmethod
    def of(cls, plan: Plan, artifacts: Mapping[ArtifactKey, Artifact], *, on_aws: bool) -> Self:
        """Collect one model for each archive and image, and one endpoint for each configuration.

        Args:
            plan: The trials.
            artifacts: The archive of each model and precision.
            on_aws: Whether Graviton instances need images that are built for arm64.
        """
        prefix = key_of(f"dr-{plan.study.name}", longest=PREFIX_MAX)
        longest = NAME_MAX - len(prefix) - 1
        models, endpoints, key_of_trial = {}, {}, {}
        for trial in plan.trials:
            base = f"{trial.model_name}-{trial.precision}-{trial.image_name}"
            tag = hosted_tag(trial, on_aws=on_aws)
            suffix = "" if tag == trial.image.tag else "-arm64"
            model = key_of(base + suffix, longest=longest)
            endpoint = key_of(f"{base}-{trial.endpoint.label}", longest=longest)
            archive = artifacts[artifact_key(trial)].path
            models[model] = ModelSource(tag, archive, trial.image.environment)
            endpoints[endpoint] = EndpointVariables(model, trial.endpoint)
            key_of_trial[trial.id] = endpoint
        foundation = Variables("study", prefix, plan.study.region)
        return cls(DesiredEndpoints(foundation, models, endpoints), key_of_trial)


class StudyEndpoints:
    """The endpoints of a study in service; the always-on ones go when their trials are done.

    Attributes:
        names: Name of the endpoint of each trial, by trial id.
        provisioned: Everything that was created.
    """

    def __init__(
        self, plan: Plan, desired: DesiredStudy, provisioned: Provisioned, provisioner: Provisioner
    ) -> None:
        self.provisioned = provisioned
        self.names = {
            trial: provisioned.endpoints[key] for trial, key in desired.key_of_trial.items()
        }
        self._provisioner = provisioner
        self._always_on = {
            key for key, one in desired.endpoints.endpoints.items() if is_always_on(one.config)
        }
        self._waiting = {trial.id for trial in plan.trials if is_always_on(trial.endpoint)}

    def trial_ended(self, trial: Trial) -> None:
        """Delete the always-on endpoints once the last trial on one of them has ended.

        All at once: each deletion is a run of Terraform, which takes longer than it would save.
        """
        if trial.id not in self._waiting:
            return
        self._waiting.discard(trial.id)
        if not self._waiting:
            self._provisioner.delete_endpoints(self._always_on)


def hosted_tag(trial: Trial, *, on_aws: bool) -> str:
    """Return the tag of the image that a trial's endpoint runs: on AWS, for its processor."""
    return fitting_tag(trial.image.tag, trial.endpoint) if on_aws else trial.image.tag


def study_workspace(results: Results) -> Workspace:
    """Return the folder that keeps a study's variables and Terraform state."""
    return Workspace((results.folder / "terraform").absolute())


def always_on_first(plan: Plan) -> Plan:
    """Return the same trials, with those first whose endpoints cost money by the hour."""
    ordered = sorted(plan.trials, key=lambda trial: not is_always_on(trial.endpoint))
    return replace(plan, trials=tuple(ordered))


@contextmanager
def study_endpoints(
    plan: Plan,
    artifacts: Mapping[ArtifactKey, Artifact],
    account: Account,
    *,
    engine: Engine | None,
    workspace: Workspace,
    provisioning: Provisioning,
    is_complete: Callable[[], bool],
) -> Iterator[StudyEndpoints]:
    """Create the endpoints that a plan needs, and delete them when the block ends.

    Args:
        plan: The trials that are still to be measured.
        artifacts: The archive of each model and precision.
        account: Where the endpoints are created.
        engine: The container engine with the images; None where the service runs processes.
        workspace: Folder of the deployment.
        provisioning: How endpoints are created, and whether they stay.
        is_complete: Called at the end; returns whether every trial of the study is measured.

    Raises:
        DeploymentError: Something cannot be created or deleted; the message names what exists.
        EndpointError: An endpoint does not get in service.
    """
    approver = provisioning.approver
    terraform = prepare_terraform("study", workspace, account, approver.note)
    provisioner = Provisioner(
        account=account,
        workspace=workspace,
        terraform=terraform,
        engine=engine,
        approver=approver,
        sheet=provisioning.sheet,
        accept_unknown_prices=provisioning.accept_unknown_prices,
    )
    desired = DesiredStudy.of(plan, artifacts, on_aws=account.platform == "aws")
    try:
        provisioned = provisioner.provision(desired.endpoints)
        yield StudyEndpoints(plan, desired, provisioned, provisioner)
    except BaseException as err:
        # Ctrl-C included.  The error that is under way is the one to report: what goes wrong
        # while deleting is added to it and does not take its place.
        if not provisioning.keep:
            try:
                if provisioner.delete_all_endpoints():
                    err.add_note(UPLOADS_STAY)
            except DrdeployError as left:
                err.add_note(str(left))
        raise
    if provisioning.keep:
        approver.note("everything stays, as was asked: `drdeploy study delete` deletes it")
    # A local service often ends with the run, and what it holds costs nothing to make again.
    elif is_complete() or account.platform == "local":
        _tear_down(account, workspace, terraform, approver)
    else:
        provisioner.delete_all_endpoints()
        approver.note(UPLOADS_STAY)


def delete_study(workspace: Workspace, approver: Approver) -> None:
    """Delete everything that a run has left, and report what was verified.

    Raises:
        TerraformFailed: Something cannot be deleted.
        LeftBehind: AWS still lists something afterwards.
    """
    record = workspace.record()
    terraform = prepare_terraform(record.environment, workspace, record.account, approver.note)
    _tear_down(record.account, workspace, terraform, approver)


def _tear_down(
    account: Account, workspace: Workspace, terraform: Terraform, approver: Approver
) -> None:
    report = tear_down(account, workspace, terraform, approver)
    approver.note(f"deleted: {len(report.deleted)} resources")
    for sentence in report.verified:
        approver.note(f"verified: {sentence}")
    for sentence in report.unverified:
        approver.note(f"not verified: {sentence}")
