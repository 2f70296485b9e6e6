"""From what is desired to endpoints in service: push, upload, plan, approve, apply, wait.

Why in this order.  A model names its image and its archive by digest, so both must be in AWS before
the plan that names them; and they need a repository and a bucket, which Terraform creates.  So the
first time there are two plans: one for the foundation (bucket, repository, role), and one for
models and endpoints.  Each is shown with its cost and applied only when it was approved.

What is interrupted is not rolled back.  The variables are written before Terraform plans, and
Terraform's state knows what exists: the same command goes on from there, pushes and uploads nothing
twice, and a deletion finds everything.  Every error names what exists by then
(:mod:`~drdeploy.hosting.deployment.leftovers`), because it may cost money.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from drdeploy.errors import DeploymentError, EndpointError, PlanDeclined, UnknownPrice
from drdeploy.hosting.deployment.approval import Proposal
from drdeploy.hosting.deployment.architectures import check_architectures
from drdeploy.hosting.deployment.archives import UploadedArchive, bucket_exists, upload_archive
from drdeploy.hosting.deployment.cost import estimate_cost
from drdeploy.hosting.deployment.images import PushedImage, Repository, find_repository, push_image
from drdeploy.hosting.deployment.leftovers import Leftovers
from drdeploy.hosting.deployment.placeholder import push_placeholder
from drdeploy.hosting.deployment.variables import ModelVariables, Variables

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from drdeploy.hosting.deployment.account import Account
    from drdeploy.hosting.deployment.approval import Approver
    from drdeploy.hosting.deployment.changes import PlannedChanges
    from drdeploy.hosting.deployment.desired import DesiredEndpoints
    from drdeploy.hosting.deployment.terraform import Terraform
    from drdeploy.hosting.deployment.workspace import Workspace
    from drdeploy.hosting.engine import Engine
    from drdeploy.hosting.sagemaker import Invocation, PriceSheet

WAIT_S = 1800.0
"""How long an endpoint may take to get in service; AWS needs minutes, and large images more."""

HOSTED_TYPES = frozenset({
    *("aws_sagemaker_endpoint", "aws_sagemaker_endpoint_configuration", "aws_sagemaker_model"),
})  # fmt: skip
"""What :meth:`Provisioner.delete_all_endpoints` deletes; the rest is needed by the next run."""


@dataclass(frozen=True)
class Provisioned:
    """Endpoints in service, and what was done to get there.

    Attributes:
        endpoints: Names of the endpoints, by key.
        outputs: Outputs of the Terraform configuration, by name.
        images: The images in ECR, by their tag in the container engine.
        archives: The archives in S3, by their path on this machine.
        changes: The last plan, which was applied.
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
        account: Where the deployment goes.
        workspace: Its folder.
        terraform: Terraform, initialised in that folder.
        engine: The container engine that holds the images; None where the local service runs
            processes instead of containers.
        approver: Follows what is done, and approves each plan.
        sheet: Prices, for the cost of a plan.
        accept_unknown_prices: Go on where AWS charges a price that the sheet does not have.
    """

    account: Account
    workspace: Workspace
    terraform: Terraform
    engine: Engine | None
    approver: Approver
    sheet: PriceSheet
    accept_unknown_prices: bool = False
    _variables: Variables | None = field(default=None, init=False)
    """Those of the last plan; None as long as nothing was planned."""

    @property
    def _leftovers(self) -> Leftovers:
        return Leftovers(self.account, self.workspace)

    def provision(self, desired: DesiredEndpoints) -> Provisioned:
        """Create or change what is needed, and wait until every endpoint is in service.

        Raises:
            InvalidInput: An image does not run on the processor of its instance.
            PlanDeclined: A plan was not approved; nothing was changed.
            TerraformFailed: Something could not be created; the message names what exists.
            PushFailed: The registry does not take an image.
            UploadFailed: The bucket does not take an archive.
            EndpointFailed: An endpoint reports ``Failed``, with its reason.
            EndpointTimeout: An endpoint did not get in service in time.
        """
        # First what would make everything else vain: wrong credentials, wrong processors.
        self.account.check()
        if self.engine is not None and self.account.platform == "aws":
            check_architectures(self.engine, desired)
        with self._leftovers.named_in_errors():
            repository, bucket = self._foundation(desired.foundation)
            # Models may share an image or an archive; each is sent once.
            tags = dict.fromkeys(one.image for one in desired.models.values())
            images = {tag: self._push(tag, repository) for tag in tags}
            paths = dict.fromkeys(one.archive for one in desired.models.values())
            archives = {path: self._upload(path, bucket) for path in paths}
            models = {
                key: ModelVariables(images[one.image], archives[one.archive], one.environment)
                for key, one in desired.models.items()
            }
            variables = replace(desired.foundation, models=models, endpoints=desired.endpoints)
            changes = self._apply(variables, "endpoints")
            outputs = self.terraform.outputs()
            names = _names_in(outputs)
            endpoints = {key: names.get("") or names[key] for key in desired.endpoints}
            # Terraform has waited for what it changed just now.  But an endpoint that an
            # interrupted run left in the middle of an update needs no change, and is not ready.
            for name in endpoints.values():
                self.account.hosting.wait_in_service(name, timeout_s=WAIT_S)
        return Provisioned(endpoints, outputs, images, archives, changes)

    def delete_endpoints(self, keys: Collection[str]) -> None:
        """Delete some of the endpoints; without approval, for it can only save money.

        Raises:
            TerraformFailed: Something cannot be deleted; the message names what exists.
        """
        if self._variables is None:
            return
        kept = {key: one for key, one in self._variables.endpoints.items() if key not in keys}
        self._reduce(replace(self._variables, endpoints=kept))

    def delete_all_endpoints(self) -> bool:
        """Delete every endpoint and model; images and archives stay for the next run.

        Returns:
            Whether there were any.

        Raises:
            TerraformFailed: Something cannot be deleted; the message names what exists.
        """
        any_hosted = any(one.type in HOSTED_TYPES for one in self.workspace.resources())
        if self._variables is None or not any_hosted:
            return False
        self._reduce(self._variables.foundation())
        return True

    def try_out(self, name: str, photograph: bytes, content_type: str) -> Invocation:
        """Send one photograph to an endpoint.

        Raises:
            EndpointError: It is not graded.  The endpoint stays, and the message says so.
        """
        answer = self.account.hosting.invoke(name, photograph, content_type=content_type)
        if answer.outcome != "ok":
            with self._leftovers.named_in_errors():
                raise EndpointError(
                    f"The endpoint does not grade a photograph: {answer.error}", where=name
                )
        return answer

    def _foundation(self, variables: Variables) -> tuple[Repository, str]:
        """Return repository and bucket, after creating them where they do not exist."""
        outputs = self.terraform.outputs() if self.workspace.state.is_file() else {}
        bucket = str(outputs.get("artifact_bucket") or "")
        repository = find_repository(self.account, variables.repository)
        if repository is None or not bucket or not bucket_exists(self.account, bucket):
            self._refuse_to_lose_endpoints(outputs)
            self._apply(variables, "bucket, image repository and role")
            bucket = str(self.terraform.outputs()["artifact_bucket"])
            repository = find_repository(self.account, variables.repository)
        if repository is None:
            raise DeploymentError(
                "Terraform has created no image repository", where=variables.repository
            )
        return repository, bucket

    def _refuse_to_lose_endpoints(self, outputs: Mapping[str, Any]) -> None:
        """Refuse to create the foundation anew while an endpoint is in service.

        The variables of the foundation name no endpoints, so applying them deletes all of them.
        That is right the first time and after an interruption; but where somebody has deleted the
        bucket by hand, the endpoints still serve.
        """
        for name in _names_in(outputs).values():
            if self.account.hosting.exists(name):
                raise DeploymentError(
                    "The bucket or the image repository of a running endpoint is gone",
                    where=name,
                    remedy="Delete the deployment and deploy it anew",
                )

    def _push(self, tag: str, repository: Repository) -> PushedImage:
        if self.engine is None:
            pushed = push_placeholder(self.account, tag, repository)
        else:
            pushed = push_image(self.account, self.engine, tag, repository)
        how = "is there already" if pushed.was_there else "pushed"
        self.approver.note(f"image {tag} {how}: {pushed.uri}")
        return pushed

    def _upload(self, archive: Path, bucket: str) -> UploadedArchive:
        uploaded = upload_archive(self.account, archive, bucket)
        how = "is there already" if uploaded.was_there else "uploaded"
        self.approver.note(f"archive {archive.name} {how}: {uploaded.uri}")
        return uploaded

    def _reduce(self, variables: Variables) -> None:
        with self._leftovers.named_in_errors():
            self.workspace.write(variables, self.account)
            self._variables = variables
            if self.terraform.plan():
                self.terraform.apply()

    def _apply(self, variables: Variables, title: str) -> PlannedChanges:
        """Plan, have the plan approved with its cost, and apply it."""
        # Written first: whatever is interrupted from here on, the folder says what was intended.
        self.workspace.write(variables, self.account)
        self._variables = variables
        changes = self.terraform.plan()
        if not changes:
            self.approver.note(f"{title}: nothing to change")
            return changes
        cost = estimate_cost(changes.configurations, self.sheet, variables.region)
        # A price that is missing would be approved as if it were nothing.
        if cost.unknown and self.account.platform == "aws" and not self.accept_unknown_prices:
            raise UnknownPrice(
                cost.unknown[0],
                where="price sheet",
                remedy="Add the price to a sheet of your own, or say --accept-unknown-prices",
            )
        if not self.approver.approves(Proposal(title, changes, cost)):
            raise PlanDeclined("The plan was not approved, so nothing was changed", where=title)
        self.terraform.apply()
        return changes


def _names_in(outputs: Mapping[str, Any]) -> dict[str, str]:
    """Return the endpoints' names by key; a single endpoint's key is empty."""
    single = outputs.get("endpoint")
    endpoints = outputs.get("endpoints") or ({"": single} if single else {})
    return {key: str(one["endpoint_name"]) for key, one in endpoints.items()}
