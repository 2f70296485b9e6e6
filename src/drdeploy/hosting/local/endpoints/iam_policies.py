"""What IAM policies allow, decided as IAM does for identity-based policies of one account.

Sources: IAM user guide, "Policy evaluation logic", "IAM JSON policy elements: Condition operators"
and "Action".  In short: everything is denied unless a statement allows it, and a statement that
denies wins over any that allows.

Only the operators that this project's policies use are implemented.  Any other is read to the
caller's disadvantage, so that a mistake shows up here and not on AWS: in an ``Allow`` it does not
hold, in a ``Deny`` it does.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Json = dict[str, Any]
IF_EXISTS = "IfExists"


def allows(
    documents: Iterable[str], action: str, resource: str, context: Mapping[str, str] | None = None
) -> bool:
    """Return whether policies together allow an action on a resource.

    Args:
        documents: The policies as JSON.
        action: For example ``s3:GetObject``.
        resource: The resource's ARN; ``*`` for an action without one.
        context: The request's condition keys, for example ``{"s3:prefix": "artifacts/"}``.
    """
    known = {key.lower(): value for key, value in (context or {}).items()}
    effects = {
        statement["Effect"]
        for document in documents
        for statement in _as_list(json.loads(document)["Statement"])
        if _applies(statement, action, resource, known)
    }
    # No effect: the implicit denial.  Both effects: the explicit denial wins.
    return effects == {"Allow"}


def _applies(statement: Json, action: str, resource: str, context: Mapping[str, str]) -> bool:
    return (
        # The names of actions are case-insensitive, ARNs are not.
        _is_named(statement, "Action", action.lower(), str.lower)
        and _is_named(statement, "Resource", resource, str)
        and all(
            _condition_holds(
                operator, context.get(key.lower()), _as_list(values), statement["Effect"]
            )
            for operator, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        )
    )


def _is_named(statement: Json, element: str, value: str, fold: Callable[[str], str]) -> bool:
    """Return whether ``Action`` or ``Resource`` covers a value, or ``Not…`` does not."""
    is_negated = f"Not{element}" in statement
    patterns = _as_list(statement.get(f"Not{element}" if is_negated else element, []))
    return any(_matches(fold(pattern), value) for pattern in patterns) != is_negated


def _condition_holds(operator: str, actual: str | None, values: list[Any], effect: str) -> bool:
    plain = operator.removesuffix(IF_EXISTS)
    if actual is None:
        # A key that the request lacks matches nothing, so a negated operator holds; with
        # ...IfExists the condition is then simply skipped.
        return operator.endswith(IF_EXISTS) or plain.startswith("StringNot")
    expected = [str(one).lower() if isinstance(one, bool) else str(one) for one in values]
    match plain:
        case "StringEquals":
            return actual in expected
        case "StringNotEquals":
            return actual not in expected
        case "StringLike" | "ArnLike" | "ArnEquals":
            return any(_matches(pattern, actual) for pattern in expected)
        case "StringNotLike":
            return not any(_matches(pattern, actual) for pattern in expected)
        case "Bool":
            return actual.lower() in expected
        case _:
            return effect == "Deny"


def _matches(pattern: str, value: str) -> bool:
    return _compiled(pattern).fullmatch(value) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"([*?])", pattern)
    wildcards = {"*": ".*", "?": "."}
    return re.compile("".join(wildcards.get(part) or re.escape(part) for part in parts), re.DOTALL)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
