"""The real terraform applies a study to the local service, changes it, and destroys it."""

import base64
import hashlib
import json
import threading

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from local_aws import Aws, client, put_key, until
from photographs import photograph
from terraform import INFRASTRUCTURE, realtime, serverless
from tiny_models import onnx_artifact

from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE
from drdeploy.hosting.local import LocalService, ServiceOptions

MADE = "module.deployment.module"
THESIS = INFRASTRUCTURE / "environments" / "study" / "thesis.tfvars.json"


@pytest.fixture(scope="module")
def service(home):
    """With the real server, as processes."""
    options = ServiceOptions(mb_per_vcpu=512, trial_start=False)
    with LocalService(0, isolation="process", options=options) as it:
        yield it


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> bytes:
    folder = tmp_path_factory.mktemp("tiny")
    onnx_artifact(folder)
    return (folder / "model.tar.gz").read_bytes()


def image(digest: str) -> str:
    """The tag says which server a process is; the digest is what a registry would say."""
    return f"registry.example/drdeploy:lean@sha256:{digest * 64}"


def upload(aws: Aws, bucket: str, archive: bytes, digest: str = "a") -> dict:
    """Where drdeploy puts an archive, and the model that it makes."""
    sha256 = hashlib.sha256(archive).hexdigest()
    key = f"artifacts/{sha256[:16]}/model.tar.gz"
    aws.s3.put_object(Bucket=bucket, Key=key, Body=archive)
    return {
        "image_uri": image(digest),
        "model_data_url": f"s3://{bucket}/{key}",
        "model_data_sha256": sha256,
    }


def put_broken_archive(aws: Aws, made: dict) -> str:
    """Put a file that is no archive beside an archive, and return its URI."""
    uri = made["model_data_url"].replace("model.tar.gz", "broken.tar.gz")
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    aws.s3.put_object(Bucket=bucket, Key=key, Body=b"no archive")
    return uri


def grade(aws: Aws, endpoint: str) -> dict:
    answer = aws.runtime.invoke_endpoint(
        EndpointName=endpoint, Body=photograph(96), ContentType="image/jpeg"
    )
    return json.loads(answer["Body"].read())


def left(aws: Aws, prefix: str) -> dict[str, list]:
    """What the account holds of that prefix; other tests of this process share the account."""
    return {
        kind: own
        for kind, found in everything(aws).items()
        if (own := [one for one in found if prefix in repr(one)])
    }


def everything(aws: Aws) -> dict[str, list]:
    """Whatever these environments can make."""
    logs, iam, ecr = client("logs", aws.url), client("iam", aws.url), client("ecr", aws.url)
    scaling, sns = client("application-autoscaling", aws.url), client("sns", aws.url)
    budgets, scheduler = client("budgets", aws.url), client("scheduler", aws.url)
    return {
        "endpoints": aws.sagemaker.list_endpoints(MaxResults=100)["Endpoints"],
        "configurations": aws.sagemaker.list_endpoint_configs(MaxResults=100)["EndpointConfigs"],
        "models": aws.sagemaker.list_models(MaxResults=100)["Models"],
        "buckets": aws.s3.list_buckets()["Buckets"],
        "repositories": ecr.describe_repositories()["repositories"],
        "roles": iam.list_roles()["Roles"],
        "policies": iam.list_policies(Scope="Local")["Policies"],
        "log groups": logs.describe_log_groups()["logGroups"],
        "alarms": aws.cloudwatch.describe_alarms()["MetricAlarms"],
        "dashboards": aws.cloudwatch.list_dashboards()["DashboardEntries"],
        "topics": sns.list_topics()["Topics"],
        "targets": scaling.describe_scalable_targets(ServiceNamespace="sagemaker")[
            "ScalableTargets"
        ],
        "schedules": scheduler.list_schedules()["Schedules"],
        "budgets": budgets.describe_budgets(AccountId="123456789012").get("Budgets", []),
    }


def test_the_study_of_the_thesis_is_created_graded_with_and_destroyed(environment, aws, archive):
    thesis = json.loads(THESIS.read_text())
    study = environment("study", name_prefix="dr-thesis", allow_always_on=True)
    bucket = study.apply()["artifact_bucket"]  # first what uploads need

    made = upload(aws, bucket, archive)
    study.values |= {"models": dict.fromkeys(thesis["models"], made), **watched(thesis)}
    endpoints = study.apply()["endpoints"]
    kinds = [one["kind"] for one in endpoints.values()]
    assert (kinds.count("serverless"), kinds.count("realtime")) == (6, 8)
    assert len(left(aws, "dr-thesis")["configurations"]) == 14
    assert study.planned() == {}

    for endpoint in endpoints.values():
        answer = grade(aws, endpoint["endpoint_name"])
        assert answer["notice"] == RESEARCH_USE_NOTICE
        assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-3)

    study.destroy()
    assert left(aws, "dr-thesis") == {}


def watched(thesis: dict) -> dict:
    """Its endpoints, with everything on that is off by default."""
    return {
        "endpoints": thesis["endpoints"],
        "create_alarms": True,
        "alarm_email": "clinic@example.org",
        "monthly_budget_usd": 20,
    }


def test_a_new_image_makes_one_configuration_each_and_no_request_fails(environment, aws, archive):
    study = environment("study", name_prefix="dr-update", allow_always_on=True)
    bucket = study.apply()["artifact_bucket"]
    study.values |= {
        "models": {
            "mobilenet": upload(aws, bucket, archive),
            "vgg19": upload(aws, bucket, archive, "b"),
        },
        "endpoints": {
            "small": serverless(2048, max_concurrency=4),
            "big": realtime(guardrails={"wait_s": 1, "termination_wait_s": 1}),
            "other": serverless(1024, model="vgg19"),
        },
    }
    before = study.apply()["endpoints"]

    study.values["models"]["mobilenet"]["image_uri"] = image("c")
    replaced, updated = ("create", "delete"), ("update",)
    assert study.planned() == {
        f'{MADE}.model["mobilenet"].aws_sagemaker_model.this': replaced,
        **{
            f'{MADE}.{kind}_endpoint["{key}"].aws_sagemaker_endpoint{part}.this': actions
            for kind, key in (("serverless", "small"), ("realtime", "big"))
            for part, actions in (("_configuration", replaced), ("", updated))
        },
    }

    with Traffic(aws, before["small"]["endpoint_name"], before["big"]["endpoint_name"]) as traffic:
        after = study.apply()["endpoints"]
    assert traffic.failures == []
    assert min(traffic.answered_requests.values()) >= 1

    changed = {key for key in after if after[key] != before[key]}
    assert changed == {"small", "big"}
    names = {one["EndpointConfigName"] for one in left(aws, "dr-update")["configurations"]}
    assert names == {one["configuration_name"] for one in after.values()}
    for endpoint in after.values():
        described = aws.sagemaker.describe_endpoint(EndpointName=endpoint["endpoint_name"])
        assert described["EndpointConfigName"] == endpoint["configuration_name"]
        grade(aws, endpoint["endpoint_name"])
    assert study.planned() == {}
    study.destroy()


class Traffic:
    """One client for each endpoint, which asks again and again while the context lasts."""

    def __init__(self, aws: Aws, *endpoints: str) -> None:
        self.answered_requests = dict.fromkeys(endpoints, 0)
        self.failures: list[Exception] = []
        self._aws = aws
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(one,)) for one in endpoints]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, endpoint: str) -> None:
        while not self._over.wait(0.02):
            try:
                grade(self._aws, endpoint)
            except (BotoCoreError, ClientError) as err:
                self.failures.append(err)
            else:
                self.answered_requests[endpoint] += 1


def test_an_endpoint_that_fails_is_reported_with_its_reason_and_can_be_destroyed(
    environment, aws, archive
):
    single = environment("single-endpoint", name_prefix="dr-failing")
    bucket = single.apply()["artifact_bucket"]
    made = upload(aws, bucket, archive)
    single.values |= {
        "model": {**made, "model_data_url": put_broken_archive(aws, made)},
        "endpoint": {"kind": "serverless", "memory_mb": 1024},
    }
    done = single.with_values("apply", "-auto-approve", check=False)
    assert done.returncode == 1
    message = " ".join(done.stderr.split())
    assert "The endpoint is Failed: " in message
    assert "Failed to extract model data archive" in message

    single.values["model"] = made  # corrected: the failed one is replaced
    assert single.apply()["endpoint"]["endpoint_name"] == "dr-failing"
    grade(aws, "dr-failing")
    single.destroy()
    assert left(aws, "dr-failing") == {}


def test_an_update_that_fails_leaves_the_old_configuration_in_service(environment, aws, archive):
    single = environment("single-endpoint", name_prefix="dr-back")
    bucket = single.apply()["artifact_bucket"]
    made = upload(aws, bucket, archive)
    endpoint = {"kind": "serverless", "memory_mb": 1024}
    single.values |= {"model": made, "endpoint": endpoint}
    before = single.apply()["endpoint"]

    single.values["model"] = {**made, "model_data_url": put_broken_archive(aws, made)}
    done = single.with_values("apply", "-auto-approve", check=False)
    assert done.returncode == 1
    assert f"The endpoint goes on with {before['configuration_name']}" in " ".join(
        done.stderr.split()
    )
    grade(aws, "dr-back")

    single.values["model"] = made  # rolled back: the failed one's names are in nobody's way
    after = single.apply()["endpoint"]
    assert after["configuration_name"] != before["configuration_name"]
    grade(aws, "dr-back")
    single.destroy()
    assert left(aws, "dr-back") == {}


def test_an_endpoint_that_was_deleted_by_hand_is_created_again(environment, aws, archive):
    single = environment("single-endpoint", name_prefix="dr-drift")
    bucket = single.apply()["artifact_bucket"]
    endpoint = {"kind": "serverless", "memory_mb": 1024}
    single.values |= {"model": upload(aws, bucket, archive), "endpoint": endpoint}
    single.apply()
    aws.delete("dr-drift")
    assert single.planned() == {
        f'{MADE}.serverless_endpoint["endpoint"].aws_sagemaker_endpoint.this': ("create",)
    }
    single.destroy()


def test_scaling_is_registered_and_never_changes_the_configuration(environment, aws, archive):
    single = environment("single-endpoint", name_prefix="dr-scaled", allow_always_on=True)
    bucket = single.apply()["artifact_bucket"]
    single.values |= {
        "model": upload(aws, bucket, archive),
        "endpoint": {
            "kind": "serverless",
            "memory_mb": 1024,
            "max_concurrency": 4,
            "provisioned_concurrency": 1,
            "provisioned_scaling": {
                "min_capacity": 1,
                "max_capacity": 2,
                "target_utilization": 0.7,
                "schedules": {
                    "morning": {"schedule": "cron(0 8 ? * MON-FRI *)"}
                    | {"min_capacity": 2, "max_capacity": 2}
                },
            },
        },
    }
    single.apply()
    scaling = client("application-autoscaling", aws.url)
    place = {"ServiceNamespace": "sagemaker"}
    assert len(scaling.describe_scaling_policies(**place)["ScalingPolicies"]) == 1
    assert len(scaling.describe_scheduled_actions(**place)["ScheduledActions"]) == 1

    # What a schedule does in the morning: no plan undoes it.
    (target,) = scaling.describe_scalable_targets(**place)["ScalableTargets"]
    names = ("ServiceNamespace", "ResourceId", "ScalableDimension")
    scaling.register_scalable_target(
        **{name: target[name] for name in names}, MinCapacity=2, MaxCapacity=2
    )
    aws.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="dr-scaled",
        DesiredWeightsAndCapacities=[
            {
                "VariantName": "AllTraffic",
                "ServerlessUpdateConfig": {"MaxConcurrency": 4, "ProvisionedConcurrency": 2},
            }
        ],
    )
    assert single.planned() == {}
    single.destroy()
    assert left(aws, "dr-scaled") == {}


def test_a_keep_warm_schedule_sends_what_the_endpoint_answers(environment, aws, archive):
    single = environment("single-endpoint", name_prefix="dr-warm", allow_always_on=True)
    bucket = single.apply()["artifact_bucket"]
    on_weekdays = {"schedule": "cron(0/9 8-17 ? * MON-FRI *)", "timezone": "Europe/Berlin"}
    single.values |= {
        "model": upload(aws, bucket, archive),
        "endpoint": {
            "kind": "serverless",
            "memory_mb": 1024,
            "keep_warm": {"schedules": {"keep-warm-1": on_weekdays}},
        },
    }
    single.apply()
    scheduler = client("scheduler", aws.url)
    schedule = scheduler.get_schedule(Name="dr-warm-keep-warm-1", GroupName="default")
    assert schedule["ScheduleExpression"] == on_weekdays["schedule"]
    assert schedule["ScheduleExpressionTimezone"] == "Europe/Berlin"
    assert (
        schedule["Target"]["Arn"] == "arn:aws:scheduler:::aws-sdk:sagemakerruntime:invokeEndpoint"
    )
    assert schedule["Target"]["RetryPolicy"]["MaximumRetryAttempts"] == 0
    assert single.planned() == {}

    # The local service sends nothing by itself; what would be sent is answered with a grade, as
    # text and where the scheduler decodes the text before.
    request = json.loads(schedule["Target"]["Input"])
    for body in (request["Body"], base64.b64decode(request["Body"])):
        answer = aws.runtime.invoke_endpoint(**{**request, "Body": body})
        assert json.loads(answer["Body"].read())["probabilities"]

    del single.values["endpoint"]["keep_warm"]
    single.values["allow_always_on"] = False
    single.apply()
    assert scheduler.list_schedules()["Schedules"] == []
    single.destroy()
    assert left(aws, "dr-warm") == {}


SOON = {"WaiterConfig": {"Delay": 1, "MaxAttempts": 120}}


def test_opening_hours_create_and_delete_the_endpoint_that_terraform_has(environment, aws, archive):
    single = environment(
        "single-endpoint", name_prefix="dr-open", allow_always_on=True, tags={"clinic": "one"}
    )
    bucket = single.apply()["artifact_bucket"]
    hours = {
        "opens": "cron(55 7 ? * MON-FRI *)",
        "closes": "cron(0 18 ? * MON-FRI *)",
        "timezone": "Europe/Berlin",
    }
    single.values |= {
        "model": upload(aws, bucket, archive),
        "endpoint": {
            "kind": "realtime",
            "instance_type": "ml.m5.large",
            "opening_hours": {"schedules": {"hours-1": hours}},
        },
    }
    single.apply()
    assert single.planned() == {}
    scheduler, sagemaker = client("scheduler", aws.url), client("sagemaker", aws.url)
    calls = {}
    for when in ("opens", "closes"):
        schedule = scheduler.get_schedule(Name=f"dr-open-hours-1-{when}", GroupName="default")
        assert schedule["ScheduleExpression"] == hours[when]
        assert schedule["ScheduleExpressionTimezone"] == "Europe/Berlin"
        target = schedule["Target"]
        calls[target["Arn"].rpartition(":")[2]] = json.loads(target["Input"])
    before = sagemaker.describe_endpoint(EndpointName="dr-open")
    tags = sagemaker.list_tags(ResourceArn=before["EndpointArn"])["Tags"]

    # The local service makes no call by itself; what the schedules send is what it takes.
    sagemaker.delete_endpoint(**calls["deleteEndpoint"])
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="dr-open", **SOON)
    assert [action for action in single.planned().values() if action == ("create",)]
    sagemaker.create_endpoint(**calls["createEndpoint"])
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="dr-open", **SOON)
    assert single.planned() == {}
    after = sagemaker.describe_endpoint(EndpointName="dr-open")
    assert after["EndpointConfigName"] == before["EndpointConfigName"]
    assert "LastDeploymentConfig" not in before
    assert sorted(map(str, sagemaker.list_tags(ResourceArn=after["EndpointArn"])["Tags"])) == (
        sorted(map(str, tags))
    )

    # While it is closed, everything can be deleted too.
    sagemaker.delete_endpoint(**calls["deleteEndpoint"])
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="dr-open", **SOON)
    single.destroy()
    assert left(aws, "dr-open") == {}


KEY = "arn:aws:kms:us-east-1:123456789012:key/0f1e2d3c"


@pytest.fixture(scope="module", autouse=True)
def _key(service):
    put_key(KEY)


def test_a_realtime_endpoint_with_every_option_of_the_local_service(environment, aws, archive):
    single = environment("single-endpoint", name_prefix="dr-full", allow_always_on=True)
    bucket = single.apply()["artifact_bucket"]
    single.values |= {
        "model": upload(aws, bucket, archive) | {"network_isolation": True},
        "endpoint": {
            "kind": "realtime",
            "instance_type": "ml.m5.xlarge",
            "initial_instance_count": 2,
            "autoscaling": {"min_capacity": 2, "max_capacity": 4}
            | {"target_invocations_per_minute": 300},
            "kms_key_arn": KEY,
            "guardrails": {"traffic": "canary", "wait_s": 60, "termination_wait_s": 60},
            "data_capture": {"destination_s3_uri": f"s3://{bucket}/captured/requests"}
            | {"sampling_percentage": 100, "kms_key_id": KEY},
        },
    }
    endpoint = single.apply()["endpoint"]
    grade(aws, "dr-full")
    prefix = "captured/requests/dr-full/AllTraffic/"
    until(lambda: aws.s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["KeyCount"])
    (stored,) = aws.s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
    assert aws.s3.head_object(Bucket=bucket, Key=stored["Key"])["SSEKMSKeyId"] == KEY
    name = endpoint["configuration_name"]
    config = aws.sagemaker.describe_endpoint_config(EndpointConfigName=name)
    assert config["KmsKeyId"] == KEY
    assert config["DataCaptureConfig"]["DestinationS3Uri"] == f"s3://{bucket}/captured/requests"
    described = aws.sagemaker.describe_model(ModelName=endpoint["model_name"])
    assert described["EnableNetworkIsolation"] is True
    described = aws.sagemaker.describe_endpoint(EndpointName="dr-full")
    policy = described["LastDeploymentConfig"]["BlueGreenUpdatePolicy"]
    assert policy["TrafficRoutingConfiguration"]["WaitIntervalInSeconds"] == 60

    # What autoscaling does under load: no plan undoes it.
    aws.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="dr-full",
        DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 3}],
    )
    assert single.planned() == {}
    single.destroy()
    assert left(aws, "dr-full") == {}


def test_one_key_encrypts_all_that_is_stored_and_captured_photographs_expire(
    environment, aws, archive
):
    single = environment("single-endpoint", name_prefix="dr-keyed", kms_key_arn=KEY)
    bucket = single.apply()["artifact_bucket"]
    encryption = aws.s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]
    (rule,) = encryption["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {
        "SSEAlgorithm": "aws:kms",
        "KMSMasterKeyID": KEY,
    }
    rules = aws.s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    (captured,) = [one for one in rules if one["ID"] == "captured-requests"]
    assert captured["Filter"] == {"Prefix": "captured/"}
    assert captured["Expiration"] == {"Days": 30}
    assert captured["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}
    (repository,) = client("ecr", aws.url).describe_repositories(
        repositoryNames=["dr-keyed/drdeploy"]
    )["repositories"]
    assert repository["encryptionConfiguration"] == {"encryptionType": "KMS", "kmsKey": KEY}

    single.values |= {
        "model": upload(aws, bucket, archive),
        "endpoint": {"kind": "serverless", "memory_mb": 1024},
        "alarm_email": "clinic@example.org",
    }
    single.apply()
    logs = client("logs", aws.url).describe_log_groups(
        logGroupNamePrefix="/aws/sagemaker/Endpoints/dr-keyed"
    )["logGroups"]
    assert [one["kmsKeyId"] for one in logs] == [KEY]
    topic = client("sns", aws.url).get_topic_attributes(
        TopicArn="arn:aws:sns:us-east-1:123456789012:dr-keyed-alarms"
    )["Attributes"]
    assert topic["KmsMasterKeyId"] == KEY
    assert single.planned() == {}
    single.destroy()
    assert left(aws, "dr-keyed") == {}


def test_what_a_bucket_holds_is_not_destroyed_unasked(environment, aws, archive):
    single = environment("single-endpoint", name_prefix="dr-kept", force_destroy=False)
    bucket = single.apply()["artifact_bucket"]
    upload(aws, bucket, archive)
    done = single.with_values("destroy", "-auto-approve", check=False)
    assert done.returncode == 1
    assert "BucketNotEmpty" in done.stderr
    assert aws.s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    single.values["force_destroy"] = True
    single.apply()
    single.destroy()
    assert left(aws, "dr-kept") == {}


VPC = {"vpc_config": {"subnet_ids": ["subnet-1"], "security_group_ids": ["sg-1"]}}


def test_what_aws_alone_can_do_reaches_the_api_and_is_refused_there_by_its_name(
    environment, aws, archive
):
    single = environment("single-endpoint", name_prefix="dr-aws", allow_always_on=True)
    bucket = single.apply()["artifact_bucket"]
    single.values |= {
        "model": upload(aws, bucket, archive) | VPC,
        "endpoint": {"kind": "realtime", "instance_type": "ml.m5.xlarge"},
    }
    done = single.with_values("apply", "-auto-approve", check=False)
    assert done.returncode == 1
    message = " ".join(done.stderr.split())
    assert "The local service does not serve VpcConfig" in message
    single.destroy()
    assert left(aws, "dr-aws") == {}


def test_the_role_may_do_what_aws_alone_can_do(environment, aws, archive):
    single = environment("single-endpoint", name_prefix="dr-role", allow_always_on=True)
    bucket = single.apply()["artifact_bucket"]
    capture = {"destination_s3_uri": f"s3://{bucket}/captured/requests", "sampling_percentage": 5}
    single.values |= {
        "model": upload(aws, bucket, archive) | VPC,
        "endpoint": {
            "kind": "realtime",
            "instance_type": "ml.m5.xlarge",
            "kms_key_arn": KEY,
            "data_capture": capture | {"kms_key_id": KEY},
        },
    }
    single.with_values("apply", "-auto-approve", check=False)
    iam = client("iam", aws.url)
    names = [role["RoleName"] for role in iam.list_roles()["Roles"]]
    (role,) = [name for name in names if name.startswith("dr-role")]
    policy = iam.get_role_policy(RoleName=role, PolicyName="serve-models")
    sids = [one["Sid"] for one in policy["PolicyDocument"]["Statement"]]
    assert sids[-3:] == ["UseKeysThroughS3", "WriteCapturedRequests", "AttachToSubnets"]
    single.destroy()
    assert left(aws, "dr-role") == {}
