"""IAM's decision: denied unless allowed, a denial wins, conditions are observed."""

import json

import pytest

from drdeploy.hosting.local.endpoints.iam_policies import is_action_allowed, is_principal_allowed


def statement(effect="Allow", action="s3:GetObject", resource="arn:aws:s3:::b/artifacts/*", **more):
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def decide(*statements, action="s3:GetObject", resource="arn:aws:s3:::b/artifacts/a", **context):
    keys = {name.replace("__", ":"): value for name, value in context.items()}
    return is_action_allowed([json.dumps({"Statement": list(statements)})], action, resource, keys)


def test_what_nothing_allows_is_denied():
    assert not is_action_allowed([], "s3:GetObject", "arn:aws:s3:::b/a")
    assert not decide(statement(action="s3:PutObject"))
    assert not decide(statement(resource="arn:aws:s3:::other/*"))


def test_an_action_that_a_statement_names_is_allowed():
    assert decide(statement())
    assert decide(statement(action=["s3:Put*", "S3:getobject"]))
    assert decide(statement(resource="arn:aws:s3:::b/artifacts/?"))


def test_a_denial_wins():
    assert not decide(statement(), statement("Deny", "s3:*", "*"))
    texts = [json.dumps({"Statement": statement()}), json.dumps({"Statement": statement("Deny")})]
    assert not is_action_allowed(texts, "s3:GetObject", "arn:aws:s3:::b/artifacts/a")


def test_a_pattern_is_not_a_regular_expression():
    assert not decide(statement(resource="arn:aws:s3:::b.artifacts/a"))
    assert not decide(statement(resource="arn:aws:s3:::b/artifacts/"))


def test_not_action_and_not_resource_exclude():
    others = {"Effect": "Allow", "NotAction": "s3:Put*", "NotResource": "arn:aws:s3:::other/*"}
    assert decide(others)
    assert not decide(others, action="s3:PutObject")
    assert not decide(others, resource="arn:aws:s3:::other/a")


@pytest.mark.parametrize(
    ("condition", "prefix", "holds"),
    [
        ({"StringEquals": {"s3:prefix": "artifacts/"}}, "artifacts/", True),
        ({"StringEquals": {"S3:Prefix": ["a", "artifacts/"]}}, "artifacts/", True),
        ({"StringEquals": {"s3:prefix": "artifacts/"}}, "secrets/", False),
        ({"StringEquals": {"s3:prefix": "artifacts/"}}, None, False),
        ({"StringEqualsIfExists": {"s3:prefix": "artifacts/"}}, None, True),
        ({"StringEqualsIfExists": {"s3:prefix": "artifacts/"}}, "secrets/", False),
        ({"StringLike": {"s3:prefix": "artifacts/*"}}, "artifacts/1", True),
        ({"StringNotLike": {"s3:prefix": "artifacts/*"}}, "artifacts/1", False),
        ({"StringNotEquals": {"s3:prefix": "artifacts/"}}, None, True),
        ({"Bool": {"s3:prefix": True}}, "true", True),
        ({"NumericLessThan": {"s3:prefix": "9"}}, "1", True),
        ({"NumericLessThan": {"s3:prefix": "9"}}, "10", False),
        ({"NumericNotEquals": {"s3:prefix": "9"}}, "10", True),
        ({"NumericEquals": {"s3:prefix": "9"}}, "nine", False),
        ({"DateGreaterThanEquals": {"s3:prefix": "2026-01-01"}}, "2026-01-01T00:00:00Z", True),
        ({"DateLessThan": {"s3:prefix": "2026-01-01T00:00:00Z"}}, "1767225601", False),
        ({"IpAddress": {"s3:prefix": "10.0.0.0/8"}}, "10.1.2.3", True),
        ({"NotIpAddress": {"s3:prefix": ["10.0.0.0/8", "::1"]}}, "10.1.2.3", False),
        ({"StringEqualsIgnoreCase": {"s3:prefix": "Artifacts/"}}, "artifacts/", True),
        ({"StringNotEqualsIgnoreCase": {"s3:prefix": "Artifacts/"}}, "artifacts/", False),
        ({"ArnNotLike": {"s3:prefix": "arn:aws:s3:::b"}}, "arn:aws:s3:::c", True),
        ({"BinaryEquals": {"s3:prefix": "QQ=="}}, "QQ==", True),
        ({"InventedOperator": {"s3:prefix": "a"}}, "a", False),
        ({"Null": {"s3:prefix": "true"}}, None, True),
        ({"Null": {"s3:prefix": True}}, "artifacts/", False),
        ({"Null": {"s3:prefix": "false"}}, "artifacts/", True),
    ],
)
def test_a_condition_is_observed(condition, prefix, holds):
    context = {} if prefix is None else {"s3__prefix": prefix}
    assert decide(statement(Condition=condition), **context) is holds


def test_a_denial_under_a_condition_that_is_not_met_denies_nothing():
    plain_http = {"Bool": {"aws:SecureTransport": "false"}}
    denial = statement("Deny", "s3:*", "*", Condition=plain_http)
    assert decide(statement(), denial, aws__SecureTransport="true")
    assert not decide(statement(), denial, aws__SecureTransport="false")


def test_a_denial_under_a_condition_that_is_not_understood_denies():
    denial = statement("Deny", "s3:*", "*", Condition={"DateLessThan": {"aws:CurrentTime": "x"}})
    assert not decide(statement(), denial, aws__CurrentTime="y")


TOPIC, STOP = "arn:aws:sns:us-east-1:1:alarms", "arn:aws:automate:us-east-1:ec2:stop"


@pytest.mark.parametrize(
    ("operator", "actions", "holds"),
    [
        ("ForAllValues:StringEquals", [TOPIC], True),
        ("ForAllValues:StringEquals", [TOPIC, STOP], False),
        ("ForAllValues:StringEquals", [], True),
        ("ForAllValues:StringLike", None, True),
        ("ForAnyValue:StringEquals", [STOP, TOPIC], True),
        ("ForAnyValue:StringEquals", [STOP], False),
        ("ForAnyValue:StringNotEquals", None, False),
    ],
)
def test_a_condition_on_a_key_with_several_values_is_observed(operator, actions, holds):
    condition = {operator: {"cloudwatch:AlarmActions": TOPIC}}
    context = {} if actions is None else {"cloudwatch__AlarmActions": actions}
    assert decide(statement(Condition=condition), **context) is holds


@pytest.mark.parametrize(
    ("pattern", "holds"),
    [
        ("arn:aws:sagemaker:us-east-1:1:*", True),
        ("arn:aws:sagemaker:*:1:endpoint/*", True),
        ("arn:aws:sagemaker:us-east-1:2:*", False),
        # A wildcard stays within its part of the ARN.
        ("arn:aws:*:endpoint/grader", False),
        ("*", False),
    ],
)
def test_arns_are_compared_part_by_part(pattern, holds):
    condition = {"ArnLike": {"aws:SourceArn": pattern}}
    source = "arn:aws:sagemaker:us-east-1:1:endpoint/grader"
    assert decide(statement(Condition=condition), aws__SourceArn=source) is holds


def test_what_a_boundary_does_not_allow_is_denied():
    everything = json.dumps({"Statement": statement(action="*", resource="*")})
    asked = ("s3:GetObject", "arn:aws:s3:::b/artifacts/a")
    within = json.dumps({"Statement": statement()})
    assert is_action_allowed([everything], *asked, boundary=within)
    assert not is_action_allowed([everything], "s3:PutObject", asked[1], boundary=within)
    assert not is_action_allowed([everything], "iam:CreateUser", "*", boundary=within)
    # A boundary grants nothing by itself, and what it denies is denied.
    assert not is_action_allowed([], *asked, boundary=everything)
    denial = json.dumps({"Statement": [statement(), statement("Deny")]})
    assert not is_action_allowed([everything], *asked, boundary=denial)


SAGEMAKER = ("Service", "sagemaker.amazonaws.com")
TRUST = {"Effect": "Allow", "Principal": {"Service": SAGEMAKER[1]}, "Action": "sts:AssumeRole"}
NOT_TRUST = {"Effect": "Allow", "Action": "sts:AssumeRole"}


@pytest.mark.parametrize(
    ("trust", "trusted"),
    [
        (TRUST, True),
        (TRUST | {"Principal": "*"}, True),
        (TRUST | {"Principal": {"Service": ["ec2.amazonaws.com", SAGEMAKER[1]]}}, True),
        (TRUST | {"Principal": {"Service": "ec2.amazonaws.com"}}, False),
        (TRUST | {"Principal": {"AWS": SAGEMAKER[1]}}, False),
        (NOT_TRUST, False),
        (NOT_TRUST | {"NotPrincipal": {"Service": "ec2.amazonaws.com"}}, True),
        (NOT_TRUST | {"NotPrincipal": {"Service": SAGEMAKER[1]}}, False),
        (TRUST | {"Action": "sts:TagSession"}, False),
        (TRUST | {"Condition": {"StringEquals": {"aws:SourceAccount": "1"}}}, True),
        (TRUST | {"Condition": {"StringEquals": {"aws:SourceAccount": "2"}}}, False),
    ],
)
def test_a_trust_names_whom_it_trusts(trust, trusted):
    document = json.dumps({"Statement": [trust]})
    context = {"aws:SourceAccount": "1"}
    assert is_principal_allowed(document, SAGEMAKER, "sts:AssumeRole", context) is trusted


def test_a_denial_of_a_principal_wins():
    document = json.dumps({"Statement": [TRUST, TRUST | {"Effect": "Deny", "Principal": "*"}]})
    assert not is_principal_allowed(document, SAGEMAKER, "sts:AssumeRole")
