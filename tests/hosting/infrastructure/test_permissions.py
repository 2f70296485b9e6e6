"""Every role and policy allows what its user needs, and nothing else.

What is needed is recorded from the calls that Terraform and the commands make on the local
service, and completed by what HashiCorp's provider and a container engine call
(``provider_calls``).  What is allowed is evaluated from the policies as the real terraform renders
them.
"""

import json
import re
from dataclasses import dataclass

import pytest
from aws_provider import provider_of
from iam_reference import reference
from iam_requests import (
    ACCOUNT,
    OWN_BUCKET,
    REGION,
    SAGEMAKER,
    SCHEDULER,
    IamRequest,
    arn,
    recorded_calls,
    role_arn,
    via,
)
from local_aws import archive as small_archive
from local_aws import client, put_key
from provider_calls import ACTIONS, FOR_OTHERS
from terraform import INFRASTRUCTURE, Terraform, asynchronous, realtime, serverless
from tiny_models import onnx_artifact
from typer.testing import CliRunner

from drdeploy.cli.app import build_app
from drdeploy.hosting.local.endpoints.iam_policies import is_action_allowed, is_principal_allowed

PREFIX = "dr-may"
BUCKET = f"{PREFIX}-artifacts-{ACCOUNT}-{REGION}"
ROLE = role_arn(f"{PREFIX}-execution-{REGION}")
OPENER = role_arn(f"{PREFIX}-opening-hours-{REGION}")
WARMER = role_arn(f"{PREFIX}-keep-warm-{REGION}")
KEY = arn("kms", "key/0f1e2d3c")
NOT_NARROWER = {"cloudwatch:DescribeAlarms"}
"""Allowed on ``*`` although AWS knows a resource: a deletion lists all alarms."""

_request = IamRequest.of


def statements(*documents: str) -> list[dict]:
    return [one for document in documents for one in json.loads(document)["Statement"]]


def granted(*documents: str) -> set[str]:
    allowing = (one for one in statements(*documents) if one["Effect"] == "Allow")
    return {action for one in allowing for action in one["Action"]}


@pytest.fixture(scope="module")
def policies(deployer_policies):
    """For a deployer who may also use a key."""
    return deployer_policies(PREFIX, kms_key_arns=[KEY])


def uploaded(aws, bucket: str, folder: str = "artifacts") -> dict:
    data, sha256 = small_archive(), "c" * 64
    key = f"{folder}/{sha256[:16]}/model.tar.gz"
    aws.s3.put_object(Bucket=bucket, Key=key, Body=data)
    return {"model_data_url": f"s3://{bucket}/{key}", "model_data_sha256": sha256}


CLINIC = {"opens": "cron(50 7 ? * MON-FRI *)", "closes": "cron(0 18 ? * MON-FRI *)"}
NINE_TO_FIVE = {"schedule": "cron(0/9 9-17 ? * MON-FRI *)"}


def study_with_everything(environment, service, aws, boundary_arn: str) -> None:
    """Apply a study with all that the modules offer, change it, and destroy it."""
    with provider_of(endpoint_url=service.url) as own:
        study = environment("study", name_prefix=PREFIX, allow_always_on=True)
        study.provider = own
        study.values |= {"kms_key_arn": KEY, "permissions_boundary_arn": boundary_arn}
        study.apply()
        made = {
            "image_uri": "registry.example/drdeploy:lean@sha256:" + "a" * 64,
            **uploaded(aws, BUCKET),
        }
        scaling = {"min_capacity": 1, "max_capacity": 2}
        at_eight = {"schedule": "cron(0 8 ? * MON-FRI *)", **scaling}
        warm = {"max_concurrency": 2, "provisioned_concurrency": 1}
        study.values |= {
            "models": {"mobilenet": made},
            "endpoints": {
                "pinged": serverless(keep_warm={"schedules": {"clinic": NINE_TO_FIVE}}),
                "small": serverless(
                    **warm, provisioned_scaling={**scaling, "target_utilization": 0.5}
                ),
                "timed": serverless(
                    **warm, provisioned_scaling={**scaling, "schedules": {"morning": at_eight}}
                ),
                "big": realtime(
                    autoscaling={**scaling, "target_invocations_per_minute": 60},
                    data_capture={"sampling_percentage": 5},
                ),
                "queued": asynchronous(),
                "daytime": realtime(
                    guardrails=None, opening_hours={"schedules": {"clinic": CLINIC}}
                ),
            },
            "create_alarms": True,
            "alarm_email": "clinic@example.org",
            "monthly_budget_usd": 20,
        }
        study.apply()
        place = ["--endpoint-url", service.url]
        send = ["endpoint", "invoke", f"{PREFIX}-queued", "--asynchronous", __file__, *place]
        assert CliRunner().invoke(build_app(), send).exit_code == 0
        study.values["models"]["mobilenet"]["image_uri"] = made["image_uri"].replace("aa", "bb")
        study.values["tags"] = {"clinic": "one"}
        later = {"schedule": "cron(0/9 9-18 ? * MON-FRI *)"}
        study.values["endpoints"]["pinged"]["keep_warm"] = {"schedules": {"clinic": later}}
        study.apply()
        study.values["tags"] = {}
        study.apply()
        study.destroy()


def deploy_and_delete(service, folder, monkeypatch) -> None:
    """Deploy an endpoint by the command, twice, and delete it."""
    onnx_artifact(folder / "tiny")
    monkeypatch.chdir(folder)
    with provider_of(endpoint_url=service.url) as own:
        for name, value in own.items():
            monkeypatch.setenv(name, value)
        place = ["--endpoint-url", service.url]
        archive = str(folder / "tiny" / "model.tar.gz")
        deploy = ["endpoint", "deploy", PREFIX, "--target", "local", "--yes", "--artifact", archive]
        for command in (deploy, [*deploy, "--memory-mb", "1024"], ["endpoint", "delete", PREFIX]):
            done = CliRunner().invoke(build_app(), [*command, *place])
            assert done.exit_code == 0, done.output + repr(done.exception)


@pytest.fixture(scope="module")
def needed(environments, service, aws, policies, tmp_path_factory) -> set[IamRequest]:
    """Every question that IAM would have been asked."""
    put_key(KEY)
    iam = client("iam", service.url)
    name = policies.boundary_arn.rpartition("/")[2]
    iam.create_policy(PolicyName=name, PolicyDocument=policies.boundary)
    with pytest.MonkeyPatch.context() as patch, recorded_calls() as calls:
        study_with_everything(environments, service, aws, policies.boundary_arn)
        deploy_and_delete(service, tmp_path_factory.mktemp("typed"), patch)
    iam.delete_policy(PolicyArn=policies.boundary_arn)
    return calls.requests


@pytest.fixture(scope="module")
def environments(provider, data, tmp_path_factory):
    """As ``environment``, for all tests of this module."""
    made = []

    def initialized(name: str, **values) -> Terraform:
        folder = INFRASTRUCTURE / "environments" / name
        work = tmp_path_factory.mktemp(name)
        values = {"force_destroy": True, **values}
        made.append(Terraform(folder, work, provider, values, data / name))
        return made[-1]

    yield initialized
    for one in made:
        if one.has_resources():
            one.with_values("destroy", "-auto-approve", check=False)


def test_a_deployer_may_do_every_call_that_a_deployment_makes(policies, needed):
    assert len(needed) > 120
    assert policies.refused(needed) == []


EXAMPLES = {
    "ecr": arn("ecr", f"repository/{PREFIX}/drdeploy"),
    "iam": ROLE,
    "s3 object": f"arn:aws:s3:::{BUCKET}/artifacts/0/model.tar.gz",
    "s3": f"arn:aws:s3:::{BUCKET}",
    "logs": arn("logs", f"log-group:/aws/sagemaker/Endpoints/{PREFIX}-small"),
    "cloudwatch": arn("cloudwatch", f"alarm:{PREFIX}-small-slow"),
    "dashboard": arn("cloudwatch", f"dashboard/{PREFIX}", region=""),
    "sns": arn("sns", f"{PREFIX}-alarms"),
    "budgets": arn("budgets", f"budget/{PREFIX}", region=""),
    "application-autoscaling": arn("application-autoscaling", "scalable-target/0f1e"),
    "sagemaker": arn("sagemaker", f"endpoint/{PREFIX}-small"),
    "scheduler": arn("scheduler", f"schedule/default/{PREFIX}-small-clinic"),
}
"""A resource of each service that a deployer makes."""
SCALER = "sagemaker.application-autoscaling.amazonaws.com"
CONTEXTS = {
    "s3": OWN_BUCKET,
    "iam:PassRole": SAGEMAKER,
    "application-autoscaling": {"application-autoscaling:service-namespace": "sagemaker"},
    "iam:CreateServiceLinkedRole": {"iam:AWSServiceName": SCALER},
    "sns:Subscribe": {"sns:Protocol": "email"},
}


def example_of(action: str, boundary_arn: str) -> list[IamRequest]:
    """Return how an action may be asked for; one of them must be allowed."""
    service = action.partition(":")[0]
    context = dict(CONTEXTS.get(action) or CONTEXTS.get(service) or {})
    if action in {"iam:CreateRole", "iam:PutRolePolicy", "iam:DeleteRolePolicy"}:
        context["iam:PermissionsBoundary"] = boundary_arn
    kinds = [kind for kind in EXAMPLES if kind.split()[0] == service]
    kinds += ["dashboard"] if service == "cloudwatch" else []
    linked = f"role/aws-service-role/{SCALER}/AWSServiceRoleFor"
    others = ["*", arn("iam", linked, region="")] if service == "iam" else ["*"]
    return [
        _request(action, one, context) for one in [*(EXAMPLES[kind] for kind in kinds), *others]
    ]


@pytest.mark.parametrize("purpose", [*ACTIONS, *FOR_OTHERS])
def test_a_deployer_may_do_what_hashicorps_provider_and_the_engine_call(policies, purpose):
    actions = {**ACTIONS, **FOR_OTHERS}[purpose]
    examples = {action: example_of(action, policies.boundary_arn) for action in actions}
    assert [one for one, asked in examples.items() if not policies.allowed(asked)] == []


def test_a_deployer_may_do_nothing_that_none_of_them_calls(policies, needed):
    listed = {action for actions in (*ACTIONS.values(), *FOR_OTHERS.values()) for action in actions}
    called = {one.action for one in needed}
    assert granted(*policies.deployer) - listed - called == set()
    # And the other way round: nothing is called that nobody has listed.
    assert (listed | called) - granted(*policies.deployer) == set()


def test_every_resource_type_of_the_environments_has_its_calls_listed():
    used = {
        line.split('"')[1]
        for module in (INFRASTRUCTURE / "modules").iterdir()
        if module.name not in {"deployer-policy", "encryption-key", "public-image-registry"}
        for line in (module / "main.tf").read_text().splitlines()
        if line.startswith('resource "')
    }
    assert used == set(ACTIONS)


def test_the_same_calls_on_another_prefix_are_refused(policies, needed):
    """What begins like the prefix is another team's: dr-may2, dr-mayor, and what has none."""
    own = {one for one in needed if PREFIX in one.resource}
    assert len(own) > 80
    for other in ("dr-may2", "dr-mayor", "other", "dr"):
        assert policies.allowed(one.replaced(PREFIX, other) for one in own) == []


def test_the_same_calls_in_another_account_or_region_are_refused(policies, needed):
    fixed = {
        one for one in needed if one.resource.startswith("arn:") and ":s3:" not in one.resource
    }
    assert policies.allowed(one.replaced(ACCOUNT, "999999999999") for one in fixed) == []
    regional = {one for one in fixed if REGION in one.resource}
    assert policies.allowed(one.replaced(REGION, "eu-west-1") for one in regional) == []
    buckets = {one for one in needed if one.action.startswith("s3:") and one.context}
    foreign = {"s3:ResourceAccount": "999999999999"}
    assert buckets
    assert policies.allowed(_request(one.action, one.resource, foreign) for one in buckets) == []


def test_a_call_without_the_condition_that_it_is_bound_to_is_refused(policies, needed):
    # Of auto scaling, only what changes something is bound.
    free = ("s3:", "application-autoscaling:Describe", "application-autoscaling:List")
    bound = {one for one in needed if one.context and not one.action.startswith(free)}
    alarms = {one for one in bound if one.action == "cloudwatch:PutMetricAlarm"}
    assert len(bound - alarms) > 8
    assert policies.allowed(_request(one.action, one.resource) for one in bound - alarms) == []
    elsewhere = {"cloudwatch:AlarmActions": [arn("sns", "other-alarms")]}
    assert policies.allowed(_request(one.action, one.resource, elsewhere) for one in alarms) == []


@pytest.mark.parametrize(
    ("action", "resource", "context"),
    [
        # Captured photographs are deleted and never read, nor written.
        ("s3:GetObject", f"arn:aws:s3:::{BUCKET}/captured/{PREFIX}/1.jsonl", OWN_BUCKET),
        ("s3:PutObject", f"arn:aws:s3:::{BUCKET}/captured/{PREFIX}/1.jsonl", OWN_BUCKET),
        ("s3:GetObjectVersion", f"arn:aws:s3:::{BUCKET}/captured/1.jsonl", OWN_BUCKET),
        ("s3:PutBucketAcl", f"arn:aws:s3:::{BUCKET}", OWN_BUCKET),
        ("s3:ListAllMyBuckets", "*", {}),
        ("s3:PutAccountPublicAccessBlock", "*", {}),
        ("ecr:SetRepositoryPolicy", EXAMPLES["ecr"], {}),
        ("kms:Decrypt", KEY, {}),
        ("kms:Decrypt", KEY, via("ssm")),
        ("kms:CreateGrant", KEY, {}),
        ("kms:GenerateDataKey", arn("kms", "key/another"), via("s3")),
        ("kms:PutKeyPolicy", KEY, {}),
        ("kms:ScheduleKeyDeletion", KEY, {}),
        # An alarm can also stop instances and call functions.
        (
            "cloudwatch:PutMetricAlarm",
            EXAMPLES["cloudwatch"],
            {"cloudwatch:AlarmActions": [EXAMPLES["sns"], f"arn:aws:automate:{REGION}:ec2:stop"]},
        ),
        ("sns:Subscribe", EXAMPLES["sns"], {"sns:Protocol": "https"}),
        ("sns:Publish", EXAMPLES["sns"], {}),
        (
            "application-autoscaling:RegisterScalableTarget",
            EXAMPLES["application-autoscaling"],
            {"application-autoscaling:service-namespace": "ecs"},
        ),
        ("logs:PutSubscriptionFilter", EXAMPLES["logs"], {}),
        # Each role is handed to its own service alone.
        ("iam:PassRole", ROLE, SCHEDULER),
        ("iam:PassRole", WARMER, SAGEMAKER),
        ("iam:PassRole", OPENER, SAGEMAKER),
        ("scheduler:CreateSchedule", arn("scheduler", f"schedule/other/{PREFIX}-x"), {}),
        ("logs:PutResourcePolicy", "*", {}),
    ],
)
def test_a_deployer_may_not(policies, action, resource, context):
    assert not policies.allow(_request(action, resource, context))


@pytest.fixture(scope="session")
def aws_reference(checkov_program):
    return reference(checkov_program)


def test_of_all_actions_of_aws_a_deployer_may_do_those_listed_alone(policies, aws_reference):
    known = {action.lower() for action in granted(*policies.deployer)}
    assert known <= set(aws_reference)
    resources = ("*", *EXAMPLES.values(), role_arn("admin"), policies.boundary_arn)
    others = set(aws_reference) - known
    assert len(others) > 15_000
    allowed = [
        one
        for one in others
        for resource in resources
        if is_action_allowed(policies.deployer, one, resource, {**OWN_BUCKET, **SAGEMAKER})
    ]
    assert allowed == []


def test_aws_knows_each_resource_and_condition_that_an_action_is_held_to(
    policies, execution, key_policy, aws_reference
):
    """Held to a resource or key that AWS does not check for it, an action is never allowed."""
    texts = (*policies.deployer, policies.boundary, execution.plain, execution.full)
    problems = []
    for statement in statements(*texts):
        for action in statement["Action"]:
            known = aws_reference[action.lower()]
            if statement["Resource"] == ["*"]:
                narrower = known.resources and action not in NOT_NARROWER
                problems += [f"{action} knows {known.resources}"] if narrower else []
            else:
                fitting = [one for one in statement["Resource"] if known.can_be_held_to(one)]
                problems += [] if fitting else [f"{action} does not know {statement['Resource']}"]
            for keys in statement.get("Condition", {}).values():
                strange = {key.lower() for key in keys} - known.conditions
                problems += [f"{action} does not know {one}" for one in strange]
    assert problems == []


@dataclass(frozen=True)
class ExecutionRole:
    """What IAM holds of an execution role: its policy with nothing and with everything on."""

    plain: str
    full: str
    trust: str


@pytest.fixture(scope="module")
def execution(environments, aws, policies) -> ExecutionRole:
    put_key(KEY)
    study = environments("study", name_prefix=PREFIX)
    plain, _ = role_in_iam(aws, study.apply()["execution_role_arn"])
    study.destroy()  # the key of a repository cannot be changed
    study.values["kms_key_arn"] = KEY
    study.apply()
    model = {
        "image_uri": "registry.example/drdeploy:lean@sha256:" + "a" * 64,
        **uploaded(aws, BUCKET),
    }
    study.values |= {
        "allow_always_on": True,
        "models": {"mobilenet": model},
        "endpoints": {"big": realtime(data_capture={"sampling_percentage": 5})},
    }
    full, trust = role_in_iam(aws, study.apply()["execution_role_arn"])
    study.destroy()
    return ExecutionRole(plain, full, trust)


def role_in_iam(aws, role: str) -> tuple[str, str]:
    """Return the policy and the trust of a role."""
    iam, name = client("iam", aws.url), role.rpartition("/")[2]
    (policy,) = iam.list_role_policies(RoleName=name)["PolicyNames"]
    document = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
    trust = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
    return json.dumps(document), json.dumps(trust)


LOGS = arn("logs", f"log-group:/aws/sagemaker/Endpoints/{PREFIX}-small")
SINGLE_LOGS = arn("logs", f"log-group:/aws/sagemaker/Endpoints/{PREFIX}")
REPOSITORY = EXAMPLES["ecr"]
FOUND = {**OWN_BUCKET, "s3:prefix": "artifacts/0"}

TO_SERVE = [
    ("s3:GetObject", EXAMPLES["s3 object"], OWN_BUCKET),
    ("s3:ListBucket", EXAMPLES["s3"], FOUND),
    ("ecr:GetAuthorizationToken", "*", {}),
    ("ecr:BatchGetImage", REPOSITORY, {}),
    ("ecr:BatchCheckLayerAvailability", REPOSITORY, {}),
    ("ecr:GetDownloadUrlForLayer", REPOSITORY, {}),
    ("logs:CreateLogGroup", LOGS, {}),
    ("logs:DescribeLogStreams", LOGS, {}),
    ("logs:CreateLogStream", f"{LOGS}:log-stream:AllTraffic/1", {}),
    ("logs:PutLogEvents", f"{LOGS}:log-stream:AllTraffic/1", {}),
    ("logs:PutLogEvents", f"{SINGLE_LOGS}:log-stream:AllTraffic/1", {}),
    ("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "AWS/SageMaker"}),
]
CAPTURED = f"arn:aws:s3:::{BUCKET}/captured/{PREFIX}-big/AllTraffic/1.jsonl"
WITH_EVERYTHING = [
    ("s3:PutObject", CAPTURED, OWN_BUCKET),
    ("kms:Decrypt", KEY, via("s3")),
    ("kms:GenerateDataKey", KEY, via("s3")),
]
FOREIGN = {"s3:ResourceAccount": "999999999999"}
NEVER = [
    ("s3:GetObject", EXAMPLES["s3 object"], FOREIGN),
    ("s3:PutObject", CAPTURED, FOREIGN),
    ("s3:PutObject", EXAMPLES["s3 object"], OWN_BUCKET),
    ("s3:DeleteObject", EXAMPLES["s3 object"], OWN_BUCKET),
    ("s3:GetObject", CAPTURED, OWN_BUCKET),
    ("s3:GetObject", f"arn:aws:s3:::{BUCKET}/patients/1.jpg", OWN_BUCKET),
    ("s3:GetObject", "arn:aws:s3:::other/artifacts/0/model.tar.gz", OWN_BUCKET),
    ("s3:ListBucket", EXAMPLES["s3"], {**OWN_BUCKET, "s3:prefix": "captured/"}),
    ("ecr:BatchGetImage", arn("ecr", "repository/other"), {}),
    ("ecr:PutImage", REPOSITORY, {}),
    ("logs:PutLogEvents", arn("logs", "log-group:/aws/lambda/x:log-stream:y"), {}),
    (
        "logs:PutLogEvents",
        arn("logs", f"log-group:/aws/sagemaker/Endpoints/{PREFIX}2:log-stream:y"),
        {},
    ),
    ("logs:DeleteLogGroup", LOGS, {}),
    ("logs:GetLogEvents", f"{LOGS}:log-stream:AllTraffic/1", {}),
    ("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "AWS/Billing"}),
    ("cloudwatch:PutMetricData", "*", {}),
    ("sagemaker:InvokeEndpoint", EXAMPLES["sagemaker"], {}),
    ("ec2:CreateNetworkInterface", "*", {}),
    ("kms:Decrypt", KEY, {}),
    ("kms:CreateGrant", KEY, via("sagemaker")),
    ("iam:PassRole", ROLE, SAGEMAKER),
    ("sts:AssumeRole", role_arn("admin"), {}),
]


def test_the_execution_role_may_serve_and_no_more(execution, policies):
    """Within its boundary, which must not take away anything that is needed."""

    def allowed(policy, asked):
        return [
            one for one in asked if is_action_allowed([policy], *one, boundary=policies.boundary)
        ]

    assert allowed(execution.plain, TO_SERVE) == TO_SERVE
    assert allowed(execution.plain, [*NEVER, *WITH_EVERYTHING]) == []
    assert allowed(execution.full, [*TO_SERVE, *WITH_EVERYTHING]) == [*TO_SERVE, *WITH_EVERYTHING]
    assert allowed(execution.full, NEVER) == []


def test_the_execution_role_alone_may_no_more_than_within_its_boundary(execution):
    """Whoever deploys without a boundary has least privilege all the same."""
    assert [one for one in NEVER if is_action_allowed([execution.full], *one)] == []


def test_the_role_is_granted_what_serving_needs_by_name(execution):
    assert granted(execution.plain) == {action for action, *_ in TO_SERVE}
    assert granted(execution.full) == {action for action, *_ in [*TO_SERVE, *WITH_EVERYTHING]}


@pytest.mark.parametrize(
    ("principal", "account", "source", "trusted"),
    [
        ("sagemaker.amazonaws.com", ACCOUNT, arn("sagemaker", f"endpoint/{PREFIX}"), True),
        ("sagemaker.amazonaws.com", ACCOUNT, arn("sagemaker", "model/any"), True),
        # The confused deputy: SageMaker, asked by another account.
        ("sagemaker.amazonaws.com", "999999999999", arn("sagemaker", "model/any"), False),
        (
            "sagemaker.amazonaws.com",
            ACCOUNT,
            arn("sagemaker", "model/any", account="999999999999"),
            False,
        ),
        ("sagemaker.amazonaws.com", ACCOUNT, arn("sagemaker", "model/x", "eu-west-1"), False),
        ("sagemaker.amazonaws.com", None, None, False),
        ("ec2.amazonaws.com", ACCOUNT, arn("ec2", "instance/i-1"), False),
        ("lambda.amazonaws.com", ACCOUNT, arn("lambda", "function:x"), False),
    ],
)
def test_sagemaker_alone_assumes_the_role_and_for_this_account_alone(
    execution, principal, account, source, trusted
):
    context = {"aws:SourceAccount": account, "aws:SourceArn": source} if account else {}
    asked = (("Service", principal), "sts:AssumeRole", context)
    assert is_principal_allowed(execution.trust, *asked) is trusted


@pytest.fixture(scope="module")
def warmer(environments, aws) -> tuple[str, str]:
    """The policy and the trust of the role that sends keep-warm requests."""
    study = environments("study", name_prefix=PREFIX, allow_always_on=True)
    study.apply()
    model = {
        "image_uri": "registry.example/drdeploy:lean@sha256:" + "a" * 64,
        **uploaded(aws, BUCKET),
    }
    study.values |= {
        "models": {"mobilenet": model},
        "endpoints": {
            "pinged": serverless(keep_warm={"schedules": {"clinic": NINE_TO_FIVE}}),
            "other": serverless(),
        },
    }
    study.apply()
    found = role_in_iam(aws, WARMER)
    study.destroy()
    return found


def test_the_schedules_may_invoke_their_endpoint_and_no_more(warmer, policies):
    invoke = ("sagemaker:InvokeEndpoint", arn("sagemaker", f"endpoint/{PREFIX}-pinged"))
    assert granted(warmer[0]) == {"sagemaker:InvokeEndpoint"}
    assert is_action_allowed([warmer[0]], *invoke, boundary=policies.boundary)
    for other in ("other", "pinged2", "pinged-b"):
        elsewhere = arn("sagemaker", f"endpoint/{PREFIX}-{other}")
        assert not is_action_allowed([warmer[0]], invoke[0], elsewhere)
    group = arn("scheduler", "schedule-group/default")
    trusted = {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": group}
    foreign = {**trusted, "aws:SourceAccount": "999999999999"}
    scheduler = ("Service", "scheduler.amazonaws.com")
    assert is_principal_allowed(warmer[1], scheduler, "sts:AssumeRole", trusted)
    assert not is_principal_allowed(warmer[1], scheduler, "sts:AssumeRole", foreign)
    assert not is_principal_allowed(
        warmer[1], ("Service", "sagemaker.amazonaws.com"), "sts:AssumeRole", trusted
    )


@pytest.fixture(scope="module")
def opener(environments, aws) -> tuple[str, str, str]:
    """The policy and the trust of the role that opens and closes, and the configuration's ARN."""
    study = environments("study", name_prefix=PREFIX, allow_always_on=True, kms_key_arn=KEY)
    put_key(KEY)
    study.apply()
    model = {
        "image_uri": "registry.example/drdeploy:lean@sha256:" + "a" * 64,
        **uploaded(aws, BUCKET),
    }
    hours = {"opening_hours": {"schedules": {"clinic": CLINIC}}}
    study.values |= {
        "models": {"mobilenet": model},
        "endpoints": {"daytime": realtime(guardrails=None, **hours), "other": realtime()},
    }
    name = study.apply()["endpoints"]["daytime"]["configuration_name"]
    found = role_in_iam(aws, OPENER)
    study.destroy()
    return *found, arn("sagemaker", f"endpoint-config/{name}")


def test_opening_hours_may_create_and_delete_their_endpoint_and_no_more(opener, policies):
    policy, trust, configuration = opener
    endpoint = arn("sagemaker", f"endpoint/{PREFIX}-daytime")
    lend = ("kms:CreateGrant", KEY, via("sagemaker"))
    needed = [
        ("sagemaker:CreateEndpoint", endpoint, {}),
        ("sagemaker:CreateEndpoint", configuration, {}),
        ("sagemaker:AddTags", endpoint, {}),
        ("sagemaker:DeleteEndpoint", endpoint, {}),
        lend,
    ]
    assert granted(policy) == {action for action, *_ in needed}
    for call in needed:
        assert is_action_allowed([policy], *call, boundary=policies.boundary), call
    other = arn("sagemaker", f"endpoint/{PREFIX}-other")
    for action in granted(policy) - {"kms:CreateGrant"}:
        assert not is_action_allowed([policy], action, other)
    assert not is_action_allowed([policy], "sagemaker:CreateEndpoint", configuration + "x")
    assert not is_action_allowed([policy], "kms:CreateGrant", KEY, via("ecr"))
    scheduler = ("Service", "scheduler.amazonaws.com")
    group = arn("scheduler", "schedule-group/default")
    trusted = {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": group}
    assert is_principal_allowed(trust, scheduler, "sts:AssumeRole", trusted)
    assert not is_principal_allowed(
        trust, scheduler, "sts:AssumeRole", {**trusted, "aws:SourceAccount": "999999999999"}
    )


@pytest.fixture(scope="module")
def key_policy(rendered) -> str:
    return rendered("encryption-key", name_prefix=PREFIX)["policy_json"]


LOGGING = ("Service", f"logs.{REGION}.amazonaws.com")
WATCHING = ("Service", "cloudwatch.amazonaws.com")


def of_group(group: str) -> dict[str, str]:
    return {"kms:EncryptionContext:aws:logs:arn": group}


def of_alarm(name: str, account: str = ACCOUNT) -> dict[str, str]:
    alarm = arn("cloudwatch", f"alarm:{name}", account=account)
    return {"aws:SourceAccount": account, "aws:SourceArn": alarm}


@pytest.mark.parametrize(
    ("principal", "action", "context", "allowed"),
    [
        (LOGGING, "kms:Encrypt", of_group(LOGS), True),
        (LOGGING, "kms:GenerateDataKey", of_group(SINGLE_LOGS), True),
        (LOGGING, "kms:Decrypt", of_group(LOGS), True),
        (LOGGING, "kms:Decrypt", of_group(SINGLE_LOGS + "2"), False),
        (LOGGING, "kms:Decrypt", {}, False),
        (LOGGING, "kms:CreateGrant", of_group(LOGS), False),
        (WATCHING, "kms:GenerateDataKey", of_alarm(f"{PREFIX}-small-slow"), True),
        (WATCHING, "kms:Decrypt", of_alarm(f"{PREFIX}-small-slow"), True),
        (WATCHING, "kms:Decrypt", of_alarm("other"), False),
        (WATCHING, "kms:Decrypt", of_alarm(f"{PREFIX}-small-slow", "999999999999"), False),
        (WATCHING, "kms:Encrypt", of_alarm(f"{PREFIX}-small-slow"), False),
        (("Service", "sagemaker.amazonaws.com"), "kms:Decrypt", {}, False),
        (("AWS", f"arn:aws:iam::{ACCOUNT}:root"), "kms:Decrypt", {}, True),
        (("AWS", "arn:aws:iam::999999999999:root"), "kms:Decrypt", {}, False),
    ],
)
def test_the_key_serves_the_logs_and_alarms_of_its_prefix(
    key_policy, principal, action, context, allowed
):
    assert is_principal_allowed(key_policy, principal, action, context) is allowed


def test_an_archive_that_the_role_may_not_read_fails_the_endpoint(environment, aws):
    """The local service asks the role's policy, as SageMaker does."""
    single = environment("single-endpoint", name_prefix=PREFIX)
    single.apply()
    aws.s3.create_bucket(Bucket="another-team")
    single.values |= {
        "model": {
            "image_uri": "registry.example/drdeploy:lean@sha256:" + "a" * 64,
            **uploaded(aws, "another-team"),
        },
        "endpoint": {"kind": "serverless", "memory_mb": 1024},
    }
    done = single.with_values("apply", "-auto-approve", check=False)
    message = re.sub(r"\s+", " ", done.stderr)
    assert done.returncode == 1
    assert "does not have s3:GetObject permission for the model data" in message
    single.values["model"] |= uploaded(aws, BUCKET, "artifacts")
    single.apply()
    single.destroy()


def test_what_the_boundary_does_not_allow_the_role_may_not_do(environment, aws):
    """The role's own policy allows it; the boundary is somebody else's."""
    iam = client("iam", aws.url)
    only_logs = {"Effect": "Allow", "Action": "logs:*", "Resource": "*"}
    other = json.dumps({"Version": "2012-10-17", "Statement": [only_logs]})
    bounding = iam.create_policy(PolicyName="too-narrow", PolicyDocument=other)["Policy"]["Arn"]
    single = environment("single-endpoint", name_prefix=PREFIX, permissions_boundary_arn=bounding)
    single.apply()
    single.values |= {
        "model": {
            "image_uri": "registry.example/drdeploy:lean@sha256:" + "a" * 64,
            **uploaded(aws, BUCKET),
        },
        "endpoint": {"kind": "serverless", "memory_mb": 1024},
    }
    done = single.with_values("apply", "-auto-approve", check=False)
    message = re.sub(r"\s+", " ", done.stderr)
    assert "does not have s3:GetObject permission for the model data" in message
    single.destroy()
