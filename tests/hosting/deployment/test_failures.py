"""Every failure on AWS: what happened, and what was left behind by name."""

import io
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
from botocore.response import StreamingBody
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
from drdeploy.hosting.deployment.account import AwsAccount
from drdeploy.hosting.deployment.changes import PlannedChanges, ResourceChange
from drdeploy.hosting.deployment.images import PushedImage
from drdeploy.hosting.deployment.orphans import delete_orphaned_resources
from drdeploy.hosting.deployment.provision import Provisioner
from drdeploy.hosting.deployment.safeguards import Safeguards, find_permissions_boundary_arn
from drdeploy.hosting.deployment.storage import DeploymentStorage, empty_buckets_and_repositories
from drdeploy.hosting.deployment.teardown import tear_down_deployment, verify_resources_are_deleted
from drdeploy.hosting.deployment.variables import (
    DeploymentVariables,
    DesiredEndpoints,
    EndpointVariables,
    ModelSource,
)
from drdeploy.hosting.deployment.workspace import Resource, TerraformWorkspace
from drdeploy.hosting.sagemaker import PriceSheet, ServerlessConfig

URI = "123456789012.dkr.ecr.us-east-1.amazonaws.com/grader/drdeploy"
ENDPOINT = {"endpoint_name": "grader"}
LEFT = ("sagemaker_endpoint grader", "s3_bucket grader-artifacts", "ecr_repository grader/drdeploy")


@dataclass
class ScriptedTerraform:
    """Keeps a state file as Terraform does; what it is asked to do is written down."""

    workspace: TerraformWorkspace
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

    def make_plan(self, *, destroy=False, targets=()):
        config = {"serverless_endpoint": ServerlessConfig(memory_mb=2048)}
        return PlannedChanges(
            (ResourceChange("aws_sagemaker_endpoint.this", "x", "create"),), config
        )

    def apply_last_plan(self):
        if self.refusal:
            raise TerraformFailed(f"terraform apply: {self.refusal}")
        self.done.append(json.loads(self.workspace.variables.read_text()))

    def read_outputs(self):
        return {"artifact_bucket": "grader-artifacts", "endpoint": ENDPOINT}


class Engine:
    def __init__(self, refusal=""):
        self.refusal = refusal

    def image_id(self, tag):
        return "sha256:" + "b" * 64

    def image_config(self, tag):
        return {"Config": {"Env": []}}

    def push_image(self, *arguments, **options):
        raise EngineError(self.refusal)


@pytest.fixture
def workspace(tmp_path):
    return TerraformWorkspace(tmp_path / "work")


@pytest.fixture
def desired(tmp_path):
    onnx_artifact(tmp_path / "tiny")
    source = ModelSource("drdeploy:lean", tmp_path / "tiny" / "model.tar.gz")
    endpoint = EndpointVariables("grader", ServerlessConfig(memory_mb=2048))
    return DesiredEndpoints(
        DeploymentVariables("single-endpoint", "grader", "us-east-1"),
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


BOUNDARY = "arn:aws:iam::123456789012:policy/grader-boundary-us-east-1"


def identified(account, boundary=None):
    """Who the user is, and whether an administrator has made a boundary."""
    identity = {"Account": "123456789012", "Arn": "arn:aws:iam::123456789012:user/u"}
    for _ in range(2):
        account.stub("sts").add_response("get_caller_identity", identity)
    if boundary is None:
        account.stub("iam").add_client_error("get_policy", "NoSuchEntity")
    else:
        account.stub("iam").add_response("get_policy", {"Policy": {}}, {"PolicyArn": boundary})


def script(account, *, until="uploaded", boundary=None):
    """What AWS answers on the way to the plan."""
    identified(account, boundary)
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
    with pytest.raises(EndpointError, match=r"ExpiredToken.*Use other credentials"):
        provisioner().provision_endpoints(desired)


def test_a_throttled_listing_says_wait_and_names_what_exists(account, provisioner, desired):
    identified(account)
    account.stub("ecr").add_client_error("describe_repositories", "ThrottlingException", "slow")
    described(account, "InService")
    with pytest.raises(EndpointError, match=r"ThrottlingException.*Wait a moment") as failure:
        provisioner().provision_endpoints(desired)
    assert names_all(failure.value)


def test_a_denied_push_names_what_exists(account, provisioner, desired):
    script(account, until="founded")
    account.stub("ecr").add_client_error("describe_images", "ImageNotFoundException")
    token = [{"authorizationToken": "QVdTOng=", "proxyEndpoint": "https://h"}]
    account.stub("ecr").add_response("get_authorization_token", {"authorizationData": token})
    described(account, "InService")
    with pytest.raises(PushFailed, match="denied") as failure:
        provisioner(engine=Engine("denied: no basic auth")).provision_endpoints(desired)
    assert names_all(failure.value)


def test_an_endpoint_that_failed_is_reported_with_its_reason_and_what_exists(
    account, workspace, provisioner, desired
):
    script(account)
    described(account, "Failed", FailureReason="The primary container did not pass the ping.")
    terraform = ScriptedTerraform(workspace, refusal="waiting for SageMaker Endpoint: Failed")
    with pytest.raises(TerraformFailed, match="did not pass the ping") as failure:
        provisioner(terraform).provision_endpoints(desired)
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
        provisioner().provision_endpoints(desired)
    assert names_all(failure.value)


def test_a_wait_that_is_too_long_ends_and_names_what_exists(account, provisioner, desired):
    script(account)
    for _ in range(4):
        described(account, "Creating")
    with pytest.raises(EndpointTimeout, match="Creating and not InService") as failure:
        provisioner().provision_endpoints(desired)
    assert names_all(failure.value)


def test_a_plan_that_is_declined_applies_nothing(
    account, workspace, provisioner, desired, approver
):
    script(account)
    described(account, "InService")
    approver.answer = False
    terraform = ScriptedTerraform(workspace)
    with pytest.raises(PlanDeclined):
        provisioner(terraform).provision_endpoints(desired)
    assert terraform.done == []
    (proposal,) = approver.proposals
    assert "0.04 USD for a thousand requests" in proposal.cost.endpoints[0].price_sentence


def test_an_unknown_price_ends_the_deployment_before_approval_is_asked_for(
    account, provisioner, desired, approver
):
    script(account)
    elsewhere = DesiredEndpoints(
        DeploymentVariables("single-endpoint", "grader", "eu-west-1"),
        desired.models,
        desired.endpoints,
    )
    with pytest.raises(UnknownPrice, match=r"eu-west-1.*--accept-unknown-prices") as failure:
        provisioner().provision_endpoints(elsewhere)
    assert approver.proposals == []
    (note,) = failure.value.__notes__
    assert all(name in note for name in LEFT)


def test_a_bucket_that_somebody_deleted_is_no_reason_to_delete_a_running_endpoint(
    account, workspace, provisioner, desired
):
    identified(account)
    account.stub("ecr").add_client_error("describe_repositories", "RepositoryNotFoundException")
    described(account, "InService")
    described(account, "InService")
    terraform = ScriptedTerraform(workspace)
    with pytest.raises(DeploymentError, match="bucket or image repository no longer exists"):
        provisioner(terraform).provision_endpoints(desired)
    assert terraform.done == []


def test_ctrl_c_carries_a_note_of_what_exists(account, workspace, provisioner, desired, approver):
    script(account)
    approver.ask_for_approval = lambda proposal: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt) as interruption:
        provisioner().provision_endpoints(desired)
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
    with pytest.raises(
        LeftBehind, match=r"endpoint grader\. Delete these resources by hand"
    ) as failure:
        verify_resources_are_deleted(account, [Resource("a", "aws_sagemaker_endpoint", "grader")])
    assert "of-another" not in str(failure.value)


def test_what_cannot_be_looked_for_is_reported_and_not_taken_for_deleted(account):
    listing(account, "list_endpoints", "Endpoints")
    account.stub("s3").add_client_error("head_bucket", "403", http_status_code=403)
    account.stub("iam").add_client_error("get_role", "NoSuchEntity")
    report = verify_resources_are_deleted(
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


def test_a_repository_with_images_is_of_an_earlier_deployment_and_the_remedy_says_so(
    account, workspace, approver
):
    class Interrupted(ScriptedTerraform):
        def read_plan_json(self, plan):
            after = {"name": "other/drdeploy", "tags_all": {"managed-by": "drdeploy"}}
            change = {"actions": ["create"], "after": after}
            kind = "aws_ecr_repository"
            return {"resource_changes": [{"address": kind, "type": kind, "change": change}]}

    terraform = Interrupted(workspace)
    workspace.applying.touch()
    ecr = account.stub("ecr")
    arn = "arn:aws:ecr:us-east-1:123456789012:repository/other/drdeploy"
    ecr.add_response("describe_repositories", {"repositories": [{"repositoryArn": arn}]})
    tags = [{"Key": "managed-by", "Value": "drdeploy"}]
    ecr.add_response("list_tags_for_resource", {"tags": tags})
    ecr.add_client_error("delete_repository", "RepositoryNotEmptyException")
    with pytest.raises(LeftBehind, match="ecr_repository other/drdeploy is not empty") as failure:
        delete_orphaned_resources(account, workspace, terraform, approver)
    assert "delete the resource by hand" in failure.value.remedy
    assert workspace.applying.exists()


def test_a_deletion_that_fails_keeps_the_folder(account, workspace, approver):
    holding(account)
    terraform = ScriptedTerraform(workspace, refusal="AccessDenied: sagemaker:DeleteEndpoint")
    with pytest.raises(TerraformFailed, match="DeleteEndpoint"):
        tear_down_deployment(account, workspace, terraform, approver)
    assert workspace.state.exists()


def test_the_boundary_that_an_administrator_made_is_attached(
    account, workspace, provisioner, desired, approver
):
    script(account, boundary=BOUNDARY)
    described(account, "InService")
    provisioner().provision_endpoints(desired)
    assert json.loads(workspace.variables.read_text())["permissions_boundary_arn"] == BOUNDARY
    assert not any("no permissions boundary" in note for note in approver.notes)


def test_a_role_without_a_boundary_is_no_secret(account, provisioner, desired, approver):
    script(account)
    described(account, "InService")
    provisioner().provision_endpoints(desired)
    assert any("no permissions boundary" in note for note in approver.notes)


@pytest.mark.parametrize("code", ["NoSuchEntity", "AccessDenied"])
def test_who_may_not_look_for_a_boundary_deploys_without_one(account, code):
    identity = {"Account": "123456789012", "Arn": "arn:aws-cn:iam::123456789012:user/u"}
    account.stub("sts").add_response("get_caller_identity", identity)
    wanted = {"PolicyArn": "arn:aws-cn:iam::123456789012:policy/grader-boundary-cn-north-1"}
    account.stub("iam").add_client_error("get_policy", code, expected_params=wanted)
    assert find_permissions_boundary_arn(account, "grader", "cn-north-1") is None


def test_key_and_boundary_are_remembered(account, workspace, provisioner, desired):
    """A deployment that forgets the options must not lose what protects it."""
    given = Safeguards("arn:aws:kms:us-east-1:123456789012:key/abc", BOUNDARY)
    foundation = replace(desired.foundation, safeguards=given)
    made = provisioner()
    workspace.write_variables_and_record(foundation, account)
    assert workspace.read_safeguards() == given
    assert made._add_key_and_permissions_boundary(desired.foundation).safeguards == given
    other = replace(desired.foundation, safeguards=Safeguards(permissions_boundary_arn="arn:other"))
    assert made._add_key_and_permissions_boundary(other).safeguards == Safeguards(
        given.kms_key_arn, "arn:other"
    )


def test_another_key_for_a_repository_that_exists_is_refused(
    account, workspace, provisioner, desired
):
    made = provisioner()  # its state has a repository, without a key
    given = Safeguards("arn:aws:kms:us-east-1:123456789012:key/abc", BOUNDARY)
    with pytest.raises(InvalidInput, match=r"--kms-key: .*cannot be changed.*deploy it again"):
        made._add_key_and_permissions_boundary(replace(desired.foundation, safeguards=given))


HELD = [Resource("b", "aws_s3_bucket", "grader-artifacts")]
HELD += [Resource("r", "aws_ecr_repository", "grader/drdeploy")]


def holding(account, *keys, images=()):
    """What bucket and repository hold."""
    now, owner = datetime(2025, 1, 1, tzinfo=UTC), {"ID": "x"}
    versions = [
        {"Key": key, "VersionId": f"v{number}", "LastModified": now, "Owner": owner}
        for number, key in enumerate(keys)
    ]
    account.stub("s3").add_response("list_object_versions", {"Versions": versions})
    ids = [{"imageDigest": one} for one in images]
    answer = {"imageIds": ids} if ids else {}
    account.stub("ecr").add_response("list_images", answer)


def test_what_a_deployment_holds_is_counted_by_what_it_is(account):
    captured = ("captured/grader/1.jsonl", "captured/grader/2.jsonl")
    holding(
        account, "artifacts/0/model.tar.gz", *captured, "notes.txt", images=("sha256:" + "a" * 64,)
    )
    stored = DeploymentStorage.count_stored_objects_and_images(account, HELD)
    assert stored.contents_description == "1 archive, 3 other objects, 1 image"
    assert stored.other_objects_description == (
        "1 in s3://grader-artifacts/, 2 in s3://grader-artifacts/captured/"
    )


def test_an_empty_deployment_and_one_that_is_gone_hold_nothing(account):
    account.stub("s3").add_client_error("list_object_versions", "NoSuchBucket")
    account.stub("ecr").add_client_error("list_images", "RepositoryNotFoundException")
    stored = DeploymentStorage.count_stored_objects_and_images(account, HELD)
    assert (stored.contents_description, stored.other_objects_description) == ("", "")


def test_an_object_that_stays_is_an_error_that_names_it(account):
    holding(account, "artifacts/0/model.tar.gz")
    stored = DeploymentStorage.count_stored_objects_and_images(account, HELD)
    s3 = account.stub("s3")
    version = {"Key": "artifacts/0/model.tar.gz", "VersionId": "v0"}
    listed = {"Versions": [version | {"LastModified": datetime(2025, 1, 1, tzinfo=UTC)}]}
    s3.add_response("list_object_versions", listed)
    s3.add_response("delete_objects", {"Errors": [version | {"Code": "AccessDenied"}]})
    with pytest.raises(DeploymentError, match=r"artifacts/0/model.tar.gz: .*AccessDenied"):
        empty_buckets_and_repositories(account, stored)


def test_images_that_stay_are_an_error(account):
    holding(account, images=("sha256:" + "a" * 64,))
    stored = DeploymentStorage.count_stored_objects_and_images(account, HELD)
    ecr, ids = account.stub("ecr"), [{"imageDigest": "sha256:" + "a" * 64}]
    ecr.add_response("list_images", {"imageIds": ids})
    failure = {"imageId": ids[0], "failureCode": "ImageReferencedByManifestList"}
    ecr.add_response("batch_delete_image", {"failures": [failure]})
    with pytest.raises(DeploymentError, match=r"grader/drdeploy: .*ImageReferencedByManifestList"):
        empty_buckets_and_repositories(account, stored)


def test_a_bucket_with_captured_photographs_stays_and_is_named(account, workspace, approver):
    terraform = ScriptedTerraform(workspace)
    holding(account, "artifacts/0/model.tar.gz", "captured/grader/1.jsonl")
    with pytest.raises(LeftBehind, match=r"1 in s3://.*captured/.*--delete-captured"):
        tear_down_deployment(account, workspace, terraform, approver)
    assert workspace.state.exists()
    assert terraform.done == []  # neither the bucket nor what protects it


def test_a_target_must_be_named_and_aws_has_no_local_address():
    from drdeploy.cli.deployment import make_account_from_options

    with pytest.raises(InvalidInput, match="--target aws, or --target local"):
        make_account_from_options(None, None, None)
    with pytest.raises(InvalidInput, match="--endpoint-url cannot be combined"):
        make_account_from_options("aws", "http://127.0.0.1:1", None)
    assert make_account_from_options("local", None, None).platform == "local"
    assert isinstance(make_account_from_options("aws", None, "us-east-1"), AwsAccount)
    assert PushedImage("h@sha256:1", "t", was_there=True).digest == "sha256:1"


def test_an_endpoint_that_is_not_ready_for_its_first_request_is_asked_again(account, provisioner):
    runtime = account.stub("sagemaker-runtime")
    for _ in range(2):
        runtime.add_client_error("invoke_endpoint", "ModelNotReadyException", http_status_code=429)
    body = StreamingBody(io.BytesIO(b"{}"), 2)
    metadata = {"HTTPStatusCode": 200}
    runtime.add_response("invoke_endpoint", {"Body": body, "ResponseMetadata": metadata})
    assert provisioner().send_test_photograph("grader", b"photograph", "image/jpeg").body == b"{}"
