"""Every failure on AWS: what happened, and what was left behind by name."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from tiny_models import onnx_artifact

from drdeploy.errors import (
    DeploymentError,
    EndpointError,
    EndpointFailed,
    EndpointTimeout,
    EngineError,
    InvalidInput,
    LeftBehind,
    PlanDeclined,
    PushFailed,
    TerraformFailed,
    UnknownPrice,
)
from drdeploy.hosting.deployment.account import Account
from drdeploy.hosting.deployment.changes import PlannedChanges, ResourceChange
from drdeploy.hosting.deployment.desired import DesiredEndpoints, ModelSource
from drdeploy.hosting.deployment.images import PushedImage
from drdeploy.hosting.deployment.provision import Provisioner
from drdeploy.hosting.deployment.state import Resource
from drdeploy.hosting.deployment.teardown import tear_down, verify_deleted
from drdeploy.hosting.deployment.variables import EndpointVariables, Variables
from drdeploy.hosting.deployment.workspace import Workspace
from drdeploy.hosting.sagemaker import PriceSheet, ServerlessConfig

URI = "123456789012.dkr.ecr.us-east-1.amazonaws.com/grader/drdeploy"
ENDPOINT = {"endpoint_name": "grader"}
LEFT = ("sagemaker_endpoint grader", "s3_bucket grader-artifacts", "ecr_repository grader/drdeploy")


@dataclass
class ScriptedTerraform:
    """Keeps a state file as Terraform does; what it is asked to do is written down."""

    workspace: Workspace
    refusal: str = ""
    done: list = field(default_factory=list)

    def __post_init__(self):
        self.workspace.folder.mkdir()
        state = [
            ("aws_s3_bucket", {"bucket": "grader-artifacts"}),
            ("aws_s3_bucket_policy", {"id": "grader-artifacts"}),
            ("aws_ecr_repository", {"name": "grader/drdeploy"}),
            ("aws_sagemaker_endpoint", {"name": "grader"}),
        ]
        resources = [
            {"mode": "managed", "type": kind, "name": "this", "instances": [{"attributes": one}]}
            for kind, one in state
        ]
        self.workspace.state.write_text(json.dumps({"resources": resources}))

    def plan(self, *, destroy=False):
        config = {"serverless_endpoint": ServerlessConfig(memory_mb=2048)}
        return PlannedChanges(
            (ResourceChange("aws_sagemaker_endpoint.this", "x", "create"),), config
        )

    def apply(self):
        if self.refusal:
            raise TerraformFailed(f"terraform apply: {self.refusal}")
        self.done.append(json.loads(self.workspace.variables.read_text()))

    def outputs(self):
        return {"artifact_bucket": "grader-artifacts", "endpoint": ENDPOINT}


class Engine:
    def __init__(self, refusal=""):
        self.refusal = refusal

    def image_id(self, tag):
        return "sha256:" + "b" * 64

    def push(self, *arguments, **options):
        raise EngineError(self.refusal)


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "work")


@pytest.fixture
def desired(tmp_path):
    onnx_artifact(tmp_path / "tiny")
    source = ModelSource("drdeploy:lean", tmp_path / "tiny" / "model.tar.gz")
    endpoint = EndpointVariables("grader", ServerlessConfig(memory_mb=2048))
    return DesiredEndpoints(
        Variables("single-endpoint", "grader", "us-east-1"),
        {"grader": source},
        {"grader": endpoint},
    )


@pytest.fixture
def provisioner(account, workspace, approver):
    def make(terraform=None, *, engine=None, **options):
        return Provisioner(
            account=account,
            workspace=workspace,
            terraform=terraform or ScriptedTerraform(workspace),
            engine=engine or Engine(),
            approver=approver,
            sheet=PriceSheet.load(),
            **options,
        )

    return make


def script(account, *, until="uploaded"):
    """What AWS answers on the way to the plan."""
    identity = {"Account": "123456789012", "Arn": "arn:aws:iam::123456789012:user/u"}
    account.stub("sts").add_response("get_caller_identity", identity)
    repository = {"repositoryName": "grader/drdeploy", "repositoryUri": URI}
    ecr, s3 = account.stub("ecr"), account.stub("s3")
    ecr.add_response("describe_repositories", {"repositories": [repository]})
    s3.add_response("head_bucket", {})
    if until == "founded":
        return
    digest = {"imageDigest": "sha256:" + "a" * 64}
    ecr.add_response("describe_images", {"imageDetails": [digest]})
    s3.add_response("head_bucket", {})
    s3.add_client_error("head_object", "404", http_status_code=404)
    s3.add_response("put_object", {})
    s3.add_response("head_object", {"VersionId": "v1"})


def described(account, status, **more):
    now = datetime(2025, 1, 1, tzinfo=UTC)
    answer = {
        "EndpointName": "grader",
        "EndpointArn": "arn:aws:sagemaker:us-east-1:123456789012:endpoint/grader",
        "EndpointStatus": status,
        "CreationTime": now,
        "LastModifiedTime": now,
    }
    account.stub("sagemaker").add_response("describe_endpoint", answer | more)


def names_all(error):
    return all(name in str(error) for name in LEFT)


def test_credentials_that_are_refused_create_nothing(account, provisioner, desired):
    account.stub("sts").add_client_error("get_caller_identity", "ExpiredToken", "old")
    with pytest.raises(EndpointError, match=r"ExpiredToken.*use others"):
        provisioner().provision(desired)


def test_a_throttled_listing_says_wait_and_names_what_exists(account, provisioner, desired):
    identity = {"Account": "123456789012", "Arn": "arn:aws:iam::123456789012:user/u"}
    account.stub("sts").add_response("get_caller_identity", identity)
    account.stub("ecr").add_client_error("describe_repositories", "ThrottlingException", "slow")
    described(account, "InService")
    with pytest.raises(EndpointError, match=r"ThrottlingException.*Wait a moment") as failure:
        provisioner().provision(desired)
    assert names_all(failure.value)


def test_a_denied_push_names_what_exists(account, provisioner, desired):
    script(account, until="founded")
    account.stub("ecr").add_client_error("describe_images", "ImageNotFoundException")
    token = [{"authorizationToken": "QVdTOng=", "proxyEndpoint": "https://h"}]
    account.stub("ecr").add_response("get_authorization_token", {"authorizationData": token})
    described(account, "InService")
    with pytest.raises(PushFailed, match="denied") as failure:
        provisioner(engine=Engine("denied: no basic auth")).provision(desired)
    assert names_all(failure.value)


def test_an_endpoint_that_failed_is_reported_with_its_reason_and_what_exists(
    account, workspace, provisioner, desired
):
    script(account)
    described(account, "Failed", FailureReason="The primary container did not pass the ping.")
    terraform = ScriptedTerraform(workspace, refusal="waiting for SageMaker Endpoint: Failed")
    with pytest.raises(TerraformFailed, match="did not pass the ping") as failure:
        provisioner(terraform).provision(desired)
    assert names_all(failure.value)
    assert "s3_bucket_policy" not in str(failure.value)  # a setting, no thing of its own
    assert str(workspace.folder) in str(failure.value)


def test_an_endpoint_that_fails_after_terraform_succeeded_is_reported_with_its_reason(
    account, provisioner, desired
):
    script(account)
    described(account, "Failed", FailureReason="out of memory")
    described(account, "Failed", FailureReason="out of memory")
    with pytest.raises(EndpointFailed, match="out of memory") as failure:
        provisioner().provision(desired)
    assert names_all(failure.value)


def test_a_wait_that_is_too_long_ends_and_names_what_exists(account, provisioner, desired):
    script(account)
    for _ in range(4):
        described(account, "Creating")
    with pytest.raises(EndpointTimeout, match="Creating and not InService") as failure:
        provisioner().provision(desired)
    assert names_all(failure.value)


def test_a_plan_that_is_declined_applies_nothing(
    account, workspace, provisioner, desired, approver
):
    script(account)
    described(account, "InService")
    approver.answer = False
    terraform = ScriptedTerraform(workspace)
    with pytest.raises(PlanDeclined):
        provisioner(terraform).provision(desired)
    assert terraform.done == []
    (proposal,) = approver.proposals
    assert "0.04 USD for a thousand requests" in proposal.cost.endpoints[0].sentence


def test_an_unknown_price_ends_the_deployment_before_approval_is_asked_for(
    account, provisioner, desired, approver
):
    script(account)
    elsewhere = DesiredEndpoints(
        Variables("single-endpoint", "grader", "eu-west-1"), desired.models, desired.endpoints
    )
    with pytest.raises(UnknownPrice, match=r"eu-west-1.*--accept-unknown-prices"):
        provisioner().provision(elsewhere)
    assert approver.proposals == []


def test_a_bucket_that_somebody_deleted_is_no_reason_to_delete_a_running_endpoint(
    account, workspace, provisioner, desired
):
    identity = {"Account": "123456789012", "Arn": "arn:aws:iam::123456789012:user/u"}
    account.stub("sts").add_response("get_caller_identity", identity)
    account.stub("ecr").add_client_error("describe_repositories", "RepositoryNotFoundException")
    described(account, "InService")
    described(account, "InService")
    terraform = ScriptedTerraform(workspace)
    with pytest.raises(DeploymentError, match="of a running endpoint is gone"):
        provisioner(terraform).provision(desired)
    assert terraform.done == []


def test_ctrl_c_carries_a_note_of_what_exists(account, workspace, provisioner, desired, approver):
    script(account)
    approver.approves = lambda proposal: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt) as interruption:
        provisioner().provision(desired)
    (note,) = interruption.value.__notes__
    assert all(name in note for name in LEFT)


def listing(account, operation, member, *names):
    key = {"Endpoints": "EndpointName", "Models": "ModelName"}[member]
    now = datetime(2025, 1, 1, tzinfo=UTC)
    kind = "endpoint" if member == "Endpoints" else "model"
    arn = "arn:aws:sagemaker:us-east-1:123456789012:x/y"
    described = {"CreationTime": now, key.replace("Name", "Arn"): arn}
    if kind == "endpoint":
        described |= {"LastModifiedTime": now, "EndpointStatus": "InService"}
    account.stub("sagemaker").add_response(
        operation, {member: [{key: name, **described} for name in names]}
    )


def test_what_is_still_listed_after_a_deletion_is_an_error_that_names_it(account):
    listing(account, "list_endpoints", "Endpoints", "grader", "of-another")
    with pytest.raises(LeftBehind, match=r"sagemaker_endpoint grader\. Delete by hand") as failure:
        verify_deleted(account, [Resource("a", "aws_sagemaker_endpoint", "grader")])
    assert "of-another" not in str(failure.value)


def test_what_cannot_be_looked_for_is_reported_and_not_taken_for_deleted(account):
    listing(account, "list_endpoints", "Endpoints")
    account.stub("s3").add_client_error("head_bucket", "403", http_status_code=403)
    account.stub("iam").add_client_error("get_role", "NoSuchEntity")
    report = verify_deleted(
        account,
        [
            Resource("a", "aws_sagemaker_endpoint", "grader"),
            Resource("b", "aws_s3_bucket", "grader-artifacts"),
            Resource("c", "aws_iam_role", "grader-execution"),
        ],
    )
    assert report.verified == (
        "endpoints: 1 deleted, 0 still there",
        "roles: 1 deleted, 0 still there",
    )
    assert [text.partition(":")[0] for text in report.unverified] == ["buckets"]


def test_a_deletion_that_fails_keeps_the_folder(account, workspace, approver):
    terraform = ScriptedTerraform(workspace, refusal="AccessDenied: sagemaker:DeleteEndpoint")
    with pytest.raises(TerraformFailed, match="DeleteEndpoint"):
        tear_down(account, workspace, terraform, approver)
    assert workspace.state.exists()


def test_a_target_must_be_named_and_aws_has_no_local_address():
    from drdeploy.cli.deployment import account_of

    with pytest.raises(InvalidInput, match="--target aws, or --target local"):
        account_of(None, None, None)
    with pytest.raises(InvalidInput, match="AWS has no --endpoint-url"):
        account_of("aws", "http://127.0.0.1:1", None)
    assert account_of("local", None, None).platform == "local"
    assert isinstance(account_of("aws", None, "us-east-1"), Account)
    assert PushedImage("h@sha256:1", "t", was_there=True).digest == "sha256:1"
