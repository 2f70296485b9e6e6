"""Evaluate IAM policies as IAM does within one account.

Sources: IAM user guide, "Policy evaluation logic", "Permissions boundaries for IAM entities", "IAM
JSON policy elements: Condition operators", "Single-valued vs. multivalued context keys" and
"Action". An action is allowed only if a statement allows it and no statement denies it. If there is
a permissions boundary, the boundary must allow the action too.

All condition operators of IAM are implemented. If IAM does not know the operator of a condition,
the condition counts as false in an ``Allow`` and as true in a ``Deny``. An unknown operator can
thus deny an action, but cannot allow one.
"""

from __future__ import annotations

import fnmatch
import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, Literal

from drdeploy.files import Json, parse_json

if TYPE_CHECKING:
    from collections.abc import Iterable

_Test = Callable[[str, str], bool]
_VARIABLE = re.compile(r"\$\{([\w:/-]+)\}")
Context = Mapping[str, str | Sequence[str]]
"""The values of a request's condition keys; ``aws:TagKeys``, for example, has a list of values."""

PolicyDecision = Literal["allowed", "explicitDeny", "implicitDeny"]
"""The names that IAM gives to its decisions (API reference, ``EvaluationResult``)."""

IF_EXISTS = "IfExists"
FOR_ALL, FOR_ANY = "ForAllValues:", "ForAnyValue:"
ARN_PARTS = 6


@dataclass(frozen=True)
class ActionDecision:
    """What several policies together decide about an action.

    Attributes:
        decision: ``explicitDeny`` if a statement of a policy or of the boundary denies the action.
            ``implicitDeny`` if no statement denies it, but the policies or the boundary do not
            allow it. Otherwise ``allowed``.
        documents: The positions, in the list of policies, of those policies whose statements allow
            or deny the action. Empty if the boundary alone decided.
        allowed_by_boundary: Whether the permissions boundary allows the action; None if there is no
            boundary.
    """

    decision: PolicyDecision
    documents: tuple[int, ...]
    allowed_by_boundary: bool | None = None


def is_action_allowed(
    documents: Iterable[str],
    action: str,
    resource: str,
    context: Context | None = None,
    *,
    boundary: str | None = None,
) -> bool:
    """Return whether a user or role may perform an action on a resource, according to its policies.

    Args:
        documents: The policies as JSON.
        action: The action, for example ``s3:GetObject``.
        resource: The ARN of the resource; ``*`` for an action without a resource.
        context: The condition keys of the request, for example ``{"s3:prefix": "artifacts/"}``.
        boundary: The permissions boundary of the identity, as JSON, or None.
    """
    return decide_action(documents, action, resource, context, boundary=boundary).decision == (
        "allowed"
    )


def decide_action(
    documents: Iterable[str],
    action: str,
    resource: str,
    context: Context | None = None,
    *,
    boundary: str | None = None,
) -> ActionDecision:
    """Decide whether policies allow an action; :func:`is_action_allowed` explains the arguments."""
    effects = [
        _find_effects_of_statements([document], action, resource, context) for document in documents
    ]
    found = _combine_effects(set().union(*effects))
    wanted = {"explicitDeny": "Deny", "allowed": "Allow"}.get(found)
    deciding = tuple(position for position, one in enumerate(effects) if wanted in one)
    if boundary is None:
        return ActionDecision(found, deciding)
    bound = _combine_effects(_find_effects_of_statements([boundary], action, resource, context))
    if "explicitDeny" == bound != found or found == "allowed" != bound:
        found, deciding = bound, ()  # the boundary decided
    return ActionDecision(found, deciding, bound == "allowed")


def list_condition_keys(document: str, action: str | None = None) -> list[str]:
    """Return the condition keys in a policy; with ``action``, only those in statements about it."""
    statements = [
        statement
        for statement in _parse_statements(document)
        if action is None or _does_statement_match(statement, "Action", action.lower(), str.lower)
    ]
    texts = [json.dumps(statement.get("Resource", "")) for statement in statements]
    variables = [key for text in texts for key in _VARIABLE.findall(text) if ":" in key]
    keys = [
        key
        for statement in statements
        for keys in statement.get("Condition", {}).values()
        for key in keys
    ]
    return list(dict.fromkeys(keys + variables))


def _combine_effects(effects: set[str]) -> PolicyDecision:
    if "Deny" in effects:
        return "explicitDeny"
    return "allowed" if effects else "implicitDeny"


def is_principal_allowed(
    document: str, principal: tuple[str, str], action: str, context: Context | None = None
) -> bool:
    """Return whether a resource's policy, such as a role's trust policy, allows an action.

    Args:
        document: The policy as JSON.
        principal: The kind and the name of the principal, for example
            ``("Service", "sagemaker.amazonaws.com")``.
        action: The action, for example ``sts:AssumeRole``.
        context: The condition keys of the request.
    """
    known = _make_context_values(context)
    kind, name = principal
    effects = {
        statement["Effect"]
        for statement in _parse_statements(document)
        if _does_statement_name_principal(statement, kind, name)
        and _does_statement_match(statement, "Action", action.lower(), str.lower)
        and _do_conditions_hold(statement, known)
    }
    return effects == {"Allow"}


def _find_effects_of_statements(
    documents: Iterable[str], action: str, resource: str, context: Context | None
) -> set[str]:
    """Return the effects (``Allow``, ``Deny``) of the statements that apply to an action.

    The set is empty if no statement applies to the action on the resource. The caller combines the
    effects.
    """
    known = _make_context_values(context)

    def fill_policy_variables_of_request(pattern: str) -> str:
        return _fill_policy_variables(pattern, known)

    return {
        statement["Effect"]
        for document in documents
        for statement in _parse_statements(document)
        # The names of actions are case-insensitive, ARNs are not.
        if _does_statement_match(statement, "Action", action.lower(), str.lower)
        and _does_statement_match(statement, "Resource", resource, fill_policy_variables_of_request)
        and _do_conditions_hold(statement, known)
    }


def _fill_policy_variables(text: str, known: Mapping[str, list[str]]) -> str:
    """Replace policy variables, such as ``${aws:username}``, by their values.

    A variable is replaced only if the request has exactly one value for it. Otherwise, it stays in
    the text. As in IAM, a text that still has a variable matches nothing.
    """

    def get_value_of_variable(found: re.Match[str]) -> str:
        values = known.get(found[1].lower(), [])
        return values[0] if len(values) == 1 else found[0]

    return _VARIABLE.sub(get_value_of_variable, text)


def _parse_statements(document: str) -> list[Json]:
    return _wrap_in_list(parse_json(document).get("Statement", []))


def _make_context_values(context: Context | None) -> dict[str, list[str]]:
    return {key.lower(): _wrap_in_list(value) for key, value in (context or {}).items()}


def _does_statement_name_principal(statement: Json, kind: str, name: str) -> bool:
    """Return whether a statement applies to a principal.

    A statement with ``NotPrincipal`` applies to every principal that it does not name. A statement
    with neither element, which moto stores, applies to none.
    """
    if "NotPrincipal" in statement:
        return not _is_principal_stated(statement["NotPrincipal"], kind, name)
    return _is_principal_stated(statement.get("Principal"), kind, name)


def _is_principal_stated(stated: str | Json | None, kind: str, name: str) -> bool:
    if stated == "*":
        return True
    return isinstance(stated, dict) and bool({name, "*"} & set(_wrap_in_list(stated.get(kind, []))))


def _does_statement_match(
    statement: Json, element: str, value: str, fold: Callable[[str], str]
) -> bool:
    """Return whether a statement's ``Action`` or ``Resource`` element applies to a value.

    A ``NotAction`` or ``NotResource`` element applies to every value that it does not name.
    """
    is_negated = f"Not{element}" in statement
    patterns = _wrap_in_list(statement.get(f"Not{element}" if is_negated else element, []))
    return (
        any(_does_text_match_wildcards(fold(pattern), value) for pattern in patterns) != is_negated
    )


def _do_conditions_hold(statement: Json, known: Mapping[str, list[str]]) -> bool:
    return all(
        _does_condition_hold(
            name,
            known.get(key.lower()),
            [
                _fill_policy_variables(value, known) if isinstance(value, str) else value
                for value in _wrap_in_list(values)
            ],
            statement["Effect"],
        )
        for name, keys in statement.get("Condition", {}).items()
        for key, values in keys.items()
    )


def _does_condition_hold(
    name: str, actual: list[str] | None, values: list[Any], effect: str
) -> bool:
    expected = [str(one).lower() if isinstance(one, bool) else str(one) for one in values]
    if name == "Null":
        return str(actual is None).lower() in expected
    plain = name.removeprefix(FOR_ALL).removeprefix(FOR_ANY).removesuffix(IF_EXISTS)
    if not actual:
        # The request does not have the key. A comparison then does not hold, and a negated
        # comparison holds. A condition with ...IfExists is skipped. ForAllValues holds, because
        # there is no value that does not match.
        is_skipped = name.endswith(IF_EXISTS) or name.startswith(FOR_ALL)
        return is_skipped or (plain in NEGATED and not name.startswith(FOR_ANY))
    meets = all if name.startswith(FOR_ALL) else any
    return meets(_does_value_meet_operator(plain, one, expected, effect) for one in actual)


def _does_value_meet_operator(name: str, actual: str, expected: list[str], effect: str) -> bool:
    test = _TESTS.get(NEGATED.get(name, name))
    if test is None:
        return effect == "Deny"
    try:
        is_met = any(test(pattern, actual) for pattern in expected)
    except ValueError:  # a value is not a number, date or address
        return effect == "Deny"
    return is_met != (name in NEGATED)


def _does_arn_match(pattern: str, arn: str) -> bool:
    """Compare the six parts of two ARNs; a wildcard matches only within its part."""
    patterns, parts = (text.split(":", ARN_PARTS - 1) for text in (pattern, arn))
    return len(patterns) == len(parts) and all(map(_does_text_match_wildcards, patterns, parts))


def _does_text_match_wildcards(pattern: str, value: str) -> bool:
    return _compile_wildcards(pattern).fullmatch(value) is not None


@lru_cache(maxsize=4096)
def _compile_wildcards(pattern: str) -> re.Pattern[str]:
    # For each text between two asterisks, fnmatch takes the first match and never tries another. If
    # each asterisk became ".*", the pattern a*a*a*a*b would take minutes on a thousand letters.
    return re.compile(fnmatch.translate(pattern.replace("[", "[[]")))


def _parse_date(text: str) -> datetime:
    """Parse a date in ISO 8601, or a number of seconds since 1970."""
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return datetime.fromtimestamp(float(text), UTC)
    parsed = datetime.fromisoformat(text)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _make_comparison_operators(kind: str, parse: Callable[[str], Any]) -> dict[str, _Test]:
    """Return the operators that compare numbers or dates, such as ``NumericLessThan``."""
    comparisons: dict[str, Callable[[Any, Any], bool]] = {
        "Equals": operator.eq,
        "LessThan": operator.lt,
        "LessThanEquals": operator.le,
        "GreaterThan": operator.gt,
        "GreaterThanEquals": operator.ge,
    }

    def make_comparison(compare: Callable[[Any, Any], bool]) -> _Test:
        return lambda expected, actual: compare(parse(actual), parse(expected))

    return {f"{kind}{name}": make_comparison(compare) for name, compare in comparisons.items()}


NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
    "NotIpAddress": "IpAddress",
}
"""Each negated operator, with the operator that it negates."""

_TESTS: dict[str, _Test] = {
    "StringEquals": operator.eq,
    "StringEqualsIgnoreCase": lambda expected, actual: expected.lower() == actual.lower(),
    "StringLike": _does_text_match_wildcards,
    "ArnEquals": _does_arn_match,
    "ArnLike": _does_arn_match,
    "Bool": lambda expected, actual: expected.lower() == actual.lower(),
    "BinaryEquals": operator.eq,
    "IpAddress": lambda expected, actual: ip_address(actual) in ip_network(expected, strict=False),
    **_make_comparison_operators("Numeric", float),
    **_make_comparison_operators("Date", _parse_date),
}


def _wrap_in_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
