"""The folder of one deployment: its variables, its plan, Terraform's state, and where it is.

::

    deployments/NAME/                    (a study's is results/STUDY/terraform/)
    ├── deployment.json                  environment, prefix, region, URL of the local service
    ├── terraform.tfvars.json            the variables of the last plan
    ├── terraform.tfstate                what exists
    ├── plan.tfplan                      a plan that was not applied yet
    ├── infrastructure/                  copy of the .tf files, and the lock file of the provider
    └── .terraform/                      what `terraform init` downloads

The folder is written before Terraform runs and deleted only after a deletion was verified.
Whatever is interrupted in between can be resumed or deleted from it.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drdeploy.errors import DeploymentError
from drdeploy.files import write_json
from drdeploy.hosting.deployment.account import Account
from drdeploy.hosting.deployment.state import Resource, resources_of

if TYPE_CHECKING:
    from drdeploy.hosting.deployment.variables import Environment, Variables

DEPLOYMENTS = Path("deployments")
"""Folder of all deployments, in the working directory."""


@dataclass(frozen=True)
class DeploymentRecord:
    """Where a deployment is, as ``deployment.json`` keeps it.

    Attributes:
        environment: The Terraform environment that it was made with.
        prefix: What the names of its resources begin with.
        region: AWS region.
        endpoint_url: URL of the local service; None means AWS.
    """

    environment: Environment
    prefix: str
    region: str
    endpoint_url: str | None

    @property
    def account(self) -> Account:
        """The account that the deployment is in."""
        return Account(self.endpoint_url, self.region)

    def is_at(self, endpoint_url: str | None, region: str | None) -> bool:
        """Return whether the deployment is in that place; None matches every place."""
        return endpoint_url in {None, self.endpoint_url} and region in {None, self.region}


class Workspace:
    """The paths in a deployment's folder, and what is read and written there.

    Attributes:
        record_file: Where the deployment is.
        variables: The variables for Terraform.
        state: Terraform's state: the only complete list of what was created.
        plan: The last plan, until it was applied.
        configuration: A copy of the ``.tf`` files, and beside them Terraform's lock file of the
            provider.
        data: Terraform's working folder: providers and modules.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record_file = folder / "deployment.json"
        self.variables = folder / "terraform.tfvars.json"
        self.state = folder / "terraform.tfstate"
        self.plan = folder / "plan.tfplan"
        self.configuration = folder / "infrastructure"
        self.data = folder / ".terraform"

    @classmethod
    def of_endpoint(cls, name: str, root: Path = DEPLOYMENTS) -> Workspace:
        """Return the workspace of a single endpoint: ``deployments/NAME``."""
        return cls((root / name).absolute())

    @property
    def exists(self) -> bool:
        """Whether a deployment was ever begun in this folder."""
        return self.record_file.is_file()

    def record(self) -> DeploymentRecord:
        """Read where the deployment is.

        Raises:
            DeploymentError: ``deployment.json`` is missing or damaged.
        """
        try:
            facts: dict[str, Any] = json.loads(self.record_file.read_text("utf-8"))
            return DeploymentRecord(**facts)
        except (OSError, ValueError, TypeError) as err:
            raise DeploymentError(
                f"The record of the deployment cannot be read: {err}", where=str(self.record_file)
            ) from err

    def write(self, variables: Variables, account: Account) -> None:
        """Write the variables of the next plan, and where it will be applied."""
        record = DeploymentRecord(
            variables.environment, variables.prefix, variables.region, account.endpoint_url
        )
        write_json(self.record_file, asdict(record))
        write_json(self.variables, variables.document())

    def resources(self) -> tuple[Resource, ...]:
        """Return every resource that the state holds."""
        return resources_of(self.state)

    def delete(self) -> None:
        """Delete the folder, once nothing that its state holds exists any more."""
        shutil.rmtree(self.folder, ignore_errors=True)
