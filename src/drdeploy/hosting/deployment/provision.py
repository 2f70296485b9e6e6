"""Bring the desired endpoints into service: push, upload, plan, approve, apply and wait.

A model names its image and its archive by digest, so both must be in AWS before Terraform can plan
the model. The image needs a repository and the archive needs a bucket, and Terraform creates both.
The first deployment therefore has two plans: one plan for the foundation (bucket, repository,
role), and one for models and endpoints. Each plan is shown with its cost, and is applied only if
the user approves it.

An interrupted deployment is not rolled back. The variables are written before Terraform plans, and
Terraform's state records what exists. Repeating the interrupted command continues the deployment,
and sends no file twice. Deleting an interrupted deployment deletes everything that was created.
After the first checks, every error message names the resources that exist, because they may cost
money.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from drdeploy.errors import (
    DeploymentError,
    EndpointError,
    InvalidInput,
    PlanDeclined,
    UnknownPrice,
)
from drdeploy.files import path_of_shipped_file
from drdeploy.hosting.deployment.approval import Proposal, estimate_endpoint_costs
from drdeploy.hosting.deployment.architectures import check_image_architectures
from drdeploy.hosting.deployment.archive_upload import (
    UploadedArchive,
    bucket_exists,
    upload_model_archive,
)
from drdeploy.hosting.deployment.gpu_images import (
    check_gpu_hosts_of_endpoints,
    find_required_cuda_of_image,
)
from drdeploy.hosting.deployment.images import (
    PushedImage,
    Repository,
    find_ecr_repository,
    push_image_to_ecr,
    push_placeholder_image,
)
from drdeploy.hosting.deployment.orphans import delete_orphaned_resources
from drdeploy.hosting.deployment.safeguards import Safeguards, find_permissions_boundary_arn
from drdeploy.hosting.deployment.variables import DeploymentVariables, ModelVariables
from drdeploy.hosting.deployment.workspace import NAMED_IN_MESSAGES
from drdeploy.hosting.sagemaker import AsynchronousClient
from drdeploy.hosting.sagemaker.terraform_types import ENDPOINT, ENDPOINT_CONFIGURATION, MODEL

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from drdeploy.hosting.container_engine import ContainerEngine
    from drdeploy.hosting.deployment.account import AwsAccount
    from drdeploy.hosting.deployment.approval import Approver
    from drdeploy.hosting.deployment.changes import PlannedChanges
    from drdeploy.hosting.deployment.terraform import Terraform
    from drdeploy.hosting.deployment.variables import DesiredEndpoints
    from drdeploy.hosting.deployment.workspace import TerraformWorkspace
    from drdeploy.hosting.sagemaker import Invocation, PriceSheet

NOT_READY = "ModelNotReadyException"
"""The error code for a request that has waited too long for the endpoint's cold start.
"""
TRIES = 3

_READ_LOG = "Read the log of the endpoint"
WAIT_S = 1800.0
"""Seconds that an endpoint may take until it is in service; AWS needs many minutes for a large
image.
"""

HOSTED_TYPES = frozenset({
    *(ENDPOINT, ENDPOINT_CONFIGURATION, MODEL),
})  # fmt: skip
"""The types of resources that :meth:`Provisioner.delete_models_and_endpoints` looks for. If no
resource of these types exists, the method has nothing to delete.
"""


@dataclass(frozen=True)
class Provisioned:
    """The endpoints that are in service, and what was pushed, uploaded and changed for them.

    Attributes:
        endpoints: The names of the endpoints, by key.
        outputs: The outputs of the Terraform configuration, by name.
        images: The images in ECR, by their tag in the container engine.
        archives: The archives in S3, by their path on this machine.
        changes: The changes that the last plan made.
    """

    endpoints: Mapping[str, str]
    outputs: Mapping[str, Any]
    images: Mapping[str, PushedImage]
    archives: Mapping[Path, UploadedArchive]
    changes: PlannedChanges


@dataclass(kw_only=True)
class Provisioner:
    """Creates, changes and deletes the endpoints of one deployment.

    Attributes:
        account: The account that the endpoints are deployed to.
        workspace: The folder of the deployment.
        terraform: Terraform, initialised in the workspace.
        engine: The container engine that holds the images; None if the local service runs
            processes instead of containers.
        approver: Shows the progress, and asks for approval of each plan.
        sheet: The price sheet from which the cost of a plan is computed.
        accept_unknown_prices: Whether to continue if the price sheet lacks the price of an
            endpoint.
    """

    account: AwsAccount
    workspace: TerraformWorkspace
    terraform: Terraform
    engine: ContainerEngine | None
    approver: Approver
    sheet: PriceSheet
    accept_unknown_prices: bool = False
    _variables: DeploymentVariables | None = field(default=None, init=False)
    """The variables of the last plan; None before the first plan."""

    def provision_endpoints(self, desired: DesiredEndpoints) -> Provisioned:
        """Create or change the resources, and wait until every desired endpoint is in service.

        Raises:
            InvalidInput: A container image is built for another processor than its endpoint has, or
                needs a GPU or a driver that the endpoint's host lacks. Or the user names another
                encryption key than before.
            PlanDeclined: The user did not approve a plan, so it was not applied.
            TerraformFailed: A resource could not be created; the message names the resources that
                exist.
            PushFailed: The registry refuses an image.
            UploadFailed: The bucket no longer exists.
            ArtifactError: An archive is not a valid ``model.tar.gz``.
            EngineError: The container engine does not have an image.
            UnknownPrice: The price sheet lacks a price, and ``accept_unknown_prices`` is false.
            LeftBehind: An orphaned bucket or repository of an earlier deployment is not empty.
            DeploymentError: Endpoints are in service, but the bucket or the repository is gone.
            EndpointError: AWS refuses the credentials or a request, or does not answer.
            EndpointFailed: An endpoint has the status ``Failed``; the message says why.
            EndpointTimeout: An endpoint was not in service in time.
        """
        # With wrong credentials or processors, nothing else can succeed, so they are checked first.
        self.account.check_credentials()
        if self.engine is not None and self.account.platform == "aws":
            check_image_architectures(self.engine, desired)
        if self.engine is not None:
            check_gpu_hosts_of_endpoints(self.engine, desired)
        with self._add_existing_resources_to_errors():
            self._delete_orphaned_resources()
            foundation = self._add_key_and_permissions_boundary(desired.foundation)
            repository, bucket = self._ensure_repository_and_bucket(foundation)
            # Models may share an image or an archive; each is sent once.
            tags = dict.fromkeys(one.image for one in desired.models.values())
            images = {tag: self._push_image_and_report(tag, repository) for tag in tags}
            paths = dict.fromkeys(one.archive for one in desired.models.values())
            archives = {path: self._upload_archive_and_report(path, bucket) for path in paths}
            models = {
                key: ModelVariables(
                    images[one.image],
                    archives[one.archive],
                    one.environment,
                    find_required_cuda_of_image(self.engine, one.image),
                    one.network,
                )
                for key, one in desired.models.items()
            }
            variables = replace(foundation, models=models, endpoints=desired.endpoints)
            changes = self._plan_and_apply_if_approved(variables, "endpoints")
            outputs = self.terraform.read_outputs()
            names = _read_endpoint_names(outputs)
            endpoints = {key: names.get("") or names[key] for key in desired.endpoints}
            # Terraform has waited for the endpoints that it changed. But if an interrupted run
            # began to update an endpoint, that endpoint needs no change now, and may not be ready.
            for name in endpoints.values():
                self.account.hosting_client.wait_in_service(name, timeout_s=WAIT_S)
        return Provisioned(endpoints, outputs, images, archives, changes)

    def delete_endpoints(self, keys: Collection[str]) -> None:
        """Delete the endpoints with the given keys, without asking for approval.

        Raises:
            TerraformFailed: An endpoint cannot be deleted; the message names the resources that
                exist.
        """
        if self._variables is None:
            return
        self._delete_orphaned_resources()
        kept = {key: one for key, one in self._variables.endpoints.items() if key not in keys}
        self._apply_plan_of_deletions(replace(self._variables, endpoints=kept))

    def delete_models_and_endpoints(self) -> bool:
        """Delete every endpoint and model, but keep images and archives for the next run.

        What belongs to an endpoint is deleted with it: its log group, its alarms, and the bucket of
        an asynchronous endpoint. The deployment's bucket, repository and role stay.

        Returns:
            Whether there was an endpoint or a model to delete.

        Raises:
            TerraformFailed: A resource cannot be deleted; the message names the resources that
                exist.
        """
        self._delete_orphaned_resources()
        any_hosted = any(one.type in HOSTED_TYPES for one in self.workspace.read_resources())
        if self._variables is None or not any_hosted:
            return False
        self._apply_plan_of_deletions(self._variables.without_models_and_endpoints())
        return True

    def send_test_photograph(self, name: str, photograph: bytes, content_type: str) -> Invocation:
        """Send one photograph to an endpoint, and return the answer.

        Raises:
            EndpointError: The endpoint does not grade the photograph. The endpoint is not deleted,
                so it may go on costing money; the message names it.
        """
        for _ in range(TRIES):
            answer = self.account.hosting_client.invoke(name, photograph, content_type=content_type)
            if not answer.error.startswith(NOT_READY):
                break
        if answer.outcome != "ok":
            with self._add_existing_resources_to_errors():
                raise EndpointError(
                    f"The endpoint did not grade the test photograph: {answer.error}",
                    where=name,
                    remedy=_READ_LOG,
                )
        return answer

    def send_asynchronous_test_photograph(
        self, outputs: Mapping[str, Any], photograph: bytes, content_type: str
    ) -> bytes:
        """Send one photograph to an asynchronous endpoint through S3, and return the result.

        Args:
            outputs: The outputs of the Terraform module for the endpoint.
            photograph: The content of the photograph.
            content_type: The content type of the photograph.

        Raises:
            EndpointError: The endpoint does not grade the photograph. The endpoint is not deleted,
                so it may go on costing money; the message names it.
        """
        name = str(outputs["endpoint_name"])
        client = AsynchronousClient.connect(self.account.endpoint_url, region=self.account.region)
        with self._add_existing_resources_to_errors():
            result = client.invoke_and_wait_for_result(
                name, str(outputs["inputs_uri"]), photograph, content_type, timeout_s=WAIT_S
            )
            if result.is_failure:
                raise EndpointError(
                    f"The endpoint did not grade the test photograph: {result.reason}",
                    where=name,
                    remedy=_READ_LOG,
                )
        return result.body

    def _add_key_and_permissions_boundary(
        self, variables: DeploymentVariables
    ) -> DeploymentVariables:
        """Return the variables with the encryption key and the permissions boundary added.

        A key or boundary that the user does not name is taken from the last plan. A forgotten
        option therefore does not change the safeguards of a deployment. If neither the user nor the
        last plan names a boundary, the boundary is looked up in the account.

        Raises:
            InvalidInput: The user names another key than before. ECR cannot change the key of a
                repository that exists.
        """
        before = self.workspace.read_safeguards()
        known = variables.safeguards.fill_missing_from(before)
        is_made = any(one.type == "aws_ecr_repository" for one in self.workspace.read_resources())
        if is_made and known.kms_key_arn != before.kms_key_arn:
            raise InvalidInput(
                "The encryption key of an existing deployment cannot be changed",
                where="--kms-key",
                remedy="Leave out --kms-key, or delete the deployment and deploy it again",
            )
        if known.permissions_boundary_arn is None:
            boundary = find_permissions_boundary_arn(
                self.account, variables.prefix, variables.region
            )
            known = known.fill_missing_from(Safeguards(permissions_boundary_arn=boundary))
        if known.permissions_boundary_arn is None and self.account.platform == "aws":
            self.approver.show_progress(
                "the execution role gets no permissions boundary, because no boundary for the "
                f"prefix {variables.prefix} was found in this account. The Terraform module "
                f"{path_of_shipped_file('infrastructure/modules/deployer-policy')} creates one"
            )
        return replace(variables, safeguards=known)

    def _delete_orphaned_resources(self) -> None:
        delete_orphaned_resources(self.account, self.workspace, self.terraform, self.approver)

    def _ensure_repository_and_bucket(
        self, variables: DeploymentVariables
    ) -> tuple[Repository, str]:
        """Return the repository and the bucket; create them if they do not exist."""
        outputs = self.terraform.read_outputs() if self.workspace.state.is_file() else {}
        bucket = str(outputs.get("artifact_bucket") or "")
        repository = find_ecr_repository(self.account, variables.repository_name)
        if repository is None or not bucket or not bucket_exists(self.account, bucket):
            self._refuse_to_lose_endpoints(outputs)
            self._plan_and_apply_if_approved(variables, "bucket, image repository and role")
            bucket = str(self.terraform.read_outputs()["artifact_bucket"])
            repository = find_ecr_repository(self.account, variables.repository_name)
        if repository is None:
            raise DeploymentError(
                "Terraform did not create the image repository",
                where=variables.repository_name,
                remedy="Repeat the command",
            )
        return repository, bucket

    def _refuse_to_lose_endpoints(self, outputs: Mapping[str, Any]) -> None:
        """Raise an error if the plan for bucket, repository and role would delete an endpoint.

        This plan contains no endpoints, so applying it deletes every endpoint. In a first
        deployment, there is no endpoint yet. But if somebody has deleted the bucket or the
        repository by hand, the endpoints are still in service.
        """
        for name in _read_endpoint_names(outputs).values():
            if self.account.hosting_client.exists(name):
                raise DeploymentError(
                    "An endpoint is in service, but the deployment's bucket or image repository "
                    "no longer exists",
                    where=name,
                    remedy="Delete the deployment and deploy again",
                )

    def _push_image_and_report(self, tag: str, repository: Repository) -> PushedImage:
        if self.engine is None:
            pushed = push_placeholder_image(self.account, tag, repository)
        else:
            pushed = push_image_to_ecr(self.account, self.engine, tag, repository)
        how = "is there already" if pushed.was_there else "pushed"
        self.approver.show_progress(f"image {tag} {how}: {pushed.uri}")
        return pushed

    def _upload_archive_and_report(self, archive: Path, bucket: str) -> UploadedArchive:
        uploaded = upload_model_archive(self.account, archive, bucket)
        how = "is there already" if uploaded.was_there else "uploaded"
        self.approver.show_progress(f"archive {archive.name} {how}: {uploaded.uri}")
        return uploaded

    def _apply_plan_of_deletions(self, variables: DeploymentVariables) -> None:
        with self._add_existing_resources_to_errors():
            self.workspace.write_variables_and_record(variables, self.account)
            self._variables = variables
            if self.terraform.make_plan():
                self.terraform.apply_last_plan()

    def _plan_and_apply_if_approved(
        self, variables: DeploymentVariables, title: str
    ) -> PlannedChanges:
        """Make a plan, ask for approval of the plan and its cost, and apply the plan."""
        # Written first, so that the folder says what was intended even if the next steps are
        # interrupted.
        self.workspace.write_variables_and_record(variables, self.account)
        self._variables = variables
        changes = self.terraform.make_plan()
        if not changes:
            self.approver.show_progress(f"{title}: nothing to change")
            return changes
        cost = estimate_endpoint_costs(changes, self.sheet, variables.region)
        # The user would approve a missing price as if it were 0.
        if cost.unknown and self.account.platform == "aws" and not self.accept_unknown_prices:
            raise UnknownPrice(
                cost.unknown[0],
                where="price sheet",
                remedy="Add the price to a price sheet of your own, and give the sheet with "
                "--prices; or continue with --accept-unknown-prices",
            )
        if not self.approver.ask_for_approval(Proposal(title, changes, cost)):
            raise PlanDeclined(
                "The plan was not approved, so it was not applied",
                where=title,
                remedy="To approve every plan without being asked, add --yes",
            )
        self.terraform.apply_last_plan()
        return changes

    @contextmanager
    def _add_existing_resources_to_errors(self) -> Iterator[None]:
        """Run a ``with`` block, and add the names of existing resources to every error in it.

        A ``DeploymentError`` or ``EndpointError`` is raised again, with the names in its remedy.
        Any other exception, such as Ctrl-C, gets a note with the names
        (:meth:`BaseException.add_note`).
        """
        try:
            yield
        except (DeploymentError, EndpointError) as err:
            # Terraform says that an endpoint has failed; only SageMaker says why.
            what = "; ".join([err.what, *self._describe_failed_endpoints()])
            remedy = ". ".join(
                part for part in (err.remedy, self._describe_existing_resources()) if part
            )
            raise type(err)(what, where=err.where, remedy=remedy) from err
        except BaseException as err:
            err.add_note(self._describe_existing_resources())
            raise

    def _describe_existing_resources(self) -> str:
        resources = self.workspace.read_resources()
        if not resources:
            return "No resource of this deployment exists now"
        names = ", ".join(str(one) for one in resources if one.type in NAMED_IN_MESSAGES)
        return (
            f"These resources exist now and may cost money: {names}. Run the same command again to "
            f"continue, or delete the resources. Terraform's state is in {self.workspace.folder}"
        )

    def _describe_failed_endpoints(self) -> Iterator[str]:
        for resource in self.workspace.read_resources():
            if resource.type != ENDPOINT:
                continue
            try:
                reason = self.account.hosting_client.failure_reason(resource.name)
            except EndpointError:
                continue  # an error is being reported already; this would hide it
            if reason:
                yield f"endpoint {resource.name} has failed: {reason}"


def _read_endpoint_names(outputs: Mapping[str, Any]) -> dict[str, str]:
    """Return the names of the endpoints by key; the key of a single endpoint is ``""``."""
    single = outputs.get("endpoint")
    endpoints = outputs.get("endpoints") or ({"": single} if single else {})
    return {key: str(one["endpoint_name"]) for key, one in endpoints.items()}
