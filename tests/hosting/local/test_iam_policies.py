"""IAM's decision: denied unless allowed, a denial wins, conditions are observed."""

import json

import pytest

from drdeploy.hosting.local.endpoints.iam_policies import allows


def statement(effect="Allow", action="s3:GetObject", resource="arn:aws:s3:::b/artifacts/*", **more):
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def decide(*statements, action="s3:GetObject", resource="arn:aws:s3:::b/artifacts/a", **context):
    keys = {name.replace("__", ":"): value for name, value in context.items()}
    return allows([json.dumps({"Statement": list(statements)})], action, resource, keys)


def test_what_nothing_allows_is_denied():
    assert not allows([], "s3:GetObject", "arn:aws:s3:::b/a")
    assert not decide(statement(action="s3:PutObject"))
    assert not decide(statement(resource="arn:aws:s3:::other/*"))


def test_an_action_that_a_statement_names_is_allowed():
    assert decide(statement())
    assert decide(statement(action=["s3:Put*", "S3:getobject"]))
    assert decide(statement(resource="arn:aws:s3:::b/artifacts/?"))


def test_a_denial_wins():
    assert not decide(statement(), statement("Deny", "s3:*", "*"))
    texts = [json.dumps({"Statement": statement()}), json.dumps({"Statement": statement("Deny")})]
    assert not allows(texts, "s3:GetObject", "arn:aws:s3:::b/artifacts/a")


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
        ({"NumericLessThan": {"s3:prefix": "9"}}, "1", False),
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
