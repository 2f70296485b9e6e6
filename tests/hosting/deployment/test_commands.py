"""The commands, as somebody types them, against a local service that runs processes."""

import json

import pytest
from photographs import photograph
from tiny_models import onnx_artifact
from typer.testing import CliRunner

from drdeploy.cli.app import build_app
from drdeploy.errors import (
    DeploymentError,
    EndpointError,
    InvalidInput,
    PushFailed,
    TerraformUnavailable,
    UploadFailed,
)


@pytest.fixture
def run(local_url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments, **options):
        place = ["--endpoint-url", local_url]
        return CliRunner().invoke(build_app(), [*map(str, arguments), *place], **options)

    return invoke


def test_an_endpoint_is_deployed_again_without_a_change_and_deleted(run, tmp_path, aws_provider):
    onnx_artifact(tmp_path / "tiny")
    deploy = ("endpoint", "deploy", "typed", "--artifact", tmp_path / "tiny" / "model.tar.gz")
    deploy += ("--target", "local")
    declined = run(*deploy, input="n\n")
    assert isinstance(declined.exception, DeploymentError)
    first = json.loads(run(*deploy, "--yes", "--json").stdout)
    assert first["answer"]["notice"]
    assert first["outputs"]["endpoint"]["endpoint_name"] == "typed"
    assert "@sha256:" in first["images"]["drdeploy:lean"]
    again = json.loads(run(*deploy, "--yes", "--json").stdout)
    assert again["changes"] == "nothing to change"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
        deleted = run("endpoint", "delete", "typed")
    assert "endpoints: 1 deleted, 0 still there" in deleted.stdout
    assert not (tmp_path / "deployments" / "typed").exists()
    assert json.loads(run("endpoint", "list", "--json").stdout) == []


def test_an_asynchronous_endpoint_is_deployed_answers_tells_failures_and_is_deleted(
    run, local_url, tmp_path, aws_provider
):
    """The variables are a file of the form that `recommend --tfvars` writes."""
    from local_aws import client

    onnx_artifact(tmp_path / "tiny")
    (tmp_path / "eye.jpg").write_bytes(photograph(seed=1))
    (tmp_path / "note.txt").write_text("no photograph")
    endpoint = {
        "kind": "asynchronous",
        "instance_type": "ml.m5.large",
        "initial_instance_count": 1,
        "max_concurrent_invocations_per_instance": 1,
        "autoscaling": {
            "min_capacity": 0,
            "max_capacity": 2,
            "target_backlog_per_instance": 5.0,
        },
    }
    variables = tmp_path / "best.tfvars.json"
    variables.write_text(json.dumps({"endpoint": endpoint, "allow_always_on": False}))
    deploy = ("endpoint", "deploy", "queue", "--artifact", tmp_path / "tiny" / "model.tar.gz")
    made = run(*deploy, "--variables", variables, "--target", "local", "--yes", "--json")
    made = json.loads(made.stdout)
    assert made["answer"]["notice"]
    outputs = made["outputs"]["endpoint"]
    assert (outputs["kind"], len(outputs["topic_arns"])) == ("asynchronous", 2)
    scaling = client("application-autoscaling", local_url)
    variant = "endpoint/queue/variant/AllTraffic"
    (target,) = scaling.describe_scalable_targets(
        ServiceNamespace="sagemaker", ResourceIds=[variant]
    )["ScalableTargets"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (0, 2)
    invoke = ("endpoint", "invoke", "queue")
    answer = run(*invoke, tmp_path / "eye.jpg", "--asynchronous", "--json")
    assert json.loads(answer.stdout)["notice"]
    failed = run(*invoke, tmp_path / "note.txt", "--asynchronous")
    assert isinstance(failed.exception, EndpointError)
    assert "UnsupportedImage" in str(failed.exception)
    other = run(*deploy, "--target", "local", "--yes")
    assert "of the kind asynchronous, and cannot become serverless" in str(other.exception)
    bucket = outputs["inputs_uri"].split("/")[2]
    assert "Versions" not in client("s3", local_url).list_object_versions(Bucket=bucket)
    deleted = run("endpoint", "delete", "queue")
    assert "buckets: 2 deleted, 0 still there" in deleted.stdout


def test_without_a_provider_a_deployment_says_what_is_missing_and_leaves_nothing(
    run, tmp_path, no_provider
):
    answer = run("endpoint", "deploy", "typed", "--target", "local", "--yes")
    assert isinstance(answer.exception, TerraformUnavailable)
    message = str(answer.exception)
    assert "HashiCorp's AWS provider could not be installed" in message
    assert "was not found in any of the search locations" in message  # Terraform's own reason
    assert "TF_CLI_CONFIG_FILE" in message
    assert not (tmp_path / "deployments" / "typed").exists()
    assert json.loads(run("endpoint", "list", "--json").stdout) == []


def test_what_is_pushed_must_have_somewhere_to_go(run, tmp_path):
    onnx_artifact(tmp_path / "tiny")
    archive = tmp_path / "tiny" / "model.tar.gz"
    image = run("image", "push", "lean", "--repository", "none/such", "--target", "local")
    assert isinstance(image.exception, PushFailed)
    upload = run("artifact", "push", archive, "--bucket", "none-such", "--target", "local")
    assert isinstance(upload.exception, UploadFailed)


def test_a_push_prints_what_a_model_names_and_the_second_sends_nothing(run, local_url, tmp_path):
    from local_aws import client

    client("ecr", local_url).create_repository(repositoryName="mine/drdeploy")
    s3 = client("s3", local_url)
    s3.create_bucket(Bucket="mine")
    s3.put_bucket_versioning(Bucket="mine", VersioningConfiguration={"Status": "Enabled"})
    onnx_artifact(tmp_path / "tiny")
    image = ("image", "push", "lean", "--repository", "mine/drdeploy", "--target", "local")
    archive = ("artifact", "push", tmp_path / "tiny" / "model.tar.gz", "--bucket", "mine")
    for push in (image, (*archive, "--target", "local")):
        first, second = (json.loads(run(*push, "--json").stdout) for _ in range(2))
        assert (first["was_there"], second["was_there"]) == (False, True)
        assert first["uri"] == second["uri"]
    assert second["version_id"]
    assert len(s3.list_object_versions(Bucket="mine")["Versions"]) == 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            ("--memory-mb", "1500"),
            "--memory-mb: the memory must be 1024 to 6144 MB in steps of 1024",
        ),
        (("--instance-type", "ml.m5.gigantic"), "not a SageMaker hosting instance type"),
        (("--provisioned-concurrency", "9"), "exceeds max_concurrency"),
        (("--photograph", "notes.txt"), "not a JPEG, PNG or TIFF"),
        (("--asynchronous",), "no instance type is given"),
        (("--max-instances", "2"), "--max-instances is for asynchronous endpoints"),
        (
            (
                *("--asynchronous", "--instance-type", "ml.m5.large"),
                *("--instance-count", "3", "--max-instances", "2"),
            ),
            "--max-instances 2 is below --instance-count 3",
        ),
        (("--variables", "best.json", "--memory-mb", "1024"), "--memory-mb would have no effect"),
        (("--variables", "best.json"), "Unknown members: endpoint.memory_gb"),
        (("--variables", "notes.txt"), "cannot be read as JSON"),
        (("--region", "eu-west-1"), "already exists on the local service (us-east-1)"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_asked(run, tmp_path, options, reason):
    (tmp_path / "notes.txt").write_text("none")
    misspelt = {"kind": "serverless", "memory_mb": 2048, "memory_gb": 2}
    (tmp_path / "best.json").write_text(json.dumps({"endpoint": misspelt}))
    folder = tmp_path / "deployments" / "typed"
    folder.mkdir(parents=True)
    note = {"environment": "single-endpoint", "prefix": "typed", "region": "us-east-1"}
    (folder / "deployment.json").write_text(json.dumps({**note, "endpoint_url": "http://x"}))
    answer = run("endpoint", "deploy", "typed", "--target", "local", "--yes", *options)
    assert isinstance(answer.exception, InvalidInput), answer.output
    assert reason in str(answer.exception)


@pytest.mark.parametrize("option", [("--inputs", "s3://b/in"), ("--timeout-s", "60")])
def test_options_of_asynchronous_requests_are_refused_without_asynchronous(tmp_path, option):
    (tmp_path / "eye.jpg").write_bytes(photograph(seed=1))
    invoke = ["endpoint", "invoke", "grader", str(tmp_path / "eye.jpg"), *option]
    answer = CliRunner().invoke(build_app(), invoke)
    assert f"{option[0]} is for asynchronous endpoints" in str(answer.exception)


def test_a_deployment_in_a_service_that_ended_is_forgotten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "deployments" / "gone"
    folder.mkdir(parents=True)
    note = {"environment": "single-endpoint", "prefix": "gone", "region": "us-east-1"}
    local_url = "http://127.0.0.1:9"
    (folder / "deployment.json").write_text(json.dumps({**note, "endpoint_url": local_url}))
    answer = CliRunner().invoke(build_app(), ["endpoint", "delete", "gone"])
    assert answer.exit_code == 0
    assert not folder.exists()


def test_a_deployment_elsewhere_is_not_touched_by_a_deletion_here(run, tmp_path):
    folder = tmp_path / "deployments" / "twin"
    folder.mkdir(parents=True)
    note = {"environment": "single-endpoint", "prefix": "twin", "region": "us-east-1"}
    (folder / "deployment.json").write_text(json.dumps({**note, "endpoint_url": None}))
    answer = run("endpoint", "delete", "twin")
    assert "The endpoint does not exist" in str(answer.exception)
    assert (folder / "deployment.json").exists()
