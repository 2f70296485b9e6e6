"""Expressions of strangers match as Python's do, and cost no more than the text is long."""

import json
import random
import re

import pytest

from drdeploy.hosting.local.endpoints.iam_policies import is_action_allowed
from drdeploy.hosting.local.monitoring.metric_search import DEPTH_MAX, make_search_condition
from drdeploy.hosting.local.monitoring.monitoring_errors import MonitoringError
from drdeploy.hosting.local.monitoring.regular_expressions import compile_expression

CHARACTERS = ["a", "b", ".", "[ab]", "[^a]", "[]a]", r"\d", r"\w", r"\.", r"\x61", "c", "1"]
QUANTIFIERS = ["", "", "*", "+", "?", "{2}", "{1,2}", "{0,}"]


def make_alternative(chance):
    pieces = (chance.choice(CHARACTERS) + chance.choice(QUANTIFIERS) for _ in range(4))
    return chance.choice(["", "^"]) + "".join(pieces) + chance.choice(["", "$"])


def test_an_expression_matches_what_pythons_matches():
    chance = random.Random(1)
    for _ in range(1000):
        expression = "|".join(make_alternative(chance) for _ in range(chance.randint(1, 2)))
        text = "".join(chance.choice("abc1.]") for _ in range(chance.randrange(8)))
        assert compile_expression(expression).search(text) == bool(re.search(expression, text))


def test_expressions_that_take_years_by_trial_are_read_once():
    assert not compile_expression(".*a" * 20 + "b").search("a" * 4000)
    assert not compile_expression("a{1,3}" * 50 + "b").search("a" * 4000)


def test_wildcards_of_a_policy_that_take_years_by_trial_are_read_once():
    def is_allowed(resource, asked):
        statement = {"Effect": "Allow", "Action": "*", "Resource": resource}
        return is_action_allowed([json.dumps({"Statement": statement})], "a:b", asked)

    assert not is_allowed("a*" * 30 + "b", "a" * 2000)
    assert is_allowed("a*" * 30 + "b", "a" * 2000 + "b")
    assert is_allowed("arn:[x]:?*", "arn:[x]:y")
    assert not is_allowed("arn:[x]:?*", "arn:x:y")


@pytest.mark.parametrize("opening", ["(", "NOT "])
def test_a_search_that_is_nested_too_deeply_is_refused(opening):
    closing = ")" if opening == "(" else ""
    make_search_condition(opening * DEPTH_MAX + "a" + closing * DEPTH_MAX)
    with pytest.raises(MonitoringError, match="nested too deeply"):
        make_search_condition(opening * 5000 + "a" + closing * 5000)
