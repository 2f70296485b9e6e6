"""Accounts whose every call is scripted, and a Terraform configuration that needs no provider."""

from __future__ import annotations

import os
from dataclasses import dataclass

import boto3
import pytest
from aws_provider import install_provider
from botocore.config import Config
from botocore.stub import Stubber

from drdeploy.hosting.deployment.account import AwsAccount
from drdeploy.hosting.deployment.terraform import Terraform
from drdeploy.hosting.deployment.workspace import TerraformWorkspace
from drdeploy.hosting.sagemaker import Clients, Clock, Hosting


class StubbedAccount(AwsAccount):
    """AWS as far as a test has scripted it; anything else that is asked fails the test."""

    def __init__(self):
        super().__init__(None, "us-east-1")
        self.__dict__["_stubs"] = {}

    def stub(self, service):
        if service not in self._stubs:
            made = boto3.client(
                service,
                region_name="us-east-1",
                aws_access_key_id="test",
                aws_secret_access_key="test",
                config=Config(retries={"total_max_attempts": 1}),
            )
            self._stubs[service] = (made, Stubber(made))
            self._stubs[service][1].activate()
        return self._stubs[service][1]

    def boto3_client(self, service):
        self.stub(service)
        return self._stubs[service][0]

    @property
    def hosting_client(self):
        names = ("sagemaker", "sagemaker-runtime", "cloudwatch", "s3")
        clients = Clients(*(self.boto3_client(name) for name in names))
        ticks = iter(range(0, 10**6, 600))
        clock = Clock(monotonic=lambda: float(next(ticks)), sleep=lambda _: None)
        return Hosting(clients, is_local=False, clock=clock)

    def done(self):
        for _, stub in self._stubs.values():
            stub.assert_no_pending_responses()


@pytest.fixture
def account():
    made = StubbedAccount()
    yield made
    made.done()


@dataclass
class Scripted:
    """An approver with one answer, and a reporter of a run; it remembers what was shown."""

    answer: bool = True

    def __post_init__(self):
        self.notes, self.proposals = [], []

    def show_progress(self, text):
        self.notes.append(text)

    note = show_progress

    def ask_for_approval(self, proposal):
        self.proposals.append(proposal)
        return self.answer


@pytest.fixture
def approver():
    return Scripted()


@pytest.fixture(scope="session")
def provider_mirror(terraform_program, tmp_path_factory):
    """Terraform's settings that take the AWS provider from a mirror on this machine."""
    return install_provider(tmp_path_factory.mktemp("provider"))


@pytest.fixture
def aws_provider(provider_mirror, monkeypatch):
    """Terraform, and a provider for it: the commands run as a user's do."""
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(provider_mirror))


@pytest.fixture
def no_provider(terraform_program, tmp_path, monkeypatch):
    """Terraform without a provider registry: its mirror is empty."""
    (tmp_path / "empty").mkdir()
    config = tmp_path / "terraform.tfrc"
    mirror = f'filesystem_mirror {{\n path = "{tmp_path / "empty"}"\n }}'
    config.write_text(f"provider_installation {{\n {mirror}\n}}\n")
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(config))


@pytest.fixture
def terraform_of(tmp_path, terraform_program):
    """Real Terraform on a configuration of `terraform_data`, which needs no provider."""

    def make(configuration, report=lambda _: None):
        folder = tmp_path / "configuration"
        folder.mkdir(exist_ok=True)
        (folder / "main.tf").write_text(configuration)
        workspace = TerraformWorkspace(tmp_path / "work")
        terraform = Terraform(folder, workspace, os.environ, report, terraform_program)
        terraform.initialise()
        workspace.variables.write_text("{}")
        return terraform

    return make
