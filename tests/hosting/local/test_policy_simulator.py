"""IAM's policy simulator answers as the local service decides, and AWS's own policies count."""

import json

import pytest
from botocore.exceptions import ClientError
from local_aws import client

AWS = "arn:aws:iam::aws:policy"
OBJECT = "arn:aws:s3:::models/a.tar.gz"
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "sts:AssumeRole",
                "Principal": {"Service": "sagemaker.amazonaws.com"},
            }
        ],
    }
)


def policy(effect="Allow", action="s3:*", resource="*", **more):
    statement = {"Effect": effect, "Action": action, "Resource": resource, **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture(scope="module")
def iam(aws):
    return client("iam", aws.url)


def make_role(iam, name, *attached, **more):
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST, **more)["Role"]
    for one in attached:
        iam.attach_role_policy(RoleName=name, PolicyArn=f"{AWS}/{one}")
    return role["Arn"]


def decide(call, *actions, **arguments):
    answer = call(ActionNames=list(actions), **arguments)
    return [one["EvalDecision"] for one in answer["EvaluationResults"]]


@pytest.mark.parametrize(
    ("attached", "failure"),
    [
        (("AmazonSageMakerFullAccess",), "does not have s3:GetObject permission"),
        (("AmazonSageMakerFullAccess", "AmazonS3ReadOnlyAccess"), ""),
    ],
)
def test_a_policy_that_aws_manages_counts_for_an_execution_role(aws, iam, attached, failure):
    name = aws.name()
    role = make_role(iam, name, *attached)
    container = {"Image": "drdeploy:lean", "ModelDataUrl": aws.put_archive()}
    aws.sagemaker.create_model(ModelName=name, ExecutionRoleArn=role, PrimaryContainer=container)
    aws.config(name)
    aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    aws.wait(name, "Failed" if failure else "InService")
    assert not failure or failure in aws.failure_reason(name)
    simulated = decide(
        iam.simulate_principal_policy, "s3:GetObject", PolicySourceArn=role, ResourceArns=[OBJECT]
    )
    assert simulated == (["implicitDeny"] if failure else ["allowed"])
    aws.delete(name)


def test_policies_that_aws_manages_are_listed_apart_from_local_ones(iam):
    assert iam.get_policy(PolicyArn=f"{AWS}/AmazonSageMakerFullAccess")["Policy"]["IsAttachable"]
    pages = iam.get_paginator("list_policies").paginate(Scope="AWS", MaxItems=1000)
    assert len([one for page in pages for one in page["Policies"]]) > 1000
    local = iam.list_policies(Scope="Local")["Policies"]
    assert not any(one["Arn"].startswith(AWS) for one in local)


@pytest.mark.parametrize(
    ("policies", "more", "decision"),
    [
        ([policy()], {}, "allowed"),
        ([policy(), policy("Deny", "s3:Get*")], {}, "explicitDeny"),
        ([policy(action="s3:PutObject")], {}, "implicitDeny"),
        ([policy(resource="arn:aws:s3:::models/*")], {"ResourceArns": [OBJECT]}, "allowed"),
        ([policy(resource="arn:aws:s3:::models/*")], {}, "implicitDeny"),
        ([policy()], {"PermissionsBoundaryPolicyInputList": [policy(action="ecr:*")]}, *(
            "implicitDeny",
        )),
        ([policy()], {"PermissionsBoundaryPolicyInputList": [policy("Deny")]}, "explicitDeny"),
    ],
)  # fmt: skip
def test_a_custom_policy_is_simulated(iam, policies, more, decision):
    found = decide(iam.simulate_custom_policy, "s3:GetObject", PolicyInputList=policies, **more)
    assert found == [decision]


def test_a_simulation_takes_one_permissions_boundary(iam):
    """Of several, only the last one counted."""
    bounds = [policy("Deny"), policy()]
    with pytest.raises(ClientError, match="takes only one permissions boundary") as caught:
        decide(
            iam.simulate_custom_policy,
            "s3:GetObject",
            PolicyInputList=[policy()],
            PermissionsBoundaryPolicyInputList=bounds,
        )
    assert caught.value.response["Error"]["Code"] == "InvalidInput"


def test_a_condition_is_simulated_with_the_context_and_a_missing_key_is_named(iam):
    tagged = policy(Condition={"StringEquals": {"aws:PrincipalTag/team": "eyes"}})
    asked = {"PolicyInputList": [tagged], "ActionNames": ["s3:GetObject"]}
    (result,) = iam.simulate_custom_policy(**asked)["EvaluationResults"]
    assert result["EvalDecision"] == "implicitDeny"
    assert result["MissingContextValues"] == ["aws:PrincipalTag/team"]
    entry = {"ContextKeyName": "aws:PrincipalTag/team", "ContextKeyType": "string"}
    (result,) = iam.simulate_custom_policy(
        **asked, ContextEntries=[entry | {"ContextKeyValues": ["eyes"]}]
    )["EvaluationResults"]
    assert (result["EvalDecision"], result["MissingContextValues"]) == ("allowed", [])
    keys = iam.get_context_keys_for_custom_policy(PolicyInputList=[tagged])["ContextKeyNames"]
    assert keys == ["aws:PrincipalTag/team"]


def test_every_policy_of_a_principal_counts_and_is_named(iam):
    user = iam.create_user(UserName="ada")["User"]["Arn"]
    iam.create_group(GroupName="graders")
    iam.add_user_to_group(UserName="ada", GroupName="graders")
    iam.attach_group_policy(GroupName="graders", PolicyArn=f"{AWS}/AmazonS3ReadOnlyAccess")
    iam.put_user_policy(
        UserName="ada",
        PolicyName="no-secrets",
        PolicyDocument=policy("Deny", "s3:GetObject", "arn:aws:s3:::*/s"),
    )
    allowed, denied = iam.simulate_principal_policy(
        PolicySourceArn=user,
        ActionNames=["s3:GetObject"],
        ResourceArns=["arn:aws:s3:::b/a", "arn:aws:s3:::b/s"],
    )["EvaluationResults"]
    assert (allowed["EvalDecision"], denied["EvalDecision"]) == ("allowed", "explicitDeny")
    assert allowed["MatchedStatements"] == [
        {"SourcePolicyId": "AmazonS3ReadOnlyAccess", "SourcePolicyType": "aws-managed"}
    ]
    assert denied["MatchedStatements"] == [
        {"SourcePolicyId": "no-secrets", "SourcePolicyType": "user"}
    ]


def test_the_boundary_of_a_role_limits_it(iam):
    bound = iam.create_policy(PolicyName="only-ecr", PolicyDocument=policy(action="ecr:*"))
    role = make_role(
        iam,
        "bounded-simulation",
        "AdministratorAccess",
        PermissionsBoundary=bound["Policy"]["Arn"],
    )
    results = iam.simulate_principal_policy(
        PolicySourceArn=role, ActionNames=["s3:GetObject", "ecr:BatchGetImage"]
    )["EvaluationResults"]
    assert [one["EvalDecision"] for one in results] == ["implicitDeny", "allowed"]
    assert [
        one["PermissionsBoundaryDecisionDetail"]["AllowedByPermissionsBoundary"] for one in results
    ] == [False, True]


def test_results_come_in_pages(iam):
    actions = ["s3:GetObject", "s3:PutObject", "ecr:BatchGetImage"]
    pages = iam.get_paginator("simulate_custom_policy").paginate(
        PolicyInputList=[policy()], ActionNames=actions, PaginationConfig={"PageSize": 2}
    )
    results = [[one["EvalDecision"] for one in page["EvaluationResults"]] for page in pages]
    assert results == [["allowed", "allowed"], ["implicitDeny"]]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ({"CallerArn": "arn:aws:iam::123456789012:user/a"}, "InvalidInput", "serve CallerArn"),
        ({"ResourcePolicy": policy()}, "InvalidInput", "serve ResourcePolicy"),
        ({"PolicyInputList": ["{}"]}, "InvalidInput", "PolicyInputList.1 is not a policy"),
        *(
            ({"PolicyInputList": [policy(**wrong)]}, "InvalidInput", "List.1 is not a policy")
            for wrong in (
                {"effect": ["Allow"]},
                {"action": 1},
                {"action": ["s3:*", 1]},
                {"resource": None},
                {"Condition": []},
                {"Condition": {"StringEquals": "aws:PrincipalTag/team"}},
            )
        ),
        ({"ActionNames": ["s3GetObject"]}, "InvalidInput", "Invalid action s3GetObject"),
        ({"Marker": "next"}, "InvalidInput", "Marker"),
    ],
)
def test_a_simulation_that_cannot_be_true_is_refused(iam, arguments, code, message):
    asked = {"PolicyInputList": [policy()], "ActionNames": ["s3:GetObject"]} | arguments
    with pytest.raises(ClientError) as caught:
        iam.simulate_custom_policy(**asked)
    assert caught.value.response["Error"]["Code"] == code
    assert message in caught.value.response["Error"]["Message"]


def test_a_principal_that_does_not_exist_is_not_found(iam):
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.simulate_principal_policy(
            PolicySourceArn="arn:aws:iam::123456789012:role/absent", ActionNames=["s3:GetObject"]
        )


def test_the_context_keys_of_policies_are_listed_once(iam):
    conditions = {
        "StringEquals": {"aws:PrincipalTag/team": "eyes"},
        "Bool": {"aws:SecureTransport": "true"},
    }
    first = policy(Condition=conditions)
    second = policy(
        Resource="arn:aws:s3:::${aws:username}/*",
        Condition={"Bool": {"aws:SecureTransport": "true"}},
    )
    wanted = ["aws:PrincipalTag/team", "aws:SecureTransport", "aws:username"]
    answer = iam.get_context_keys_for_custom_policy(PolicyInputList=[first, second])
    assert sorted(answer["ContextKeyNames"]) == wanted
    role = make_role(iam, "role-with-context-keys")
    iam.put_role_policy(RoleName="role-with-context-keys", PolicyName="own", PolicyDocument=first)
    answer = iam.get_context_keys_for_principal_policy(
        PolicySourceArn=role, PolicyInputList=[second]
    )
    assert sorted(answer["ContextKeyNames"]) == wanted
