"""What a Terraform that was killed could not write down is found and deleted, and nothing else."""

import os
import signal
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest
from aws_provider import provider_of
from local_aws import FAKE_SERVER
from tiny_models import onnx_artifact

from drdeploy.errors import TerraformFailed
from drdeploy.hosting.deployment.account import AwsAccount
from drdeploy.hosting.deployment.configuration import prepare_terraform_folder
from drdeploy.hosting.deployment.orphans import delete_orphaned_resources
from drdeploy.hosting.deployment.provision import Provisioner
from drdeploy.hosting.deployment.teardown import tear_down_deployment
from drdeploy.hosting.deployment.variables import (
    DeploymentVariables,
    DesiredEndpoints,
    EndpointVariables,
    ModelSource,
)
from drdeploy.hosting.deployment.workspace import BACKUP_SUFFIX, TerraformWorkspace
from drdeploy.hosting.local import LocalService
from drdeploy.hosting.sagemaker import PriceSheet, ServerlessConfig


@pytest.fixture(scope="module")
def account():
    with tempfile.TemporaryDirectory(prefix="drd-") as home, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRDEPLOY_LOCAL_HOME", home)
        service = LocalService(0, isolation="process", server_command=FAKE_SERVER)
        with service, provider_of(endpoint_url=service.url) as variables:
            for name, value in variables.items():
                patch.setenv(name, value)
            yield AwsAccount(service.url, "us-east-1")


@pytest.fixture
def deployment(account, tmp_path, approver, terraform_program):
    """What is desired, and a function that makes its provisioner."""
    del terraform_program
    onnx_artifact(tmp_path / "tiny")
    config = ServerlessConfig(memory_mb=2048)
    archive = tmp_path / "tiny" / "model.tar.gz"
    # An endpoint that is some time in creation, in which Terraform is killed.
    source = ModelSource("drdeploy:lean", archive, {"SAGEMAKER_FAKE_START_S": "2"})
    desired = DesiredEndpoints(
        DeploymentVariables("single-endpoint", "orphaned", "us-east-1"),
        {"orphaned": source},
        {"orphaned": EndpointVariables("orphaned", config)},
    )
    workspace = TerraformWorkspace(tmp_path / "work")

    def provisioner():
        return Provisioner(
            account=account,
            workspace=workspace,
            terraform=prepare_terraform_folder("single-endpoint", workspace, account),
            engine=None,
            approver=approver,
            sheet=PriceSheet.load(),
        )

    return desired, provisioner


def endpoints_of(account):
    return [
        one["EndpointName"]
        for one in account.boto3_client("sagemaker").list_endpoints()["Endpoints"]
    ]


def everything_of(account):
    sagemaker = account.boto3_client("sagemaker")
    return [
        *endpoints_of(account),
        *sagemaker.list_models()["Models"],
        *sagemaker.list_endpoint_configs()["EndpointConfigs"],
        *account.boto3_client("ecr").describe_repositories()["repositories"],
        *account.boto3_client("iam").list_roles()["Roles"],
        *account.boto3_client("s3").list_buckets()["Buckets"],
        *account.boto3_client("logs").describe_log_groups()["logGroups"],
        *account.boto3_client("cloudwatch").describe_alarms()["MetricAlarms"],
        *account.boto3_client("cloudwatch").list_dashboards()["DashboardEntries"],
    ]


@pytest.fixture
def before(account):
    """What other tests of this process have left."""
    return everything_of(account)


def killed_once(account, is_time):
    """Kill this process's Terraform once, as soon as something holds of the account."""

    def kill():
        while not is_time(account):
            time.sleep(0.01)
        for child in psutil.Process(os.getpid()).children():
            if child.name() == "terraform":
                child.send_signal(signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    return thread


MOMENTS = {
    "the repository is created": lambda account: [
        one
        for one in account.boto3_client("ecr").describe_repositories()["repositories"]
        if one["repositoryName"].startswith("orphaned")
    ],
    "the endpoint is created": endpoints_of,
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_deployment_whose_terraform_was_killed_finishes_and_is_deleted_whole(
    deployment, account, approver, before, moment
):
    desired, provisioner = deployment
    killer = killed_once(account, MOMENTS[moment])
    with pytest.raises(TerraformFailed, match="SIGKILL"):
        provisioner().provision_endpoints(desired)
    killer.join()
    provisioned = provisioner().provision_endpoints(desired)
    assert endpoints_of(account) == ["orphaned"]
    made = provisioner()
    assert not made.workspace.applying.exists()
    assert provisioned.endpoints == {"orphaned": "orphaned"}
    tear_down_deployment(account, made.workspace, made.terraform, approver)
    assert everything_of(account) == before


def test_a_state_that_is_half_written_is_that_of_before(deployment, account, approver, before):
    desired, provisioner = deployment
    killer = killed_once(account, endpoints_of)
    with pytest.raises(TerraformFailed, match="SIGKILL"):
        provisioner().provision_endpoints(desired)
    killer.join()
    made = provisioner()
    made.workspace.state.write_text('{"version": 4, "resou')
    tear_down_deployment(account, made.workspace, made.terraform, approver)
    assert everything_of(account) == before


def test_a_first_state_that_is_half_written_is_set_aside(deployment, account, approver, before):
    desired, provisioner = deployment
    killer = killed_once(account, MOMENTS["the repository is created"])
    with pytest.raises(TerraformFailed, match="SIGKILL"):
        provisioner().provision_endpoints(desired)
    killer.join()
    made = provisioner()
    assert not made.workspace.state.with_suffix(BACKUP_SUFFIX).exists()
    made.workspace.state.write_text('{"version": 4, "resou')
    made.provision_endpoints(desired)
    assert endpoints_of(account) == ["orphaned"]
    tear_down_deployment(account, made.workspace, made.terraform, approver)
    assert everything_of(account) == before


def test_a_deletion_finds_the_endpoint_that_a_killed_terraform_created(
    deployment, account, approver, before
):
    desired, provisioner = deployment
    killer = killed_once(account, endpoints_of)
    with pytest.raises(TerraformFailed, match="SIGKILL"):
        provisioner().provision_endpoints(desired)
    killer.join()
    assert endpoints_of(account) == ["orphaned"]
    made = provisioner()
    assert "aws_sagemaker_endpoint" not in [one.type for one in made.workspace.read_resources()]
    tear_down_deployment(account, made.workspace, made.terraform, approver)
    assert any(note.startswith("deleted sagemaker_endpoint orphaned") for note in approver.notes)
    assert everything_of(account) == before


def test_an_endpoint_of_somebody_else_stays(deployment, account, approver):
    desired, provisioner = deployment
    killer = killed_once(account, endpoints_of)
    with pytest.raises(TerraformFailed, match="SIGKILL"):
        provisioner().provision_endpoints(desired)
    killer.join()
    sagemaker = account.boto3_client("sagemaker")
    arn = sagemaker.describe_endpoint(EndpointName="orphaned")["EndpointArn"]
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["drdeploy:endpoint"])
    made = provisioner()
    delete_orphaned_resources(account, made.workspace, made.terraform, approver)
    assert endpoints_of(account) == ["orphaned"]
    account.hosting_client.delete("orphaned", kinds=["endpoint"])
    tear_down_deployment(account, made.workspace, made.terraform, approver)
    assert Path(made.workspace.folder).exists() is False
