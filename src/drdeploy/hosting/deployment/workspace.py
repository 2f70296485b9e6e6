"""The folder of one deployment: what Terraform was told, its state, and how to come back to it.

::

    deployments/NAME/                    (a study's is results/STUDY/terraform/)
    ├── deployment.json                  environment, region, where it is
    ├── terraform.tfvars.json            what Terraform was told last
    ├── terraform.tfstate                what there is
    ├── plan.tfplan                      what was shown last
    ├── infrastructure/                  the .tf files, and which provider they were used with
    └── .terraform/                      Terraform's own
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


@dataclass(frozen=True)
class Note:
    """How to come back to a deployment."""

    environment: Environment
    prefix: str
    region: str
    endpoint_url: str | None

    @property
    def account(self) -> Account:
        """Where it is."""
        return Account(self.endpoint_url, self.region)

    def is_at(self, endpoint_url: str | None, region: str | None) -> bool:
        """Whether that is where it is; what is not said (None) contradicts nothing."""
        is_there = endpoint_url in {None, self.endpoint_url}
        return is_there and region in {None, self.region}


@dataclass(frozen=True)
class Workspace:
    """One deployment's folder."""

    folder: Path

    @classmethod
    def of_endpoint(cls, name: str, root: Path = DEPLOYMENTS) -> Workspace:
        """The folder of a single endpoint."""
        return cls((root / name).absolute())

    @property
    def note_file(self) -> Path:
        """How to come back."""
        return self.folder / "deployment.json"

    @property
    def variables(self) -> Path:
        """What Terraform is told."""
        return self.folder / "terraform.tfvars.json"

    @property
    def state(self) -> Path:
        """What Terraform knows of."""
        return self.folder / "terraform.tfstate"

    @property
    def plan(self) -> Path:
        """What is to be applied."""
        return self.folder / "plan.tfplan"

    @property
    def configuration(self) -> Path:
        """A copy of the ``.tf`` files, with Terraform's lock file of its provider."""
        return self.folder / "infrastructure"

    @property
    def data(self) -> Path:
        """Terraform's own folder."""
        return self.folder / ".terraform"

    @property
    def exists(self) -> bool:
        """Whether anything was ever deployed from here."""
        return self.note_file.is_file()

    def note(self) -> Note:
        """How to come back to it.

        Raises:
            DeploymentError: The file is missing, or says something else.
        """
        try:
            facts: dict[str, Any] = json.loads(self.note_file.read_text("utf-8"))
            return Note(**facts)
        except (OSError, ValueError, TypeError) as err:
            raise DeploymentError(
                f"The deployment's notes cannot be read: {err}", where=str(self.note_file)
            ) from err

    def write(self, variables: Variables, account: Account) -> None:
        """Write down what Terraform shall be told, and where."""
        note = Note(variables.environment, variables.prefix, variables.region, account.endpoint_url)
        write_json(self.note_file, asdict(note))
        write_json(self.variables, variables.document())

    def resources(self) -> tuple[Resource, ...]:
        """What the state tells of."""
        return resources_of(self.state)

    def forget(self) -> None:
        """Delete the folder's files: nothing that they tell of is left."""
        shutil.rmtree(self.folder, ignore_errors=True)


def deployments(root: Path = DEPLOYMENTS) -> tuple[Workspace, ...]:
    """Every deployment of this folder, by name."""
    found = (Workspace(path.absolute()) for path in sorted(root.glob("*")) if path.is_dir())
    return tuple(one for one in found if one.exists)
