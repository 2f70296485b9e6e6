"""A deployer makes no more of the rights than they are: every published way is tried."""

import json

import pytest
from escalation_paths import ESCALATION_PATHS, GROUP, POLICY, ROLE, USER
from iam_reference import reference
from iam_requests import ACCOUNT, OWN_BUCKET, REGION, IamRequest, arn, role_arn, via

from drdeploy.hosting.local.endpoints.iam_policies import is_action_allowed

PREFIX = "dr-may"
OWN_ROLE = role_arn(f"{PREFIX}-execution-{REGION}")
ADMINISTRATOR = json.dumps({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})
KEY = arn("kms", "key/0f1e2d3c")


@pytest.fixture(scope="module")
def policies(deployer_policies):
    return deployer_policies(PREFIX, kms_key_arns=[KEY])


def targets(policies) -> dict[str, tuple[str, ...]]:
    """What an attacker would put in; a deployer may touch one role, and tries others too."""
    named = ("admin", f"{PREFIX}-admin", f"{PREFIX}2-execution-{REGION}", f"{PREFIX}-execution-x")
    return {
        ROLE: (OWN_ROLE, *map(role_arn, named)),
        USER: tuple(arn("iam", f"user/{name}", region="") for name in ("admin", PREFIX)),
        GROUP: tuple(arn("iam", f"group/{name}", region="") for name in ("admins", PREFIX)),
        POLICY: (
            policies.boundary_arn,
            arn("iam", f"policy/{PREFIX}-deployer-hosting-{REGION}", region=""),
            arn("iam", "policy/any", region=""),
        ),
    }


def requests_of(step: tuple[str, str], target: str) -> IamRequest:
    action, _, service = step[0].partition(">")
    context = {"iam:PassedToService": service} if service else {}
    return IamRequest.of(action, target if step[1].startswith("<") else step[1], context)


@pytest.mark.parametrize("path", ESCALATION_PATHS, ids=lambda one: one.name)
def test_no_published_way_leads_further(policies, path):
    """Whatever it is tried on, at least one of its calls is refused."""
    kinds = {resource for _, resource in path.steps if resource.startswith("<")}
    for kind in kinds or {"*"}:
        for target in targets(policies).get(kind, ("*",)):
            asked = [requests_of(step, target) for step in path.steps]
            assert policies.refused(asked), target


def test_every_action_of_the_published_ways_is_one_of_aws(checkov_program):
    known = set(reference(checkov_program))
    actions = {step[0].partition(">")[0].lower() for one in ESCALATION_PATHS for step in one.steps}
    # The reference is a little older than this one.
    assert actions - {"sagemaker:startsession"} - known == set()
    assert len(ESCALATION_PATHS) > 80


def test_the_evaluation_would_notice(policies):
    """The same paths lead further for somebody whose policy allows everything."""
    for path in ESCALATION_PATHS:
        for action, _ in path.steps:
            assert is_action_allowed([ADMINISTRATOR], action.partition(">")[0], "*")


@pytest.mark.parametrize(
    ("action", "boundary"),
    [
        ("iam:CreateRole", None),
        ("iam:CreateRole", "arn:aws:iam::aws:policy/AdministratorAccess"),
        ("iam:CreateRole", f"arn:aws:iam::{ACCOUNT}:policy/{PREFIX}-boundary-eu-west-1"),
        ("iam:CreateRole", f"arn:aws:iam::{ACCOUNT}:policy/{PREFIX}-boundary-{REGION}2"),
        ("iam:PutRolePolicy", None),
        ("iam:PutRolePolicy", "arn:aws:iam::aws:policy/AdministratorAccess"),
    ],
)
def test_a_role_without_this_boundary_cannot_be_made_or_given_rights(policies, action, boundary):
    context = {"iam:PermissionsBoundary": boundary} if boundary else {}
    assert not policies.allow(IamRequest.of(action, OWN_ROLE, context))
    within = {"iam:PermissionsBoundary": policies.boundary_arn}
    assert policies.allow(IamRequest.of(action, OWN_ROLE, within))


def test_another_policy_of_the_deployers_does_not_lift_the_boundary(policies):
    """Deployers have other rights too; these two things stay denied."""
    both = (*policies.deployer, ADMINISTRATOR)
    for action in ("iam:DeleteRolePermissionsBoundary", "iam:PutRolePermissionsBoundary"):
        assert not is_action_allowed(both, action, OWN_ROLE)
    for action in ("iam:CreatePolicyVersion", "iam:SetDefaultPolicyVersion", "iam:DeletePolicy"):
        for name in ("boundary", "deployer-hosting", "deployer-storage", "deployer-watching"):
            own = arn("iam", f"policy/{PREFIX}-{name}-{REGION}", region="")
            assert not is_action_allowed(both, action, own)
            assert is_action_allowed(both, action, arn("iam", "policy/another", region=""))


def test_the_most_that_a_deployer_can_make_of_a_role_is_to_serve(policies, checkov_program):
    """The way that is open: a role of one's own, every right in it, run by one's own container.

    CreateRole with the boundary, PutRolePolicy of everything, PassRole to SageMaker, CreateModel
    with any image, CreateEndpoint: code runs with that role.  Then the boundary is all it has.
    """
    within = {"iam:PermissionsBoundary": policies.boundary_arn}
    passed = {"iam:PassedToService": "sagemaker.amazonaws.com"}
    way = [
        IamRequest.of("iam:CreateRole", OWN_ROLE, within),
        IamRequest.of("iam:PutRolePolicy", OWN_ROLE, within),
        IamRequest.of("iam:PassRole", OWN_ROLE, passed),
        IamRequest.of("sagemaker:CreateModel", arn("sagemaker", f"model/{PREFIX}-x")),
        IamRequest.of("sagemaker:CreateEndpoint", arn("sagemaker", f"endpoint/{PREFIX}-x")),
    ]
    assert policies.refused(way) == []

    bucket = f"arn:aws:s3:::{PREFIX}-artifacts-{ACCOUNT}-{REGION}"
    logs = arn("logs", f"log-group:/aws/sagemaker/Endpoints/{PREFIX}")
    resources = (
        *("*", OWN_ROLE, role_arn("admin"), KEY, bucket, f"{bucket}/artifacts/a"),
        *(f"{bucket}/captured/a", f"{bucket}/patients/a", "arn:aws:s3:::other/artifacts/a"),
        *(logs, f"{logs}:log-stream:a", arn("logs", "log-group:/other:log-stream:a")),
        *(arn("ecr", f"repository/{PREFIX}/drdeploy"), arn("ecr", "repository/other/drdeploy")),
        *(arn("sagemaker", f"endpoint/{PREFIX}"), policies.boundary_arn),
    )
    context = {
        **OWN_BUCKET,
        **via("s3"),
        "s3:prefix": "artifacts/a",
        "cloudwatch:namespace": "AWS/SageMaker",
        "iam:PassedToService": "sagemaker.amazonaws.com",
        "iam:PermissionsBoundary": policies.boundary_arn,
    }
    reached = {
        (action, resource)
        for action, known in reference(checkov_program).items()
        for resource in resources
        if resource == "*" or known.can_be_held_to(resource)
        if is_action_allowed([ADMINISTRATOR], action, resource, context, boundary=policies.boundary)
    }
    own_repository = arn("ecr", f"repository/{PREFIX}/drdeploy")
    assert reached == {
        ("s3:getobject", f"{bucket}/artifacts/a"),
        ("s3:putobject", f"{bucket}/captured/a"),
        ("s3:listbucket", bucket),
        ("kms:decrypt", KEY),
        ("kms:generatedatakey", KEY),
        ("ecr:getauthorizationtoken", "*"),
        ("ecr:batchchecklayeravailability", own_repository),
        ("ecr:batchgetimage", own_repository),
        ("ecr:getdownloadurlforlayer", own_repository),
        ("cloudwatch:putmetricdata", "*"),
        ("sagemaker:invokeendpoint", arn("sagemaker", f"endpoint/{PREFIX}")),
        # What a deployer may do too.
        ("sagemaker:addtags", arn("sagemaker", f"endpoint/{PREFIX}")),
        ("sagemaker:createendpoint", arn("sagemaker", f"endpoint/{PREFIX}")),
        ("sagemaker:deleteendpoint", arn("sagemaker", f"endpoint/{PREFIX}")),
        ("logs:createloggroup", logs),
        ("logs:describelogstreams", logs),
        ("logs:createloggroup", f"{logs}:log-stream:a"),
        ("logs:describelogstreams", f"{logs}:log-stream:a"),
        ("logs:createlogstream", f"{logs}:log-stream:a"),
        ("logs:putlogevents", f"{logs}:log-stream:a"),
    }


def test_a_boundary_of_ones_own_is_asked_for_instead(deployer_policies):
    own = f"arn:aws:iam::{ACCOUNT}:policy/everybodys-boundary"
    policies = deployer_policies(PREFIX, permissions_boundary_arn=own)
    create = IamRequest.of("iam:CreateRole", OWN_ROLE, {"iam:PermissionsBoundary": own})
    assert policies.allow(create)
    other = f"arn:aws:iam::{ACCOUNT}:policy/{PREFIX}-boundary-{REGION}"
    assert not policies.allow(
        IamRequest.of("iam:CreateRole", OWN_ROLE, {"iam:PermissionsBoundary": other})
    )
    assert policies.boundary is None
    assert not is_action_allowed([*policies.deployer, ADMINISTRATOR], "iam:DeletePolicy", own)


def test_a_deployer_without_a_key_may_use_none(deployer_policies):
    policies = deployer_policies(PREFIX)
    for service in ("s3", "ecr", "sagemaker"):
        for action in ("kms:Decrypt", "kms:GenerateDataKey", "kms:CreateGrant"):
            assert not policies.allow(IamRequest.of(action, KEY, via(service)))


def test_only_where_it_is_allowed_may_a_role_reach_into_a_vpc(deployer_policies):
    attach = ("ec2:CreateNetworkInterface", "*")
    inside, outside = (deployer_policies(PREFIX, allow_vpc=one).boundary for one in (True, False))
    assert is_action_allowed([ADMINISTRATOR], *attach, boundary=inside)
    assert not is_action_allowed([ADMINISTRATOR], *attach, boundary=outside)
    assert not is_action_allowed([ADMINISTRATOR], "ec2:RunInstances", "*", boundary=inside)
