"""Terraform onto the local service, endpoints that answer, and nothing left in the end."""

from __future__ import annotations

import io
import shutil
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from aws_provider import provider_of
from photographs import photograph
from tiny_models import onnx_artifact

from drdeploy.errors import (
    LeftBehind,
    PlanDeclined,
    StudyError,
    TerraformFailed,
    TerraformUnavailable,
)
from drdeploy.hosting.deployment import configuration
from drdeploy.hosting.deployment.account import AwsAccount
from drdeploy.hosting.deployment.configuration import prepare_terraform_folder
from drdeploy.hosting.deployment.provision import Provisioner
from drdeploy.hosting.deployment.teardown import tear_down_deployment
from drdeploy.hosting.deployment.variables import (
    DeploymentVariables,
    DesiredEndpoints,
    EndpointVariables,
    ModelSource,
)
from drdeploy.hosting.deployment.workspace import TerraformWorkspace
from drdeploy.hosting.local import LocalService, ServiceOptions
from drdeploy.hosting.sagemaker import PriceSheet, RealTimeConfig, ServerlessConfig
from drdeploy.study.design.plan import make_plan
from drdeploy.study.design.study import Study
from drdeploy.study.measurements.journal import read_complete_rows
from drdeploy.study.measurements.results import ResultsFolder
from drdeploy.study.running.provisioned import Provisioning, locate_terraform_workspace
from drdeploy.study.running.session import RunOptions, run_plan

MATRIX = """
title = "The shape of the original study, one photograph each"
[models.one]
artifact = "one/model.tar.gz"
[models.two]
artifact = "two/model.tar.gz"
[images.lean]
tag = "drdeploy:lean"
profile = "lean"
[[trials]]
models = ["one", "two"]
images = ["lean"]
endpoints = [
  { kind = "serverless", memory_mb = 1024 },
  { kind = "serverless", memory_mb = 2048 },
  { kind = "serverless", memory_mb = 3072 },
]
scenarios = [{ kind = "cold", n = 1, interval_s = 2 }]
[[trials]]
models = ["one", "two"]
images = ["lean"]
endpoints = [
  { kind = "realtime", instance_type = "ml.m4.xlarge" },
  { kind = "realtime", instance_type = "ml.m5.xlarge" },
  { kind = "realtime", instance_type = "ml.m6g.xlarge" },
  { kind = "realtime", instance_type = "ml.c7g.xlarge" },
]
scenarios = [{ kind = "real-time", n = 1, interval_s = 0 }]
"""
STEADY = """
title = "Two trials on one that is always on, one on one that scales to zero"
[models.tiny]
artifact = "tiny/model.tar.gz"
[images.lean]
tag = "drdeploy:lean"
profile = "lean"
[[trials]]
models = ["tiny"]
images = ["lean"]
endpoints = [{ kind = "serverless", memory_mb = 2048 }]
scenarios = [{ kind = "warm", n = 1, interval_s = 0 }]
[[trials]]
models = ["tiny"]
images = ["lean"]
endpoints = [{ kind = "realtime", instance_type = "ml.c5.large" }]
scenarios = [
  { kind = "real-time", n = 1, interval_s = 0 },
  { kind = "open-loop", n = 2, rate_per_s = 20 },
]
"""
QUEUE_AND_JOB = """
title = "A queue behind Terraform's endpoint, and a transform job beside it"
[models.tiny]
artifact = "tiny/model.tar.gz"
[images.lean]
tag = "drdeploy:lean"
profile = "lean"
[[trials]]
models = ["tiny"]
images = ["lean"]
endpoints = [{ kind = "batch", instance_type = "ml.c5.xlarge" }]
scenarios = [{ kind = "batch", n = 1, photographs = 3 }]
[[trials]]
models = ["tiny"]
images = ["lean"]
endpoints = [{ kind = "asynchronous", instance_type = "ml.c5.large" }]
scenarios = [{ kind = "asynchronous", n = 3, rate_per_s = 20 }]
"""
SMALL = ServerlessConfig(memory_mb=2048, max_concurrency=4)
ALWAYS_ON = RealTimeConfig(instance_type="ml.c5.large")


@pytest.fixture(scope="module", autouse=True)
def home():
    """Short, for the sockets below it."""
    home = Path(tempfile.mkdtemp(prefix="drd-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRDEPLOY_LOCAL_HOME", str(home))
        yield home
    shutil.rmtree(home, ignore_errors=True)


@contextmanager
def account_of_a_service(isolation):
    options = ServiceOptions(mb_per_vcpu=512, trial_start=False)
    with LocalService(0, isolation=isolation, options=options) as service:
        yield AwsAccount(service.url, "us-east-1")


@pytest.fixture(scope="module")
def contained(engine):
    with account_of_a_service("container") as account:
        yield account


@pytest.fixture(scope="module")
def uncontained():
    with account_of_a_service("process") as account:
        yield account


def everything_in(account):
    """Names of whatever could cost money, by kind."""
    sagemaker, s3, ecr = (account.boto3_client(name) for name in ("sagemaker", "s3", "ecr"))
    groups = account.boto3_client("logs").describe_log_groups()["logGroups"]
    dashboards = account.boto3_client("cloudwatch").list_dashboards()["DashboardEntries"]
    return {
        "endpoints": names(sagemaker.list_endpoints(MaxResults=100)["Endpoints"]),
        "configurations": names(sagemaker.list_endpoint_configs(MaxResults=100)["EndpointConfigs"]),
        "models": names(sagemaker.list_models(MaxResults=100)["Models"]),
        "buckets": names(s3.list_buckets()["Buckets"]),
        "repositories": names(ecr.describe_repositories()["repositories"]),
        "roles": names(account.boto3_client("iam").list_roles()["Roles"]),
        "log groups": names(groups),
        "dashboards": names(dashboards),
    }


def names(described):
    keys = {"EndpointName", "EndpointConfigName", "ModelName", "Name", "repositoryName"}
    keys |= {"RoleName", "logGroupName", "DashboardName"}
    return sorted(value for one in described for key, value in one.items() if key in keys)


def archive_in(folder, **options):
    onnx_artifact(folder, **options)
    return folder / "model.tar.gz"


def provisioner_for(account, workspace, approver, engine=None, environment="single-endpoint"):
    terraform = prepare_terraform_folder(environment, workspace, account)
    made = Provisioner(
        account=account,
        workspace=workspace,
        terraform=terraform,
        engine=engine,
        approver=approver,
        sheet=PriceSheet.load(),
    )
    return made, terraform


def desired_endpoints(
    prefix, archive, *, image="drdeploy:lean", environment="single-endpoint", **configs
):
    foundation = DeploymentVariables(environment, prefix, "us-east-1")
    endpoints = {key: EndpointVariables("m", config) for key, config in configs.items()}
    return DesiredEndpoints(foundation, {"m": ModelSource(image, archive)}, endpoints)


def test_the_original_studys_14_endpoints_each_answer_and_nothing_is_left(
    tmp_path, aws_provider, contained, lean_image, approver
):
    before = everything_in(contained)
    for name, classes in (("one", ("a", "b", "c", "d", "e")), ("two", ("v", "w", "x", "y", "z"))):
        onnx_artifact(tmp_path / name, classes=classes)
    (tmp_path / "matrix.toml").write_text(MATRIX)
    (tmp_path / "photographs").mkdir()
    (tmp_path / "photographs" / "eye.jpg").write_bytes(photograph(seed=1))
    results = ResultsFolder(tmp_path / "results")
    approver.trial_started = approver.row_recorded = lambda trial, what: None
    seen = []
    approver.trial_ended = lambda trial, error: seen.append(
        (trial.endpoint.kind, len(everything_in(contained)["endpoints"]), error)
    )
    options = RunOptions(
        results=results,
        seed=0,
        images=tmp_path / "photographs",
        endpoint_url=contained.endpoint_url,
        provisioning=Provisioning(approver, PriceSheet.load()),
    )
    outcome = run_plan(make_plan(Study.load(tmp_path / "matrix.toml")), options, approver)

    assert (len(outcome.finished), outcome.problems) == (14, {})
    configurations = approver.proposals[-1].changes.configurations.values()
    kinds = [config.kind for config in configurations]
    assert (kinds.count("serverless"), kinds.count("realtime")) == (6, 8)
    rows = [row for row in read_complete_rows(results.measurements) if not row.is_warmup]
    assert {row.outcome for row in rows} == {"ok"}
    assert len({row.trial for row in rows}) == 14
    assert {row.isolation for row in rows} == {"container"}
    assert all(row.start != "cold" or row.model_setup_s > 0 for row in rows)
    # What is always on goes before the others are measured.
    assert seen == [("realtime", 14, None)] * 8 + [("serverless", 6, None)] * 6
    assert everything_in(contained) == before
    assert any("endpoints: 6 deleted, 0 still there" in note for note in approver.notes)
    assert not locate_terraform_workspace(results).has_deployment_record


def test_a_new_image_makes_new_configurations_and_no_request_fails_meanwhile(
    tmp_path, aws_provider, contained, engine, relabelled, approver
):
    archive = archive_in(tmp_path / "tiny")
    configs = {"small": SMALL, "steady": ALWAYS_ON}
    workspace = TerraformWorkspace(tmp_path / "work")
    before = everything_in(contained)
    made, terraform = provisioner_for(contained, workspace, approver, engine, "study")
    desired = desired_endpoints("changed", archive, environment="study", **configs)
    first = made.provision_endpoints(desired)
    with asked_all_the_time(contained, first.endpoints.values()) as outcomes:
        second = made.provision_endpoints(
            desired_endpoints("changed", archive, image=relabelled, environment="study", **configs)
        )
        until(lambda: all(len(each) > 5 for each in outcomes.values()))
    again = made.provision_endpoints(
        desired_endpoints("changed", archive, image=relabelled, environment="study", **configs)
    )
    tear_down_deployment(contained, workspace, terraform, approver)
    changed = sorted((one.type, one.action) for one in second.changes.changes)
    assert changed == [
        ("aws_sagemaker_endpoint", "update"),
        ("aws_sagemaker_endpoint", "update"),
        ("aws_sagemaker_endpoint_configuration", "replace"),
        ("aws_sagemaker_endpoint_configuration", "replace"),
        ("aws_sagemaker_model", "replace"),
    ]
    (old,), (new,) = first.images.values(), second.images.values()
    assert old.digest != new.digest
    assert (next(iter(second.archives.values())).was_there, new.was_there) == (True, False)
    assert (again.changes.summary, next(iter(again.images.values())).was_there) == (
        "nothing to change",
        True,
    )
    assert {outcome for each in outcomes.values() for outcome in each} == {"ok"}
    assert everything_in(contained) == before


@pytest.fixture
def relabelled(engine, lean_image):
    """The same server under another digest."""
    tag = "drdeploy-test:lean-relabelled"
    with tempfile.TemporaryDirectory() as folder:
        dockerfile = f"FROM {lean_image}\nLABEL drdeploy.test=relabelled\n"
        Path(folder, "Dockerfile").write_text(dockerfile)
        engine.build_image(Path(folder), "Dockerfile", tag)
    yield tag
    engine.untag_image(tag)


@contextmanager
def asked_all_the_time(account, names):
    body, over = photograph(seed=1), threading.Event()
    outcomes = {name: [] for name in names}

    def ask(name):
        while not over.is_set():
            time.sleep(0.05)
            answer = account.hosting_client.invoke(name, body)
            outcomes[name].append(answer.outcome if answer.outcome == "ok" else answer.error)

    threads = [threading.Thread(target=ask, args=(name,)) for name in outcomes]
    for thread in threads:
        thread.start()
    try:
        until(lambda: all(outcomes.values()))
        yield outcomes
    finally:
        over.set()
        for thread in threads:
            thread.join()


def until(condition, timeout_s=120):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def broken_archive(folder):
    """An archive that is complete, and whose model does not load."""
    import hashlib
    import tarfile

    with tarfile.open(archive_in(folder / "sound")) as source:
        members = [(one, source.extractfile(one).read()) for one in source if one.isfile()]
    model = next(data for one, data in members if one.name.endswith(".onnx"))
    junk = b"no model" + model[8:]
    digests = [hashlib.sha256(data).hexdigest().encode() for data in (model, junk)]
    broken = folder / "broken.tar.gz"
    with tarfile.open(broken, "w:gz") as target:
        for member, data in members:
            written = junk if data == model else data.replace(*digests)
            target.addfile(member, io.BytesIO(written))
    return broken


def test_a_failed_endpoint_is_reported_with_its_reason_and_repaired_by_the_next_deployment(
    tmp_path, aws_provider, uncontained, approver
):
    workspace = TerraformWorkspace(tmp_path / "work")
    before = everything_in(uncontained)
    made, terraform = provisioner_for(uncontained, workspace, approver)
    desired = desired_endpoints("healed", broken_archive(tmp_path), one=ALWAYS_ON)
    with pytest.raises(TerraformFailed) as failure:
        made.provision_endpoints(desired)
    message = str(failure.value)
    assert "Failed" in message
    for left in ("s3_bucket healed-artifacts", "ecr_repository healed/drdeploy"):
        assert left in message
    healed = made.provision_endpoints(
        desired_endpoints("healed", archive_in(tmp_path / "tiny"), one=ALWAYS_ON)
    )
    answer = made.send_test_photograph(healed.endpoints["one"], photograph(seed=1), "image/jpeg")
    assert b'"grade"' in answer.body
    report = tear_down_deployment(uncontained, workspace, terraform, approver)
    assert "endpoints: 1 deleted, 0 still there" in report.verified
    assert everything_in(uncontained) == before


def test_a_plan_that_is_not_approved_creates_nothing(tmp_path, aws_provider, uncontained, approver):
    before = everything_in(uncontained)
    approver.answer = False
    workspace = TerraformWorkspace(tmp_path / "work")
    made, _ = provisioner_for(uncontained, workspace, approver)
    with pytest.raises(PlanDeclined, match="No resource of this deployment exists now"):
        made.provision_endpoints(
            desired_endpoints("declined", archive_in(tmp_path / "tiny"), one=SMALL)
        )
    assert everything_in(uncontained) == before
    assert len(approver.proposals) == 1


def test_a_study_that_is_not_approved_creates_nothing_while_it_cleans_up_either(
    tmp_path, aws_provider, uncontained, approver
):
    onnx_artifact(tmp_path / "tiny")
    (tmp_path / "steady.toml").write_text(STEADY)
    before = everything_in(uncontained)
    approver.answer = False
    options = RunOptions(
        results=ResultsFolder(tmp_path / "results"),
        seed=0,
        endpoint_url=uncontained.endpoint_url,
        provisioning=Provisioning(approver, PriceSheet.load()),
    )
    with pytest.raises(PlanDeclined):
        run_plan(make_plan(Study.load(tmp_path / "steady.toml")), options, approver)
    assert everything_in(uncontained) == before


def test_an_interrupted_study_leaves_no_endpoint_and_its_next_run_creates_what_is_missing(
    tmp_path, aws_provider, uncontained, approver
):
    onnx_artifact(tmp_path / "tiny")
    (tmp_path / "steady.toml").write_text(STEADY)
    before = everything_in(uncontained)
    options = RunOptions(
        results=ResultsFolder(tmp_path / "results"),
        seed=0,
        endpoint_url=uncontained.endpoint_url,
        provisioning=Provisioning(approver, PriceSheet.load()),
    )
    plan = make_plan(Study.load(tmp_path / "steady.toml"))
    ended, there = [], []
    approver.trial_started = approver.row_recorded = lambda trial, what: None

    def interrupt(trial, error):
        raise KeyboardInterrupt

    approver.trial_ended = interrupt
    with pytest.raises(KeyboardInterrupt) as interruption:
        run_plan(plan, options, approver)
    assert "container images and model archives are kept" in interruption.value.__notes__[-1]
    left = everything_in(uncontained)
    assert (left["endpoints"], left["models"]) == (before["endpoints"], before["models"])
    assert len(left["buckets"]) == len(before["buckets"]) + 1

    def note(trial, error):
        ended.append(trial.scenario.kind)
        there.append(len(everything_in(uncontained)["endpoints"]))

    approver.trial_ended = note
    assert run_plan(plan, options, approver).problems == {}
    # The first trial was measured before; the steady endpoint goes when the second is.
    assert (ended, there) == (["open-loop", "warm"], [2, 1])
    assert everything_in(uncontained) == before


def test_a_queue_and_a_transform_job_are_measured_and_nothing_is_left(
    tmp_path, aws_provider, uncontained, approver
):
    onnx_artifact(tmp_path / "tiny")
    (tmp_path / "queue.toml").write_text(QUEUE_AND_JOB)
    (tmp_path / "photographs").mkdir()
    (tmp_path / "photographs" / "eye.jpg").write_bytes(photograph(seed=1))
    # A local service has the bucket of jobs that run without Terraform.
    uncontained.boto3_client("s3").create_bucket(Bucket="drdeploy-artifacts")
    before = everything_in(uncontained)
    options = RunOptions(
        results=ResultsFolder(tmp_path / "results"),
        seed=0,
        images=tmp_path / "photographs",
        endpoint_url=uncontained.endpoint_url,
        provisioning=Provisioning(approver, PriceSheet.load()),
    )
    plan = make_plan(Study.load(tmp_path / "queue.toml"))
    ended, there = [], []
    approver.trial_started = approver.row_recorded = lambda trial, what: None

    def note(trial, error):
        ended.append((trial.scenario.kind, error))
        there.append(len(everything_in(uncontained)["endpoints"]))

    approver.trial_ended = note
    assert run_plan(plan, options, approver).problems == {}
    # The endpoint costs money and goes first; the job needs none.
    assert (ended, there) == ([("asynchronous", None), ("batch", None)], [1, 0])
    rows = [row for row in read_complete_rows(options.results.measurements) if not row.is_warmup]
    assert sorted(row.scenario for row in rows) == ["asynchronous"] * 3 + ["batch"]
    assert {row.outcome for row in rows} == {"ok"}
    left = everything_in(uncontained)
    assert left | {"log groups": ()} == before | {"log groups": ()}


def test_on_aws_jobs_without_a_bucket_and_a_role_are_refused_before_anything_is_built(
    tmp_path, approver
):
    onnx_artifact(tmp_path / "tiny")
    (tmp_path / "queue.toml").write_text(QUEUE_AND_JOB)
    options = RunOptions(results=ResultsFolder(tmp_path / "results"), seed=0, aws=True)
    plan = make_plan(Study.load(tmp_path / "queue.toml"))
    with pytest.raises(StudyError, match=r"--batch-bucket.*modules/batch-transform"):
        run_plan(plan, options, approver)


def test_without_a_provider_a_study_says_so_before_it_prepares_anything(
    tmp_path, no_provider, uncontained, approver
):
    (tmp_path / "steady.toml").write_text(STEADY)
    options = RunOptions(
        results=ResultsFolder(tmp_path / "results"),
        seed=0,
        endpoint_url=uncontained.endpoint_url,
        provisioning=Provisioning(approver, PriceSheet.load()),
    )
    with pytest.raises(TerraformUnavailable, match=r"AWS provider.*TF_CLI_CONFIG_FILE"):
        run_plan(make_plan(Study.load(tmp_path / "steady.toml")), options, approver)
    assert approver.notes == []
    assert not locate_terraform_workspace(options.results).folder.exists()


def test_each_deployment_keeps_its_own_files_and_its_own_lock_of_the_provider(
    tmp_path, aws_provider, uncontained
):
    workspace = TerraformWorkspace(tmp_path / "work")
    prepare_terraform_folder("single-endpoint", workspace, uncontained)
    environment = workspace.configuration / "environments" / "single-endpoint"
    assert "hashicorp/aws" in (environment / ".terraform.lock.hcl").read_text()
    (environment / "removed_since.tf").write_text('variable "removed" {}')
    (environment / "main.tf").write_text("changed by hand")
    terraform = prepare_terraform_folder("single-endpoint", workspace, uncontained)
    assert not (environment / "removed_since.tf").exists()
    workspace.write_variables_and_record(
        DeploymentVariables("single-endpoint", "again", "us-east-1"), uncontained
    )
    assert terraform.make_plan().changes


WRONG_LOCK = """provider "registry.terraform.io/hashicorp/aws" {
  version     = "6.25.0"
  constraints = "6.25.0"
  hashes      = ["h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]
}
"""


@pytest.fixture
def locked(tmp_path, monkeypatch):
    """The .tf files with a lock that no provider here meets, as a maintainer commits it."""
    copied = tmp_path / "shipped"
    shutil.copytree(configuration.path_of_shipped_file("infrastructure"), copied)
    (copied / "environments" / "single-endpoint" / ".terraform.lock.hcl").write_text(WRONG_LOCK)
    monkeypatch.setattr(configuration, "path_of_shipped_file", lambda _: copied)


def test_on_aws_a_provider_with_other_checksums_is_refused(tmp_path, aws_provider, locked):
    """Whoever stands between a user and the registry must not be given AWS credentials."""
    workspace = TerraformWorkspace(tmp_path / "work")
    with pytest.raises(
        TerraformUnavailable, match="has a different checksum than the provider in the lock file"
    ):
        prepare_terraform_folder("single-endpoint", workspace, AwsAccount(None, "us-east-1"))
    assert not workspace.folder.exists()


def test_on_the_local_service_a_deployment_has_a_lock_of_its_own(
    tmp_path, aws_provider, locked, uncontained
):
    workspace = TerraformWorkspace(tmp_path / "work")
    prepare_terraform_folder("single-endpoint", workspace, uncontained)
    lock = workspace.configuration / "environments" / "single-endpoint" / ".terraform.lock.hcl"
    assert "h1:AAAA" not in lock.read_text()


def test_the_lock_of_an_older_drdeploy_makes_room(tmp_path, aws_provider, uncontained):
    workspace = TerraformWorkspace(tmp_path / "work")
    prepare_terraform_folder("single-endpoint", workspace, uncontained)
    lock = workspace.configuration / "environments" / "single-endpoint" / ".terraform.lock.hcl"
    lock.write_text(lock.read_text().replace("6.25.0", "6.20.0"))
    prepare_terraform_folder("single-endpoint", workspace, uncontained)
    assert "6.25.0" in lock.read_text()


def test_captured_photographs_are_deleted_only_when_asked(
    tmp_path, aws_provider, uncontained, approver
):
    before = everything_in(uncontained)
    workspace = TerraformWorkspace(tmp_path / "work")
    made, terraform = provisioner_for(uncontained, workspace, approver)
    desired = desired_endpoints("captured", archive_in(tmp_path / "tiny"), one=SMALL)
    bucket = made.provision_endpoints(desired).outputs["artifact_bucket"]
    s3 = uncontained.boto3_client("s3")
    photographs = "captured/captured/AllTraffic/1.jsonl"
    s3.put_object(Bucket=bucket, Key=photographs, Body=b"{}")

    with pytest.raises(LeftBehind, match=rf"1 in s3://{bucket}/captured/.*--delete-captured"):
        tear_down_deployment(uncontained, workspace, terraform, approver)
    # What costs money is gone; the photographs are there, and protected as before.
    assert everything_in(uncontained)["endpoints"] == before["endpoints"]
    assert s3.head_object(Bucket=bucket, Key=photographs)
    assert s3.get_public_access_block(Bucket=bucket)
    assert s3.get_bucket_policy(Bucket=bucket)

    report = tear_down_deployment(uncontained, workspace, terraform, approver, others=True)
    assert "buckets: 1 deleted, 0 still there" in report.verified
    assert everything_in(uncontained) == before
    assert any("1 archive, 1 other object, 1 image" in note for note in approver.notes)


def test_a_provider_that_runs_already_is_attached_to(
    tmp_path, no_provider, uncontained, monkeypatch
):
    workspace = TerraformWorkspace(tmp_path / "work")
    with provider_of(endpoint_url=uncontained.endpoint_url) as attached:
        for name, value in attached.items():
            monkeypatch.setenv(name, value)
        terraform = prepare_terraform_folder("single-endpoint", workspace, uncontained)
        workspace.write_variables_and_record(
            DeploymentVariables("single-endpoint", "attached", "us-east-1"), uncontained
        )
        assert terraform.make_plan().changes
