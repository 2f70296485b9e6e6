"""A local service, the provider that speaks to it, and terraform in a folder of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from aws_provider import provider_of
from local_aws import FAKE_SERVER, Aws, home_of_local_services
from terraform import ENVIRONMENTS, INFRASTRUCTURE, Terraform

from drdeploy.hosting.local import LocalService, ServiceOptions
from drdeploy.hosting.local.endpoints.iam_policies import is_action_allowed

if TYPE_CHECKING:
    from iam_requests import IamRequest


@pytest.fixture(scope="session", autouse=True)
def home():
    """The folder in which the tests' own services keep their state."""
    with home_of_local_services() as folder:
        yield folder


@pytest.fixture(scope="module")
def service(home):
    """A local service that runs the fake server, which starts in a moment; CPU is plenty."""
    options = ServiceOptions(mb_per_vcpu=512, trial_start=False)
    with LocalService(0, isolation="process", options=options, server_command=FAKE_SERVER) as it:
        yield it


@pytest.fixture(scope="module")
def aws(service) -> Aws:
    return Aws.at(service.url)


@pytest.fixture(scope="module")
def provider(service, terraform_program):
    with provider_of(endpoint_url=service.url) as environment:
        yield environment


@pytest.fixture(scope="module")
def data(provider, tmp_path_factory):
    """Folder of what ``init`` downloads for each environment, once for all tests."""
    folder = tmp_path_factory.mktemp("data")
    for name in ENVIRONMENTS:
        at = INFRASTRUCTURE / "environments" / name
        Terraform(at, folder, provider, data=folder / name).init()
    return folder


@pytest.fixture
def environment(provider, data, tmp_path):
    """``environment("study", name_prefix="dr")``: terraform there, initialized.

    What a failed test leaves is destroyed, so that the next one begins with nothing; with what
    was uploaded, which is not the default.
    """
    made = []

    def initialized(name: str, **values) -> Terraform:
        folder = INFRASTRUCTURE / "environments" / name
        values = {"name_prefix": "dr-study", "force_destroy": True, **values}
        made.append(Terraform(folder, tmp_path / name, provider, values, data / name))
        return made[-1]

    yield initialized
    for one in made:
        if one.has_resources():
            one.with_values("destroy", "-auto-approve", check=False)


@dataclass(frozen=True)
class DeployerPolicies:
    """What ``modules/deployer-policy`` renders.

    Attributes:
        deployer: The policies of whoever deploys, as JSON.
        boundary: The boundary of the roles that a deployer makes; None where it is another's.
        boundary_arn: Its ARN.
    """

    deployer: tuple[str, ...]
    boundary: str | None
    boundary_arn: str

    def allow(self, request: IamRequest) -> bool:
        return is_action_allowed(
            self.deployer, request.action, request.resource, dict(request.context)
        )

    def refused(self, requests) -> list[IamRequest]:
        return sorted((one for one in requests if not self.allow(one)), key=repr)

    def allowed(self, requests) -> list[IamRequest]:
        return sorted((one for one in requests if self.allow(one)), key=repr)


@pytest.fixture(scope="module")
def rendered(provider, tmp_path_factory):
    """``rendered("encryption-key", name_prefix="dr")``: a module's outputs; nothing of it stays."""

    def outputs(module: str, **values) -> dict:
        folder = INFRASTRUCTURE / "modules" / module
        terraform = Terraform(folder, tmp_path_factory.mktemp(module), provider, values).init()
        found = terraform.apply()
        terraform.destroy()
        return found

    return outputs


@pytest.fixture(scope="module")
def deployer_policies(rendered):
    """``deployer_policies("dr", allow_vpc=True)``: as the real terraform renders them."""

    def made(prefix: str, **values) -> DeployerPolicies:
        found = rendered("deployer-policy", name_prefix=prefix, **values)
        texts = tuple(found["policy_json"].values())
        return DeployerPolicies(texts, found.get("boundary_json"), found["boundary_arn"])

    return made
