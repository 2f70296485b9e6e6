"""From what is wanted to endpoints that answer: push, upload, plan, agree, apply, wait, try."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    from drdeploy.hosting.deployment.changes import Changes
    from drdeploy.hosting.deployment.desired import DesiredEndpoints
    from drdeploy.hosting.deployment.terraform import Terraform
    from drdeploy.hosting.deployment.workspace import Workspace
    from drdeploy.hosting.engine import Engine
    from drdeploy.hosting.sagemaker import Invocation, PriceSheet

WAIT_S = 1800.0
HOSTING = frozenset({
    *("aws_sagemaker_endpoint", "aws_sagemaker_endpoint_configuration", "aws_sagemaker_model"),
})  # fmt: skip


@dataclass(frozen=True)
class Provisioned:
    """What there is now.

    Attributes:
        endpoints: Their names, by key.
        outputs: Of Terraform.
        images: As the models name them, by the tag in the engine.
        archives: Likewise, by path.
        changes: What was done to get here.
    """

    endpoints: Mapping[str, str]
    outputs: Mapping[str, Any]
    images: Mapping[str, PushedImage]
    archives: Mapping[Path, UploadedArchive]
    changes: Changes


class Provisioner:
    """Leads one deployment through its stages; see the package.

    Args:
        account: Where it goes.
        workspace: Its folder.
        terraform: Initialised, on that folder.
        engine: Holds the images; None where the local service runs processes.
        person: Told, and asked.
        sheet: Of prices.
        accept_unknown_prices: Go on where AWS asks a price that the sheet does not know.
    """

    def __init__(
        self,
        *,
        account: Account,
        workspace: Workspace,
        terraform: Terraform,
        engine: Engine | None,
        person: Approver,
        sheet: PriceSheet,
        accept_unknown_prices: bool = False,
    ) -> None:
        self._account = account
        self._workspace = workspace
        self._terraform = terraform
        self._engine = engine
        self._person = person
        self._sheet = sheet
        self._accept_unknown_prices = accept_unknown_prices
        self._leftovers = Leftovers(account, workspace)
        self._variables: Variables | None = None

    def provision(self, wish: DesiredEndpoints) -> Provisioned:
        """Bring about what is wanted, and wait until every endpoint answers requests.

        Raises:
            InvalidInput: An image does not run on the processor of an instance.
            PlanDeclined: Somebody did not agree; nothing more was created.
            TerraformFailed: Something could not be created; the message names what there is.
            PushFailed: The registry does not take an image.
            UploadFailed: The bucket does not take an archive.
            EndpointFailed: An endpoint reports ``Failed``, with its reason.
            EndpointTimeout: An endpoint did not get ready in time.
        """
        self._account.check()
        if self._engine is not None and self._account.platform == "aws":
            check_architectures(self._engine, wish)
        with self._leftovers.named():
            repository, bucket = self._foundation(wish.foundation)
            images = {tag: self._pushed(tag, repository) for tag in _distinct_images(wish)}
            archives = {path: self._uploaded(path, bucket) for path in _distinct_archives(wish)}
            models = {
                key: ModelVariables(images[one.image], archives[one.archive], one.environment)
                for key, one in wish.models.items()
            }
            variables = replace(wish.foundation, models=models, endpoints=wish.endpoints)
            changes = self._applied(variables, "endpoints")
            outputs = self._terraform.outputs()
            endpoints = _endpoint_names(outputs, wish)
            for name in endpoints.values():
                self._account.hosting.wait_in_service(name, timeout_s=WAIT_S)
        return Provisioned(endpoints, outputs, images, archives, changes)

    def release(self, keys: Collection[str]) -> None:
        """Delete these endpoints; nobody is asked, for it only gets less.

        Raises:
            TerraformFailed: Something cannot be deleted; the message names what there is.
        """
        if self._variables is None:
            return
        kept = {key: one for key, one in self._variables.endpoints.items() if key not in keys}
        self._reduced(replace(self._variables, endpoints=kept))

    def withdraw(self) -> bool:
        """Delete every endpoint and model; what was pushed and uploaded stays.

        Returns:
            Whether there were any.

        Raises:
            TerraformFailed: Something cannot be deleted; the message names what there is.
        """
        hosted = any(one.type in HOSTING for one in self._workspace.resources())
        if self._variables is None or not hosted:
            return False
        self._reduced(self._variables.foundation())
        return True

    def try_out(self, name: str, photograph: bytes, content_type: str) -> Invocation:
        """Send one photograph.

        Raises:
            EndpointError: It is not answered; the endpoint stays, and the message says so.
        """
        answer = self._account.hosting.invoke(name, photograph, content_type=content_type)
        if answer.outcome != "ok":
            with self._leftovers.named():
                raise EndpointError(
                    f"The endpoint does not answer a photograph: {answer.error}", where=name
                )
        return answer

    # -- stages ------------------------------------------------------------------------

    def _foundation(self, variables: Variables) -> tuple[Repository, str]:
        """Bucket and repository; created where they are missing."""
        outputs = self._terraform.outputs() if self._workspace.state.is_file() else {}
        bucket = str(outputs.get("artifact_bucket") or "")
        repository = find_repository(self._account, variables.repository)
        if repository is None or not bucket or not bucket_exists(self._account, bucket):
            self._refuse_to_lose_endpoints(outputs)
            self._applied(variables, "bucket, image repository and role")
            bucket = str(self._terraform.outputs()["artifact_bucket"])
            repository = find_repository(self._account, variables.repository)
        if repository is None:
            raise DeploymentError(
                "Terraform has created no image repository", where=variables.repository
            )
        return repository, bucket

    def _refuse_to_lose_endpoints(self, outputs: Mapping[str, Any]) -> None:
        """A bucket that somebody deleted is no reason to delete endpoints that still serve."""
        for name in _names_in(outputs).values():
            if self._account.hosting.exists(name):
                raise DeploymentError(
                    "The bucket or the image repository of a running endpoint is gone",
                    where=name,
                    remedy="Delete the deployment and deploy it anew",
                )

    def _pushed(self, tag: str, repository: Repository) -> PushedImage:
        if self._engine is None:
            pushed = push_placeholder(self._account, tag, repository)
        else:
            pushed = push_image(self._account, self._engine, tag, repository)
        how = "is there already" if pushed.was_there else "pushed"
        self._person.note(f"image {tag} {how}: {pushed.uri}")
        return pushed

    def _uploaded(self, archive: Path, bucket: str) -> UploadedArchive:
        uploaded = upload_archive(self._account, archive, bucket)
        how = "is there already" if uploaded.was_there else "uploaded"
        self._person.note(f"archive {archive.name} {how}: {uploaded.uri}")
        return uploaded

    def _reduced(self, variables: Variables) -> None:
        with self._leftovers.named():
            self._workspace.write(variables, self._account)
            self._variables = variables
            if self._terraform.plan():
                self._terraform.apply()

    def _applied(self, variables: Variables, title: str) -> Changes:
        self._workspace.write(variables, self._account)
        self._variables = variables
        changes = self._terraform.plan()
        if not changes:
            self._person.note(f"{title}: nothing to change")
            return changes
        cost = estimate_cost(changes.configurations, self._sheet, variables.region)
        if cost.unknown and self._account.platform == "aws" and not self._accept_unknown_prices:
            raise UnknownPrice(
                cost.unknown[0],
                where="price sheet",
                remedy="Add the price to a sheet of your own, or say --accept-unknown-prices",
            )
        if not self._person.agrees(Proposal(title, changes, cost)):
            raise PlanDeclined("The plan was not agreed to; nothing of it was done", where=title)
        self._terraform.apply()
        return changes


def _distinct_images(wish: DesiredEndpoints) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.image for one in wish.models.values()))


def _distinct_archives(wish: DesiredEndpoints) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(one.archive for one in wish.models.values()))


def _names_in(outputs: Mapping[str, Any]) -> dict[str, str]:
    """Names of the endpoints, by key; of a single one by an empty key."""
    single = outputs.get("endpoint")
    endpoints = outputs.get("endpoints") or ({"": single} if single else {})
    return {key: str(one["endpoint_name"]) for key, one in endpoints.items()}


def _endpoint_names(outputs: Mapping[str, Any], wish: DesiredEndpoints) -> dict[str, str]:
    names = _names_in(outputs)
    if set(names) == {""}:
        return dict.fromkeys(wish.endpoints, names[""])
    return {key: names[key] for key in wish.endpoints}
