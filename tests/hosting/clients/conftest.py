"""A running local service, and programs of other people that call it.

Each client has an environment of its own in ``build/clients``, which ``make test`` installs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from local_aws import FAKE_SERVER, Aws, client, home_of_local_services
from required import require

from drdeploy.hosting.local import LocalService, ServiceOptions

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[3]
CLIENTS = ROOT / "build" / "clients"
PROGRAMS = Path(__file__).with_name("programs")
TIMEOUT_S = 540

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Principal": {"Service": "sagemaker.amazonaws.com"},
        }
    ],
}
GRANTED = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:PutObject", "s3:ListBucket", "ecr:*", "sagemaker:*"],
            "Resource": "*",
        }
    ],
}
WITHOUT_TELEMETRY = """
SchemaVersion: "1.0"
SageMaker:
  PythonSDK:
    Modules:
      TelemetryOptOut: true
"""


@pytest.fixture(scope="session", autouse=True)
def home():
    """The folder in which the tests' own services keep their state."""
    with home_of_local_services() as folder:
        yield folder


@pytest.fixture(scope="session")
def service(home):
    """A service with the fake server, plenty of CPU, and idle instances that stay."""
    options = ServiceOptions(mb_per_vcpu=512, trial_start=False)
    with LocalService(0, isolation="process", options=options, server_command=FAKE_SERVER) as it:
        yield it


@pytest.fixture(scope="session")
def aws(service) -> Aws:
    return Aws.at(service.url)


@pytest.fixture(scope="session")
def role(aws) -> str:
    """The ARN of an execution role that may do what hosting takes."""
    iam = client("iam", aws.url)
    made = iam.create_role(RoleName="hosting", AssumeRolePolicyDocument=json.dumps(TRUST))
    iam.put_role_policy(
        RoleName="hosting", PolicyName="hosting", PolicyDocument=json.dumps(GRANTED)
    )
    return str(made["Role"]["Arn"])


@pytest.fixture(scope="session")
def client_environment(aws, role, tmp_path_factory) -> dict[str, str]:
    """What a client finds in its environment: the address of the service, and any credentials."""
    folder = tmp_path_factory.mktemp("user")
    settings = folder / ".config" / "sagemaker" / "config.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text(WITHOUT_TELEMETRY)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "AWS_ENDPOINT_URL": aws.url,
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",  # the name that the SDK for JavaScript knows
        "AWS_EC2_METADATA_DISABLED": "true",
        "MODELS_BUCKET": "models",
        "MODEL_DATA_URL": aws.put_archive(),
        "ROLE_ARN": role,
        "SAGEMAKER_USER_CONFIG_OVERRIDE": str(settings),
        "SAGEMAKER_SUPPRESS_V2_WARNING": "1",
    }


def find_installed_client(name: str) -> Path:
    """Return the folder of a client, or say which client could not be installed."""
    folder = CLIENTS / name
    require((folder / ".ready").is_file(), f"the client {name}: make build/clients/{name}/.ready")
    return folder


def run_to_its_report(command: list[Any], environment: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    report: dict[str, Any] = json.loads(done.stdout[done.stdout.index('{"') :])
    return report


@pytest.fixture(scope="session")
def run_client(client_environment) -> Callable[..., dict[str, Any]]:
    """``run_client("aioboto3", "many_at_once.py")``: what a client's program reports, as JSON.

    Keywords are more variables of its environment.
    """

    def run(client_name: str, program: str, **more: str) -> dict[str, Any]:
        python = find_installed_client(client_name) / "bin" / "python"
        return run_to_its_report([python, PROGRAMS / program], client_environment | more)

    return run


@pytest.fixture(scope="session")
def run_javascript(client_environment) -> Callable[..., dict[str, Any]]:
    """``run_javascript("javascript.mjs")``: what a program for Node.js reports."""

    def run(program: str) -> dict[str, Any]:
        folder = find_installed_client("javascript")
        # Node.js looks for a module's packages beside the module.
        copied = shutil.copy(PROGRAMS / program, folder)
        return run_to_its_report(["node", copied], client_environment)

    return run


@pytest.fixture(scope="session")
def run_aws(client_environment) -> Callable[..., Any]:
    """``run_aws("sagemaker", "list-models")``: what the AWS CLI prints, or its error message."""

    def run(*arguments: str, fails: bool = False) -> Any:
        program = find_installed_client("awscli") / "bin" / "aws"
        done = subprocess.run(
            [program, *arguments],
            env=client_environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert (done.returncode != 0) == fails, f"{done.stdout}\n{done.stderr}"
        if fails:
            return done.stderr
        is_json = done.stdout.strip() and "text" not in arguments
        return json.loads(done.stdout) if is_json else done.stdout

    return run
