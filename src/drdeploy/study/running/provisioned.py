"""Create all endpoints of a study with Terraform, and delete them when they are no longer needed.

Trials with the same model, image and configuration share an endpoint. Endpoints with instances cost
money all the time, so the trials that use them are measured first. After the last of these trials,
all endpoints with instances are deleted. Serverless endpoints cost nothing while they wait for
their trials. Transform jobs need no endpoint, only a container image in the registry.

When a study is complete, the run deletes all its resources. An interrupted run deletes only the
models and endpoints, because endpoints may cost money. It keeps the images, the archives and
Terraform's state for the next run.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from drdeploy.errors import DrdeployError, format_count
from drdeploy.hosting.deployment.architectures import choose_image_tag_for_endpoint
from drdeploy.hosting.deployment.configuration import prepare_terraform_folder
from drdeploy.hosting.deployment.provision import Provisioner
from drdeploy.hosting.deployment.safeguards import NO_SAFEGUARDS, Safeguards
from drdeploy.hosting.deployment.teardown import (
    delete_workspace_folder_if_service_ended,
    tear_down_deployment,
)
from drdeploy.hosting.deployment.variables import (
    NAME_MAX,
    DeploymentVariables,
    DesiredEndpoints,
    EndpointVariables,
    ModelSource,
    make_terraform_key,
)
from drdeploy.hosting.deployment.workspace import TerraformWorkspace
from drdeploy.hosting.sagemaker import BatchConfig
from drdeploy.study.running.models import artifact_key_of_trial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from drdeploy.hosting.container_engine import ContainerEngine
    from drdeploy.hosting.deployment.account import AwsAccount
    from drdeploy.hosting.deployment.approval import Approver
    from drdeploy.hosting.deployment.provision import Provisioned
    from drdeploy.hosting.deployment.terraform import Terraform
    from drdeploy.hosting.sagemaker import PriceSheet
    from drdeploy.study.design.plan import Plan, Trial
    from drdeploy.study.measurements.results import ResultsFolder
    from drdeploy.study.running.models import ArtifactKey, TrialArtifact

PREFIX_MAX = 20
"""The largest length of a name prefix that the Terraform environments accept."""

UPLOADS_STAY = (
    "the endpoints are deleted. The container images and model archives are kept for the next run; "
    "`drdeploy study delete` deletes them"
)


@dataclass(frozen=True)
class Provisioning:
    """The options for creating the endpoints of a study with Terraform.

    Attributes:
        approver: Receives notes on each step, and approves each plan with its cost.
        sheet: The price sheet from which the cost of each plan is computed.
        keep: Whether to keep the resources after the run. Endpoints with instances are deleted
            in any case, after the last trial that uses one.
        safeguards: The encryption key and the permissions boundary of the resources.
        accept_unknown_prices: Whether to continue if the price sheet lacks the price of an
            endpoint.
    """

    approver: Approver
    sheet: PriceSheet
    keep: bool = False
    safeguards: Safeguards = NO_SAFEGUARDS
    accept_unknown_prices: bool = False


@dataclass(frozen=True)
class DesiredStudy:
    """The endpoints that the trials of a plan need.

    Attributes:
        endpoints: All models and endpoints, without duplicates.
        key_of_trial: For each trial id, the key under which ``endpoints`` holds the trial's
            endpoint.
    """

    endpoints: DesiredEndpoints
    key_of_trial: Mapping[str, str]

    @classmethod
    def from_plan(
        cls,
        plan: Plan,
        artifacts: Mapping[ArtifactKey, TrialArtifact],
        *,
        on_aws: bool,
        safeguards: Safeguards = NO_SAFEGUARDS,
    ) -> Self:
        """List the models and endpoints that the trials of a plan need.

        There is one model for each pair of an archive and a container image, and one endpoint for
        each configuration.

        Args:
            plan: The plan with the trials.
            artifacts: The archive of each model, precision and format.
            on_aws: Whether the endpoints are on AWS, where Graviton instances need arm64 images.
            safeguards: The encryption key and the permissions boundary of the resources.
        """
        prefix = make_terraform_key(f"dr-{plan.study.name}", longest=PREFIX_MAX)
        longest = NAME_MAX - len(prefix) - 1
        models, endpoints, key_of_trial = {}, {}, {}
        for trial in plan.trials:
            base = f"{trial.model_name}-{trial.precision}-{trial.image_name}"
            tag = choose_image_tag_of_trial(trial, on_aws=on_aws)
            suffix = "" if tag == trial.image.tag else "-arm64"
            model = make_terraform_key(base + suffix, longest=longest)
            endpoint = make_terraform_key(f"{base}-{trial.endpoint.label}", longest=longest)
            archive = artifacts[artifact_key_of_trial(trial)].path
            models[model] = ModelSource(tag, archive, trial.image.environment)
            if isinstance(trial.endpoint, BatchConfig):
                continue  # a job only needs the image in the registry, and creates its own model
            endpoints[endpoint] = EndpointVariables(model, trial.endpoint)
            key_of_trial[trial.id] = endpoint
        foundation = DeploymentVariables("study", prefix, plan.study.region, safeguards=safeguards)
        return cls(DesiredEndpoints(foundation, models, endpoints), key_of_trial)


class StudyEndpoints:
    """The endpoints of a study that are in service.

    Attributes:
        names: The name of each trial's endpoint, by trial id.
        provisioned: All resources that were created.
    """

    def __init__(
        self, plan: Plan, desired: DesiredStudy, provisioned: Provisioned, provisioner: Provisioner
    ) -> None:
        self.provisioned = provisioned
        self.names = {
            trial: provisioned.endpoints[key] for trial, key in desired.key_of_trial.items()
        }
        self._provisioner = provisioner
        self._waiting = {trial.id for trial in plan.trials if trial.has_endpoint_with_instances}
        self._with_instances = {desired.key_of_trial[trial] for trial in self._waiting}

    def trial_ended(self, trial: Trial) -> None:
        """Delete all endpoints with instances after the last trial that uses any of them.

        All these endpoints are deleted together. Running Terraform for each endpoint
        separately would cost more time than it saves.
        """
        if trial.id not in self._waiting:
            return
        self._waiting.discard(trial.id)
        if not self._waiting:
            self._provisioner.delete_endpoints(self._with_instances)


def choose_image_tag_of_trial(trial: Trial, *, on_aws: bool) -> str:
    """Return the tag of a trial's container image, which is an arm64 tag for Graviton on AWS."""
    return (
        choose_image_tag_for_endpoint(trial.image.tag, trial.endpoint)
        if on_aws
        else trial.image.tag
    )


def locate_terraform_workspace(results: ResultsFolder) -> TerraformWorkspace:
    """Return the folder with a study's variables and Terraform state."""
    return TerraformWorkspace((results.folder / "terraform").absolute())


def sort_always_on_trials_first(plan: Plan) -> Plan:
    """Return the plan, sorted so that trials on endpoints with instances come first."""
    ordered = sorted(plan.trials, key=lambda trial: not trial.has_endpoint_with_instances)
    return replace(plan, trials=tuple(ordered))


@contextmanager
def create_and_delete_study_endpoints(
    plan: Plan,
    artifacts: Mapping[ArtifactKey, TrialArtifact],
    account: AwsAccount,
    *,
    engine: ContainerEngine | None,
    workspace: TerraformWorkspace,
    provisioning: Provisioning,
    is_complete: Callable[[], bool],
) -> Iterator[StudyEndpoints]:
    """Create the endpoints that a plan needs, and delete them when the ``with`` block ends.

    Args:
        plan: The plan with the trials that are still to be measured.
        artifacts: The archive of each model, precision and format.
        account: The AWS account or local service in which the endpoints are created.
        engine: The container engine that has the container images; None if endpoints run as
            processes.
        workspace: The folder of the deployment.
        provisioning: How endpoints are created, and whether they are kept.
        is_complete: A function that is called at the end, and returns whether every trial of the
            study is measured.

    Raises:
        DeploymentError: A resource cannot be created or deleted; the message names the resources
            that exist.
        EndpointError: An endpoint does not come into service.
    """
    approver = provisioning.approver
    terraform = prepare_terraform_folder("study", workspace, account, approver.show_progress)
    provisioner = Provisioner(
        account=account,
        workspace=workspace,
        terraform=terraform,
        engine=engine,
        approver=approver,
        sheet=provisioning.sheet,
        accept_unknown_prices=provisioning.accept_unknown_prices,
    )
    desired = DesiredStudy.from_plan(
        plan,
        artifacts,
        on_aws=account.platform == "aws",
        safeguards=provisioning.safeguards,
    )
    try:
        provisioned = provisioner.provision_endpoints(desired.endpoints)
        yield StudyEndpoints(plan, desired, provisioned, provisioner)
    except BaseException as err:
        # BaseException includes Ctrl-C. The original error is the one to report. An error while
        # deleting is added to it as a note, and does not replace it.
        if not provisioning.keep:
            try:
                if provisioner.delete_models_and_endpoints():
                    err.add_note(UPLOADS_STAY)
            except DrdeployError as left:
                err.add_note(str(left))
        raise
    if provisioning.keep:
        approver.show_progress(
            "all resources that are left are kept; `drdeploy study delete` deletes them"
        )
    # A local service often ends with the run, and its resources cost nothing to create again.
    elif is_complete() or account.platform == "local":
        _tear_down_and_report(account, workspace, terraform, approver)
    else:
        provisioner.delete_models_and_endpoints()
        approver.show_progress(UPLOADS_STAY)


def delete_study_resources(
    workspace: TerraformWorkspace, approver: Approver, *, others: bool = False
) -> None:
    """Delete all resources that a study's runs left, and report which ones AWS still lists.

    Args:
        workspace: The folder of the study's deployment.
        approver: Receives notes on each step.
        others: Whether to also delete the objects in the study's bucket that no run of the study
            uploaded.

    Raises:
        TerraformFailed: Terraform cannot delete a resource.
        LeftBehind: AWS still lists a resource after the deletion.
    """
    if delete_workspace_folder_if_service_ended(workspace, approver):
        return
    record = workspace.read_record()
    terraform = prepare_terraform_folder(
        record.environment, workspace, record.account, approver.show_progress
    )
    _tear_down_and_report(record.account, workspace, terraform, approver, others=others)


def _tear_down_and_report(
    account: AwsAccount,
    workspace: TerraformWorkspace,
    terraform: Terraform,
    approver: Approver,
    *,
    others: bool = False,
) -> None:
    report = tear_down_deployment(account, workspace, terraform, approver, others=others)
    approver.show_progress(f"deleted: {format_count(len(report.deleted), 'resource')}")
    for sentence in report.verified:
        approver.show_progress(f"verified: {sentence}")
    for sentence in report.unverified:
        approver.show_progress(f"not verified: {sentence}")
