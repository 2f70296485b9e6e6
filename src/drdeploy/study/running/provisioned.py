"""A study's endpoints through Terraform: all of them at once, and none longer than needed.

Trials of one model, image and configuration share an endpoint.  Those that are always on are
measured first and deleted as soon as the last of them is done; what scales to zero costs nothing
meanwhile.  A study that is measured whole leaves nothing; one that was broken off leaves image,
archives and Terraform's state for the next run, and no endpoint.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Self

from drdeploy.errors import DrdeployError
from drdeploy.hosting.deployment.architectures import fitting_tag
from drdeploy.hosting.deployment.configuration import ready_terraform
from drdeploy.hosting.deployment.desired import DesiredEndpoints, ModelSource
from drdeploy.hosting.deployment.provision import Provisioner
from drdeploy.hosting.deployment.teardown import sweep
from drdeploy.hosting.deployment.variables import (
    ENDPOINT_NAME_MAX,
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
    from drdeploy.study.running.models import Artifact, Key

PREFIX_MAX = 20
UPLOADS_STAY = (
    "the endpoints are deleted; images and archives stay for the next run "
    "(`drdeploy study delete` deletes them too)"
)


@dataclass(frozen=True)
class Provisioning:
    """How endpoints are created.

    Attributes:
        person: Is shown every plan with its cost, and agrees.
        sheet: Of prices.
        accept_unknown_prices: Go on where no price is known.
        keep: Leave everything there in the end.
    """

    person: Approver
    sheet: PriceSheet
    accept_unknown_prices: bool = False
    keep: bool = False


@dataclass(frozen=True)
class DesiredStudy:
    """What a plan needs of Terraform.

    Attributes:
        key_of_trial: Which of the endpoints a trial is measured on.
    """

    wish: DesiredEndpoints
    key_of_trial: Mapping[str, str]

    @classmethod
    def of(cls, plan: Plan, artifacts: Mapping[Key, Artifact], *, on_aws: bool) -> Self:
        """One model for each archive and image, one endpoint for each of its configurations.

        Args:
            plan: Of the study.
            artifacts: Its archives.
            on_aws: Where Graviton instances need images of their own.
        """
        prefix = key_of(f"dr-{plan.study.name}", longest=PREFIX_MAX)
        longest = ENDPOINT_NAME_MAX - len(prefix) - 1
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
    """Endpoints that are there, and go when their trials are done.

    Attributes:
        names: By trial.
        provisioned: What was created for them.
    """

    def __init__(
        self, plan: Plan, wish: DesiredStudy, provisioned: Provisioned, provisioner: Provisioner
    ) -> None:
        self.provisioned = provisioned
        self.names = {trial: provisioned.endpoints[key] for trial, key in wish.key_of_trial.items()}
        self._provisioner = provisioner
        self._always_on = {key for key, one in wish.wish.endpoints.items() if one.is_always_on}
        self._waiting = {trial.id for trial in plan.trials if is_always_on(trial.endpoint)}

    def trial_ended(self, trial: Trial) -> None:
        """Delete what is always on, once nothing is to be measured on it any more."""
        if trial.id not in self._waiting:
            return
        self._waiting.discard(trial.id)
        if not self._waiting:
            self._provisioner.release(self._always_on)


def hosted_tag(trial: Trial, *, on_aws: bool) -> str:
    """The image that a trial's endpoint runs: on AWS the one for its processor."""
    return fitting_tag(trial.image.tag, trial.endpoint) if on_aws else trial.image.tag


def study_workspace(results: Results) -> Workspace:
    """Where a study's variables and state are kept."""
    return Workspace((results.folder / "terraform").absolute())


def always_on_first(plan: Plan) -> Plan:
    """The same trials, those that cost money by the hour at the front."""
    ordered = sorted(plan.trials, key=lambda trial: not is_always_on(trial.endpoint))
    return replace(plan, trials=tuple(ordered))


@contextmanager
def study_endpoints(
    plan: Plan,
    artifacts: Mapping[Key, Artifact],
    account: Account,
    *,
    engine: Engine | None,
    workspace: Workspace,
    provisioning: Provisioning,
    is_complete: Callable[[], bool],
) -> Iterator[StudyEndpoints]:
    """Create what the plan needs; in the end delete as much as is right.

    Raises:
        DeploymentError: Something cannot be created or deleted; the message names what there is.
        EndpointError: An endpoint does not get ready.
    """
    person = provisioning.person
    terraform = ready_terraform("study", workspace, account, person.note)
    provisioner = Provisioner(
        account=account,
        workspace=workspace,
        terraform=terraform,
        engine=engine,
        person=person,
        sheet=provisioning.sheet,
        accept_unknown_prices=provisioning.accept_unknown_prices,
    )
    wish = DesiredStudy.of(plan, artifacts, on_aws=account.platform == "aws")
    try:
        yield StudyEndpoints(plan, wish, provisioner.provision(wish.wish), provisioner)
    except BaseException as err:
        _withdraw(provisioner, provisioning, err)
        raise
    _clear(
        provisioner,
        provisioning,
        partial(_sweep, account, workspace, terraform, person),
        everything=is_complete() or account.platform == "local",
    )


def delete_study(workspace: Workspace, person: Approver) -> None:
    """Delete whatever a run left; tells what was verified."""
    note = workspace.note()
    terraform = ready_terraform(note.environment, workspace, note.account, person.note)
    _sweep(note.account, workspace, terraform, person)


def _withdraw(provisioner: Provisioner, provisioning: Provisioning, error: BaseException) -> None:
    """While another error is under way: no endpoint stays, or it is said which."""
    if provisioning.keep:
        return
    try:
        if provisioner.withdraw():
            error.add_note(UPLOADS_STAY)
    except DrdeployError as left:
        error.add_note(str(left))


def _clear(
    provisioner: Provisioner,
    provisioning: Provisioning,
    sweep_all: Callable[[], None],
    *,
    everything: bool,
) -> None:
    note = provisioning.person.note
    if provisioning.keep:
        note("everything stays, as was asked: `drdeploy study delete` deletes it")
    elif everything:
        sweep_all()
    else:
        provisioner.withdraw()
        note(UPLOADS_STAY)


def _sweep(account: Account, workspace: Workspace, terraform: Terraform, person: Approver) -> None:
    swept = sweep(account, workspace, terraform, person)
    person.note(f"deleted: {len(swept.deleted)} resources")
    for sentence in swept.verified:
        person.note(f"verified: {sentence}")
    for sentence in swept.unverified:
        person.note(f"not verified: {sentence}")
