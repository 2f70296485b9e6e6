"""The folder of one deployment. Terraform needs it to continue or delete the deployment.

The folder holds the variables, the plan, Terraform's state, and a record that says where the
endpoints are deployed.

::

    deployments/NAME/                    (for a study: results/STUDY/terraform/)
    ├── deployment.json                  environment, prefix, region, URL of the local service
    ├── terraform.tfvars.json            the variables of the last plan
    ├── terraform.tfstate                what exists
    ├── plan.tfplan                      a plan that was not applied yet
    ├── applying.tfplan                  the plan that is being applied; read by ``orphans.py``
    ├── terraform.log                    what Terraform printed while it applied the last plan
    ├── infrastructure/                  copy of the .tf files, and the lock file of the provider
    └── .terraform/                      what `terraform init` downloads

The folder is written before Terraform runs. It is deleted only after all resources were deleted,
and after AWS was asked whether any is left. An interrupted deployment can be resumed or deleted
from its folder.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drdeploy.errors import DeploymentError
from drdeploy.files import parse_json, write_file_atomically, write_json_file
from drdeploy.hosting.deployment.account import AwsAccount
from drdeploy.hosting.deployment.safeguards import NO_SAFEGUARDS, Safeguards
from drdeploy.hosting.sagemaker.terraform_types import (
    ENDPOINT,
    ENDPOINT_CONFIGURATION,
    MODEL,
    SCALING_TARGET,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.hosting.deployment.variables import DeploymentVariables, Environment

NAME_ATTRIBUTES = {
    "aws_s3_bucket": "bucket",
    "aws_cloudwatch_dashboard": "dashboard_name",
    "aws_cloudwatch_metric_alarm": "alarm_name",
}
"""The attribute that holds a resource's name, for types whose attribute is not called ``name``."""

NAMED_IN_MESSAGES = frozenset({
    *(ENDPOINT, ENDPOINT_CONFIGURATION, MODEL),
    *("aws_s3_bucket", "aws_ecr_repository", "aws_iam_role", "aws_cloudwatch_log_group"),
    *("aws_cloudwatch_dashboard", "aws_cloudwatch_metric_alarm", "aws_sns_topic"),
    *(SCALING_TARGET, "aws_budgets_budget"),
})  # fmt: skip
"""The types of resources that error messages name. Resources of all other types are only settings
of these resources.
"""


@dataclass(frozen=True)
class Resource:
    """One resource that Terraform created.

    Attributes:
        address: The resource's name in Terraform, for example
            ``module.m.aws_ecr_repository.this["drdeploy"]``.
        type: The resource's type in Terraform, for example ``aws_ecr_repository``.
        name: The resource's name in AWS.
    """

    address: str
    type: str
    name: str

    def __str__(self) -> str:
        return f"{self.type.removeprefix('aws_')} {self.name}"


def read_resources_from_state(state: Path) -> tuple[Resource, ...]:
    """Return all resources in a state file of Terraform; empty if the file cannot be read.

    The state has version 4 of Terraform's format. The file is read without Terraform, because error
    messages must name the resources even if Terraform cannot run.
    """
    try:
        document = parse_json(state.read_text("utf-8"))
    except (OSError, ValueError):
        return ()
    resources = []
    for resource in document.get("resources", ()):
        if resource.get("mode") != "managed":
            continue  # a data source: Terraform read it and created nothing
        kind = resource["type"]
        parts = (resource.get("module"), kind, resource["name"])
        base = ".".join(part for part in parts if part)
        for instance in resource.get("instances", ()):
            key = instance.get("index_key")
            address = base if key is None else f"{base}[{json.dumps(key)}]"
            attributes = instance.get("attributes") or {}
            name = find_name_of_resource(kind, attributes) or str(attributes.get("id") or "unnamed")
            resources.append(Resource(address, kind, name))
    return tuple(resources)


def is_complete_state_file(file: Path) -> bool:
    """Return whether a state file of Terraform is complete, and not cut off."""
    try:
        return isinstance(parse_json(file.read_text("utf-8")), dict)
    except (OSError, ValueError):
        return False


def find_name_of_resource(kind: str, attributes: Mapping[str, Any]) -> str:
    """Return the name in AWS of a resource with the given attributes; empty if it has no name."""
    return str(attributes.get(NAME_ATTRIBUTES.get(kind, "name")) or "")


DEPLOYMENTS = Path("deployments")
"""The folder of all deployments, below the working directory."""
BACKUP_SUFFIX = ".tfstate.backup"
"""The suffix of the file in which Terraform keeps the state from before the last apply."""
BROKEN_SUFFIX = ".tfstate.broken"
"""The suffix of a state file that Terraform could not finish writing."""


@dataclass(frozen=True)
class DeploymentRecord:
    """Where a deployment's endpoints are deployed, as stored in ``deployment.json``.

    Attributes:
        environment: The Terraform environment of the deployment.
        prefix: The prefix of the names of the deployment's resources.
        region: The AWS region.
        endpoint_url: The URL of the local service; None means AWS.
    """

    environment: Environment
    prefix: str
    region: str
    endpoint_url: str | None

    @property
    def account(self) -> AwsAccount:
        """The account of the deployment."""
        return AwsAccount(self.endpoint_url, self.region)

    def matches_target(self, endpoint_url: str | None, region: str | None) -> bool:
        """Return whether the deployment has the given URL and region; None stands for any value."""
        return endpoint_url in {None, self.endpoint_url} and region in {None, self.region}


class TerraformWorkspace:
    """The folder of a deployment, with methods to read and write its files.

    Attributes:
        folder: The folder itself.
        record_file: The file that says where the deployment is: on AWS or on a local service, and
            in which region (``deployment.json``).
        variables: The file with the values of Terraform's variables.
        state: The file of Terraform's state, which is the only complete list of the resources.
        plan: The file of the last plan, until the plan is applied.
        applying: The file of the plan that is being applied. It stays if applying fails halfway.
        log: The file with Terraform's output while it applied the last plan.
        configuration: The folder with a copy of the ``.tf`` files and the provider's lock file.
        data: The folder in which Terraform keeps providers and modules.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record_file = folder / "deployment.json"
        self.variables = folder / "terraform.tfvars.json"
        self.state = folder / "terraform.tfstate"
        self.plan = folder / "plan.tfplan"
        self.applying = folder / "applying.tfplan"
        self.log = folder / "terraform.log"
        self.configuration = folder / "infrastructure"
        self.data = folder / ".terraform"

    @classmethod
    def for_single_endpoint(cls, name: str, root: Path = DEPLOYMENTS) -> TerraformWorkspace:
        """Return the workspace of a single endpoint: ``deployments/NAME``."""
        return cls((root / name).absolute())

    @property
    def has_deployment_record(self) -> bool:
        """Whether a deployment was ever started in the folder."""
        return self.record_file.is_file()

    def read_record(self) -> DeploymentRecord:
        """Read the record of the deployment from ``deployment.json``.

        Raises:
            DeploymentError: ``deployment.json`` is missing or damaged.
        """
        try:
            facts: dict[str, Any] = parse_json(self.record_file.read_text("utf-8"))
            return DeploymentRecord(**facts)
        except (OSError, ValueError, TypeError) as err:
            reason = (
                err.strerror if isinstance(err, OSError) else "the file is damaged or incomplete"
            )
            raise DeploymentError(
                f"The record of the deployment cannot be read: {reason}",
                where=str(self.record_file),
                remedy="Restore the file from a copy. Without it, delete the resources by hand: "
                f"{self.state.name} beside it lists them",
            ) from err

    def read_safeguards(self) -> Safeguards:
        """Return the encryption key and the permissions boundary of the last plan, if any."""
        try:
            known: dict[str, Any] = parse_json(self.variables.read_text("utf-8"))
        except (OSError, ValueError):
            return NO_SAFEGUARDS
        return Safeguards(known.get("kms_key_arn"), known.get("permissions_boundary_arn"))

    def read_endpoint_kind(self) -> str | None:
        """Return the kind of the deployment's endpoint, or None if the endpoint does not exist."""
        if not any(one.type == ENDPOINT for one in self.read_resources()):
            return None
        try:
            known: dict[str, Any] = parse_json(self.variables.read_text("utf-8"))
        except (OSError, ValueError):
            return None
        kind: str | None = (known.get("endpoint") or {}).get("kind")
        return kind

    def write_variables_and_record(
        self, variables: DeploymentVariables, account: AwsAccount
    ) -> None:
        """Write the next plan's variables, and the record of the deployment, to the workspace."""
        record = DeploymentRecord(
            variables.environment, variables.prefix, variables.region, account.endpoint_url
        )
        write_json_file(self.record_file, asdict(record))
        write_json_file(
            self.variables, variables.to_terraform_variables(is_local=account.platform == "local")
        )

    def read_resources(self) -> tuple[Resource, ...]:
        """Return all resources in Terraform's state."""
        return read_resources_from_state(self.state)

    def restore_broken_state(self) -> None:
        """Repair the state file, if Terraform died while it wrote the file.

        Terraform empties the state file before it writes it again, so a full disk can leave half a
        file. In this case, the backup is restored. The backup holds the state from before the last
        apply. If the very first apply was interrupted, there is no backup. The broken file is then
        renamed, because Terraform refuses every command as long as it cannot read the state file.
        """
        if is_complete_state_file(self.state):
            return
        backup = self.state.with_suffix(BACKUP_SUFFIX)
        if is_complete_state_file(backup):
            write_file_atomically(self.state, backup.read_bytes())
        elif self.state.exists():
            self.state.replace(self.state.with_suffix(BROKEN_SUFFIX))

    def delete_folder(self) -> None:
        """Delete the folder; all resources in its state must have been deleted before."""
        shutil.rmtree(self.folder, ignore_errors=True)
